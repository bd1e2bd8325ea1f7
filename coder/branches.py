"""Git out: a session's work as commits on its branch, as a patch, and brought up to date with the default branch."""

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from coder.errors import Conflict, InvalidInput
from coder.journal import Commit, Journal
from coder.model.branches import BranchCommit, BranchStatus, BranchUpdate, CommitWhat
from coder.model.changes import USER, Change, ChangeStatus, FileDifference
from coder.model.decisions import BranchMove
from coder.model.events import ChangeDecided, ChangeRecorded, SessionUpdated
from coder.model.tasks import Fault, Task, TaskState
from coder.model.values import new_id, now
from coder.protocol import BranchIncoming, NewTask
from coder.store import changes, session_worktrees, sessions, tasks
from coder.store.database import Store
from coder.workspaces import Workspace, Workspaces
from coder.worktrees import tree
from coder.worktrees.branch import Tip, co_author, commit_tree, find_commit, move_branch, read_author, read_tip
from coder.worktrees.checkout import take_back, write_back
from coder.worktrees.conversion import committed_tree, raw_tree
from coder.worktrees.incoming import Brought, count_apart, is_ancestor, merge_base, merge_in, rebase_onto
from coder.worktrees.merge import Merged, clean_merge, conflict_of, merge_trees, settled
from coder.worktrees.moves import Move
from coder.worktrees.names import shown_name
from coder.worktrees.patch import patch_between

logger = logging.getLogger(__name__)

Submit = Callable[[NewTask], Awaitable[Task]]


@dataclass(frozen=True)
class Roster:
    """What is asked about agents: what one is called, whether it can be prompted, and the prompt itself."""

    label: Callable[[str], str]
    require_usable: Callable[[str], object]
    submit: Submit


@dataclass(frozen=True)
class _Standing:
    """Trees of a session: `committed` of the base is on the branch, `base` is decided, `content` is in the worktree."""

    committed: str
    base: str
    content: str


@dataclass(frozen=True)
class _Goal:
    """What a commit is to hold: its tree, the base afterwards, what then differs no more, and the rows it is about."""

    content: str
    base: str
    found: Sequence[FileDifference]
    pending: Sequence[Change]
    applied: Sequence[Change]


