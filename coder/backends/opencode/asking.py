"""Permission requests and questions of a turn: put to a person one by one, answered to the server."""

import logging
from collections.abc import Sequence

import anyio
from anyio.abc import TaskGroup

from coder.backends.opencode.http import Http
from coder.backends.opencode.translate import DISMISS, Translator
from coder.backends.turn import Turn
from coder.backends.wire import Fields, objects, text
from coder.errors import AgentError, AgentProtocolError, CoderError
from coder.model.permissions import PermissionOption, PermissionStatus
from coder.model.tool_calls import ToolCall
from coder.model.values import Json

logger = logging.getLogger(__name__)

Question = tuple[ToolCall, tuple[PermissionOption, ...]]


class Asking:
    """The open requests of one turn. Those that nobody has answered when it ends are rejected."""

    def __init__(self, turn: Turn, http: Http, translator: Translator, group: TaskGroup) -> None:
        self._turn = turn
        self._http = http
        self._translator = translator
        self._group = group
        self._open: dict[str, tuple[str, anyio.CancelScope]] = {}

    def permit(self, asked: Fields, call: ToolCall, options: tuple[PermissionOption, ...]) -> None:
        """Have a permission decided."""
        self._begin("permission", asked, ((call, options),))

    def question(self, asked: Fields, questions: Sequence[Question]) -> None:
        """Have questions answered, one after the other."""
        self._begin("question", asked, questions)

    def settled(self, id: str | None) -> None:
        """A request was answered, by us or in another way: nobody needs to decide it any more."""
        if found := self._open.pop(id or "", None):
            found[1].cancel()

    async def withdraw(self) -> None:
        """Reject what is open: the server forgets to when it aborts a turn."""
        left, self._open = self._open, {}
        for id, (kind, scope) in left.items():
            scope.cancel()
            await self._reject(kind, id)

    async def end(self) -> None:
        """The turn is over; waits until everything that was open is closed."""
        with anyio.move_on_after(2, shield=True):
            await self.withdraw()
            await self._turn.wait_answered()

    def _begin(self, kind: str, asked: Fields, questions: Sequence[Question]) -> None:
        id = text(asked.get("id")) or ""
        if self._turn.is_cancelled or self._turn.over.is_set():
            self._group.start_soon(self._reject, kind, id)
            return
        scope = anyio.CancelScope()
        self._open[id] = kind, scope
        self._turn.begin_asking()
        self._group.start_soon(self._ask, kind, asked, questions, scope)

    async def _ask(self, kind: str, asked: Fields, questions: Sequence[Question], scope: anyio.CancelScope) -> None:
        id = text(asked.get("id")) or ""
        chosen: list[PermissionOption] = []
        try:
            with scope:
                for call, options in questions:
                    option = await self._decide(call, options)
                    if option is None or option == DISMISS:
                        chosen = []
                        break
                    chosen.append(option)
        finally:
            self._turn.end_asking()
            if not chosen or chosen[0].kind.startswith("reject"):
                self._translator.refused(questions[0][0]) if questions else None
        if self._open.pop(id, None) is None:
            return
        if not chosen:
            await self._reject(kind, id)
        elif kind == "permission":
            await self._reply(f"/permission/{id}/reply", {"reply": chosen[0].id})
        else:
            await self._reply(f"/question/{id}/reply", {"answers": _labels(asked, chosen)})

    async def _decide(self, call: ToolCall, options: tuple[PermissionOption, ...]) -> PermissionOption | None:
        try:
            outcome = await self._turn.context.ask(call, options)
        except CoderError as error:
            logger.warning("permission could not be asked: %s", error)
            return None
        if outcome.status is not PermissionStatus.SELECTED:
            return None
        return next((option for option in options if option.id == outcome.option_id), None)

    async def _reject(self, kind: str, id: str) -> None:
        if kind == "permission":
            await self._reply(f"/permission/{id}/reply", {"reply": "reject"})
        else:
            await self._reply(f"/question/{id}/reject", {})

    async def _reply(self, path: str, body: Fields) -> None:
        try:
            await self._http.post(path, body)
        except AgentProtocolError as error:
            logger.info("answer not needed any more: %s", error)
        except AgentError as error:
            logger.warning("answer not given: %s", error)


def _labels(asked: Fields, chosen: list[PermissionOption]) -> list[Json]:
    return [[option.name] for _, option in zip(objects(asked.get("questions")), chosen, strict=False)]
