"""Comments: threads on lines of changes, and their replies."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from asyncpg import Connection, Record

from coder.errors import WrongState
from coder.model.comments import COMMENT_TRANSITIONS, Anchor, Comment, CommentStatus, Reply
from coder.protocol import Page
from coder.store.cursors import check_limit, decode_cursor, page_of
from coder.store.rows import found, wrong_state
from coder.store.statements import sql


async def insert(c: Connection, comment: Comment) -> Comment:
    """Begin a thread."""
    await c.execute(sql("insert_comment"), *_columns(comment))
    return await get(c, comment.id)


async def add_reply(c: Connection, reply: Reply) -> Comment:
    """The thread with one reply more; it must be there."""
    await c.execute(sql("insert_reply"), reply.id, reply.thread_id, reply.body, reply.by, reply.created_at)
    return await get(c, reply.thread_id)


async def get(c: Connection, id: str) -> Comment:
    """One thread; NotFound."""
    return _read(found(await c.fetchrow(sql("read_comments"), [id]), "comment", id))


async def read(c: Connection, ids: Iterable[str]) -> tuple[Comment, ...]:
    """The threads of these ids that there are, oldest first."""
    return tuple(_read(row) for row in await c.fetch(sql("read_comments"), list(ids)))


async def list_page(
    c: Connection, session_id: str, *, status: CommentStatus | None = None, after: str | None = None, limit: int = 100
) -> Page[Comment]:
    """A page of a session's threads, newest first; `after` is the cursor of the page before."""
    key = decode_cursor("comments", after, str)
    wanted = None if status is None else str(status)
    rows = await c.fetch(sql("list_comments"), session_id, wanted, key, check_limit(limit) + 1)
    threads = {comment.id: comment for comment in await read(c, [row["id"] for row in rows])}
    return page_of("comments", rows, limit, lambda row: threads[row["id"]])


async def open_threads(c: Connection, session_id: str) -> tuple[Comment, ...]:
    """What is not settled in a session, oldest first."""
    return await _read_ids(c, await c.fetch(sql("open_comments"), session_id))


async def count_open(c: Connection, session_id: str) -> int:
    """How many threads of a session are not settled."""
    return len(await c.fetch(sql("open_comments"), session_id))


async def unsent(c: Connection, session_id: str, agent: str) -> tuple[Comment, ...]:
    """Open threads of which the agent has not been told everything, oldest first."""
    return await _read_ids(c, await c.fetch(sql("unsent_comments"), session_id, agent))


async def move(c: Connection, id: str, file_path: str, anchor: Anchor, blob: str) -> Comment:
    """An open thread at its place in a newer text. Raises NotFound, WrongState."""
    place = (anchor.line, list(anchor.before), list(anchor.after))
    moved = await c.fetchval(sql("move_comment"), id, file_path, blob, *place)
    return await _changed(c, id, moved, [CommentStatus.OPEN])


async def set_status(
    c: Connection, id: str, status: CommentStatus, *, by: str, reason: str | None = None, blob: str | None = None
) -> Comment:
    """Settle a thread or open it again.

    Raises:
        NotFound. WrongState: no transition leads there from where it is.
    """
    leaving = [str(state) for state, following in COMMENT_TRANSITIONS.items() if status in following]
    moved = await c.fetchval(sql("set_comment_status"), id, leaving, str(status), by, reason, blob)
    return await _changed(c, id, moved, leaving)


async def mark_sent(c: Connection, comment: Comment, task_id: str, at: datetime) -> Comment:
    """The thread as it was read is part of a prompt.

    Raises:
        NotFound. WrongState: another prompt has taken it since it was read.
    """
    values = (comment.id, comment.task_id, task_id, at, len(comment.replies))
    if await c.fetchval(sql("mark_comment_sent"), *values) is None:
        raise WrongState("the comment was sent meanwhile", noun="comment", id=(await get(c, comment.id)).id)
    return await get(c, comment.id)


async def _changed(c: Connection, id: str, changed: str | None, wanted: Iterable[str]) -> Comment:
    comment = await get(c, id)
    if changed is None:
        raise wrong_state("comment", id, comment.status, wanted)
    return comment


async def _read_ids(c: Connection, rows: Sequence[Record]) -> tuple[Comment, ...]:
    return await read(c, [row["id"] for row in rows]) if rows else ()


def _columns(comment: Comment) -> tuple[object, ...]:
    return (
        comment.id,
        comment.session_id,
        comment.change_id,
        comment.file_path,
        comment.side,
        comment.line,
        comment.text,
        list(comment.before),
        list(comment.after),
        comment.blob,
        comment.body,
        comment.by,
        comment.created_at,
    )


def _read(row: Record) -> Comment:
    return Comment.model_validate(dict(row))
