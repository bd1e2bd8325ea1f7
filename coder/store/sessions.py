"""Sessions, seen together with their worktrees."""

from collections.abc import Collection
from datetime import datetime

from asyncpg import Connection, ForeignKeyViolationError, Record

from coder.errors import NotFound
from coder.model.sessions import SESSION_TRANSITIONS, Session, SessionState
from coder.protocol import Page
from coder.store.cursors import check_limit, decode_cursor, page_of
from coder.store.rows import found, wrong_state
from coder.store.statements import sql


async def insert(
    c: Connection,
    *,
    id: str,
    project_id: str,
    name: str,
    base_ref: str | None,
    created_at: datetime,
    is_spare: bool = False,
) -> Session:
    """A new session in state `opening`; NotFound where the project is gone."""
    try:
        row = await c.fetchrow(sql("insert_session"), id, project_id, name, base_ref, created_at, is_spare)
    except ForeignKeyViolationError as error:
        raise NotFound(f"no such project: {project_id}", noun="project", id=project_id) from error
    return _read(found(row, "session", id))


async def get(c: Connection, id: str) -> Session:
    """One session; NotFound."""
    return _read(found(await c.fetchrow(sql("get_session"), id), "session", id))


async def count(c: Connection) -> int:
    """How many there are that somebody has asked for."""
    return int(await c.fetchval(sql("count_sessions")))


async def list_spares(c: Connection) -> tuple[Session, ...]:
    """Open sessions that nobody has asked for yet, newest first."""
    return tuple(_read(row) for row in await c.fetch(sql("list_spares")))


async def openings_since(c: Connection, at: datetime) -> dict[str, list[datetime]]:
    """When sessions were opened, by project, oldest first; where all of them are closed, spare ones tell of them."""
    found: dict[str, list[datetime]] = {}
    for row in await c.fetch(sql("openings_since"), at):
        found.setdefault(row["project_id"], []).append(row["created_at"])
    return found


async def drop_spare(c: Connection, id: str) -> Session | None:
    """Begin to close a spare session; None where it is nobody's spare any more."""
    row = await c.fetchrow(sql("drop_spare"), id)
    return await get(c, id) if row else None


async def take_spare(c: Connection, id: str, *, name: str, base_ref: str | None, at: datetime) -> Session | None:
    """Make a spare session somebody's own; None where somebody else was faster."""
    row = await c.fetchrow(sql("take_spare"), id, name, base_ref, at)
    return await get(c, id) if row else None


async def list_page(
    c: Connection, *, project_id: str | None = None, after: str | None = None, limit: int = 100
) -> Page[Session]:
    """A page of those that somebody has asked for, newest first; `after` is the cursor of the page before."""
    key = decode_cursor("sessions", after, str)
    check_limit(limit)
    if project_id is None:
        rows = await c.fetch(sql("list_sessions"), key, limit + 1)
    else:
        rows = await c.fetch(sql("list_sessions_of_project"), project_id, key, limit + 1)
    return page_of("sessions", rows, limit, _read)


async def all_sessions(c: Connection) -> tuple[Session, ...]:
    """Every session, oldest first."""
    return tuple(_read(row) for row in await c.fetch(sql("all_sessions")))


async def patch(c: Connection, id: str, *, name: str | None, auto_apply: bool | None) -> Session:
    """Change what is given; NotFound."""
    found(await c.fetchrow(sql("patch_session"), id, name, auto_apply), "session", id)
    return await get(c, id)


async def move(c: Connection, id: str, from_states: Collection[SessionState], to: SessionState) -> Session:
    """Leave one of the named states for another; being there already is fine where it is named too.

    Raises:
        NotFound. WrongState: it is in none of them, or no transition leads from one of them.
    """
    sources = {source for source, targets in SESSION_TRANSITIONS.items() if to in targets or source == to}
    if illegal := sorted(set(from_states) - sources):
        raise wrong_state("session", id, illegal[0], sources)
    row = await c.fetchrow(sql("move_session"), id, [str(state) for state in from_states], str(to))
    session = await get(c, id)
    if row is None:
        raise wrong_state("session", id, session.state, from_states)
    return session


async def delete(c: Connection, id: str) -> None:
    """Forget a session with its tasks, records, changes and requests; NotFound."""
    found(await c.fetchrow(sql("delete_session"), id), "session", id)


def _read(row: Record) -> Session:
    return Session.model_validate(dict(row))
