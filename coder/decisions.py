"""Decisions about changes: apply, reject, revert; whole files, hunks or lines; all of a request or nothing."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from coder.changes import Changes
from coder.errors import CoderError, Conflict, InvalidInput, MergeConflict, NotFound, WrongState
from coder.failpoints import failpoint
from coder.journal import Commit, Journal
from coder.model.changes import USER, Change, ChangeStatus, FileDifference, HunkChoice, QueuedDecision, Target
from coder.model.decisions import Decision, DecisionState, Pick
from coder.model.events import ChangeDecided, ChangeRecorded, Error, HostNote
from coder.model.tasks import Fault, TaskState
from coder.model.values import new_id, now
from coder.plans import Plans, new_decision
from coder.protocol import Page
from coder.store import agent_sessions, changes, decisions, sessions, tasks
from coder.store.database import Store
from coder.targets import Targets
from coder.workspaces import Workspace
from coder.worktrees import tree
from coder.worktrees.hunks import Parts, cut_apply, cut_reject
from coder.worktrees.moves import Move, move_in_tree
from coder.worktrees.shadow import Shadow

logger = logging.getLogger(__name__)

AUTO = "auto"
"""By whom changes are applied in a session with `auto_apply`."""

TOLD_FILES = 50
"""An agent is told of so many turned down files by name."""

Cut = Callable[[Shadow, FileDifference, Sequence[HunkChoice]], Awaitable[Parts]]


@dataclass(frozen=True)
class Chosen:
    """A change and the part of it that a decision is about."""

    change: Change
    hunks: tuple[HunkChoice, ...] | None
    part: FileDifference
    left: FileDifference | None

    @property
    def pick(self) -> Pick:
        return Pick(change_id=self.change.id, hunks=self.hunks)


@dataclass(frozen=True)
class Carried:
    """A queued decision that was carried out in the worktree, or did not fit."""

    decision: Decision
    error: Fault | None = None


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

    def __init__(self, store: Store, journal: Journal, plans: Plans, targets: Targets, changes: Changes) -> None:
        self._store = store
        self._journal = journal
        self._plans = plans
        self._targets = targets
        self._changes = changes

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
            _refuse_queued(rows, picks)
            chosen = [await _cut(held.shadow, row, pick, cut_apply) for row, pick in zip(rows, picks, strict=True)]
            moves = [Move.forward(each.part) for each in chosen]
            base = await move_in_tree(held.shadow, held.worktree.base_tree, moves)
            decision = new_decision("apply", held.session_id, [each.pick for each in chosen], by, reason, target)
            async with self._targets.carried_out(held, decision, rows, moves, base) as landing:
                async with self._journal.commit(held.session_id) as commit:
                    await landing.end(commit)
                    applied = ChangeStatus.APPLIED
                    decided = [await _decide(commit, each, decision, applied, landing.commit) for each in chosen]
                    for each in chosen:
                        if each.left is not None:
                            await _narrow(commit, each.change, each.left)
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
            _refuse_queued(rows, picks)
            chosen = [await _cut(held.shadow, row, pick, cut_reject) for row, pick in zip(rows, picks, strict=True)]
            decision = new_decision("reject", held.session_id, [each.pick for each in chosen], by, reason)
            if await self.is_turn_running(held.session_id):
                return await self._queue(decision, chosen)
            moves = [Move.backward(each.part) for each in chosen]
            async with self._plans.written(held, decision, held.worktree.worktree_path, moves) as end:
                taken = await tree.take_snapshot(held.shadow)
                found = await tree.differences(held.shadow, held.worktree.base_tree, taken.tree)
                async with self._journal.commit(held.session_id) as commit:
                    await end(commit)
                    decided = [await _decide(commit, each, decision, ChangeStatus.REJECTED) for each in chosen]
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
            moves = [Move.backward(row) for row in rows]
            base, present = held.worktree.base_tree, await self._present_tree(held)
            by_hand = await tree.differences(held.shadow, base, present)
            base = await move_in_tree(held.shadow, base, moves)
            found = await tree.differences(held.shadow, base, present)
            decision = new_decision("revert", held.session_id, picks, by, reason, target)
            async with self._targets.carried_out(held, decision, rows, moves, base) as landing:
                async with self._journal.commit(held.session_id) as commit:
                    await landing.end(commit)
                    chosen = [Chosen(row, None, row, None) for row in rows]
                    decided = [await _decide(commit, each, decision, ChangeStatus.REVERTED) for each in chosen]
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

    async def withdraw(self, id: str, by: str) -> Decision:
        """Take a queued decision back before it is carried out.

        Raises:
            NotFound: no such decision. WrongState: it is not queued any more.
        """
        async with self._store.connection() as connection:
            session_id = (await decisions.get(connection, id)).session_id
        async with self._plans.hold(session_id):
            async with self._journal.commit(session_id) as commit:
                queued, done = (DecisionState.QUEUED,), DecisionState.WITHDRAWN
                decision = await decisions.end(commit.connection, id, queued, done)
                await _show_queued(commit, decision, is_queued=False)
        logger.info("decision withdrawn", extra={"session": session_id, "decision": id, "by": by})
        return decision

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
            carried = await self._carry_out_queued(held)
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
            rests |= await _end_queued(commit, carried)
        await self._changes.record(commit, session_id, survey.differences, agent=agent, task_id=task_id, narrowed=rests)
        base = survey.held.worktree.base_tree
        await self._changes.move_trees(commit, survey.held, base=base, new=survey.snapshot.tree)

    async def tell(self, commit: Commit, session_id: str, agent: str) -> str | None:
        """What has happened to the agent's files without it, in one message; it counts as told with the commit."""
        told = await agent_sessions.told(commit.connection, session_id, agent)
        if told is None:
            return None
        news = await decisions.to_tell(commit.connection, session_id, told)
        if not news:
            return None
        rejected = await changes.of_decisions(commit.connection, [decision.id for _, decision in news])
        await agent_sessions.set_told(commit.connection, session_id, agent, news[-1][0])
        note = _note_of([decision for _, decision in news], rejected)
        commit.append(HostNote(text=note), agent=agent)
        return note

    async def reconcile(self) -> None:
        """After a crash: take back what was cut off, and carry out what was queued for the end of its turn."""
        async with self._store.connection() as connection:
            left = {each.decision.session_id for each in await decisions.list_open(connection)}
        for session_id in left:
            try:
                self._plans.doubt(session_id)
                async with self.survey(session_id) as survey:
                    async with self._journal.commit(session_id) as commit:
                        await self.record(commit, survey, agent=USER, task_id=None)
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

    async def _queue(self, decision: Decision, chosen: Sequence[Chosen]) -> tuple[Change, ...]:
        picks = tuple(each.pick.model_copy(update={"part": each.part}) for each in chosen)
        queued = decision.model_copy(update={"state": DecisionState.QUEUED, "picks": picks})
        async with self._journal.commit(decision.session_id) as commit:
            await decisions.insert(commit.connection, queued)
            return await _show_queued(commit, queued, is_queued=True)

    async def _carry_out_queued(self, held: Workspace) -> Sequence[Carried]:
        async with self._store.connection() as connection:
            waiting = await decisions.list_open(connection, held.session_id)
        carried: list[Carried] = []
        for decision in (each.decision for each in waiting):
            if decision.state is DecisionState.QUEUED:
                moves = [Move.backward(pick.part) for pick in decision.picks if pick.part is not None]
                try:
                    await self._plans.write_queued(held, decision, moves)
                    carried.append(Carried(decision))
                except MergeConflict as error:
                    carried.append(Carried(decision, Fault(code=error.stable_code, message=str(error))))
        return carried

    async def _present_tree(self, held: Workspace) -> str:
        """What the worktree holds: its last snapshot while a turn is at it."""
        if held.worktree.last_tree is not None and await self.is_turn_running(held.session_id):
            return held.worktree.last_tree
        return (await tree.take_snapshot(held.shadow)).tree