class Branches:
    """What leaves a session by git, and what comes in."""

    def __init__(self, store: Store, journal: Journal, workspaces: Workspaces, roster: Roster) -> None:
        self._store = store
        self._journal = journal
        self._workspaces = workspaces
        self._roster = roster

    async def status(self, session_id: str) -> BranchStatus:
        """Where the session's branch stands beside the default branch. Raises NotFound."""
        held = await self._workspaces.look(session_id)
        shadow, worktree, default = held.shadow, held.worktree, held.project.default_branch
        try:
            tip, problem = await read_tip(shadow, worktree.branch), None
        except Conflict as error:
            tip, problem = None, Fault(code=error.stable_code, message=str(error))
        head = tip.commit if tip else await find_commit(shadow, f"refs/heads/{worktree.branch}")
        incoming = await find_commit(shadow, f"refs/heads/{default}") if default else None
        status = BranchStatus(
            session_id=session_id,
            branch=worktree.branch,
            head=head,
            default_branch=default,
            default_head=incoming,
            problem=problem,
        )
        if head and incoming:
            ahead, behind = await count_apart(shadow, head, incoming)
            base = await merge_base(shadow, head, incoming)
            status = status.model_copy(update={"ahead": ahead, "behind": behind, "merge_base": base})
        if tip is None:
            return status
        standing = await self._standing(held)
        uncommitted = await tree.differences(shadow, tip.raw, standing.content)
        applied = await tree.differences(shadow, standing.committed, standing.base)
        return status.model_copy(update={"uncommitted": len(uncommitted), "applied": len(applied)})

    async def commit(
        self, session_id: str, message: str, what: CommitWhat, by: str, reason: str | None = None
    ) -> BranchCommit:
        """Commit on the session's branch what was applied to the checkout, or all that the worktree holds.

        All of it applies what is pending. What an agent has committed there itself stays and counts as committed.

        Raises:
            Conflict: `nothing_to_commit`; `turn_running`, for all; as `read_tip` and `commit_tree`.
            MergeConflict: the branch has moved on in the same places as what was applied.
        """
        async with self._workspaces.hold(session_id) as held:
            if what == "all":
                await self._refuse_while_running(session_id)
            tip, standing = await read_tip(held.shadow, held.worktree.branch), await self._standing(held)
            goal = await self._goal(held, tip, standing, what)
            agents = _agents_of([*goal.pending, *goal.applied])
            files = await tree.differences(held.shadow, tip.raw, goal.content)
            if not files and not goal.found and goal.base == standing.committed:
                raise Conflict("there is nothing to commit", code="nothing_to_commit")
            commit = tip.commit
            # without files it is there already: an agent committed it, or a host that was killed before it noted it
            if files:
                trailers = [co_author(agent, self._roster.label(agent)) for agent in agents]
                commit = await commit_tree(held.shadow, tip, goal.content, message, trailers)
            decided = await self._note(held, goal, commit, by, reason)
        return BranchCommit(
            session_id=session_id,
            branch=tip.branch,
            commit=commit,
            parent=tip.commit,
            files=len(files),
            agents=agents,
            changes=tuple(change.id for change in decided),
        )

    async def update(self, session_id: str, wish: BranchIncoming) -> BranchUpdate:
        """Bring the project's local default branch into the session: its branch, its base and its worktree.

        Everything is computed before anything is written. What clashes is refused, or written into the worktree with
        markers for the agent, with the default branch's side on the session's branch.

        Raises:
            Conflict: `turn_running`, `no_default_branch`, `default_branch_missing`, `unrelated_histories`,
                `identity_missing`; as `read_tip` and `move_branch`. MergeConflict: both sides changed the same.
            InvalidInput: conflicts are for an agent that is not named. AgentUnavailable: it cannot be prompted.
        """
        if wish.on_conflict == "agent":
            if wish.agent is None:
                raise InvalidInput("say which agent is to resolve conflicts", code="agent_missing")
            self._roster.require_usable(wish.agent)
        async with self._workspaces.hold(session_id) as held:
            await self._refuse_while_running(session_id)
            done = await self._update(held, wish)
        if not done.conflicts or wish.agent is None:
            return done
        text = _conflict_prompt(done, held.project.default_branch or "", wish.how)
        task = await self._roster.submit(NewTask(session_id=session_id, agent=wish.agent, input=text))
        return done.model_copy(update={"task": task})

    async def patch(self, session_id: str, what: ChangeStatus | None) -> bytes:
        """A patch that `git apply` takes: from the commit the session starts from to the worktree, or to what was
        applied; pending ones alone lead from there to the worktree.

        Raises:
            NotFound. Conflict: `worktree_gone`, `repository_gone`.
        """
        held = await self._workspaces.look(session_id)
        shadow, commit = held.shadow, held.worktree.base_commit
        start = await raw_tree(shadow, commit)
        base = held.worktree.base_tree
        applied = await committed_tree(shadow, commit, base, await tree.differences(shadow, start, base))
        if what is ChangeStatus.APPLIED:
            return await patch_between(shadow, f"{commit}^{{tree}}", applied)
        content = await tree.snapshot(shadow)
        whole = await committed_tree(shadow, commit, content, await tree.differences(shadow, start, content))
        return await patch_between(shadow, applied if what is ChangeStatus.PENDING else f"{commit}^{{tree}}", whole)

    async def _standing(self, held: Workspace) -> _Standing:
        worktree = held.worktree
        committed = worktree.committed_tree or await raw_tree(held.shadow, worktree.base_commit)
        return _Standing(committed, worktree.base_tree, await tree.snapshot(held.shadow))

    async def _goal(self, held: Workspace, tip: Tip, standing: _Standing, what: CommitWhat) -> _Goal:
        shadow = held.shadow
        committed = await tree.differences(shadow, standing.committed, standing.base)
        paths = {path for each in committed for path in (each.file_path, each.old_path)}
        async with self._store.connection() as connection:
            pending = await changes.pending(connection, held.session_id)
            applied = await changes.applied_without_commit(connection, held.session_id)
        noted = [change for change in applied if change.file_path in paths]
        if what == "applied":
            content = await clean_merge(shadow, standing.committed, tip.raw, standing.base)
            return _Goal(content, standing.base, (), (), noted)
        found = await tree.differences(shadow, standing.base, standing.content)
        return _Goal(standing.content, standing.content, found, pending, noted)

    async def _note(self, held: Workspace, goal: _Goal, commit: str, by: str, reason: str | None) -> Sequence[Change]:
        """Store that the commit holds it: the pending rows as they were found, and what had been applied before."""
        session_id = held.session_id
        async with self._journal.commit(session_id) as record:
            rows = [change.id for change in await _record(record, session_id, goal.found, goal.pending)]
            noted = await changes.note_commit(
                record.connection, session_id, [change.id for change in goal.applied], commit
            )
            decided = await changes.apply_by_commit(
                record.connection, session_id, rows, by=by, reason=reason, commit=commit
            )
            for change in [*noted, *decided]:
                record.append(ChangeDecided(change=change), agent=change.agent, task_id=change.task_id)
            await session_worktrees.move_trees(
                record.connection, session_id, expected=held.worktree.base_tree, base=goal.base, committed=goal.base
            )
        return decided

    async def _update(self, held: Workspace, wish: BranchIncoming) -> BranchUpdate:
        shadow, worktree = held.shadow, held.worktree
        incoming = await self._incoming(held)
        tip = await read_tip(shadow, worktree.branch)
        if await merge_base(shadow, tip.commit, incoming) is None:
            raise Conflict("the branch and the default branch have no commit in common", code="unrelated_histories")
        is_known = await is_ancestor(shadow, incoming, worktree.base_commit)
        if is_known and await is_ancestor(shadow, incoming, tip.commit):
            return BranchUpdate(session_id=held.session_id, outcome="up_to_date", head=tip.commit, incoming=incoming)
        author = await read_author(shadow.repo)
        if wish.how == "rebase":
            brought = await rebase_onto(shadow, tip, incoming, author)
        else:
            title = f"Merge branch '{held.project.default_branch}' into {worktree.branch}"
            brought = await merge_in(shadow, tip, incoming, author, title)
        before = await self._standing(held)
        after, clashed = await self._merged(held, tip, incoming, brought, before)
        if wish.on_conflict == "abort" and (clashed or brought.clashed):
            merged = _joined([*brought.clashed, *clashed])
            raise await conflict_of(shadow, merged, what=f"{worktree.branch} and {held.project.default_branch}")
        files = await self._write(held, tip, brought, incoming, before, after)
        names = sorted({shown_name(clash.path) for merged in clashed for clash in merged.clashes})
        return BranchUpdate(
            session_id=held.session_id,
            outcome=brought.outcome,
            head=brought.commit,
            incoming=incoming,
            files=files,
            conflicts=tuple(names),
        )

    async def _incoming(self, held: Workspace) -> str:
        default = held.project.default_branch
        if default is None:
            raise Conflict("the project has no default branch: its HEAD was detached", code="no_default_branch")
        incoming = await find_commit(held.shadow, f"refs/heads/{default}")
        if incoming is None:
            raise Conflict(f"the default branch {default} is gone", code="default_branch_missing", branch=default)
        return incoming

    async def _merged(
        self, held: Workspace, tip: Tip, incoming: str, brought: Brought, before: _Standing
    ) -> tuple[_Standing, Sequence[Merged]]:
        """The session's trees with what came in, and what clashes in the worktree.

        What was applied is the person's already: where the default branch differs from it, the person has changed it
        since and the default branch is right. What is pending is measured against that.
        """
        shadow = held.shadow
        start = await merge_base(shadow, held.worktree.base_commit, incoming) or held.worktree.base_commit
        theirs = await raw_tree(shadow, incoming)
        if brought.outcome == "up_to_date":
            # somebody merged it into the branch by hand
            origin = await raw_tree(shadow, start)
            committed = await settled(shadow, await merge_trees(shadow, origin, before.committed, theirs))
        else:
            tree_after = await raw_tree(shadow, brought.commit)
            committed = await settled(shadow, await merge_trees(shadow, tip.raw, before.committed, tree_after))
        base = await settled(shadow, await merge_trees(shadow, before.committed, before.base, committed))
        if brought.clashed:
            apart = await merge_base(shadow, tip.commit, incoming) or start
            content = await merge_trees(shadow, await raw_tree(shadow, apart), before.content, theirs)
        else:
            content = await merge_trees(shadow, before.base, before.content, base)
        return _Standing(committed, base, content.tree), [content] if content.clashes else []

    async def _write(
        self, held: Workspace, tip: Tip, brought: Brought, incoming: str, before: _Standing, after: _Standing
    ) -> int:
        """Files first, then the branch, then the rows; a branch that cannot be moved takes the files back."""
        shadow, session_id = held.shadow, held.session_id
        written = await tree.differences(shadow, before.content, after.content)
        plan = await write_back(shadow, shadow.worktree, [Move.forward(each) for each in written])
        try:
            if brought.commit != tip.commit:
                await move_branch(shadow, BranchMove(branch=tip.branch, old=tip.commit, new=brought.commit))
        except Conflict:
            if plan is not None:
                await take_back(shadow, plan)
            raise
        found = await tree.differences(shadow, after.base, after.content)
        async with self._journal.commit(session_id) as record:
            pending = await changes.pending(record.connection, session_id)
            await _record(record, session_id, found, pending)
            await session_worktrees.move_trees(
                record.connection,
                session_id,
                expected=held.worktree.base_tree,
                base=after.base,
                committed=after.committed,
                last=after.content,
                base_commit=incoming,
            )
            record.append(SessionUpdated(session=await sessions.get(record.connection, session_id)))
        return len(written)

    async def _refuse_while_running(self, session_id: str) -> None:
        async with self._store.connection() as connection:
            running = await tasks.list_page(connection, session_id=session_id, states={TaskState.RUNNING}, limit=1)
        if running.items:
            raise Conflict("a turn is running in this session; wait for its end", code="turn_running")


