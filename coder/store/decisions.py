"""Decisions: the ledger of what a person did with changes, and the plans of what is underway."""

from collections.abc import Collection
from dataclasses import dataclass

from asyncpg import Connection, Record

from coder.model.decisions import DECISION_TRANSITIONS, Decision, DecisionState, Plan
from coder.model.tasks import Fault
from coder.protocol import Page
from coder.store.cursors import check_limit, decode_cursor, page_of
from coder.store.rows import found, wrong_state
from coder.store.statements import sql


@dataclass(frozen=True)
class OpenDecision:
    """A decision that has not ended; `plan` is there when it is underway."""

    decision: Decision
    plan: Plan | None


async def insert(c: Connection, decision: Decision, plan: Plan | None = None) -> None:
    """Record a decision, with its plan when it is underway."""
    kept = None if plan is None else plan.model_dump(mode="json")
    await c.execute(sql("insert_decision"), *_columns(decision), str(decision.state), kept, decision.created_at)


async def insert_done(c: Connection, decision: Decision) -> None:
    """Record a decision that had nothing to write."""
    await c.execute(sql("insert_ended_decision"), *_columns(decision), decision.created_at)


async def get(c: Connection, id: str) -> Decision:
    """One decision; NotFound."""
    return _read(found(await c.fetchrow(sql("get_decision"), id), "decision", id))


async def list_page(
    c: Connection, session_id: str, *, state: DecisionState | None = None, after: str | None = None, limit: int = 100
) -> Page[Decision]:
    """A page of a session's decisions, newest first; `after` is the cursor of the page before."""
    key = decode_cursor("decisions", after, str)
    rows = await c.fetch(
        sql("list_decisions"), session_id, None if state is None else str(state), key, check_limit(limit) + 1
    )
    return page_of("decisions", rows, limit, _read)


async def list_open(c: Connection, session_id: str | None = None) -> tuple[OpenDecision, ...]:
    """What is queued or was cut off, oldest first; of every session when none is named."""
    rows = await c.fetch(sql("open_decisions"), session_id)
    return tuple(OpenDecision(_read(row), Plan.model_validate(row["plan"]) if row["plan"] else None) for row in rows)


async def start(c: Connection, id: str, plan: Plan) -> None:
    """Begin to carry out a queued decision. WrongState: it is not queued."""
    row = await c.fetchrow(sql("start_decision"), id, plan.model_dump(mode="json"))
    if row is None:
        raise wrong_state("decision", id, (await get(c, id)).state, [DecisionState.QUEUED])


async def requeue(c: Connection, id: str) -> None:
    """Put a decision back that was cut off and taken back. WrongState: it is not underway."""
    if await c.fetchrow(sql("requeue_decision"), id) is None:
        raise wrong_state("decision", id, (await get(c, id)).state, [DecisionState.UNDERWAY])


async def end(
    c: Connection,
    id: str,
    from_states: Collection[DecisionState],
    to: DecisionState,
    *,
    error: Fault | None = None,
) -> Decision:
    """Leave one of the named states for good.

    Raises:
        NotFound. WrongState: it is in none of them, or no transition leads on.
    """
    allowed = [state for state in from_states if to in DECISION_TRANSITIONS[state]]
    fault = None if error is None else error.model_dump(mode="json")
    row = await c.fetchrow(sql("end_decision"), id, [str(state) for state in allowed], str(to), fault)
    if row is None:
        raise wrong_state("decision", id, (await get(c, id)).state, allowed)
    return _read(row)


async def to_tell(c: Connection, session_id: str, agent: str) -> tuple[tuple[int, Decision], ...]:
    """Decisions with their ordinals that an agent of the session has not heard of; none where it was never opened."""
    rows = await c.fetch(sql("decisions_to_tell"), session_id, agent)
    return tuple((row["ordinal"], _read(row)) for row in rows)


def _columns(decision: Decision) -> tuple[object, ...]:
    return (
        decision.id,
        decision.session_id,
        decision.verb,
        decision.target,
        [pick.model_dump(mode="json") for pick in decision.picks],
        decision.by,
        decision.reason,
        decision.checkpoint_id,
    )


def _read(row: Record) -> Decision:
    return Decision.model_validate(dict(row))
