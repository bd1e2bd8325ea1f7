"""Opaque cursors of keyset pages: where the next page of one list begins."""

import base64
from collections.abc import Callable, Sequence
from typing import TypeVar

import orjson
from asyncpg import Record

from coder.errors import InvalidInput
from coder.json_values import check_json
from coder.protocol import Page

PAGE_LIMIT = 500
Item = TypeVar("Item")
Key = TypeVar("Key", str, int)


def encode_cursor(list_name: str, key: str | int) -> str:
    """A cursor that only the same list takes back."""
    return base64.urlsafe_b64encode(orjson.dumps([list_name, key])).decode().rstrip("=")


def decode_cursor(list_name: str, cursor: str | None, kind: type[Key]) -> Key | None:
    """The key inside a cursor; None stands for the first page.

    Raises:
        InvalidInput: it is no cursor of this list.
    """
    if cursor is None:
        return None
    try:
        written = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        found = check_json(written)
    except (ValueError, InvalidInput) as error:
        raise InvalidInput("the cursor is not one that a list gave", field="cursor") from error
    match found:
        case [str(name), key] if name == list_name and isinstance(key, kind) and not isinstance(key, bool):
            return key
        case _:
            raise InvalidInput("the cursor belongs to another list", field="cursor")


def check_limit(limit: int) -> int:
    """The limit itself; InvalidInput unless it is between 1 and 500."""
    if not 1 <= limit <= PAGE_LIMIT:
        raise InvalidInput(f"limit must be between 1 and {PAGE_LIMIT}", field="limit")
    return limit


def page_of(
    list_name: str, rows: Sequence[Record], limit: int, read: Callable[[Record], Item], key: str = "id"
) -> Page[Item]:
    """A page of rows that were asked for with one more than `limit`, so that the last page knows it is the last."""
    more = len(rows) > limit
    items = tuple(read(row) for row in rows[:limit])
    return Page[Item](items=items, next=encode_cursor(list_name, rows[limit - 1][key]) if more else None)
