"""Decisions about changes: apply, reject, revert; whole files, hunks or lines; all of a request or nothing."""

import itertools
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from coder.changes import Changes
from coder.errors import CoderError, InvalidInput, MergeConflict, NotFound, WrongState
from coder.failpoints import failpoint
from coder.journal import Commit, Journal
from coder.model.changes import USER, Change, ChangeStatus, FileDifference, Target
from coder.model.decisions import Decision, DecisionState, Pick
from coder.model.events import Error
from coder.model.tasks import TaskState
from coder.picks import Chosen, cut_out, decide, narrow, refuse_queued
from coder.plans import Plans, new_decision
from coder.protocol import Page
from coder.rejections import Carried, Rejections, end_rejection
from coder.store import changes, decisions, sessions, tasks
from coder.store.database import Store
from coder.targets import Targets
from coder.workspaces import Workspace
from coder.worktrees import tree
from coder.worktrees.hunks import cut_apply, cut_reject
from coder.worktrees.moves import Move, chain_moves, move_in_tree
from coder.worktrees.shadow import Shadow

logger = logging.getLogger(__name__)

AUTO = "auto"
"""By whom changes are applied in a session with `auto_apply`."""


@dataclass(frozen=True)
class Survey:
    """A worktree as it was found, after what was queued: its snapshot, and how that differs from the base."""

    held: Workspace
    snapshot: tree.Snapshot
    differences: Sequence[FileDifference]
    carried: Sequence[Carried] = ()

    @property
    def has_news(self) -> bool:
        return bool(self.carried) or self.snapshot.tree != self.held.worktree.last_tree


