"""AgentEvent: something an agent or the host did in a session; with its number and origin it is a Record.

Types are snake_case tags; fields are only ever added.
"""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from coder.model.changes import Change
from coder.model.checkpoints import Checkpoint
from coder.model.comments import Comment
from coder.model.permissions import PermissionOutcome, PermissionRequest
from coder.model.providers import Command
from coder.model.sandboxes import SandboxKind
from coder.model.sessions import AgentStatus, Session
from coder.model.setups import Setup
from coder.model.tasks import Fault, Task, TaskState, Usage
from coder.model.tool_calls import ToolCall
from coder.model.values import Json, Time, Value


class Text(Value):
    type: Literal["text"] = "text"
    text: str
    message_id: str | None = None


class Reasoning(Value):
    type: Literal["reasoning"] = "reasoning"
    text: str
    message_id: str | None = None


class UserText(Value):
    type: Literal["user_text"] = "user_text"
    text: str


class ToolCallStarted(Value):
    """Once, at the first sight of an id."""

    type: Literal["tool_call"] = "tool_call"
    tool_call: ToolCall


class ToolCallUpdated(Value):
    """Every later change of a known id."""

    type: Literal["tool_update"] = "tool_update"
    tool_call: ToolCall


class PlanEntry(Value):
    content: str
    priority: Literal["high", "medium", "low"] = "medium"
    status: Literal["pending", "in_progress", "completed"] = "pending"


class Plan(Value):
    """The whole plan, each time."""

    type: Literal["plan"] = "plan"
    entries: tuple[PlanEntry, ...]


class Commands(Value):
    type: Literal["commands"] = "commands"
    commands: tuple[Command, ...]


class UsageReported(Usage):
    type: Literal["usage"] = "usage"


class ModeChanged(Value):
    type: Literal["mode"] = "mode"
    mode_id: str


class ModelChanged(Value):
    type: Literal["model"] = "model"
    model_id: str


class PermissionRequested(Value):
    type: Literal["permission_requested"] = "permission_requested"
    request: PermissionRequest


class PermissionResolved(Value):
    type: Literal["permission_resolved"] = "permission_resolved"
    request_id: str
    outcome: PermissionOutcome


class TurnStarted(Value):
    type: Literal["turn_started"] = "turn_started"
    task_id: str


class TurnEnded(Value):
    type: Literal["turn_ended"] = "turn_ended"
    task_id: str
    state: TaskState
    stop_reason: str | None = None
    error: Fault | None = None
    usage: Usage | None = None


class TaskQueued(Value):
    """A prompt was accepted and waits for its turn."""

    type: Literal["task_queued"] = "task_queued"
    task: Task


class TaskUpdated(Value):
    """A waiting prompt was edited or given another place."""

    type: Literal["task_updated"] = "task_updated"
    task: Task


class ChangeRecorded(Value):
    """A change as it stands now: new, or a known one of which a part was decided or whose decision is queued."""

    type: Literal["change_recorded"] = "change_recorded"
    change: Change


class ChangeDecided(Value):
    type: Literal["change_decided"] = "change_decided"
    change: Change


class CheckpointRecorded(Value):
    """The worktree's files can be brought back to this point."""

    type: Literal["checkpoint_recorded"] = "checkpoint_recorded"
    checkpoint: Checkpoint


class SetupUpdated(Value):
    """The worktree's own setup as it stands now, with the end of its log."""

    type: Literal["setup_updated"] = "setup_updated"
    setup: Setup


class CommentUpdated(Value):
    """A thread as it stands now: new, said more in, moved with its line, sent, or settled."""

    type: Literal["comment_updated"] = "comment_updated"
    comment: Comment


class HostNote(Value):
    """What the host told the agent in front of the person's prompt."""

    type: Literal["host_note"] = "host_note"
    text: str


class AgentStatusChanged(Value):
    type: Literal["agent_status"] = "agent_status"
    agent: str
    status: AgentStatus
    message: str | None = None
    can_steer: bool | None = None
    """Whether the agent takes input while its turn runs; None where that is as it was."""
    sandbox: SandboxKind | None = None
    """What confines the agent; None where that is as it was."""


class SessionUpdated(Value):
    type: Literal["session_updated"] = "session_updated"
    session: Session


class Error(Value):
    type: Literal["error"] = "error"
    code: str
    message: str


class Unknown(Value):
    """Something the translator has no word for, kept whole."""

    type: Literal["unknown"] = "unknown"
    raw: Json


AgentEvent = Annotated[
    Text
    | Reasoning
    | UserText
    | ToolCallStarted
    | ToolCallUpdated
    | Plan
    | Commands
    | UsageReported
    | ModeChanged
    | ModelChanged
    | PermissionRequested
    | PermissionResolved
    | TurnStarted
    | TurnEnded
    | TaskQueued
    | TaskUpdated
    | ChangeRecorded
    | ChangeDecided
    | CheckpointRecorded
    | SetupUpdated
    | CommentUpdated
    | HostNote
    | AgentStatusChanged
    | SessionUpdated
    | Error
    | Unknown,
    Field(discriminator="type"),
]

mergeable: TypeAdapter[Text | Reasoning] = TypeAdapter(Annotated[Text | Reasoning, Field(discriminator="type")])
"""The events whose adjacent pieces say one text."""

agent_event: TypeAdapter[AgentEvent] = TypeAdapter(AgentEvent)


def _is_none(value: object) -> bool:
    return value is None


class Record(Value):
    """A numbered event. `seq` is contiguous from 1 per session.

    Adjacent pieces of one text may have become one record: then it covers `first_seq`..`seq`, and was said from `at`
    until `until`. Both are absent where it is one number.
    """

    seq: int
    first_seq: int | None = Field(default=None, exclude_if=_is_none)
    at: Time
    until: Time | None = Field(default=None, exclude_if=_is_none)
    agent: str | None
    task_id: str | None
    event: AgentEvent

    @property
    def begins(self) -> int:
        """The first number that it covers."""
        return self.seq if self.first_seq is None else self.first_seq
