"""Pending changes."""

from collections.abc import Iterable
from typing import NoReturn

from asyncpg import Connection, Record

from coder.errors import WrongState
from coder.model.changes import TRANSITIONS, Change, ChangeStatus, FileDifference, QueuedDecision, Target
from coder.protocol import Page
from coder.store.cursors import check_limit, decode_cursor, page_of
from coder.store.rows import found
from coder.store.statements import sql


async def insert_many(c: Connection, changes: Iterable[Change]) -> None:
    """Record differences. A file that has a pending change already must be superseded first."""
    await c.executemany(sql("insert_change"), [_columns(change) for change in changes])


async def get(c: Connection, id: str) -> Change:
    """One change; NotFound."""
    return _read(found(await c.fetchrow(sql("get_change"), id), "change", id))


async def list_page(
    c: Connection, session_id: str, *, status: ChangeStatus | None = None, after: str | None = None, limit: int = 100
) -> Page[Change]:
    """A page of a session's changes, newest first; `after` is the cursor of the page before."""
    key = decode_cursor("changes", after, str)
    rows = await c.fetch(
        sql("list_changes"), session_id, None if status is None else str(status), key, check_limit(limit) + 1
    )
    return page_of("changes", rows, limit, _read)


async def pending(c: Connection, session_id: str) -> tuple[Change, ...]:
    """Everything of a session that awaits a decision, by path."""
    return tuple(_read(row) for row in await c.fetch(sql("pending_changes"), session_id))


async def supersede(c: Connection, session_id: str, paths: Iterable[str]) -> tuple[Change, ...]:
    """Close the pending changes of files that were changed again; returns them."""
    return tuple(_read(row) for row in await c.fetch(sql("supersede_changes"), session_id, list(paths)))


async def decide(
    c: Connection,
    id: str,
    from_status: ChangeStatus,
    to: ChangeStatus,
    *,
    by: str | None = None,
    reason: str | None = None,
    target: Target | None = None,
    commit: str | None = None,
    decision_id: str | None = None,
) -> Change:
    """Leave one status for another, once.

    Raises:
        NotFound. WrongState: it is not there, or no transition leads on; `change` in `fields` is how it stands.
    """
    if to not in TRANSITIONS[from_status]:
        raise WrongState(f"a change that is {from_status} cannot become {to}", noun="change", id=id)
    row = await c.fetchrow(sql("decide_change"), id, str(from_status), str(to), by, reason, target, commit, decision_id)
    if row is None:
        raise decided_already(await get(c, id), from_status)
    return _read(row)


async def apply_by_commit(
    c: Connection, session_id: str, ids: Iterable[str], *, by: str, reason: str | None, commit: str, decision_id: str
) -> tuple[Change, ...]:
    """Mark pending changes as applied to the session's branch by a commit; returns those that were pending."""
    rows = await c.fetch(sql("apply_changes_by_commit"), session_id, list(ids), by, reason, commit, decision_id)
    return tuple(_read(row) for row in rows)


async def applied_without_commit(c: Connection, session_id: str) -> tuple[Change, ...]:
    """What was applied to the checkout and is in no commit of the host's, oldest first."""
    return tuple(_read(row) for row in await c.fetch(sql("applied_without_commit"), session_id))


async def note_commit(c: Connection, session_id: str, ids: Iterable[str], commit: str) -> tuple[Change, ...]:
    """Say which commit holds what was applied to the checkout before."""
    return tuple(_read(row) for row in await c.fetch(sql("note_commit"), session_id, list(ids), commit))


async def narrow(c: Connection, id: str, left: FileDifference, contributors: Iterable[str]) -> Change:
    """Make a pending change what is left of it.

    Raises:
        NotFound. WrongState: it is not pending.
    """
    row = await c.fetchrow(
        sql("narrow_change"),
        id,
        left.old_path,
        left.operation,
        left.base_blob,
        left.new_blob,
        left.base_mode,
        left.new_mode,
        left.is_binary,
        left.added_lines,
        left.deleted_lines,
        list(contributors),
    )
    return _read(row) if row is not None else _refuse(await get(c, id))


async def set_queued(c: Connection, id: str, queued: Iterable[QueuedDecision]) -> Change:
    """Show what waits to be carried out on a pending change.

    Raises:
        NotFound. WrongState: it is not pending.
    """
    row = await c.fetchrow(sql("queue_on_change"), id, [each.model_dump(mode="json") for each in queued])
    return _read(row) if row is not None else _refuse(await get(c, id))


async def find_same(c: Connection, session_id: str, difference: FileDifference) -> Change | None:
    """The newest change of the session with exactly these sides, whatever became of it."""
    row = await c.fetchrow(
        sql("same_change"),
        session_id,
        difference.file_path,
        difference.old_path,
        difference.base_blob,
        difference.new_blob,
        difference.new_mode,
    )
    return None if row is None else _read(row)


async def of_decisions(c: Connection, ids: Iterable[str]) -> tuple[Change, ...]:
    """What some decisions were about, by path."""
    return tuple(_read(row) for row in await c.fetch(sql("changes_of_decisions"), list(ids)))


def decided_already(change: Change, wanted: ChangeStatus) -> WrongState:
    """What somebody is told who comes second."""
    return WrongState(
        f"the change of {change.file_path} is {change.status}, not {wanted}",
        status=str(change.status),
        change=change.model_dump(mode="json"),
    )


def _refuse(change: Change) -> NoReturn:
    raise decided_already(change, ChangeStatus.PENDING)


def _columns(change: Change) -> tuple[object, ...]:
    return (
        change.id,
        change.session_id,
        change.task_id,
        change.agent,
        change.file_path,
        change.old_path,
        change.operation,
        change.base_blob,
        change.new_blob,
        change.base_mode,
        change.new_mode,
        change.is_binary,
        change.added_lines,
        change.deleted_lines,
        str(change.status),
        change.created_at,
        change.decided_at,
        change.decided_by,
        change.reason,
        list(change.contributors),
        change.is_secret,
        change.split_from,
        change.target,
        change.commit,
        change.decision_id,
        [each.model_dump(mode="json") for each in change.queued],
    )


def _read(row: Record) -> Change:
    return Change.model_validate(dict(row))