class Decisions:
    """Carries out what people decide, one request at a time per session."""

    def __init__(
        self, store: Store, journal: Journal, plans: Plans, targets: Targets, changes: Changes, rejections: Rejections
    ) -> None:
        self._store = store
        self._journal = journal
        self._plans = plans
        self._targets = targets
        self._changes = changes
        self._rejections = rejections

    async def apply(
        self, picks: Sequence[Pick], *, by: str, reason: str | None = None, target: Target = "checkout"
    ) -> tuple[Change, ...]:
        """Write the picked parts into the project's checkout, or commit them on the session's branch, and move the
        session's base past them.

        Returns what was applied; what is left of a change stays pending under its own id.

        Raises:
            MergeConflict: the target's files have moved on in the same places.
            WrongState: a change is not pending. Conflict: a hunk is stale, or its rejection is queued.
            InvalidInput: a hunk or line that cannot be picked. In all of them, and in what `Targets` refuses,
                nothing was written.
        """
        async with self._deciding(picks, ChangeStatus.PENDING) as (held, rows):
            refuse_queued(rows, picks)
            chosen = [await cut_out(held.shadow, row, pick, cut_apply) for row, pick in zip(rows, picks, strict=True)]
            moves = [Move.forward(each.part) for each in chosen]
            base = await move_in_tree(held.shadow, held.worktree.base_tree, moves)
            decision = new_decision("apply", held.session_id, [each.pick for each in chosen], by, reason, target)
            async with self._targets.carried_out(held, decision, rows, moves, base) as landing:
                async with self._journal.commit(held.session_id) as commit:
                    await landing.end(commit)
                    applied = ChangeStatus.APPLIED
                    decided = [await decide(commit, each, decision, applied, landing.commit) for each in chosen]
                    for each in chosen:
                        if each.left is not None:
                            await narrow(commit, each.change, each.left)
                    await self._changes.move_trees(commit, held, base=base, committed=landing.committed)
                    failpoint("decision.recorded")
            return tuple(decided)

    async def reject(self, picks: Sequence[Pick], *, by: str, reason: str | None = None) -> tuple[Change, ...]:
        """Take the picked parts out of the worktree. While a turn runs this waits for its end: the rows stay pending.

        Raises:
            MergeConflict: files were edited by hand in the same places since.
            WrongState: a change is not pending. Conflict: a hunk is stale, or decided already.
            InvalidInput: a hunk or line that cannot be picked. In all of them nothing was written.
        """
        async with self._deciding(picks, ChangeStatus.PENDING) as (held, rows):
            refuse_queued(rows, picks)
            chosen = [await cut_out(held.shadow, row, pick, cut_reject) for row, pick in zip(rows, picks, strict=True)]
            decision = new_decision("reject", held.session_id, [each.pick for each in chosen], by, reason)
            if await self.is_turn_running(held.session_id):
                return await self._rejections.queue(decision, chosen)
            moves = [Move.backward(each.part) for each in chosen]
            async with self._plans.written(held, decision, held.worktree.worktree_path, moves) as end:
                taken = await tree.take_snapshot(held.shadow)
                found = await tree.differences(held.shadow, held.worktree.base_tree, taken.tree)
                async with self._journal.commit(held.session_id) as commit:
                    await end(commit)
                    decided = [await decide(commit, each, decision, ChangeStatus.REJECTED) for each in chosen]
                    await self._changes.record(commit, held.session_id, found, agent=USER, narrowed=_rests(chosen))
                    await self._changes.move_trees(commit, held, new=taken.tree)
                    failpoint("decision.recorded")
            return tuple(decided)

    async def revert(self, ids: Sequence[str], *, by: str, reason: str | None = None) -> tuple[Change, ...]:
        """Take applied parts out again where they were applied. The worktree keeps them: they are pending again.

        Raises:
            MergeConflict: the files have moved on in the same places; nothing was written.
            WrongState: one of them is not applied. InvalidInput: they were applied to different targets.
        """
        picks = [Pick(change_id=id) for id in ids]
        async with self._deciding(picks, ChangeStatus.APPLIED) as (held, rows):
            targets: set[Target] = {row.target or "checkout" for row in rows}
            target, *others = targets
            if others:
                raise InvalidInput("the changes were applied to different targets", code="different_targets")
            moves = await _moves_back(held.shadow, rows)
            base, present = held.worktree.base_tree, await self._present_tree(held)
            by_hand = await tree.differences(held.shadow, base, present)
            base = await move_in_tree(held.shadow, base, moves)
            found = await tree.differences(held.shadow, base, present)
            decision = new_decision("revert", held.session_id, picks, by, reason, target)
            async with self._targets.carried_out(held, decision, rows, moves, base) as landing:
                async with self._journal.commit(held.session_id) as commit:
                    await landing.end(commit)
                    chosen = [Chosen(row, None, row, None) for row in rows]
                    decided = [await decide(commit, each, decision, ChangeStatus.REVERTED) for each in chosen]
                    await self._changes.record(commit, held.session_id, by_hand, agent=USER)
                    pending = await changes.pending(commit.connection, held.session_id)
                    await self._changes.record(
                        commit,
                        held.session_id,
                        found,
                        agent=USER,
                        agents={row.file_path: row.agent for row in (*pending, *rows)},
                        narrowed={each.file_path: each.new_blob for each in found},
                    )
                    await self._changes.move_trees(commit, held, base=base, new=present, committed=landing.committed)
                    failpoint("decision.recorded")
            return tuple(decided)

    async def pending_picks(self, session_id: str) -> list[Pick]:
        """Everything of a session that awaits a decision. Raises NotFound."""
        async with self._store.connection() as connection:
            await sessions.get(connection, session_id)
            return [Pick(change_id=change.id) for change in await changes.pending(connection, session_id)]

    async def require_own(self, session_id: str, picks: Sequence[Pick]) -> None:
        """Raises NotFound: one of the changes is not the session's."""
        async with self._store.connection() as connection:
            await sessions.get(connection, session_id)
            for pick in picks:
                if (await changes.get(connection, pick.change_id)).session_id != session_id:
                    raise NotFound(f"no such change in this session: {pick.change_id}", id=pick.change_id)

    async def auto_apply(self, session_id: str) -> None:
        """Apply what a turn left, in a session with `auto_apply`: all but secrets, and what does not fit."""
        async with self._store.connection() as connection:
            session = await sessions.get(connection, session_id)
            pending: Sequence[Change] = ()
            if session.auto_apply:
                pending = await changes.pending(connection, session_id)
        picks: dict[str, Pick] = {
            change.file_path: Pick(change_id=change.id) for change in pending if not change.is_secret
        }
        while picks:
            try:
                await self.apply(list(picks.values()), by=AUTO)
                return
            except MergeConflict as error:
                fitting = {path: picks[path] for path in picks.keys() - error.files}
                message = f"not applied by itself: {error}"
                await self._journal.append(session_id, Error(code="auto_apply_conflict", message=message))
                picks = fitting if len(fitting) < len(picks) else {}
            except WrongState:
                # somebody was faster
                return

    async def list(
        self, session_id: str, state: DecisionState | None, cursor: str | None, limit: int
    ) -> Page[Decision]:
        """The ledger of a session, newest first. Raises NotFound."""
        async with self._store.connection() as connection:
            await sessions.get(connection, session_id)
            return await decisions.list_page(connection, session_id, state=state, after=cursor, limit=limit)

    @asynccontextmanager
    async def survey(self, session_id: str) -> AsyncGenerator[Survey]:
        """Carry out what is queued, then snapshot the worktree; nobody moves the base until this is left.

        Only where no turn writes in the worktree. `record` the survey inside, or what was carried out is taken back.
        """
        async with self._plans.hold(session_id) as held:
            carried = await self._rejections.carry_out(held)
            try:
                taken = await tree.take_snapshot(held.shadow)
                found = await tree.differences(held.shadow, held.worktree.base_tree, taken.tree)
                yield Survey(held, taken, found, carried)
            except BaseException:
                if carried:
                    await self._plans.take_back(held)
                raise

    async def record(self, commit: Commit, survey: Survey, *, agent: str, task_id: str | None) -> None:
        """Make the session's rows say what the survey found; what differs from them is `agent`'s."""
        session_id = survey.held.session_id
        rests: dict[str, str | None] = {}
        for carried in survey.carried:
            rests |= await end_rejection(commit, carried)
        await self._changes.record(commit, session_id, survey.differences, agent=agent, task_id=task_id, narrowed=rests)
        base = survey.held.worktree.base_tree
        await self._changes.move_trees(commit, survey.held, base=base, new=survey.snapshot.tree)

    async def record_hand_edits(self, session_id: str) -> None:
        """Before an agent writes: what is queued and what changed since the last look is not its own, but the user's.

        Raises:
            CoderError: as `survey`; the worktree cannot be read.
        """
        async with self.survey(session_id) as survey:
            if survey.has_news:
                async with self._journal.commit(session_id) as commit:
                    await self.record(commit, survey, agent=USER, task_id=None)

    async def reconcile(self) -> None:
        """After a crash: take back what was cut off, and carry out what was queued for the end of its turn."""
        async with self._store.connection() as connection:
            left = {each.decision.session_id for each in await decisions.list_open(connection)}
        for session_id in left:
            try:
                await self.record_hand_edits(session_id)
            except (CoderError, OSError) as error:
                logger.warning("decisions not reconciled: %s", error, extra={"session": session_id})

    async def is_turn_running(self, session_id: str) -> bool:
        async with self._store.connection() as connection:
            page = await tasks.list_page(connection, session_id=session_id, states={TaskState.RUNNING}, limit=1)
        return bool(page.items)

    @asynccontextmanager
    async def _deciding(
        self, picks: Sequence[Pick], state: ChangeStatus
    ) -> AsyncGenerator[tuple[Workspace, Sequence[Change]]]:
        """The picked changes, all in `state` and of one session, with its workspace held."""
        ids = [pick.change_id for pick in picks]
        if len(set(ids)) < len(ids):
            raise InvalidInput("a change is named twice", code="change_twice")
        async with self._store.connection() as connection:
            first = await changes.get(connection, ids[0])
        async with self._plans.hold(first.session_id) as held:
            async with self._store.connection() as connection:
                rows = [await changes.get(connection, id) for id in ids]
            if any(row.session_id != first.session_id for row in rows):
                raise InvalidInput("the changes belong to different sessions")
            for row in rows:
                if row.status is not state:
                    raise changes.decided_already(row, state)
            yield held, rows

    async def _present_tree(self, held: Workspace) -> str:
        """What the worktree holds: its last snapshot while a turn is at it."""
        if held.worktree.last_tree is not None and await self.is_turn_running(held.session_id):
            return held.worktree.last_tree
        return (await tree.take_snapshot(held.shadow)).tree


async def _moves_back(shadow: Shadow, rows: Sequence[Change]) -> list[Move]:
    """Out again, decision by decision, the newest first: several can be about one file."""
    newest = sorted(rows, key=lambda row: row.decision_id or "", reverse=True)
    by_decision = itertools.groupby(newest, key=lambda row: row.decision_id)
    return await chain_moves(shadow, [[Move.backward(row) for row in group] for _, group in by_decision])


def _rests(chosen: Sequence[Chosen]) -> dict[str, str | None]:
    return {each.change.file_path: each.left.new_blob for each in chosen if each.left is not None}
