"""Drafts: one row per session that somebody has written in."""

from asyncpg import Connection

from coder.model.drafts import Draft
from coder.store.statements import sql


async def get(c: Connection, session_id: str) -> Draft:
    """The session's draft, an empty one where none is kept."""
    row = await c.fetchrow(sql("get_draft"), session_id)
    return Draft(session_id=session_id) if row is None else Draft.model_validate(dict(row))


async def write(c: Connection, session_id: str, text: str) -> Draft:
    """Keep `text` as the session's draft."""
    row = await c.fetchrow(sql("write_draft"), session_id, text)
    assert row is not None
    return Draft.model_validate(dict(row))
