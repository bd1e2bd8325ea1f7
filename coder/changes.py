"""Pending changes: record what a turn left behind, and carry out what a person decides about it."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from coder.errors import Conflict, InvalidInput, WrongState
from coder.journal import Commit, Journal
from coder.model.changes import Change, ChangeDetail, ChangeStatus, FileDifference
from coder.model.events import ChangeDecided, ChangeRecorded
from coder.model.tasks import TaskState
from coder.model.values import new_id, now
from coder.protocol import Page
from coder.store import changes, session_worktrees, sessions, tasks
from coder.store.database import Store
from coder.workspaces import Workspace, Workspaces
from coder.worktrees import tree
from coder.worktrees.checkout import write_back
from coder.worktrees.hunks import text_diff
from coder.worktrees.moves import Move, move_in_tree

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Survey:
    """A worktree as it was found: its snapshot, and how that differs from the session's base."""

    workspace: Workspace
    snapshot: tree.Snapshot
    differences: list[FileDifference]


class Follow(Protocol):
    """Called in the commit of a decision with the trees that the session has from then on; None is as it was."""

    async def __call__(
        self, commit: Commit, workspace: Workspace, *, base: str | None = None, new: str | None = None
    ) -> None: ...


class Changes:
    """What is decided about changes, one request at a time per session."""

    def __init__(self, store: Store, journal: Journal, workspaces: Workspaces, follow: Follow) -> None:
        self._follow = follow
        self._store = store
        self._journal = journal
        self._workspaces = workspaces

    @asynccontextmanager
    async def survey(self, session_id: str) -> AsyncGenerator[Survey]:
        """Snapshot the worktree and list its differences to the base; no decision moves the base until it is left."""
        async with self._workspaces.hold(session_id) as held:
            taken = await tree.take_snapshot(held.shadow)
            yield Survey(held, taken, await tree.differences(held.shadow, held.worktree.base_tree, taken.tree))

    async def record(
        self, commit: Commit, session_id: str, task_id: str, agent: str, found: Sequence[FileDifference]
    ) -> list[Change]:
        """Make the pending rows equal to what was found: keep the same, supersede the others, add the new."""
        pending = await changes.pending(commit.connection, session_id)
        fresh = {difference.file_path: difference for difference in found}
        stale = [change for change in pending if not _is_same(change, fresh.get(change.file_path))]
        kept = {change.file_path for change in pending} - {change.file_path for change in stale}
        for change in await changes.supersede(commit.connection, session_id, [change.file_path for change in stale]):
            commit.append(ChangeDecided(change=change), agent=change.agent, task_id=task_id)
        added = [_new_change(session_id, task_id, agent, d) for path, d in fresh.items() if path not in kept]
        await changes.insert_many(commit.connection, added)
        for change in added:
            commit.append(ChangeRecorded(change=change), agent=agent, task_id=task_id)
        return added

    async def get(self, id: str) -> ChangeDetail:
        """The change with its diff and hunks. Raises NotFound."""
        async with self._store.connection() as connection:
            change = await changes.get(connection, id)
        held = await self._workspaces.look(change.session_id)
        diff = await text_diff(held.shadow, change)
        hunks = tuple(hunk.shown for hunk in diff.hunks)
        return ChangeDetail(**dict(change), diff=diff.shown, hunks=hunks, omitted=diff.omitted)

    async def list(self, session_id: str, status: ChangeStatus | None, cursor: str | None, limit: int) -> Page[Change]:
        """Changes of a session, newest first. Raises NotFound."""
        async with self._store.connection() as connection:
            await sessions.get(connection, session_id)
            return await changes.list_page(connection, session_id, status=status, after=cursor, limit=limit)

    async def apply(self, ids: Sequence[str], by: str, reason: str | None = None) -> tuple[Change, ...]:
        """Write the changes into the project's checkout, all or none, and move the session's base past them.

        Raises:
            MergeConflict: the checkout's files have moved on in the same places; nothing was written.
            WrongState: one of them is not pending.
        """
        async with self._decision(ids, ChangeStatus.PENDING) as (chosen, held):
            shadow, worktree = held.shadow, held.worktree
            async with self._workspaces.hold_checkout(held) as checkout:
                await write_back(shadow, checkout, [Move.forward(change) for change in chosen])
            base = await move_in_tree(shadow, worktree.base_tree, [Move.forward(change) for change in chosen])
            return await self._decide(chosen, ChangeStatus.APPLIED, held, base, by, reason)

    async def reject(self, ids: Sequence[str], by: str, reason: str | None = None) -> tuple[Change, ...]:
        """Put the base content back into the worktree.

        Raises:
            Conflict: a turn is running, or a file was edited since the change was recorded; nothing was written.
            WrongState: one of them is not pending.
        """
        async with self._decision(ids, ChangeStatus.PENDING) as (chosen, held):
            shadow, worktree = held.shadow, held.worktree
            await self._refuse_while_running(worktree.session_id)
            before = await tree.snapshot(shadow)
            found = await tree.differences(shadow, worktree.base_tree, before)
            present = {difference.file_path: difference for difference in found}
            moved = [change.file_path for change in chosen if not _is_same(change, present.get(change.file_path))]
            if moved:
                raise Conflict(
                    f"edited since it was recorded: {', '.join(moved)}", code="edited_meanwhile", files=moved
                )
            await write_back(shadow, shadow.worktree, [Move.backward(change) for change in chosen])
            left = await move_in_tree(shadow, before, [Move.backward(change) for change in chosen])
            return await self._decide(chosen, ChangeStatus.REJECTED, held, None, by, reason, new=left)

    async def revert(self, ids: Sequence[str], by: str, reason: str | None = None) -> tuple[Change, ...]:
        """Take applied changes out of the checkout again. The worktree keeps them: each comes back as a pending change.

        Raises:
            MergeConflict: the checkout's files have moved on in the same places; nothing was written.
            WrongState: one of them is not applied.
        """
        async with self._decision(ids, ChangeStatus.APPLIED) as (chosen, held):
            shadow, worktree = held.shadow, held.worktree
            async with self._workspaces.hold_checkout(held) as checkout:
                await write_back(shadow, checkout, [Move.backward(change) for change in chosen])
            base = await move_in_tree(shadow, worktree.base_tree, [Move.backward(change) for change in chosen])
            found = await tree.differences(shadow, base, await tree.snapshot(shadow))
            return await self._decide(chosen, ChangeStatus.REVERTED, held, base, by, reason, found)

    async def apply_all(self, session_id: str, by: str, reason: str | None = None) -> tuple[Change, ...]:
        """Apply whatever is pending in the session."""
        return await self._for_all(session_id, lambda ids: self.apply(ids, by, reason))

    async def reject_all(self, session_id: str, by: str, reason: str | None = None) -> tuple[Change, ...]:
        """Reject whatever is pending in the session."""
        return await self._for_all(session_id, lambda ids: self.reject(ids, by, reason))

    async def _for_all(
        self, session_id: str, decide: Callable[[Sequence[str]], Awaitable[tuple[Change, ...]]]
    ) -> tuple[Change, ...]:
        async with self._store.connection() as connection:
            await sessions.get(connection, session_id)
            pending = await changes.pending(connection, session_id)
        return await decide([change.id for change in pending]) if pending else ()

    @asynccontextmanager
    async def _decision(
        self, ids: Sequence[str], state: ChangeStatus
    ) -> AsyncGenerator[tuple[Sequence[Change], Workspace]]:
        """The chosen changes, all in `state` and of one session, with the session's lock held."""
        async with self._store.connection() as connection:
            first = await changes.get(connection, ids[0])
        async with self._workspaces.hold(first.session_id) as held:
            async with self._store.connection() as connection:
                chosen = [await changes.get(connection, id) for id in ids]
            if any(change.session_id != first.session_id for change in chosen):
                raise InvalidInput("the changes belong to different sessions")
            for change in chosen:
                if change.status is not state:
                    raise WrongState(
                        f"the change of {change.file_path} is {change.status}, not {state}", status=change.status
                    )
            yield chosen, held

    async def _decide(
        self,
        chosen: Sequence[Change],
        status: ChangeStatus,
        held: Workspace,
        base: str | None,
        by: str,
        reason: str | None,
        found: Sequence[FileDifference] = (),
        new: str | None = None,
    ) -> tuple[Change, ...]:
        """Record the decision, move the base, and list again what the worktree still holds of the chosen files."""
        worktree = held.worktree
        left = {difference.file_path: difference for difference in found}
        async with self._journal.commit(worktree.session_id) as commit:
            decided = [
                await changes.decide(commit.connection, change.id, change.status, status, by=by, reason=reason)
                for change in chosen
            ]
            if base is not None:
                await session_worktrees.set_base_tree(
                    commit.connection, worktree.session_id, base, expected=worktree.base_tree
                )
            for change in decided:
                commit.append(ChangeDecided(change=change), agent=change.agent, task_id=change.task_id)
            taken = {change.file_path for change in await changes.pending(commit.connection, worktree.session_id)}
            again = [
                _new_change(change.session_id, change.task_id, change.agent, left[change.file_path])
                for change in decided
                if change.file_path in left and change.file_path not in taken
            ]
            await changes.insert_many(commit.connection, again)
            for change in again:
                commit.append(ChangeRecorded(change=change), agent=change.agent, task_id=change.task_id)
            await self._follow(commit, held, base=base, new=new)
        return tuple(decided)

    async def _refuse_while_running(self, session_id: str) -> None:
        async with self._store.connection() as connection:
            running = await tasks.list_page(connection, session_id=session_id, states={TaskState.RUNNING}, limit=1)
            if running.items:
                raise Conflict("a turn is running in this session; decide when it has ended", code="turn_running")


def _is_same(change: Change, difference: FileDifference | None) -> bool:
    """Whether the recorded change still says what the worktree holds."""
    return difference is not None and difference == FileDifference(
        **{name: getattr(change, name) for name in FileDifference.model_fields}
    )


def _new_change(session_id: str, task_id: str | None, agent: str, difference: FileDifference) -> Change:
    return Change(
        **dict(difference),
        id=new_id("chg"),
        session_id=session_id,
        task_id=task_id,
        agent=agent,
        status=ChangeStatus.PENDING,
        created_at=now(),
    )
