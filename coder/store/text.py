"""How values travel to PostgreSQL: every text and JSON value is clean by then.

Agents decide what their text holds, so cleaning replaces and never refuses: nothing an agent says stops a turn
from being stored.
"""

from typing import Any

import orjson
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

from coder.json_values import clean_json, clean_text


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
