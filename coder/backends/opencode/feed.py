"""What the server tells of one conversation, to whoever listens now: the running turn, or between turns the host."""

import logging

import anyio

from coder.backends.base import Emit
from coder.backends.opencode.asking import Asking
from coder.backends.opencode.missed import Get, fetch_missed
from coder.backends.opencode.progress import Progress
from coder.backends.opencode.seat import Seat
from coder.backends.opencode.stream import follow
from coder.backends.opencode.translate import Events, Translator
from coder.backends.turn import Turn
from coder.backends.wire import Fields, fields, text
from coder.errors import AgentError

logger = logging.getLogger(__name__)

_LAST_WORDS = 1.0
"""Seconds to read what a server that has died had sent before."""


class Feed:
    """Takes the events of one conversation, in order. `emit` takes events outside of turns."""

    def __init__(self, agent: str, label: str, emit: Emit) -> None:
        self._agent = agent
        self._label = label
        self._emit = emit
        self.translator = Translator(agent)
        self.turn: Turn | None = None
        self.progress: Progress | None = None
        self.asking: Asking | None = None
        self.order = anyio.Lock()
        """Held by whoever hands events on."""
        self.is_held = False
        """Whether events wait to be taken."""
        self.heard_all = anyio.Event()
        """Nothing more comes."""
        self._connected = anyio.Event()
        self._news = anyio.Event()

    async def follow(self, seat: Seat) -> None:
        """Take what the server tells until it is dead and its last words are heard; what goes wrong here ends it."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._read, seat)
                await seat.ending.wait()
                with anyio.move_on_after(_LAST_WORDS):
                    await self.heard_all.wait()
                group.cancel_scope.cancel()
        except Exception as error:
            logger.exception("the server's events could not be handled", extra={"agent": self._agent})
            seat.end = seat.end or AgentError(f"{self._label}: its events could not be handled: {error}")
            seat.kill()
        finally:
            self.heard_all.set()

    async def wait_connected(self) -> None:
        """Wait until nothing that happens is missed any more."""
        await self._connected.wait()

    async def wait_for_news(self, seconds: float) -> bool:
        """Whether something has come within the time."""
        news = self._news
        with anyio.move_on_after(seconds):
            await news.wait()
        return news.is_set()

    async def pass_on(self, events: Events) -> None:
        """Hand events to the turn, or outside of one to the host; waits until they are taken."""
        turn = self.turn
        emit = self._emit if turn is None or turn.over.is_set() else turn.context.emit
        self.is_held = True
        try:
            for event in events:
                await emit(event)
        finally:
            self.is_held = False
        if turn and events:
            turn.heard()
            turn.has_begun = True

    async def reconcile(self, get: Get) -> None:
        """Fetch what the stream may not have told: messages since the prompt, plan, requests, whether all is idle.

        Raises:
            AgentError: the server does not answer as it should.
        """
        async with self.order:
            await self._reconcile(get)

    async def _read(self, seat: Seat) -> None:
        async def connected() -> None:
            is_again, self._connected = self._connected.is_set(), self._connected
            self._connected.set()
            if is_again:
                async with self.order:
                    self.translator.missed()
                    await self._reconcile(seat.http.get)

        try:
            await follow(seat.http, lambda: seat.is_up, connected, self._on_event)
        except AgentError as error:
            seat.end = seat.end or error
            seat.kill()
        finally:
            self.heard_all.set()

    async def _on_event(self, kind: str, properties: Fields) -> None:
        async with self.order:
            await self._take(kind, properties)

    async def _take(self, kind: str, properties: Fields) -> None:
        translator = self.translator
        if kind == "session.created":
            translator.event(kind, properties)
        if translator.session is None or not translator.concerns(properties):
            return
        if kind in ("permission.asked", "question.asked"):
            await self._ask(kind, properties)
        elif kind in ("permission.replied", "question.replied", "question.rejected"):
            if self.asking:
                self.asking.settled(text(properties.get("requestID")))
        else:
            await self.pass_on(translator.event(kind, properties))
        if self.progress:
            self.progress.take(kind, properties)
        if self.turn and "sessionID" in properties:
            self.turn.heard()
        self._tell()

    async def _ask(self, kind: str, asked: Fields) -> None:
        if self.asking is None:
            return
        if kind == "permission.asked":
            if found := self.translator.permission(asked):
                events, call, options = found
                await self.pass_on(events)
                self.asking.permit(asked, call, options)
        elif found := self.translator.question(asked):
            events, questions = found
            await self.pass_on(events)
            self.asking.question(asked, questions)

    async def _reconcile(self, get: Get) -> None:
        progress, session = self.progress, self.translator.session
        if progress is None or session is None:
            return
        missed = await fetch_missed(get, session, progress.message_id)
        for message in missed.messages:
            await self.pass_on(self.translator.message(message))
            progress.take("message.updated", {"info": dict(fields(message.get("info")))})
        await self.pass_on(self.translator.plan(missed.todos))
        for kind, asked in missed.asked:
            if self.translator.concerns(asked):
                await self._ask(kind, asked)
        progress.take("session.status", {"sessionID": session, "status": dict(missed.status)})
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()
