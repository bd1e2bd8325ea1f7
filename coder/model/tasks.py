"""A task: a durable wish for one turn."""

from enum import StrEnum

from coder.model.values import Json, Time, Value


class TaskState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    BLOCKED = "blocked"


TRANSITIONS: dict[TaskState, frozenset[TaskState]] = {
    TaskState.PENDING: frozenset({TaskState.RUNNING, TaskState.CANCELLED, TaskState.FAILED, TaskState.BLOCKED}),
    TaskState.BLOCKED: frozenset({TaskState.PENDING, TaskState.CANCELLED, TaskState.FAILED}),
    TaskState.RUNNING: frozenset({TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED, TaskState.PENDING}),
    TaskState.COMPLETED: frozenset(),
    TaskState.FAILED: frozenset(),
    TaskState.CANCELLED: frozenset(),
}
"""Running goes back to pending only where the turn provably never started."""

ENDED = frozenset({TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED})


class Fault(Value):
    """Why something failed: a stable code and words for a person."""

    code: str
    message: str


class Usage(Value):
    """Tokens and cost of a turn or context; what is unknown is null, never 0."""

    context_used: int | None = None
    context_size: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None


class Attachment(Value):
    """A file or image sent along with a prompt: either base64 `data` or a `uri`."""

    name: str
    mime_type: str
    data: str | None = None
    uri: str | None = None


class Task(Value):
    id: str
    session_id: str
    parent_task_id: str | None = None
    agent: str
    model: str | None = None
    mode_id: str | None = None
    thinking_option_id: str | None = None
    feature_values: dict[str, Json] = {}
    attachments: tuple[Attachment, ...] = ()
    input: str
    state: TaskState
    error: Fault | None = None
    stop_reason: str | None = None
    output_summary: str | None = None
    usage: Usage | None = None
    attempt: int = 0
    place: float = 0.0
    """Waiting tasks of a session have their turns in this order."""
    cancel_requested: bool = False
    created_at: Time
    started_at: Time | None = None
    ended_at: Time | None = None