async def _cut(shadow: Shadow, row: Change, pick: Pick, cut: Cut) -> Chosen:
    if pick.hunks is None:
        return Chosen(row, None, row, None)
    parts = await cut(shadow, row, pick.hunks)
    return Chosen(row, pick.hunks, parts.chosen, parts.left)


def _refuse_queued(rows: Sequence[Change], picks: Sequence[Pick]) -> None:
    for row, pick in zip(rows, picks, strict=True):
        for queued in row.queued:
            wanted = None if pick.hunks is None else {choice.id for choice in pick.hunks}
            taken = None if queued.hunks is None else {choice.id for choice in queued.hunks}
            if wanted is None or taken is None or wanted & taken:
                raise Conflict(
                    f"{row.file_path} is rejected at the end of the turn already",
                    code="decision_queued",
                    decision_id=queued.decision_id,
                    change=row.model_dump(mode="json"),
                )


async def _decide(
    commit: Commit, chosen: Chosen, decision: Decision, status: ChangeStatus, held_by: str | None = None
) -> Change:
    """The decided row: the change itself, or for a part of it a row of its own; `held_by` is a commit on the branch."""
    change = chosen.change
    target = decision.target if decision.verb == "apply" else None
    if chosen.left is None:
        decided = await changes.decide(
            commit.connection,
            change.id,
            change.status,
            status,
            by=decision.by,
            reason=decision.reason,
            target=target,
            commit=held_by,
            decision_id=decision.id,
        )
    else:
        decided = Change(
            **{name: getattr(chosen.part, name) for name in FileDifference.model_fields},
            id=new_id("chg"),
            session_id=change.session_id,
            task_id=change.task_id,
            agent=change.agent,
            status=status,
            created_at=change.created_at,
            decided_at=now(),
            decided_by=decision.by,
            reason=decision.reason,
            contributors=change.contributors,
            is_secret=change.is_secret,
            split_from=change.id,
            target=target,
            commit=held_by,
            decision_id=decision.id,
        )
        await changes.insert_many(commit.connection, [decided])
    commit.append(ChangeDecided(change=decided), agent=decided.agent, task_id=decided.task_id)
    return decided


