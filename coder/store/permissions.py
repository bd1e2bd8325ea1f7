"""Permission requests: put on record, answered once."""

from asyncpg import Connection, ForeignKeyViolationError, Record

from coder.errors import NotFound
from coder.model.permissions import PermissionRequest, PermissionStatus
from coder.protocol import Page
from coder.store.cursors import check_limit, decode_cursor, page_of
from coder.store.rows import found, wrong_state
from coder.store.statements import sql


async def insert(c: Connection, request: PermissionRequest) -> PermissionRequest:
    """Put a question on record; NotFound where its session or task is gone."""
    try:
        row = await c.fetchrow(sql("insert_permission"), *_columns(request))
    except ForeignKeyViolationError as error:
        raise NotFound(f"no such session: {request.session_id}", noun="session", id=request.session_id) from error
    return _read(found(row, "permission request", request.id))


async def get(c: Connection, id: str) -> PermissionRequest:
    """One request; NotFound."""
    return _read(found(await c.fetchrow(sql("get_permission"), id), "permission request", id))


async def list_page(
    c: Connection,
    *,
    session_id: str | None = None,
    status: PermissionStatus | None = None,
    after: str | None = None,
    limit: int = 100,
) -> Page[PermissionRequest]:
    """A page, newest first; `after` is the cursor of the page before."""
    key = decode_cursor("permissions", after, str)
    wanted = None if status is None else str(status)
    check_limit(limit)
    if status is PermissionStatus.PENDING:
        rows = await c.fetch(sql("list_waiting_permissions"), session_id, key, limit + 1)
    elif session_id is not None:
        rows = await c.fetch(sql("list_permissions_of_session"), session_id, wanted, key, limit + 1)
    else:
        rows = await c.fetch(sql("list_permissions"), wanted, key, limit + 1)
    return page_of("permissions", rows, limit, _read)


async def decide(
    c: Connection, id: str, status: PermissionStatus, *, option_id: str | None = None, by: str | None = None
) -> PermissionRequest:
    """End an open request.

    Raises:
        NotFound. WrongState: it was answered or ended before.
    """
    row = await c.fetchrow(sql("decide_permission"), id, str(status), option_id, by)
    if row is None:
        raise wrong_state("permission request", id, (await get(c, id)).status, [PermissionStatus.PENDING])
    return _read(row)


async def cancel_open(c: Connection, task_id: str) -> tuple[PermissionRequest, ...]:
    """Cancel what a task still asks; returns those requests."""
    return tuple(_read(row) for row in await c.fetch(sql("cancel_open_permissions"), task_id))


async def cancel_all_open(c: Connection) -> tuple[PermissionRequest, ...]:
    """At boot: nobody waits for an answer any more. Returns the requests that were cancelled."""
    return tuple(_read(row) for row in await c.fetch(sql("cancel_all_open_permissions")))


def _columns(request: PermissionRequest) -> tuple[object, ...]:
    return (
        request.id,
        request.session_id,
        request.task_id,
        request.agent,
        request.tool_call.model_dump(mode="json"),
        [option.model_dump(mode="json") for option in request.options],
        str(request.status),
        request.option_id,
        request.created_at,
        request.expires_at,
        request.decided_at,
        request.decided_by,
    )


def _read(row: Record) -> PermissionRequest:
    return PermissionRequest.model_validate(dict(row))
