"""Decisions: what a person did with changes, who, when and why; and how far it has been carried out."""

from enum import StrEnum
from typing import Literal

from coder.model.changes import FileDifference, HunkChoice, Target
from coder.model.tasks import Fault
from coder.model.values import Time, Value

Verb = Literal["apply", "reject", "revert", "restore", "update"]
"""`restore` puts a checkpoint back, `update` brings the default branch in."""


class DecisionState(StrEnum):
    QUEUED = "queued"
    UNDERWAY = "underway"
    DONE = "done"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


DECISION_TRANSITIONS: dict[DecisionState, frozenset[DecisionState]] = {
    DecisionState.QUEUED: frozenset({DecisionState.UNDERWAY, DecisionState.REFUSED, DecisionState.WITHDRAWN}),
    DecisionState.UNDERWAY: frozenset({DecisionState.DONE, DecisionState.REFUSED, DecisionState.QUEUED}),
    DecisionState.DONE: frozenset(),
    DecisionState.REFUSED: frozenset(),
    DecisionState.WITHDRAWN: frozenset(),
}
"""Underway goes back to queued where a queued decision was cut off and taken back."""


class Pick(Value):
    """A change, whole or some hunks of it. `part` is the difference that this means, fixed when it was decided."""

    change_id: str
    hunks: tuple[HunkChoice, ...] | None = None
    part: FileDifference | None = None


class Decision(Value):
    """One request of a person about one or more changes of a session, carried out whole or not at all."""

    id: str
    session_id: str
    verb: Verb
    target: Target = "checkout"
    picks: tuple[Pick, ...]
    by: str
    reason: str | None = None
    checkpoint_id: str | None = None
    """What was restored."""
    state: DecisionState
    error: Fault | None = None
    created_at: Time
    ended_at: Time | None = None

    @property
    def was_queued(self) -> bool:
        return any(pick.part is not None for pick in self.picks)


class FileSide(Value):
    """A file as it is, or shall be, at a path: git's mode and blob, and the permissions found there."""

    mode: str
    blob: str
    permissions: int | None = None


class PlannedWrite(Value):
    """What happens at one path; None is no file."""

    path: str
    before: FileSide | None
    after: FileSide | None


class BranchMove(Value):
    """A branch of the repository that shall stand on the commit `new` instead of `old`."""

    branch: str
    old: str
    new: str

    @property
    def ref(self) -> str:
        return f"refs/heads/{self.branch}"

    @property
    def back(self) -> "BranchMove":
        return BranchMove(branch=self.branch, old=self.new, new=self.old)


class Plan(Value):
    """Everything a decision writes, kept before the first byte of it: files below `root`, then where a branch stands.

    `token` marks the temporary files.
    """

    root: str
    token: str
    writes: tuple[PlannedWrite, ...] = ()
    branch: BranchMove | None = None
