"""Rejections that wait for the end of a turn: stored, shown on their changes, withdrawn, carried out."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from coder.errors import MergeConflict
from coder.journal import Commit, Journal
from coder.model.changes import Change, ChangeStatus, QueuedDecision
from coder.model.decisions import Decision, DecisionState
from coder.model.events import ChangeRecorded, Error
from coder.model.tasks import Fault
from coder.picks import Chosen, decide
from coder.plans import Plans
from coder.store import changes, decisions
from coder.store.database import Store
from coder.workspaces import Workspace
from coder.worktrees.moves import Move

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Carried:
    """A queued decision that was carried out in the worktree, or did not fit."""

    decision: Decision
    error: Fault | None = None


class Rejections:
    """What people reject while an agent works in the files."""

    def __init__(self, store: Store, journal: Journal, plans: Plans) -> None:
        self._store = store
        self._journal = journal
        self._plans = plans

    async def queue(self, decision: Decision, chosen: Sequence[Chosen]) -> tuple[Change, ...]:
        """Store the decision for the turn's end; its rows, which show it from now on."""
        picks = tuple(each.pick.model_copy(update={"part": each.part}) for each in chosen)
        queued = decision.model_copy(update={"state": DecisionState.QUEUED, "picks": picks})
        async with self._journal.commit(decision.session_id) as commit:
            await decisions.insert(commit.connection, queued)
            return await _show_queued(commit, queued, is_queued=True)

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

    async def carry_out(self, held: Workspace) -> Sequence[Carried]:
        """Take what is queued out of the worktree, the oldest first. Each is to be ended by `end_rejection`."""
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


async def end_rejection(commit: Commit, carried: Carried) -> dict[str, str | None]:
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
        # while it waited, what is pending can have grown by what was reverted, or shrunk by what was applied
        left = None if pick.part.sides == change.sides else change
        await decide(commit, Chosen(change, pick.hunks, pick.part, left), decision, ChangeStatus.REJECTED)
        if left is not None:
            rests[change.file_path] = pick.part.base_blob
    await _show_queued(commit, decision, is_queued=False)
    return rests


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
