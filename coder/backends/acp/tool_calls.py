"""Tool calls: from what one message says of a call to the whole call, and the terminals that calls show."""

import codecs
from dataclasses import dataclass, field

from coder.backends.acp.diffs import diffs_of
from coder.backends.wire import Fields, fields, objects, text, whole
from coder.json_values import clean_text
from coder.model.tool_calls import (
    ContentBlock,
    TerminalOutput,
    ToolCall,
    ToolDiff,
    ToolKind,
    ToolLocation,
    ToolStatus,
)
from coder.model.values import Json

KINDS: dict[str, ToolKind] = {
    "read": "read",
    "edit": "edit",
    "delete": "delete",
    "move": "move",
    "search": "search",
    "execute": "execute",
    "think": "think",
    "fetch": "fetch",
}
STATUSES: dict[str, ToolStatus] = {
    "pending": "pending",
    "in_progress": "running",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "failed",
}
_FIELDS = {
    "title": "title",
    "name": "name",
    "kind": "kind",
    "status": "status",
    "rawInput": "input",
    "rawOutput": "output",
    "content": "content",
    "locations": "locations",
}
OUTPUT_SHOWN = 64 * 1024
"""Characters of a terminal's output that a tool call carries: the last ones."""


@dataclass
class Terminals:
    """What is known of the terminals that tool calls show, whoever runs them."""

    known: dict[str, TerminalOutput] = field(default_factory=dict[str, TerminalOutput])
    _decoders: dict[str, codecs.IncrementalDecoder] = field(default_factory=dict[str, codecs.IncrementalDecoder])

    def get(self, id: str) -> TerminalOutput:
        return self.known.get(id) or TerminalOutput(terminal_id=id, output="")

    def set(self, terminal: TerminalOutput) -> None:
        self.known[terminal.terminal_id] = shortened(terminal)

    def write(self, id: str, data: bytes, *, afresh: bool = False) -> None:
        """Add bytes to a terminal's output, or put them in its place; a character may come in two parts."""
        if afresh or id not in self._decoders:
            self._decoders[id] = codecs.getincrementaldecoder("utf-8")(errors="replace")
        terminal = self.get(id)
        output = clean_text(self._decoders[id].decode(data))
        self.set(terminal.model_copy(update={"output": output if afresh else terminal.output + output}))

    def hear(self, meta: Fields) -> list[str]:
        """Take in the `terminal_*` keys by which agents report terminals of their own; the ids they speak of."""
        spoken: list[str] = []
        for key in ("terminal_info", "terminal_output", "terminal_output_delta", "terminal_exit"):
            note = fields(meta.get(key))
            id = text(note.get("terminal_id"))
            if id is None:
                continue
            spoken.append(id)
            self.set(_after(self.get(id), key, note))
        return list(dict.fromkeys(spoken))


def shortened(terminal: TerminalOutput) -> TerminalOutput:
    """The terminal with no more of its output than a tool call carries."""
    if len(terminal.output) <= OUTPUT_SHOWN:
        return terminal
    return terminal.model_copy(update={"output": terminal.output[-OUTPUT_SHOWN:], "truncated": True})


def merge(known: ToolCall | None, id: str, update: Fields, terminals: Terminals) -> ToolCall:
    """The call after an update: what is present and not null replaces, arrays as a whole.

    Raises:
        pydantic.ValidationError: a value nests too deeply to be kept.
    """
    changes = _scalars(update)
    if known and known.status in ("completed", "failed") and changes.get("status") == "pending":
        # announced after its end
        del changes["status"]
    shown = known.terminals if known else ()
    if (content := update.get("content")) is not None:
        changes |= _content(content)
        shown = tuple(terminals.get(id) for id in _terminal_ids(content))
    if (locations := update.get("locations")) is not None:
        changes["locations"] = tuple(_location(item) for item in objects(locations) if text(item.get("path")))
    spoken = terminals.hear(fields(update.get("_meta")))
    ids = dict.fromkeys([*(terminal.terminal_id for terminal in shown), *spoken])
    changes["terminals"] = tuple(terminals.get(terminal_id) for terminal_id in ids)
    changes |= _delegation(update)
    if known is None:
        return ToolCall.model_validate({"id": id, "title": text(update.get("name")) or id, **changes})
    fresh = ToolCall.model_validate({"id": id, "title": known.title, **changes})
    return known.model_copy(update={name: getattr(fresh, name) for name in changes})


def cleared(known: ToolCall | None, update: Fields) -> ToolCall | None:
    """The call without what the update clears: in version 2 of the protocol null unsets a field."""
    if known is None:
        return None
    defaults = ToolCall(id=known.id, title=known.name or known.id)
    names = [name for key, name in _FIELDS.items() if key in update and update[key] is None]
    more = ["diffs", "terminals"] if "content" in names else []
    return known.model_copy(update={name: getattr(defaults, name) for name in [*names, *more]})


