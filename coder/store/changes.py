"""Pending changes."""

from collections.abc import Iterable

from asyncpg import Connection, Record

from coder.errors import WrongState
from coder.model.changes import TRANSITIONS, Change, ChangeStatus
from coder.protocol import Page
from coder.store.cursors import check_limit, decode_cursor, page_of
from coder.store.rows import found, wrong_state
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
) -> Change:
    """Leave one status for another, once.

    Raises:
        NotFound. WrongState: it is not there, or no transition leads on.
    """
    if to not in TRANSITIONS[from_status]:
        raise WrongState(f"a change that is {from_status} cannot become {to}", noun="change", id=id)
    row = await c.fetchrow(sql("decide_change"), id, str(from_status), str(to), by, reason)
    if row is None:
        raise wrong_state("change", id, (await get(c, id)).status, [from_status])
    return _read(row)


async def apply_by_commit(
    c: Connection, session_id: str, ids: Iterable[str], *, by: str, reason: str | None, commit: str
) -> tuple[Change, ...]:
    """Mark pending changes as applied to the session's branch by a commit; returns those that were pending."""
    rows = await c.fetch(sql("apply_changes_by_commit"), session_id, list(ids), by, reason, commit)
    return tuple(_read(row) for row in rows)


async def applied_without_commit(c: Connection, session_id: str) -> tuple[Change, ...]:
    """What was applied to the checkout and is in no commit of the host's, oldest first."""
    return tuple(_read(row) for row in await c.fetch(sql("applied_without_commit"), session_id))


async def note_commit(c: Connection, session_id: str, ids: Iterable[str], commit: str) -> tuple[Change, ...]:
    """Say which commit holds what was applied to the checkout before."""
    return tuple(_read(row) for row in await c.fetch(sql("note_commit"), session_id, list(ids), commit))


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
    )


def _read(row: Record) -> Change:
    return Change.model_validate(dict(row))
