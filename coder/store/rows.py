"""What statements over one row come back with: the row, or a typed error that says why there is none."""

from collections.abc import Iterable

from asyncpg import Record

from coder.errors import NotFound, WrongState
from coder.json_values import clean_text


def found(row: Record | None, noun: str, id: str) -> Record:
    """The row itself; NotFound where there is none."""
    if row is None:
        raise NotFound(f"no such {noun}: {clean_text(id)}", noun=noun, id=clean_text(id))
    return row


def wrong_state(noun: str, id: str, state: str, wanted: Iterable[str]) -> WrongState:
    """The error of a guarded change that found its row in another state."""
    words = ", ".join(sorted(wanted))
    return WrongState(f"{noun} {id} is {state}, not {words}", noun=noun, id=id, state=state)
