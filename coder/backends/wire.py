"""Lines on the wire to clean JSON and back.

What an agent writes ends in PostgreSQL and in browsers, so text is made fit for both here, once: NUL and lone
surrogates become U+FFFD. What is not quite JSON (raw control characters, invalid UTF-8, NaN) is read as far as it makes
sense.
"""

import json
import re
from collections.abc import Mapping

import orjson

from coder.model.values import Json

Fields = Mapping[str, Json]

NOTHING: Fields = {}

_UNFIT = re.compile("[\x00\ud800-\udfff]")
_LARGEST = 2**63 - 1
_ESCAPED_NUL = b"\\u0000"


class NotJson(ValueError):
    """The line holds no JSON value."""


def decode(line: bytes) -> Json:
    """The value of one line, its text fit to be stored.

    Raises:
        NotJson: the line holds none.
    """
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return _decode_leniently(line)
    return _clean_or_refuse(value) if _ESCAPED_NUL in line else value


def encode(message: Fields) -> bytes:
    """One line, newline included."""
    try:
        return orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:
        return orjson.dumps(clean(dict(message)), option=orjson.OPT_APPEND_NEWLINE)


def clean(value: Json) -> Json:
    """The value with NUL and lone surrogates replaced in every text and key, and no whole number that is too large."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(key): clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clean(item) for item in value]
    if isinstance(value, int) and not -_LARGEST <= value <= _LARGEST:
        return float(value)
    return value


def clean_text(text: str) -> str:
    """The text with NUL and lone surrogates replaced by U+FFFD."""
    return _UNFIT.sub("\ufffd", text)


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


def _decode_leniently(line: bytes) -> Json:
    try:
        value = json.loads(
            line.decode(errors="replace").strip("\ufeff \t\r\n"), strict=False, parse_constant=_no_number
        )
    except (ValueError, RecursionError) as error:
        raise NotJson(str(error)) from error
    return _clean_or_refuse(value)


def _clean_or_refuse(value: Json) -> Json:
    try:
        return clean(value)
    except (RecursionError, OverflowError) as error:
        raise NotJson("nested too deeply or too large") from error


def _no_number(_: str) -> None:
    return None
