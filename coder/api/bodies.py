"""Reading what clients send: bodies and frames through the one JSON parser, and query parameters."""

from typing import TypeVar
from urllib.parse import parse_qsl

import anyio
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect, Request

from coder.errors import InvalidInput, MalformedBody, TooLarge, TooSlow, UnsupportedMediaType
from coder.json_values import check_json

BODY_LIMIT = 1024 * 1024
"""Bytes of one body or frame."""
ATTACHMENTS_LIMIT = 16 * 1024 * 1024
"""Bytes of a body that may carry attachments."""
READ_DEADLINE = 30.0
"""Seconds for a whole body to arrive."""

_QUERY_LIMIT = 8192

Parsed = TypeVar("Parsed")
Fields = TypeVar("Fields", bound=BaseModel)


async def read_bytes(request: Request, limit: int, *, deadline: float = READ_DEADLINE) -> bytes:
    """The whole JSON body as it came, empty where there is none.

    Raises:
        UnsupportedMediaType: it is not declared as JSON. TooLarge: over `limit`. TooSlow: it did not arrive in time.
    """
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > limit:
        raise TooLarge(f"the body is over {limit} bytes", limit=limit)
    body = bytearray()
    try:
        with anyio.fail_after(deadline):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise TooLarge(f"the body is over {limit} bytes", limit=limit)
    except TimeoutError as error:
        raise TooSlow(f"the body did not arrive within {deadline:g} s") from error
    except ClientDisconnect as error:
        raise MalformedBody("the client left before the body was complete") from error
    # A write without a body is checked too: forms and plain text are what another site's page can send unasked.
    if body or request.headers.get("content-type"):
        _check_media_type(request.headers.get("content-type", ""))
    return bytes(body)


def parse_json(adapter: TypeAdapter[Parsed], data: bytes) -> Parsed:
    """One value out of untrusted JSON.

    Raises:
        MalformedBody: not JSON, not UTF-8, nested too deep, a key twice, NaN or Infinity.
        InvalidInput: well-formed, but not what is asked for; `errors` in the fields says where.
    """
    check_json(data)
    try:
        return adapter.validate_json(data, strict=True)
    except ValidationError as error:
        raise invalid(error) from error


def parse_model(model: type[Fields], data: bytes) -> Fields:
    """As `parse_json`, for a model."""
    check_json(data)
    try:
        return model.model_validate_json(data, strict=True)
    except ValidationError as error:
        raise invalid(error) from error


def parse_query(model: type[Fields], query_string: bytes) -> Fields:
    """Query parameters as a value; unknown, repeated and malformed ones are refused.

    Raises:
        InvalidInput: `errors` in the fields says where.
    """
    if len(query_string) > _QUERY_LIMIT:
        raise InvalidInput("the query is too long")
    try:
        pairs = parse_qsl(query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=50)
    except ValueError as error:
        raise InvalidInput("the query is not readable: it must be percent-encoded UTF-8") from error
    if len({name for name, _ in pairs}) < len(pairs):
        raise InvalidInput("a query parameter was given twice")
    if any("\x00" in name or "\x00" in value for name, value in pairs):
        raise InvalidInput("a query parameter holds a NUL character")
    try:
        return model.model_validate(dict(pairs))
    except ValidationError as error:
        raise invalid(error) from error


def invalid(error: ValidationError) -> InvalidInput:
    """A validation failure as the error that says which fields are wrong, without repeating what was sent."""
    faults = [
        {"loc": ".".join(str(part) for part in fault["loc"]), "message": fault["msg"], "type": fault["type"]}
        for fault in error.errors(include_url=False, include_context=False, include_input=False)[:50]
    ]
    summary = "; ".join(f"{fault['loc'] or 'body'}: {fault['message']}" for fault in faults[:5])
    return InvalidInput(_without_nul(summary), errors=faults)


def _check_media_type(content_type: str) -> None:
    media_type, _, parameters = content_type.partition(";")
    if media_type.strip().lower() != "application/json":
        raise UnsupportedMediaType("the body must be application/json")
    charset = parameters.strip().lower()
    if charset and charset not in ("charset=utf-8", 'charset="utf-8"'):
        raise UnsupportedMediaType("the body must be UTF-8")


def _without_nul(text: str) -> str:
    return text.replace("\x00", "\ufffd")