async def _record(
    record: Commit, session_id: str, found: Sequence[FileDifference], pending: Sequence[Change]
) -> Sequence[Change]:
    """Make the pending rows equal to what was found; a file keeps those who worked on it, the rest is the user's."""
    fresh = {each.file_path: each for each in found}
    kept = [change for change in pending if _is_same(change, fresh.get(change.file_path))]
    stale = {change.file_path: change for change in pending if change not in kept}
    for change in await changes.supersede(record.connection, session_id, stale):
        record.append(ChangeDecided(change=change), agent=change.agent, task_id=change.task_id)
    known = {change.file_path for change in kept}
    added = [_row(session_id, each, stale) for path, each in fresh.items() if path not in known]
    await changes.insert_many(record.connection, added)
    for change in added:
        record.append(ChangeRecorded(change=change), agent=change.agent, task_id=change.task_id)
    return [*kept, *added]


def _row(session_id: str, difference: FileDifference, stale: Mapping[str, Change]) -> Change:
    earlier = stale.get(difference.file_path) or stale.get(difference.old_path or "")
    return Change(
        **dict(difference),
        id=new_id("chg"),
        session_id=session_id,
        task_id=earlier.task_id if earlier else None,
        agent=earlier.agent if earlier else USER,
        contributors=earlier.contributors if earlier else (),
        is_secret=earlier.is_secret if earlier else False,
        status=ChangeStatus.PENDING,
        created_at=now(),
    )


def _is_same(change: Change, difference: FileDifference | None) -> bool:
    return difference is not None and difference == FileDifference(
        **{name: getattr(change, name) for name in FileDifference.model_fields}
    )


def _agents_of(rows: Collection[Change]) -> tuple[str, ...]:
    found = {name: None for change in rows for name in (change.agent, *change.contributors)}
    return tuple(name for name in found if name != USER)


def _joined(merged: Sequence[Merged]) -> Merged:
    """Every file that clashes, once, with the first one's text."""
    seen = {clash.path: clash for each in reversed(merged) for clash in each.clashes}
    return Merged(merged[0].tree, list(seen.values()))


def _conflict_prompt(done: BranchUpdate, default: str, how: str) -> str:
    files = "\n".join(f"- {name}" for name in done.conflicts)
    return (
        f"The host has brought the branch {default} (commit {done.incoming[:12]}) into this worktree by a {how}. "
        f"These files changed on both sides:\n{files}\n\nResolve them: where a file holds conflict markers, "
        f"`<<<<<<< session` is this session's side and `>>>>>>> incoming` is that of {default}; a file without "
        "markers was deleted, moved or is binary on one side. Keep what both sides meant, remove every marker, and do "
        "not commit."
    )
