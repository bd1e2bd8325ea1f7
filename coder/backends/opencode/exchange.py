"""One prompt to the server and what comes of it, until it is done, cancelled, too silent, or the server is gone."""

import logging
from collections.abc import Mapping

import anyio
from anyio.abc import TaskGroup

from coder.backends.base import PromptInput, TurnResult
from coder.backends.opencode.asking import Asking
from coder.backends.opencode.feed import Feed
from coder.backends.opencode.http import is_refused_sign_in
from coder.backends.opencode.progress import Progress
from coder.backends.opencode.prompt import file_parts
from coder.backends.opencode.seat import Seat
from coder.backends.opencode.translate import error_words
from coder.backends.turn import AgentLimits, Turn
from coder.backends.wire import Fields, text
from coder.errors import AgentDied, AgentError, AgentProtocolError
from coder.model.values import Json

logger = logging.getLogger(__name__)

_ADMISSION = 5.0
"""Seconds after which a prompt that nobody has heard of is looked for."""
_QUIET = 1.0
"""Seconds that an idle session may take to tell of its last message."""
_TURN = 7 * 24 * 3600.0
"""Seconds that a request may take which is answered at the end of a turn: the turn has deadlines of its own."""
_ERROR_CODES = {
    "ProviderAuthError": "auth_required",
    "ContextOverflowError": "context_overflow",
    "MessageOutputLengthError": "output_too_long",
}


