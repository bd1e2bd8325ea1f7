"""Idempotency keys on commands: same key and body, same answer, carried out once."""

import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import anyio
import orjson
from pydantic import BaseModel
from starlette.requests import Request

from coder.errors import InvalidInput
from coder.store import idempotency
from coder.store.database import Store

_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_STORE_DEADLINE = 10.0


@dataclass(frozen=True)
class Answer:
    """An answer as it is sent: status, and JSON or nothing."""

    status: int
    body: bytes


def key_of(request: Request) -> str | None:
    """The request's `Idempotency-Key`, if it came with one.

    Raises:
        InvalidInput: more than one, or not 1 to 200 visible ASCII characters.
    """
    keys = request.headers.getlist("idempotency-key")
    if not keys:
        return None
    if len(keys) > 1 or _KEY.fullmatch(keys[0]) is None:
        raise InvalidInput("Idempotency-Key must be given once, as 1 to 200 visible ASCII characters")
    return keys[0]


async def answer_once(
    store: Store, scope: str, key: str, content: Sequence[BaseModel], carry_out: Callable[[], Awaitable[Answer]]
) -> Answer:
    """The stored answer where this command was answered before, else what `carry_out` gives, stored for the next time.

    A command that fails is not remembered: nothing came of it, so the same key may try again.

    Raises:
        IdempotencyMismatch: the key was used with another content. Conflict: the same command is being carried out.
    """
    digest = hashlib.sha256(b"\n".join(part.model_dump_json().encode() for part in content)).hexdigest()
    async with store.transaction() as connection:
        stored = await idempotency.reserve(connection, scope, key, digest, store.run_id)
    if stored is not None:
        return Answer(stored.status, b"" if stored.response is None else orjson.dumps(stored.response))
    try:
        answer = await carry_out()
    except BaseException:
        with anyio.move_on_after(_STORE_DEADLINE, shield=True):
            async with store.transaction() as connection:
                await idempotency.release(connection, scope, key)
        raise
    with anyio.move_on_after(_STORE_DEADLINE, shield=True):
        async with store.transaction() as connection:
            response = orjson.loads(answer.body) if answer.body else None
            await idempotency.answer(connection, scope, key, answer.status, response)
    return answer
