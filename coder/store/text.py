"""What may be stored: PostgreSQL takes neither NUL nor lone surrogates, so both become U+FFFD, the replacement mark.

Agents decide what their text holds, so cleaning replaces and never refuses: nothing an agent says stops a turn
from being stored.
"""

import math
from collections.abc import Sequence
from typing import Any, cast

import orjson
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

from coder.model.values import Json

REPLACEMENT = "\ufffd"
DEPTH_LIMIT = 200
"""Nesting below this level of a JSON value is replaced; orjson and PostgreSQL both give up on deep values."""


def clean_text(text: str) -> str:
    """The same text with every NUL and lone surrogate replaced; surrogate pairs become the character they mean."""
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\0", REPLACEMENT) if "\0" in text else text


def clean_json(value: object, depth: int = 0) -> Json:
    """A JSON value that every part of the way can carry: clean text, finite numbers of 64 bits, bounded depth."""
    match value:
        case str():
            return clean_text(value)
        case bool() | None:
            return value
        case int():
            return value if -(2**63) <= value < 2**63 else str(value)
        case float():
            return value if math.isfinite(value) else None
        case dict() | list() | tuple() if depth >= DEPTH_LIMIT:
            return REPLACEMENT
        case dict():
            items = cast("dict[object, object]", value).items()
            return {clean_text(str(key)): clean_json(item, depth + 1) for key, item in items}
        case list() | tuple():
            return [clean_json(item, depth + 1) for item in cast("Sequence[object]", value)]
        case _:
            raise TypeError(f"{type(value).__name__} is not a JSON value")


def encode_text(text: str) -> bytes:
    """UTF-8 that PostgreSQL takes, whatever the text holds."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        data = clean_text(text).encode()
    return data.replace(b"\0", b"\xef\xbf\xbd") if b"\0" in data else data


def encode_json(value: Any) -> bytes:
    """JSON text that PostgreSQL takes, whatever the value's strings and numbers hold. Bytes are JSON text already."""
    if isinstance(value, bytes):
        return value
    try:
        data = orjson.dumps(value)
    except orjson.JSONEncodeError:
        return orjson.dumps(clean_json(value))
    return data if b"\\u0000" not in data else orjson.dumps(clean_json(value))


def encode_model(value: BaseModel) -> bytes:
    """A model value as JSON text that PostgreSQL takes."""
    try:
        data = value.model_dump_json().encode()
    except (PydanticSerializationError, UnicodeEncodeError):
        return orjson.dumps(clean_json(value.model_dump(mode="json")))
    return data if b"\\u0000" not in data else orjson.dumps(clean_json(value.model_dump(mode="json")))