def extended(known: ToolCall | None, id: str, item: Fields, terminals: Terminals) -> ToolCall:
    """The call with one more item of content."""
    added = merge(known, id, {"content": [dict(item)]}, terminals)
    if known is None:
        return added
    shown = dict.fromkeys(terminal.terminal_id for terminal in (*known.terminals, *added.terminals))
    return known.model_copy(
        update={
            "content": known.content + added.content,
            "diffs": known.diffs + added.diffs,
            "terminals": tuple(terminals.get(terminal_id) for terminal_id in shown),
        }
    )


def content_block(block: Fields) -> ContentBlock:
    """One content block of a message or tool call."""
    match block.get("type"):
        case "text":
            return ContentBlock(kind="text", text=text(block.get("text")) or "")
        case "image" | "audio" as kind:
            return ContentBlock(
                kind=kind,
                mime_type=text(block.get("mimeType")),
                uri=text(block.get("uri")),
                data=text(block.get("data")),
            )
        case "resource_link":
            return ContentBlock(
                kind="resource_link",
                text=text(block.get("title")) or text(block.get("name")),
                mime_type=text(block.get("mimeType")),
                uri=text(block.get("uri")),
                raw=dict(block),
            )
        case "resource":
            resource = fields(block.get("resource"))
            return ContentBlock(
                kind="resource",
                text=text(resource.get("text")),
                mime_type=text(resource.get("mimeType")),
                uri=text(resource.get("uri")),
                data=text(resource.get("blob")),
            )
        case _:
            return ContentBlock(kind="unknown", raw=dict(block))


def _scalars(update: Fields) -> dict[str, object]:
    changes: dict[str, object] = {}
    if title := text(update.get("title")):
        changes["title"] = title
    if name := text(update.get("name")):
        changes["name"] = name
    if kind := text(update.get("kind")):
        changes["kind"] = KINDS.get(kind, "other")
    if (status := text(update.get("status"))) in STATUSES:
        changes["status"] = STATUSES[status or ""]
    for key, name in (("rawInput", "input"), ("rawOutput", "output")):
        if update.get(key) is not None:
            changes[name] = update[key]
    return changes


def _delegation(update: Fields) -> dict[str, object]:
    """Which sub-agent the call puts to work or is made by; the protocol has no words of its own for it."""
    changes: dict[str, object] = {}
    if kind := text(fields(update.get("rawInput")).get("subagent_type")):
        changes["sub_agent"] = kind
    # claude-agent-acp
    if parent := text(fields(fields(update.get("_meta")).get("claudeCode")).get("parentToolUseId")):
        changes["parent_id"] = parent
    return changes


def _content(content: Json) -> dict[str, object]:
    blocks: list[ContentBlock] = []
    diffs: list[ToolDiff] = []
    for item in objects(content):
        match item.get("type"):
            case "content":
                blocks.append(content_block(fields(item.get("content"))))
            case "diff":
                if told := _diffs(item):
                    diffs += told
                else:
                    blocks.append(content_block(item))
            case "terminal":
                pass
            case _:
                # a bare block, as the protocol's own permission example has it
                blocks.append(content_block(item))
    return {"content": tuple(blocks), "diffs": tuple(diffs)}


def _terminal_ids(content: Json) -> list[str]:
    listed = [item for item in objects(content) if item.get("type") == "terminal"]
    return [id for item in listed if (id := text(item.get("terminalId")))]


def _diffs(item: Fields) -> list[ToolDiff]:
    """What a diff shows: whole texts in version 1 of the protocol, a patch in version 2; nothing without either."""
    if "changes" not in item:
        old, new = text(item.get("oldText")), text(item.get("newText"))
        return [ToolDiff(path=text(item.get("path")) or "", old_text=old, new_text=new or "")]
    patch = fields(item.get("patch"))
    if patch.get("format") != "git_patch":
        return []
    paths = [path for change in objects(item.get("changes")) if (path := text(change.get("path")))]
    return diffs_of(text(patch.get("text")) or "", paths)


def _location(item: Fields) -> ToolLocation:
    return ToolLocation(path=text(item.get("path")) or "", line=whole(item.get("line")))


def _after(terminal: TerminalOutput, key: str, note: Fields) -> TerminalOutput:
    match key:
        case "terminal_output" | "terminal_output_delta":
            return terminal.model_copy(update={"output": terminal.output + clean_text(text(note.get("data")) or "")})
        case "terminal_exit":
            ended = {"exit_code": whole(note.get("exit_code")), "signal": text(note.get("signal"))}
            return terminal.model_copy(update=ended)
        case _:
            return terminal
