"""Where a decision is carried out: in the project's checkout, or as a commit on the session's branch."""

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from coder.model.changes import USER, Change
from coder.model.decisions import BranchMove, Decision
from coder.plans import End, Plans
from coder.workspaces import Workspace, Workspaces
from coder.worktrees.branch import Tip, co_author, read_tip, write_commit
from coder.worktrees.conversion import raw_tree
from coder.worktrees.merge import clean_merge, merge_trees, settled
from coder.worktrees.moves import Move

Label = Callable[[str], str]
"""What an agent is called."""


@dataclass(frozen=True)
class Landing:
    """`end` marks the decision as done.

    Where it is on the branch, `commit` has it, and `committed` is as much of the session's base as is there then.
    """

    end: End
    commit: str | None = None
    committed: str | None = None


class Targets:
    """Carries moves out where a decision's target says, all of them or none, also through a crash."""

    def __init__(self, workspaces: Workspaces, plans: Plans, label: Label) -> None:
        self._workspaces = workspaces
        self._plans = plans
        self._label = label

    @asynccontextmanager
    async def carried_out(
        self, held: Workspace, decision: Decision, rows: Sequence[Change], moves: Sequence[Move], base: str
    ) -> AsyncGenerator[Landing]:
        """The moves made; taken back unless the landing's `end` is awaited in a commit inside.

        `rows` are the changes that the moves are about, `base` is the session's base with the moves in it.

        Raises:
            MergeConflict: checkout or branch have moved on in the same places; nothing was written.
            Conflict: as `read_tip`, `write_commit` and `move_branch`.
        """
        if decision.target == "checkout":
            async with self._workspaces.hold_checkout(held) as checkout:
                async with self._plans.written(held, decision, checkout, moves) as end:
                    yield Landing(end)
            return
        tip = await read_tip(held.shadow, held.worktree.branch)
        content = await clean_merge(held.shadow, held.worktree.base_tree, tip.raw, base)
        committed = await self._committed(held, base)
        step: BranchMove | None = None
        # without a difference it is there already: somebody committed it there
        if content != tip.raw:
            step = await self.new_commit(held, tip, content, _message(decision, rows), rows)
        async with self._plans.written(held, decision, held.worktree.worktree_path, (), step) as end:
            yield Landing(end, step.new if step else tip.commit, committed)

    async def new_commit(
        self, held: Workspace, tip: Tip, content: str, message: str, rows: Iterable[Change]
    ) -> BranchMove:
        """A commit by the person, with the agents of the rows, that the branch has yet to be moved to.

        Raises:
            Conflict: `identity_missing`.
        """
        trailers = [co_author(agent, self._label(agent)) for agent in agents_of(rows)]
        commit = await write_commit(held.shadow, tip, content, message, trailers)
        return BranchMove(branch=tip.branch, old=tip.commit, new=commit)

    async def _committed(self, held: Workspace, base: str) -> str:
        """What of the base is on the branch after the moves; where the two are too far apart, no more than was."""
        before = await committed_before(held)
        merged = await merge_trees(held.shadow, held.worktree.base_tree, before, base)
        return await settled(held.shadow, merged, for_ours=True)


async def committed_before(held: Workspace) -> str:
    """As much of the session's base as is on its branch."""
    return held.worktree.committed_tree or await raw_tree(held.shadow, held.worktree.base_commit)


def agents_of(rows: Iterable[Change]) -> tuple[str, ...]:
    """Every agent whose work is in the changes."""
    found = {name: None for change in rows for name in (change.agent, *change.contributors)}
    return tuple(name for name in found if name != USER)


def _message(decision: Decision, rows: Sequence[Change]) -> str:
    verb = decision.verb.capitalize()
    paths = {change.file_path for change in rows}
    names = sorted(path if path.isprintable() else ascii(path) for path in paths)
    if len(names) == 1:
        subject = f"{verb} a change of {names[0]}"
    else:
        subject = f"{verb} changes of {len(names)} files\n\n" + "\n".join(f"- {name}" for name in names)
    return f"{subject}\n\n{decision.reason}" if decision.reason else subject
