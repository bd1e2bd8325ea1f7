"""A tool call as a viewer sees it, whatever wire it came from."""

from typing import Literal

from coder.model.values import Json, Value

ToolKind = Literal["read", "edit", "delete", "move", "search", "execute", "think", "fetch", "other"]
ToolStatus = Literal["pending", "running", "completed", "failed"]


class ToolDiff(Value):
    """What the agent says it changes; shown, never trusted."""

    path: str
    old_text: str | None = None
    new_text: str


class ToolLocation(Value):
    path: str
    line: int | None = None


class ContentBlock(Value):
    """One block of a tool call's content. `text` for text; other kinds keep what they are in `raw`."""

    kind: Literal["text", "image", "audio", "resource_link", "resource", "unknown"]
    text: str | None = None
    mime_type: str | None = None
    uri: str | None = None
    data: str | None = None
    raw: Json = None


class TerminalOutput(Value):
    terminal_id: str
    output: str
    truncated: bool = False
    exit_code: int | None = None
    signal: str | None = None


class ToolCall(Value):
    """The whole call after the update at hand, not the difference.

    `sub_agent` is the kind of sub-agent that the call puts to work; `parent_id` names that call in those which the
    sub-agent makes. Both as far as the agent tells.
    """

    id: str
    title: str
    name: str | None = None
    kind: ToolKind = "other"
    status: ToolStatus = "pending"
    input: Json = None
    output: Json = None
    content: tuple[ContentBlock, ...] = ()
    diffs: tuple[ToolDiff, ...] = ()
    locations: tuple[ToolLocation, ...] = ()
    terminals: tuple[TerminalOutput, ...] = ()
    sub_agent: str | None = None
    parent_id: str | None = None
