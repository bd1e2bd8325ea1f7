"""What agents write, looked into without trusting its shape, and what is written to them."""

from collections.abc import Mapping

import orjson

from coder.json_values import clean_json
from coder.model.values import Json

Fields = Mapping[str, Json]

NOTHING: Fields = {}


def encode(message: Fields) -> bytes:
    """One line, newline included."""
    try:
        return orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:
        return orjson.dumps(clean_json(message), option=orjson.OPT_APPEND_NEWLINE)


def prune(value: Json, depth: int) -> Json:
    """The value with everything nested deeper than `depth` left out."""
    if isinstance(value, dict):
        return {key: prune(item, depth - 1) for key, item in value.items()} if depth else "…"
    if isinstance(value, list):
        return [prune(item, depth - 1) for item in value] if depth else "…"
    return value


def fields(value: Json) -> Fields:
    """The value when it is an object, else an empty one."""
    return value if isinstance(value, dict) else NOTHING


def objects(value: Json) -> list[Fields]:
    """The objects in the value when it is an array, else none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(value: Json) -> str | None:
    """The value when it is text, else None."""
    return value if isinstance(value, str) else None


def whole(value: Json) -> int | None:
    """The value when it is a whole number that every JSON reader has exactly, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**53:
        return None
    return int(value) if value == int(value) else None
