"""Checkpoints: what a worktree held at some moment, to go back to."""

from typing import Literal

from coder.model.changes import FileDifference
from coder.model.values import Time, Value

CheckpointKind = Literal["opened", "turn", "restore", "update"]
"""Made when the session opened, at a turn's end, before a restore, before the default branch was brought in."""


class Checkpoint(Value):
    """`tree` is git's tree of the worktree's files, without ignored ones. `seq` is the journal's newest number then."""

    id: str
    session_id: str
    task_id: str | None = None
    agent: str | None = None
    kind: CheckpointKind
    tree: str
    seq: int
    created_at: Time


class CheckpointDetail(Checkpoint):
    """With what a restore would change in the worktree as it is now, and whose conversations would go back too."""

    differences: tuple[FileDifference, ...]
    conversations: tuple[str, ...] = ()


class ConversationPoint(Value):
    """How far the conversation with an agent had come. Without an `agent_session_id` it had not begun.

    `before` is the agent's id of the first message that is not part of it; None where all of it is. `told` is the
    newest decision that the agent had heard of.
    """

    agent_session_id: str | None = None
    before: str | None = None
    told: int = 0
