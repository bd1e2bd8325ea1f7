"""How much of what there is, for the operator."""

from asyncpg import Connection

from coder.model.values import Value
from coder.store.statements import sql


class Figures(Value):
    """`oldest_seconds` and `longest_queue` are of tasks that wait, 0 where none does."""

    sessions: int
    spares: int
    pending: int
    running: int
    blocked: int
    oldest_seconds: float
    longest_queue: int
    pending_changes: int


async def read(c: Connection) -> Figures:
    """All of them as of one moment."""
    return Figures.model_validate(dict((await c.fetch(sql("figures")))[0]))
