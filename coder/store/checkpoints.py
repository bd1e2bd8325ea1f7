"""Checkpoints: the trees a worktree can be brought back to."""

from collections.abc import Sequence
from dataclasses import dataclass

from asyncpg import Connection, Record

from coder.model.checkpoints import Checkpoint, ConversationPoint
from coder.protocol import Page
from coder.store.cursors import check_limit, decode_cursor, page_of
from coder.store.rows import found
from coder.store.statements import sql


@dataclass(frozen=True)
class Since:
    """What became of the conversation with an agent since a checkpoint.

    `past` is None where it had not begun then. `message_id` is the agent's name of the first prompt that `past` has got
    since, None where the agent has no names for prompts.
    """

    agent: str
    can_resume: bool
    present: ConversationPoint
    past: ConversationPoint | None
    was_prompted: bool
    message_id: str | None


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


async def conversations_since(c: Connection, id: str) -> Sequence[Since]:
    """Every agent of the checkpoint's session; none where the checkpoint does not know of conversations."""
    return [_read_since(row) for row in await c.fetch(sql("conversations_at_checkpoint"), id)]


def _read_since(row: Record) -> Since:
    past = ConversationPoint.model_validate(row["past"]) if row["past"] is not None else None
    present = ConversationPoint.model_validate(row["present"])
    return Since(row["agent"], row["can_resume"], present, past, row["was_prompted"], row["message_id"])


def _read(row: Record) -> Checkpoint:
    return Checkpoint.model_validate(dict(row))