class Exchange:
    """One turn, whose prompt `progress` follows."""

    def __init__(self, seat: Seat, feed: Feed, progress: Progress, turn: Turn, limits: AgentLimits, agent: str) -> None:
        self._seat = seat
        self._feed = feed
        self._session = progress.session
        self._turn = turn
        self._limits = limits
        self._agent = agent
        self._progress = progress

    async def run(self, input: PromptInput, parts: list[Json], system: str | None) -> TurnResult:
        """Send the prompt and carry its turn out; `system` is told to the model besides.

        A server whose turn is abandoned or cannot be ended is left, and ends when nobody else uses it.
        """
        feed = self._feed
        is_done = False
        try:
            feed.translator.begin_turn(self._progress.message_id, input.text)
            feed.turn, feed.progress = self._turn, self._progress
            result = await self._run(input, parts, system)
            is_done = True
        finally:
            feed.turn = feed.progress = None
            if not is_done:
                # nobody waits for the end any more, and the next prompt must not meet this one
                self._seat.kill()
        return result

    async def _run(self, input: PromptInput, parts: list[Json], system: str | None) -> TurnResult:
        turn, seat, feed = self._turn, self._seat, self._feed
        reached = True
        async with anyio.create_task_group() as group:
            feed.asking = asking = Asking(turn, seat.http, feed.translator, group)
            group.start_soon(self._watch_cancel)
            group.start_soon(self._watch_silence)
            group.start_soon(self._watch_end)
            try:
                await self._send(input, parts, system, group)
                group.start_soon(self._watch_progress)
            except AgentError as error:
                reached = not isinstance(error, AgentProtocolError)
                fault = await seat.obituary(error)
                if reached and await self._has_arrived():
                    group.start_soon(self._watch_progress)
                else:
                    reached = reached and not seat.is_up
                    turn.error = fault
                    turn.over.set()
                if is_refused_sign_in(error):
                    seat.kill()
            await turn.over.wait()
            await asking.end()
            group.cancel_scope.cancel()
        feed.asking = None
        return await self._close(reached=reached)

    async def _has_arrived(self) -> bool:
        """Whether a prompt that was not answered is there all the same."""
        if not self._seat.is_up:
            return False
        try:
            path = f"/session/{self._session}/message/{self._progress.message_id}"
            return bool((await self._seat.http.find(path) or {}).get("info"))
        except AgentError as error:
            logger.info("not found out: %s", error, extra=self._ids())
            return False

    async def _close(self, *, reached: bool) -> TurnResult:
        turn, progress, feed = self._turn, self._progress, self._feed
        fault = progress.error if not progress.was_aborted else None
        is_cancelled = turn.is_cancelled or progress.was_aborted or (turn.error is None and progress.is_unfinished)
        is_done = not (turn.error or fault or is_cancelled)
        turn.usage = feed.translator.usage
        async with feed.order:
            for event in feed.translator.end_turn(is_done=is_done):
                await turn.context.emit(event)
        if is_cancelled and turn.error is None:
            return TurnResult(ok=True, stop_reason="cancelled", usage=turn.usage)
        if turn.error is None and fault:
            code = _ERROR_CODES.get(text(fault.get("name")) or "", "agent_failed")
            turn.error = AgentError(error_words(fault), code=code)
        turn.stop_reason = progress.stop_reason
        result = turn.result()
        return result if reached else TurnResult(ok=False, error=result.error, reached_agent=False)

    async def _send(self, input: PromptInput, parts: list[Json], system: str | None, group: TaskGroup) -> None:
        chosen, offer = self._feed.translator.chosen, self._feed.translator.offer
        body: dict[str, Json] = {"messageID": self._progress.message_id}
        if chosen.mode:
            body["agent"] = chosen.mode
        if chosen.thinking:
            body["variant"] = chosen.thinking
        name, _, arguments = input.text.removeprefix("/").partition(" ")
        if input.text.startswith("/") and any(command.name == name for command in offer.commands):
            files = file_parts(input, takes_images=chosen.model in offer.image_models)
            body |= {"command": name, "arguments": arguments, "parts": files}
            if chosen.model:
                body["model"] = chosen.model
            group.start_soon(self._command_runs, body)
            return
        if chosen.model:
            vendor, _, model = chosen.model.partition("/")
            body["model"] = {"providerID": vendor, "modelID": model}
        if system:
            body["system"] = system
        await self._seat.http.post(f"/session/{self._session}/prompt_async", {**body, "parts": parts})

    async def _command_runs(self, body: Fields) -> None:
        """A command is answered when its turn is over; what becomes of it is told by the events."""
        try:
            await self._seat.http.post(f"/session/{self._session}/command", body, timeout=_TURN)
        except AgentError as error:
            logger.info("command: %s", error, extra=self._ids())
            self._turn.error = self._turn.error or error
            self._turn.over.set()

    async def _watch_progress(self) -> None:
        progress = self._progress
        while not progress.is_over:
            patience = _QUIET if progress.is_idle else _ADMISSION
            if not await self._feed.wait_for_news(patience) and progress.needs_a_look and await self._look():
                break
        self._turn.over.set()

    async def _look(self) -> bool:
        """Whether nothing more can be expected, seen by asking."""
        progress = self._progress
        try:
            await self._feed.reconcile(self._seat.http.get)
        except AgentError as error:
            logger.info("not reconciled: %s", error, extra=self._ids())
            return False
        if not progress.is_admitted:
            progress.error = progress.error or {"name": "the server did not take the prompt"}
            return True
        return progress.is_idle

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
        await self._seat.gone.wait()
        await self._feed.heard_all.wait()
        self._turn.error = self._turn.error or self._seat.end or AgentDied(f"{self._agent} is not running")
        self._turn.over.set()

    async def _stop(self) -> None:
        """Ask politely; a server that does not end its turn is left."""
        with anyio.move_on_after(self._limits.cancel):
            try:
                await self._seat.http.post(f"/session/{self._session}/abort", {})
            except AgentError as error:
                logger.debug("not aborted: %s", error, extra=self._ids())
            if self._feed.asking:
                await self._feed.asking.withdraw()
            await self._turn.over.wait()
            return
        logger.warning("server does not end its turn", extra=self._ids())
        self._seat.kill()

    def _ids(self) -> Mapping[str, str]:
        return {"agent": self._agent, "agent_session": self._session}
