"""The tool calls of a conversation as they are told. Pure."""

from coder.backends.opencode.tool_calls import asked_call, tool_call
from coder.backends.wire import Fields, fields, text
from coder.model.events import AgentEvent, ToolCallStarted, ToolCallUpdated
from coder.model.tool_calls import ToolCall


class Calls:
    """Each call is announced once, every change of it is told, and what is over stays so."""

    def __init__(self) -> None:
        self._calls: dict[str, ToolCall] = {}
        self._ids: dict[tuple[str | None, str | None], str] = {}
        self._refused: set[str] = set()
        self._announced: set[str] = set()

    def begin_turn(self) -> None:
        self._refused.clear()
        self._calls = {id: call for id, call in self._calls.items() if not _is_over(call)}

    def end_turn(self, *, is_done: bool) -> list[AgentEvent]:
        """Calls that are still open have failed, or were forgotten where all went well."""
        events: list[AgentEvent] = []
        for call in list(self._calls.values()):
            if not _is_over(call):
                status = "completed" if is_done and call.id not in self._refused else "failed"
                events += self._keep(call.model_copy(update={"status": status}))
        return events

    def refused(self, call: ToolCall) -> None:
        """The permission for a call was not given: unless the server says otherwise it fails."""
        self._refused.add(call.id)

    def id_of(self, part: Fields) -> str | None:
        """The id under which the call of a tool part is told; None before it was."""
        return self._ids.get(_key(part))

    def part(self, part: Fields, inner: tuple[str, ...], parent_id: str | None) -> list[AgentEvent]:
        """A tool part with its id as it stands; `inner` is what a sub-agent working for the call has said."""
        id = self._ids.setdefault(_key(part), text(part.get("id")) or "")
        call = tool_call(id, part, inner, parent_id)
        if call.status != "pending" and call.status != "failed":
            # the server goes on with a call that was refused, or has ended it itself
            self._refused.discard(id)
        return self._keep(call)

    def asked(
        self, id: str, asked: Fields, title: str, kind: str, parent_id: str | None
    ) -> tuple[list[AgentEvent], ToolCall]:
        """The call that the request `id` is about, announced if it was not."""
        tool = fields(asked.get("tool"))
        call_id = self._ids.setdefault(_key(tool), id) if tool else id
        about = fields(asked.get("metadata"))
        known, told = self._calls.get(call_id), asked_call(call_id, title, kind, about, parent_id)
        if known and known.input is not None:
            return [], known
        # the request may come before the server says what the call is about
        call = known.model_copy(update={"title": title, "input": told.input}) if known else told
        return self._keep(call), call

    def _keep(self, call: ToolCall) -> list[AgentEvent]:
        known = self._calls.get(call.id)
        if known is None and call.id in self._announced:
            return []  # it was over before this turn
        if known and _is_over(known) and not (_is_over(call) and call.content != known.content):
            return []
        self._calls[call.id] = call
        if known is None:
            self._announced.add(call.id)
            return [ToolCallStarted(tool_call=call)]
        return [ToolCallUpdated(tool_call=call)] if call != known else []


def _key(part: Fields) -> tuple[str | None, str | None]:
    return text(part.get("messageID")), text(part.get("callID"))


def _is_over(call: ToolCall) -> bool:
    return call.status in ("completed", "failed")
