"""Idempotency keys: the same key and body get the same answer."""

from dataclasses import dataclass
from datetime import datetime

from asyncpg import Connection

from coder.errors import Conflict, IdempotencyMismatch
from coder.model.values import Json
from coder.store.statements import sql


@dataclass(frozen=True)
class StoredAnswer:
    status: int
    response: Json


async def reserve(c: Connection, scope: str, key: str, body_hash: str, owner: str) -> StoredAnswer | None:
    """Take a key before its command runs. None: it is taken, go on. Else the answer it got before.

    Raises:
        IdempotencyMismatch: the key came with another body. Conflict: `in_progress`, its command still runs.
    """
    if await c.fetchval(sql("reserve_key"), scope, key, body_hash, owner) is not None:
        return None
    row = await c.fetchrow(sql("get_key"), scope, key)
    if row is None:
        # It was given back between the two statements.
        return await reserve(c, scope, key, body_hash, owner)
    if row["body_hash"] != body_hash:
        raise IdempotencyMismatch("this idempotency key was used with another body", key=key)
    if row["status"] is None:
        raise Conflict("a command with this idempotency key is still running", code="in_progress", key=key)
    return StoredAnswer(row["status"], row["response"])


async def answer(c: Connection, scope: str, key: str, status: int, response: Json) -> None:
    """Keep the answer of the command that took the key; a second one changes nothing."""
    await c.execute(sql("answer_key"), scope, key, status, response)


async def release(c: Connection, scope: str, key: str) -> None:
    """Give back a key whose command did nothing."""
    await c.execute(sql("release_key"), scope, key)


async def drop_unanswered(c: Connection, run_id: str) -> None:
    """At boot: give back what dead runs had taken."""
    await c.execute(sql("drop_unanswered_keys"), run_id)


async def drop_older(c: Connection, before: datetime) -> None:
    """Forget keys that were taken before a time."""
    await c.execute(sql("drop_old_keys"), before)
