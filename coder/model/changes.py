"""Pending changes: one file's recorded difference awaiting a decision."""

from enum import StrEnum
from typing import Literal

from coder.model.values import Time, Value

Operation = Literal["create", "edit", "delete", "rename"]


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


class Change(FileDifference):
    """A pending change: a difference, who made it, and what was decided."""

    id: str
    session_id: str
    task_id: str | None
    agent: str
    status: ChangeStatus
    created_at: Time
    decided_at: Time | None = None
    decided_by: str | None = None
    reason: str | None = None


class Hunk(Value):
    """One hunk of a unified diff; `lines` keep their leading ' ', '+', '-' or '\\'."""

    id: str
    header: str
    lines: tuple[str, ...]


class ChangeDetail(Change):
    """A change with its text; `diff` is git's unified diff, empty for a binary file."""

    diff: str
    hunks: tuple[Hunk, ...]
