"""Checkpoints: the trees a worktree can be brought back to."""

from asyncpg import Connection, Record

from coder.model.checkpoints import Checkpoint
from coder.protocol import Page
from coder.store.cursors import check_limit, decode_cursor, page_of
from coder.store.rows import found
from coder.store.statements import sql


async def insert(c: Connection, checkpoint: Checkpoint) -> None:
    """Record a checkpoint."""
    await c.execute(
        sql("insert_checkpoint"),
        checkpoint.id,
        checkpoint.session_id,
        checkpoint.task_id,
        checkpoint.agent,
        checkpoint.kind,
        checkpoint.tree,
        checkpoint.seq,
        checkpoint.created_at,
    )


async def get(c: Connection, id: str) -> Checkpoint:
    """One checkpoint; NotFound."""
    return _read(found(await c.fetchrow(sql("get_checkpoint"), id), "checkpoint", id))


async def list_page(c: Connection, session_id: str, *, after: str | None = None, limit: int = 100) -> Page[Checkpoint]:
    """A page of a session's checkpoints, newest first; `after` is the cursor of the page before."""
    key = decode_cursor("checkpoints", after, str)
    rows = await c.fetch(sql("list_checkpoints"), session_id, key, check_limit(limit) + 1)
    return page_of("checkpoints", rows, limit, _read)


def _read(row: Record) -> Checkpoint:
    return Checkpoint.model_validate(dict(row))
