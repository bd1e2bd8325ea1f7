"""Tool parts of the server's messages as tool calls."""

import re

from coder.backends.wire import Fields, fields, objects, text, whole
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

_KINDS: dict[str, ToolKind] = {
    "read": "read",
    "list": "search",
    "glob": "search",
    "grep": "search",
    "codesearch": "search",
    "edit": "edit",
    "multiedit": "edit",
    "write": "edit",
    "patch": "edit",
    "apply_patch": "edit",
    "bash": "execute",
    "webfetch": "fetch",
    "websearch": "fetch",
    "todowrite": "think",
    "todoread": "think",
}
_STATUSES: dict[str, ToolStatus] = {"pending": "pending", "running": "running", "completed": "completed"}
_SUBJECTS = ("filePath", "path", "command", "pattern", "url", "query", "description", "name")
_DATA_URL = re.compile(r"data:([^;,]*);base64,(.*)", re.DOTALL)


def tool_call(id: str, part: Fields, inner: tuple[str, ...], parent_id: str | None) -> ToolCall:
    """The call that a part shows; `inner` is what a sub-agent working for it has said; `parent_id`: who makes it."""
    state, tool = fields(part.get("state")), text(part.get("tool")) or "tool"
    given, told = fields(state.get("input")), fields(state.get("metadata"))
    status = _status(tool, state, told)
    words = text(state.get("error")) or text(given.get("error") if tool == "invalid" else None)
    blocks = [ContentBlock(kind="text", text=said) for said in (*inner, *([words] if words else []))]
    return ToolCall(
        id=id,
        title=text(state.get("title")) or _title(tool, given),
        name=tool,
        kind=_KINDS.get(tool, "other"),
        status=status,
        input=dict(given) or None,
        output=text(state.get("output")) or words,
        content=(*blocks, *_attachments(state)),
        diffs=_diffs(tool, given),
        locations=_locations(given, told),
        terminals=_terminals(id, tool, state, told),
        sub_agent=text(given.get("subagent_type")),
        parent_id=parent_id,
    )


def asked_call(id: str, title: str, kind: str, about: Fields, parent_id: str | None) -> ToolCall:
    """The call for a request that names none the server has shown."""
    path = text(about.get("filepath"))
    return ToolCall(
        id=id,
        title=title,
        name=kind,
        kind=_KINDS.get(kind, "other"),
        input=dict(about) or None,
        locations=(ToolLocation(path=path),) if path else (),
        parent_id=parent_id,
    )


def _status(tool: str, state: Fields, told: Fields) -> ToolStatus:
    status = _STATUSES.get(text(state.get("status")) or "", "failed")
    if status != "completed":
        return status
    # a command that failed, or was ended by an abort, is told as completed; so is a call of a tool there is not
    is_broken = tool == "invalid" or ("exit" in told and told.get("exit") != 0)
    return "failed" if is_broken else "completed"


def _title(tool: str, given: Fields) -> str:
    subject = next((found for name in _SUBJECTS if (found := text(given.get(name)))), None)
    return f"{tool} {subject}"[:200] if subject else tool


def _diffs(tool: str, given: Fields) -> tuple[ToolDiff, ...]:
    path = text(given.get("filePath"))
    new = text(given.get("content" if tool == "write" else "newString"))
    if path is None or new is None:
        return ()
    return (ToolDiff(path=path, old_text=text(given.get("oldString")), new_text=new),)


def _locations(given: Fields, told: Fields) -> tuple[ToolLocation, ...]:
    path = text(told.get("filepath")) or text(given.get("filePath"))
    return (ToolLocation(path=path, line=whole(given.get("offset"))),) if path else ()


def _terminals(id: str, tool: str, state: Fields, told: Fields) -> tuple[TerminalOutput, ...]:
    output = text(told.get("output"))
    if tool != "bash" or output is None:
        return ()
    return (TerminalOutput(terminal_id=id, output=output, exit_code=whole(told.get("exit"))),)


def _attachments(state: Fields) -> tuple[ContentBlock, ...]:
    return tuple(_attachment(item, url) for item in objects(state.get("attachments")) if (url := text(item.get("url"))))


def _attachment(item: Fields, url: str) -> ContentBlock:
    mime_type: Json = item.get("mime")
    if found := _DATA_URL.fullmatch(url):
        kind = "image" if found[1].startswith("image/") else "resource"
        return ContentBlock(kind=kind, mime_type=found[1], data=found[2])
    return ContentBlock(kind="resource_link", mime_type=text(mime_type), uri=url)
