"""JSON and text from outside: one parser that refuses, one reader that makes do, one cleaner.

`check_json` is for what people and programs send and write: anything doubtful is refused in words.
`read_line` is for what agents say: nothing they say may stop a turn, so it is read as far as it makes sense. Whatever
goes to PostgreSQL, which takes neither NUL nor lone surrogates, has been through `clean_text` or `clean_json`.
"""

import json
import math
import re
from collections.abc import Sequence
from typing import NoReturn, cast

import orjson

from coder.errors import InvalidInput, MalformedBody
from coder.model.values import Json

DEPTH_LIMIT = 64
"""Levels of a value that is parsed."""
KEPT_DEPTH = 200
"""Nesting below this level of a cleaned value is replaced; orjson and PostgreSQL both give up on deep values."""
REPLACEMENT = "\ufffd"

_TOKEN_LIMIT = 200_000
_INT64 = range(-(2**63), 2**63)
_ESCAPED_NUL = b"\\u0000"
# Possessive and with an optional end: a string that never ends cannot make the search start over at every quote.
_STRUCTURE = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{},]', re.DOTALL)
_HALF = re.compile("[\ud800-\udfff]")
_UNFIT = re.compile("[\x00\ud800-\udfff]")


class NotJson(ValueError):
    """The line holds no JSON value."""


def check_json(data: bytes, *, allows_nul: bool = False) -> Json:
    """Refuse what would harm further in, and give back the rest. `allows_nul` is for who judges texts one by one.

    Raises:
        MalformedBody: not JSON, not UTF-8, nested too deep, too many parts, a key twice, NaN or Infinity.
        InvalidInput: a number out of range, a text with NUL or half a surrogate pair.
    """
    _check_depth(data)
    try:
        text = data.decode("utf-8")
        value: Json = json.loads(
            text,
            object_pairs_hook=_object_of_distinct_keys,
            parse_constant=_refuse_constant,
            parse_int=_int64,
            parse_float=_finite,
        )
    except UnicodeDecodeError as error:
        raise MalformedBody("it is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise MalformedBody(f"it is not JSON: {error.msg} at character {error.pos}") from error
    if "\\u" in text:
        _check_texts(value, _HALF if allows_nul else _UNFIT)
    return value


def read_line(line: bytes) -> Json:
    """The value of one line of an agent, its text fit to be stored. What is not quite JSON (raw control characters,
    invalid UTF-8, NaN) is read as far as it makes sense.

    Raises:
        NotJson: the line holds none.
    """
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return _read_leniently(line)
    return clean_json(value) if _ESCAPED_NUL in line else value


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
            return value if value in _INT64 else str(value)
        case float():
            return value if math.isfinite(value) else None
        case dict() | list() | tuple() if depth >= KEPT_DEPTH:
            return REPLACEMENT
        case dict():
            items = cast("dict[object, object]", value).items()
            return {clean_text(str(key)): clean_json(item, depth + 1) for key, item in items}
        case list() | tuple():
            return [clean_json(item, depth + 1) for item in cast("Sequence[object]", value)]
        case _:
            raise TypeError(f"{type(value).__name__} is not a JSON value")


def _read_leniently(line: bytes) -> Json:
    try:
        text = line.decode(errors="replace").strip("\ufeff \t\r\n")
        return clean_json(json.loads(text, strict=False, parse_constant=_no_number))
    except (ValueError, RecursionError) as error:
        raise NotJson(str(error)) from error


def _no_number(_: str) -> None:
    return None


def _check_depth(data: bytes) -> None:
    depth = 0
    for count, match in enumerate(_STRUCTURE.finditer(data)):
        if count > _TOKEN_LIMIT:
            raise MalformedBody("it has too many parts")
        if match[0] in (b"[", b"{"):
            depth += 1
            if depth > DEPTH_LIMIT:
                raise MalformedBody(f"it is nested deeper than {DEPTH_LIMIT}")
        elif match[0] in (b"]", b"}"):
            depth -= 1


def _object_of_distinct_keys(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise MalformedBody("an object has the same key twice")
    return value


def _refuse_constant(word: str) -> NoReturn:
    raise MalformedBody(f"{word} is not JSON")


def _int64(digits: str) -> int:
    if len(digits) > 20 or int(digits) not in _INT64:
        raise InvalidInput("a whole number is out of range")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise InvalidInput("a number is out of range")
    return value


def _check_texts(value: Json, unfit: re.Pattern[str]) -> None:
    match value:
        case str():
            if unfit.search(value):
                raise InvalidInput("a text holds a NUL character or half a surrogate pair")
        case list():
            for item in value:
                _check_texts(item, unfit)
        case dict():
            for key, item in value.items():
                _check_texts(key, unfit)
                _check_texts(item, unfit)
        case _:
            pass