async def _narrow(commit: Commit, change: Change, left: FileDifference) -> None:
    row = await changes.narrow(commit.connection, change.id, left, change.contributors)
    commit.append(ChangeRecorded(change=row), agent=row.agent, task_id=row.task_id)


def _rests(chosen: Sequence[Chosen]) -> dict[str, str | None]:
    return {each.change.file_path: each.left.new_blob for each in chosen if each.left is not None}


async def _show_queued(commit: Commit, decision: Decision, *, is_queued: bool) -> tuple[Change, ...]:
    """Add the decision to what its changes show as queued, or take it off."""
    shown: list[Change] = []
    for pick in decision.picks:
        change = await changes.get(commit.connection, pick.change_id)
        if change.status is not ChangeStatus.PENDING:
            continue
        others = [each for each in change.queued if each.decision_id != decision.id]
        mine = QueuedDecision(
            decision_id=decision.id, verb="reject", by=decision.by, hunks=pick.hunks, reason=decision.reason
        )
        row = await changes.set_queued(commit.connection, change.id, [*others, mine] if is_queued else others)
        commit.append(ChangeRecorded(change=row), agent=row.agent, task_id=row.task_id)
        shown.append(row)
    return tuple(shown)


async def _end_queued(commit: Commit, carried: Carried) -> dict[str, str | None]:
    """Record what became of a queued decision; the new sides of what it left pending, by path."""
    decision = carried.decision
    if carried.error is not None:
        queued, done = (DecisionState.QUEUED,), DecisionState.REFUSED
        await decisions.end(commit.connection, decision.id, queued, done, error=carried.error)
        commit.append(Error(code="decision_refused", message=f"not rejected: {carried.error.message}"))
        await _show_queued(commit, decision, is_queued=False)
        return {}
    await decisions.end(commit.connection, decision.id, (DecisionState.UNDERWAY,), DecisionState.DONE)
    rests: dict[str, str | None] = {}
    for pick in decision.picks:
        change = await changes.get(commit.connection, pick.change_id)
        if change.status is not ChangeStatus.PENDING or pick.part is None:
            continue
        left = None if pick.hunks is None or pick.part.sides == change.sides else change
        await _decide(commit, Chosen(change, pick.hunks, pick.part, left), decision, ChangeStatus.REJECTED)
        if left is not None:
            rests[change.file_path] = pick.part.base_blob
    await _show_queued(commit, decision, is_queued=False)
    return rests


def _note_of(news: Sequence[Decision], rejected: Sequence[Change]) -> str:
    lines = ["[Note from the host: files in this worktree were changed since your last turn.]"]
    reasons = {decision.id: decision.reason for decision in news}
    for change in rejected[:TOLD_FILES]:
        part = "part of your change was" if change.split_from else "your change was"
        reason = reasons.get(change.decision_id or "")
        extent = f"+{change.added_lines} -{change.deleted_lines} lines"
        lines.append(
            f"- {change.file_path}: {part} turned down and taken out ({extent})" + (f": {reason}" if reason else "")
        )
    if len(rejected) > TOLD_FILES:
        lines.append(f"- and {len(rejected) - TOLD_FILES} more files")
    if any(decision.verb == "restore" for decision in news):
        lines.append("- the files were brought back to an earlier checkpoint")
    if any(decision.verb == "update" for decision in news):
        lines.append("- the project's default branch was brought in")
    lines.append("Read a file again before you build on it, and do not repeat what was turned down.")
    return "\n".join(lines)
