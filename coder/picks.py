"""Picks: the part of a change that a decision is about, cut from its row, and the rows that come of deciding it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from coder.errors import Conflict
from coder.journal import Commit
from coder.model.changes import Change, ChangeStatus, FileDifference, HunkChoice
from coder.model.decisions import Decision, Pick
from coder.model.events import ChangeDecided, ChangeRecorded
from coder.model.values import new_id, now
from coder.store import changes
from coder.worktrees.hunks import Parts
from coder.worktrees.shadow import Shadow

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


async def cut_out(shadow: Shadow, row: Change, pick: Pick, cut: Cut) -> Chosen:
    """The picked part of a row. Raises InvalidInput: it cannot be picked; Conflict: a hunk is stale."""
    if pick.hunks is None:
        return Chosen(row, None, row, None)
    parts = await cut(shadow, row, pick.hunks)
    return Chosen(row, pick.hunks, parts.chosen, parts.left)


def refuse_queued(rows: Sequence[Change], picks: Sequence[Pick]) -> None:
    """Raises Conflict: a picked part is rejected already, at the end of the turn."""
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


async def decide(
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


async def narrow(commit: Commit, change: Change, left: FileDifference) -> None:
    """What is left of a change is the pending row from now on."""
    row = await changes.narrow(commit.connection, change.id, left, change.contributors)
    commit.append(ChangeRecorded(change=row), agent=row.agent, task_id=row.task_id)
