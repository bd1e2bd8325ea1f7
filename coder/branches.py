"""Git out: a session's work as commits on its branch, as a patch, and brought up to date with the default branch."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from coder.changes import Changes
from coder.checkpoints import keep_checkpoint
from coder.errors import Conflict, InvalidInput
from coder.failpoints import failpoint
from coder.journal import Commit, Journal
from coder.model.branches import BranchCommit, BranchStatus, BranchUpdate, CommitWhat
from coder.model.changes import USER, Change, ChangeStatus, FileDifference
from coder.model.decisions import BranchMove, Decision, Pick
from coder.model.events import ChangeDecided, SessionUpdated
from coder.model.tasks import Fault, Task, TaskState
from coder.plans import End, Plans, new_decision
from coder.protocol import BranchIncoming, NewTask
from coder.store import changes, sessions, tasks
from coder.store.database import Store
from coder.targets import Targets, agents_of, committed_before
from coder.workspaces import Workspace, Workspaces
from coder.worktrees import tree
from coder.worktrees.branch import Tip, find_commit, read_author, read_tip
from coder.worktrees.conversion import committed_tree, raw_tree
from coder.worktrees.incoming import Brought, count_apart, is_ancestor, merge_base, merge_in, rebase_onto
from coder.worktrees.merge import Merged, clean_merge, conflict_of, merge_trees, settled
from coder.worktrees.moves import Move
from coder.worktrees.names import shown_name
from coder.worktrees.patch import patch_between
from coder.worktrees.shadow import Shadow

logger = logging.getLogger(__name__)

Submit = Callable[[NewTask], Awaitable[Task]]


@dataclass(frozen=True)
class Roster:
    """What is asked of agents: whether one can be prompted, and the prompt itself."""

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
    """What a commit is to hold: its tree, the base afterwards, and the rows it is about.

    Where it is everything, `found` is what differs from the base now and no more then; None where pending rows stay.
    """

    content: str
    base: str
    found: Sequence[FileDifference] | None
    pending: Sequence[Change]
    applied: Sequence[Change]

    @property
    def rows(self) -> Sequence[Change]:
        return [*self.pending, *self.applied]


class Branches:
    """What leaves a session by git, and what comes in."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        workspaces: Workspaces,
        plans: Plans,
        targets: Targets,
        changes: Changes,
        roster: Roster,
    ) -> None:
        self._store = store
        self._journal = journal
        self._workspaces = workspaces
        self._plans = plans
        self._targets = targets
        self._changes = changes
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

        All of it applies what is pending. What an agent has committed there itself stays and counts as committed, also
        where that is more than what was applied, or later than it and as the worktree has it now.

        Raises:
            Conflict: `nothing_to_commit`; `turn_running`, for all; as `read_tip`, `write_commit` and `move_branch`.
            MergeConflict: the branch has moved on in the same places as what was applied.
        """
        async with self._plans.hold(session_id) as held:
            if what == "all":
                await self._refuse_while_running(session_id)
            tip, standing = await read_tip(held.shadow, held.worktree.branch), await self._standing(held)
            goal = await self._goal(held, tip, standing, what)
            files = await tree.differences(held.shadow, tip.raw, goal.content)
            if not files and not goal.found and goal.base == standing.committed:
                raise Conflict("there is nothing to commit", code="nothing_to_commit")
            picks = [Pick(change_id=change.id) for change in goal.rows]
            decision = new_decision("apply", session_id, picks, by, reason, "branch")
            step: BranchMove | None = None
            # without files it is there already: an agent committed it
            if files:
                step = await self._targets.new_commit(held, tip, goal.content, message, goal.rows)
            commit = step.new if step else tip.commit
            async with self._plans.written(held, decision, held.worktree.worktree_path, (), step) as end:
                decided = await self._note(held, goal, decision, commit, end)
        return BranchCommit(
            session_id=session_id,
            branch=tip.branch,
            commit=commit,
            parent=tip.commit,
            files=len(files),
            agents=agents_of(goal.rows),
            changes=tuple(change.id for change in decided),
        )

    async def update(self, session_id: str, wish: BranchIncoming, by: str) -> BranchUpdate:
        """Bring the project's local default branch into the session: its branch, its base and its worktree.

        Everything is computed before anything is written. What clashes is refused, or written into the worktree with
        markers for the agent, with the default branch's side on the session's branch. A checkpoint keeps what was
        there.

        Raises:
            Conflict: `turn_running`, `no_default_branch`, `default_branch_missing`, `unrelated_histories`,
                `identity_missing`; as `read_tip` and `move_branch`. MergeConflict: both sides changed the same.
            InvalidInput: conflicts are for an agent that is not named. AgentUnavailable: it cannot be prompted.
        """
        if wish.on_conflict == "agent":
            if wish.agent is None:
                raise InvalidInput("say which agent is to resolve conflicts", code="agent_missing")
            self._roster.require_usable(wish.agent)
        async with self._plans.hold(session_id) as held:
            await self._refuse_while_running(session_id)
            done = await self._update(held, wish, by)
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
        return _Standing(await committed_before(held), held.worktree.base_tree, await tree.snapshot(held.shadow))

    async def _goal(self, held: Workspace, tip: Tip, standing: _Standing, what: CommitWhat) -> _Goal:
        shadow = held.shadow
        paths = await _paths_between(shadow, standing.committed, standing.base)
        async with self._store.connection() as connection:
            pending = await changes.pending(connection, held.session_id)
            applied = await changes.applied_without_commit(connection, held.session_id)
        noted = [change for change in applied if change.file_path in paths]
        if what == "applied":
            own = {change.file_path for change in noted} - await _paths_between(shadow, tip.raw, standing.content)
            content = await clean_merge(shadow, standing.committed, tip.raw, standing.base, settled_paths=own)
            return _Goal(content, standing.base, None, (), noted)
        found = await tree.differences(shadow, standing.base, standing.content)
        return _Goal(standing.content, standing.content, found, pending, noted)

    async def _note(self, held: Workspace, goal: _Goal, decision: Decision, commit: str, end: End) -> Sequence[Change]:
        """Store that the commit holds it: the pending rows as they were found, and what had been applied before."""
        session_id = held.session_id
        decided: Sequence[Change] = ()
        async with self._journal.commit(session_id) as record:
            await end(record)
            noted = await changes.note_commit(
                record.connection, session_id, [change.id for change in goal.applied], commit
            )
            if goal.found is not None:
                await self._changes.record(record, session_id, goal.found, agent=USER)
                decided = await changes.apply_by_commit(
                    record.connection,
                    session_id,
                    [change.id for change in await changes.pending(record.connection, session_id)],
                    by=decision.by,
                    reason=decision.reason,
                    commit=commit,
                    decision_id=decision.id,
                )
            for change in [*noted, *decided]:
                record.append(ChangeDecided(change=change), agent=change.agent, task_id=change.task_id)
            new = None if goal.found is None else goal.content
            await self._changes.move_trees(record, held, base=goal.base, new=new, committed=goal.base)
            failpoint("decision.recorded")
        return decided

    async def _update(self, held: Workspace, wish: BranchIncoming, by: str) -> BranchUpdate:
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
        step: BranchMove | None = None
        if brought.commit != tip.commit:
            step = BranchMove(branch=tip.branch, old=tip.commit, new=brought.commit)
        files = await self._write(held, new_decision("update", held.session_id, (), by), step, incoming, before, after)
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
        self,
        held: Workspace,
        decision: Decision,
        step: BranchMove | None,
        incoming: str,
        before: _Standing,
        after: _Standing,
    ) -> int:
        """Files, branch and rows, all of them or none; how many files."""
        shadow, session_id = held.shadow, held.session_id
        written = await tree.differences(shadow, before.content, after.content)
        moves = [Move.forward(each) for each in written]
        by_hand = await tree.differences(shadow, before.base, before.content)
        async with self._plans.written(held, decision, held.worktree.worktree_path, moves, step) as end:
            taken = await tree.take_snapshot(shadow)
            found = await tree.differences(shadow, after.base, taken.tree)
            async with self._journal.commit(session_id) as record:
                await end(record)
                await keep_checkpoint(record, session_id, "update", before.content)
                await self._changes.record(record, session_id, by_hand, agent=USER)
                await self._remeasure(record, session_id, found)
                await self._changes.move_trees(
                    record,
                    held,
                    base=after.base,
                    new=taken.tree,
                    committed=after.committed,
                    base_commit=incoming,
                )
                record.append(SessionUpdated(session=await sessions.get(record.connection, session_id)))
                failpoint("decision.recorded")
        return len(written)

    async def _remeasure(self, record: Commit, session_id: str, found: Sequence[FileDifference]) -> None:
        """The same changes against another base: they keep ids and agents; what nobody has made yet is the user's."""
        pending = {change.file_path: change for change in await changes.pending(record.connection, session_id)}
        earlier = {each.file_path: pending.get(each.old_path or "") for each in found}
        await self._changes.record(
            record,
            session_id,
            found,
            agent=USER,
            agents={path: change.agent for path, change in {**earlier, **pending}.items() if change is not None},
            narrowed={each.file_path: each.new_blob for each in found},
        )

    async def _refuse_while_running(self, session_id: str) -> None:
        async with self._store.connection() as connection:
            running = await tasks.list_page(connection, session_id=session_id, states={TaskState.RUNNING}, limit=1)
        if running.items:
            raise Conflict("a turn is running in this session; wait for its end", code="turn_running")


async def _paths_between(shadow: Shadow, one: str, other: str) -> set[str]:
    return {path for each in await tree.differences(shadow, one, other) for path in each.paths}


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
