"""One prompt on the wire and what comes of it, until it is answered, cancelled, too silent, or the agent is gone."""

import logging

import anyio

from coder.backends.acp.client import ELICITATION, PERMISSION
from coder.backends.acp.connection import Connection
from coder.backends.acp.feed import Feed
from coder.backends.acp.peer import Pending
from coder.backends.base import TurnResult
from coder.backends.turn import AgentLimits, Turn
from coder.backends.wire import Fields, fields, text
from coder.errors import AgentDied, AgentError, AgentProtocolError, AgentTimeout
from coder.model.events import UserText
from coder.model.values import Json

logger = logging.getLogger(__name__)

STEERING = "_session/steering"
"""An extension of two adapters, alike in both versions of the protocol: input joins the running turn."""
_TAKEN = frozenset({"injected", "startedNewTurn"})


class Exchange:
    """Version 1 of the protocol: the answer to the prompt is the end of the turn."""

    def __init__(self, connection: Connection, feed: Feed, turn: Turn, limits: AgentLimits, agent: str) -> None:
        self._connection = connection
        self._feed = feed
        self._turn = turn
        self._limits = limits
        self._agent = agent

    async def run(self, prompt: str, blocks: list[Json]) -> TurnResult:
        """Send the prompt and carry its turn out. An agent whose turn is abandoned or cannot be ended is ended."""
        is_done = False
        try:
            self._feed.translator.begin_turn(prompt)
            self._feed.turn = self._turn
            self._feed.on_state = self.heard_state
            await self._run({"sessionId": self._feed.session, "prompt": blocks})
            is_done = True
        finally:
            self._feed.turn = self._feed.on_state = None
            if not is_done:
                # nobody waits for the answer any more, and the next prompt must not meet this one
                self._connection.kill()
        return self._turn.result()

    async def steer(self, words: str, blocks: list[Json]) -> bool:
        """Put more input into the running turn; whether the agent has taken it. It is then told as `user_text`.

        Raises:
            AgentTimeout, AgentDied: it is not known whether it was taken.
        """
        if self._turn.over.is_set() or self._turn.is_cancelled or self._turn.error:
            return False
        translator = self._feed.translator
        translator.expect_echo(words)
        is_taken = False

        async def hear(pending: Pending) -> None:
            # in order with what the agent says: its answer to these words must not be told before them
            nonlocal is_taken
            if is_taken := text(fields(pending.result).get("outcome")) in _TAKEN:
                await self._feed.pass_on([UserText(text=words)])

        try:
            # without the wish an agent whose turn has just ended would begin another one that nobody asked for
            wish: Fields = {"steering": {"idleBehavior": "promptRequired"}}
            params: Fields = {"sessionId": self._feed.session, "prompt": blocks, "_meta": dict(wish)}
            await self._connection.peer.request(STEERING, params, timeout=self._limits.request, on_answer=hear)
        except (AgentTimeout, AgentDied):
            raise
        except AgentProtocolError as error:
            logger.info("not steered: %s", error, extra={"agent": self._agent})
        if not is_taken:
            translator.forget_echo(words)
        return is_taken

    async def heard_state(self, update: Fields) -> None:
        """The agent tells the state of its session; version 1 has none."""

    async def answered(self, pending: Pending) -> None:
        """The prompt is answered."""
        await self.end(fields(pending.result), pending.error)

    async def end(self, result: Fields, error: AgentError | None) -> None:
        """The agent has ended the turn; `result` says how."""
        turn, translator = self._turn, self._feed.translator
        if turn.over.is_set():
            return
        turn.is_answered = True
        turn.error = turn.error or error
        turn.stop_reason = text(result.get("stopReason"))
        turn.usage = translator.turn_usage(result)
        self._connection.peer.cancel_requests(PERMISSION, ELICITATION)
        reason = "failed" if turn.error else "cancelled" if turn.is_cancelled else turn.stop_reason
        await self._feed.pass_on(translator.end_turn(reason))
        turn.over.set()

    async def _run(self, params: Fields) -> None:
        turn = self._turn
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch_cancel)
            group.start_soon(self._watch_silence)
            group.start_soon(self._watch_end)
            try:
                await self._connection.peer.begin("session/prompt", params, self.answered)
            except AgentError as error:
                turn.error = self._connection.end or error
                self._connection.kill()
            await turn.over.wait()
            group.cancel_scope.cancel()
        with anyio.move_on_after(self._limits.cancel):
            await turn.wait_answered()
        if not turn.is_answered:
            for event in self._feed.translator.end_turn("cancelled" if turn.is_cancelled else "failed"):
                await turn.context.emit(event)

    async def _watch_cancel(self) -> None:
        await self._turn.context.cancel.wait()
        self._turn.is_cancelled = True
        await self._stop()

    async def _watch_silence(self) -> None:
        error = await self._turn.wait_for_silence(lambda: self._feed.is_held)
        if not self._turn.is_cancelled:
            self._turn.error = error
            await self._stop()

    async def _watch_end(self) -> None:
        await self._connection.gone.wait()
        self._turn.error = self._turn.error or self._connection.end or AgentDied(f"{self._agent} is not running")
        self._turn.over.set()

    async def _stop(self) -> None:
        """Ask politely; an agent that does not end its turn is ended itself."""
        with anyio.move_on_after(self._limits.cancel):
            try:
                await self._connection.peer.notify("session/cancel", {"sessionId": self._feed.session})
            except AgentError as error:
                logger.debug("cancel not written: %s", error, extra={"agent": self._agent})
            self._connection.peer.cancel_requests(PERMISSION, ELICITATION)
            await self._turn.over.wait()
            return
        logger.warning("agent does not end its turn", extra={"agent": self._agent})
        self._connection.kill()
