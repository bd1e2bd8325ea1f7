"""What an agent tells, to whoever listens now: the running turn, or between turns the host."""

import logging
from collections.abc import Awaitable, Callable

from coder.backends.acp.client import CANCELLED
from coder.backends.acp.peer import Reply
from coder.backends.acp.translate import Events, Translator
from coder.backends.base import Emit
from coder.backends.turn import Turn
from coder.backends.wire import Fields
from coder.errors import CoderError
from coder.model.events import Commands, ModeChanged, ModelChanged, Text, UsageReported
from coder.model.permissions import PermissionOption, PermissionStatus
from coder.model.tool_calls import ToolCall
from coder.model.values import Json

logger = logging.getLogger(__name__)

_EARLY = 1000
"""Updates kept that come before the session they belong to is known."""
_STATE = (Commands, ModeChanged, ModelChanged, UsageReported)
"""What agents tell of themselves at any time; a turn has not begun with it."""


class Feed:
    """Takes what arrives for one agent session, in order. `emit` takes events outside of turns."""

    def __init__(self, agent: str, emit: Emit) -> None:
        self._agent = agent
        self._emit = emit
        self.translator = Translator()
        self.session: str | None = None
        self.turn: Turn | None = None
        self.on_state: Callable[[Fields], Awaitable[None]] | None = None
        """Hears the state of the session, after what came before it was taken."""
        self.updates = 0
        """How many updates have come."""
        self.is_held = False
        """Whether events wait to be taken."""
        self._early: list[Fields] = []
        self._pieces: list[str] = []
        self._message_id: str | None = None

    async def take_notification(self, method: str, params: Fields) -> None:
        """Handle one notification of the agent."""
        if method == "session/update":
            await self._take_update(params)
        else:
            logger.debug("notification ignored: %s", method, extra={"agent": self._agent})

    async def open(self, session: str, result: Fields) -> None:
        """The session is known now; updates that came before it are taken."""
        self.session = session
        await self.pass_on(self.translator.session_opened(result))
        early, self._early = self._early, []
        for params in early:
            await self._take_update(params)
        await self.settle()

    async def settle(self) -> None:
        """Pass on the text whose pieces have arrived together."""
        if self._pieces:
            said, self._pieces = "".join(self._pieces), []
            await self._hand_over([Text(text=said, message_id=self._message_id)])

    async def pass_on(self, events: Events) -> None:
        """Hand events to the turn, or outside of one to the host; waits until they are taken."""
        await self.settle()
        await self._hand_over(events)

    async def _hand_over(self, events: Events) -> None:
        turn = self.turn
        emit = self._emit if turn is None or turn.over.is_set() else turn.context.emit
        self.is_held = True
        try:
            for event in events:
                await emit(event)
        finally:
            self.is_held = False
        if turn:
            turn.heard()
            if events and not turn.has_begun:
                turn.has_begun = not isinstance(events[0], _STATE)

    async def permit(self, params: Fields) -> Reply:
        """Show what a permission request is about; the answer comes from the turn, and is cancelled without one."""
        turn = self.turn
        if turn is None or turn.over.is_set() or turn.is_cancelled:
            return Reply(_cancelled, CANCELLED)
        events, call, options = self.translator.permission(params)
        await self.pass_on(events)
        if not options:
            return Reply(_cancelled, CANCELLED)
        turn.begin_asking()
        return Reply(lambda: self._ask(turn, call, options), CANCELLED)

    async def _ask(self, turn: Turn, call: ToolCall, options: tuple[PermissionOption, ...]) -> Json:
        chosen: PermissionOption | None = None
        try:
            outcome = await turn.context.ask(call, options)
            if outcome.status is PermissionStatus.SELECTED:
                chosen = next((option for option in options if option.id == outcome.option_id), None)
        except CoderError as error:
            logger.warning("permission could not be asked: %s", error, extra={"agent": self._agent})
        finally:
            turn.end_asking()
            if chosen is None or chosen.kind.startswith("reject"):
                self.translator.refused(call)
        return {"outcome": {"outcome": "selected", "optionId": chosen.id}} if chosen else CANCELLED

    async def _take_update(self, params: Fields) -> None:
        session = params.get("sessionId")
        if session != self.session and not self._is_ours(session, params):
            return
        self.updates += 1
        update = params.get("update")
        if not isinstance(update, dict):
            return
        if piece := self.translator.piece(update):
            said, message_id = piece
            if message_id != self._message_id:
                await self.settle()
                self._message_id = message_id
            self._pieces.append(said)
        else:
            await self.pass_on(self.translator.update(update))
            if update.get("sessionUpdate") == "state_update" and self.on_state:
                await self.on_state(update)

    def _is_ours(self, session: Json, params: Fields) -> bool:
        """Whether an update counts now that names no session, or one that is not (yet) known."""
        if session is None or (self.session is None and self.translator.is_replaying):
            return True
        if self.session is None and len(self._early) < _EARLY:
            self._early.append(params)
        else:
            logger.debug("update of another session ignored", extra={"agent": self._agent})
        return False


async def _cancelled() -> Json:
    return CANCELLED
