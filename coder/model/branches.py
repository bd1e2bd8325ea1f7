"""A session's branch beside the project's default branch."""

from typing import Literal

from coder.model.tasks import Fault, Task
from coder.model.values import Value

UpdateHow = Literal["merge", "rebase"]
OnConflict = Literal["abort", "agent"]
CommitWhat = Literal["applied", "all"]


class BranchStatus(Value):
    """Where the session's branch stands. `problem` says why nothing can be done with it; what is not known is null.

    `default_branch` is the project's own, as it is in the local repository; `ahead` and `behind` count commits against
    it. `uncommitted` counts files that differ from the branch, `applied` those that were applied to the checkout and
    are not on the branch.
    """

    session_id: str
    branch: str
    head: str | None = None
    default_branch: str | None = None
    default_head: str | None = None
    merge_base: str | None = None
    ahead: int | None = None
    behind: int | None = None
    uncommitted: int | None = None
    applied: int | None = None
    problem: Fault | None = None


class BranchCommit(Value):
    """A commit on the session's branch. `agents` are named in it beside the user; `changes` were applied by it."""

    session_id: str
    branch: str
    commit: str
    parent: str
    files: int
    agents: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()


class BranchUpdate(Value):
    """How the default branch was brought in. `conflicts` are the files that hold markers, `task` is to resolve them."""

    session_id: str
    outcome: Literal["up_to_date", "fast_forward", "merged", "rebased"]
    head: str
    incoming: str
    files: int = 0
    conflicts: tuple[str, ...] = ()
    task: Task | None = None
