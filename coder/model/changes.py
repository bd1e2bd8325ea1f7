"""Pending changes: one file's recorded difference awaiting a decision."""

from enum import StrEnum
from typing import Literal

from coder.model.comments import Side
from coder.model.values import Time, Value

Operation = Literal["create", "edit", "delete", "rename"]

USER = "user"
"""Whose a difference is that no agent's turn made."""

Target = Literal["checkout", "branch"]
"""Where a change is applied: the project's checkout, or a commit on the session's branch."""


class ChangeStatus(StrEnum):
    PENDING = "pending"
    APPLIED = "applied"
    REJECTED = "rejected"
    REVERTED = "reverted"
    SUPERSEDED = "superseded"


TRANSITIONS: dict[ChangeStatus, frozenset[ChangeStatus]] = {
    ChangeStatus.PENDING: frozenset({ChangeStatus.APPLIED, ChangeStatus.REJECTED, ChangeStatus.SUPERSEDED}),
    ChangeStatus.APPLIED: frozenset({ChangeStatus.REVERTED}),
    ChangeStatus.REJECTED: frozenset(),
    ChangeStatus.REVERTED: frozenset(),
    ChangeStatus.SUPERSEDED: frozenset(),
}


class FileDifference(Value):
    """One file between two trees. Blobs are git object ids, modes git's octal text; None where the side has no file."""

    file_path: str
    old_path: str | None = None
    """The path on the base side when the file was renamed."""
    operation: Operation
    base_blob: str | None
    new_blob: str | None
    base_mode: str | None
    new_mode: str | None
    is_binary: bool = False
    added_lines: int = 0
    deleted_lines: int = 0

    @property
    def sides(self) -> tuple[str | None, ...]:
        """What makes it this difference and no other."""
        return (self.file_path, self.old_path, self.base_blob, self.new_blob, self.base_mode, self.new_mode)

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.file_path,) if self.old_path is None else (self.file_path, self.old_path)


class HunkChoice(Value):
    """A hunk by its id; `lines` are numbers into its lines, from 0, None for all of them."""

    id: str
    lines: tuple[int, ...] | None = None


class QueuedDecision(Value):
    """What a person has decided while a turn runs; carried out at its end."""

    decision_id: str
    verb: Literal["reject"]
    by: str
    hunks: tuple[HunkChoice, ...] | None = None
    reason: str | None = None


class Change(FileDifference):
    """A pending change: a difference, who made it, and what was decided.

    `contributors` are those whose earlier work is in it too. `is_secret`: a file that is never applied by itself.
    `split_from` is the change of the same file that this decided part was taken from. `target` is where it was applied,
    `commit` the commit when that was the session's branch.
    """

    id: str
    session_id: str
    task_id: str | None
    agent: str
    status: ChangeStatus
    created_at: Time
    decided_at: Time | None = None
    decided_by: str | None = None
    reason: str | None = None
    contributors: tuple[str, ...] = ()
    is_secret: bool = False
    split_from: str | None = None
    target: Target | None = None
    commit: str | None = None
    decision_id: str | None = None
    queued: tuple[QueuedDecision, ...] = ()

    @property
    def authors(self) -> tuple[str, ...]:
        """Everybody whose work is in it, the first one first."""
        return tuple(dict.fromkeys((*self.contributors, self.agent)))


class Hunk(Value):
    """One hunk of a unified diff; `lines` keep their leading ' ', '+', '-' or '\\'."""

    id: str
    header: str
    lines: tuple[str, ...]


class ChangeLines(Value):
    """Some lines of one side of a change as they stand there; `first` is the number of the first one, counted from 1.

    `total` is how many lines the side has. `blob` is the side that was read: the change may have moved on since.
    """

    side: Side
    blob: str | None
    first: int
    lines: tuple[str, ...]
    total: int


class ChangeDetail(Change):
    """A change with its text; `diff` is git's unified diff, without hunks where `omitted` says why."""

    diff: str
    hunks: tuple[Hunk, ...]
    omitted: Literal["binary", "large"] | None = None
