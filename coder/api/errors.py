"""The one place where errors become HTTP answers, error frames and close codes."""

import json
import logging
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import cast

from starlette.exceptions import HTTPException
from starlette.responses import Response

from coder import errors
from coder.model.values import Json
from coder.protocol import ErrorFrame, Problem

logger = logging.getLogger(__name__)

PROBLEM_TYPE = "application/problem+json"

_RETRY_AFTER_S = 2

# The nearest class in an error's ancestry decides.
_STATUS: Mapping[type[BaseException], int] = {
    errors.InvalidInput: 422,
    errors.MalformedBody: 400,
    errors.UnsupportedMediaType: 415,
    errors.TooLarge: 413,
    errors.HeadersTooLarge: 431,
    errors.TooMany: 429,
    errors.TooSlow: 408,
    errors.NotAuthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.GitError: 502,
    errors.AgentError: 502,
    errors.AgentUnavailable: 409,
    errors.AgentTimeout: 504,
    errors.AuthRequired: 409,
    errors.Unavailable: 503,
    errors.HostConfigError: 503,
    errors.CoderError: 500,
}

_CLOSE_CODES: Mapping[type[BaseException], int] = {
    errors.NotAuthenticated: 4401,
    errors.Forbidden: 4403,
    errors.NotFound: 4404,
    errors.TooSlow: 4408,
    errors.TooLarge: 1009,
    errors.UnsupportedMediaType: 1003,
    errors.InvalidInput: 1002,
    errors.TooMany: 1013,
    errors.Unavailable: 1012,
}

_HTTP_CODES = {404: "not_found", 405: "method_not_allowed"}


def status_of(error: BaseException) -> int:
    """The HTTP status that this error is answered with; 500 for what nobody expected."""
    return _nearest(error, _STATUS, 500)


def close_code_of(error: BaseException) -> int:
    """The WebSocket close code for an error that ends the socket; 1011 for what nobody expected."""
    return _nearest(error, _CLOSE_CODES, 1011)


def problem_of(error: Exception) -> Problem:
    """The problem document of an error. Only what a `CoderError` says on purpose reaches the reader."""
    error = _lone(error)
    if isinstance(error, HTTPException):
        code = _HTTP_CODES.get(error.status_code, "http_error")
        return _problem(error.status_code, error.detail, code, False)
    if not isinstance(error, errors.CoderError):
        return _problem(500, "the host made a mistake; its log says more", "internal", False)
    fields = dict(error.fields)
    faults = fields.pop("errors", None)
    problem = _problem(status_of(error), str(error), error.stable_code, error.retryable)
    return problem.model_copy(
        update={
            "errors": tuple(cast(Iterable[dict[str, Json]], faults)) if faults else None,
            "fields": cast(dict[str, Json], _plain(fields)) if fields else None,
        }
    )


def problem_response(error: Exception) -> Response:
    """The answer to a request that failed; logs once what nobody expected."""
    problem = problem_of(error)
    if problem.status == 500:
        logger.error("request failed", exc_info=error)
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if problem.status in (429, 503):
        wanted = (problem.fields or {}).get("retry_after")
        headers["Retry-After"] = str(wanted if isinstance(wanted, int) else _RETRY_AFTER_S)
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if problem.status in (408, 413):
        # The rest of the body is still on its way: this connection cannot be used again.
        headers["Connection"] = "close"
    body = problem.model_dump_json(exclude_none=True)
    return Response(_printable(body), problem.status, headers, PROBLEM_TYPE)


def error_frame(error: Exception, id: str | None = None) -> ErrorFrame:
    """The frame that tells a viewer what went wrong; logs once what nobody expected."""
    problem = problem_of(error)
    if problem.status == 500:
        logger.error("frame failed", exc_info=error)
    return ErrorFrame(id=id, code=problem.code, message=problem.detail, retryable=problem.retryable)


def _lone(error: Exception) -> Exception:
    """What a task group wrapped, where it is one error alone."""
    if not isinstance(error, ExceptionGroup):
        return error
    inner = cast("ExceptionGroup[Exception]", error).exceptions
    return _lone(inner[0]) if len(inner) == 1 else cast(Exception, error)


def _problem(status: int, detail: str, code: str, retryable: bool) -> Problem:
    title = HTTPStatus(status).phrase
    return Problem(title=title, status=status, detail=_printable(detail), code=code, retryable=retryable)


def _nearest(error: BaseException, table: Mapping[type[BaseException], int], otherwise: int) -> int:
    for ancestor in type(error).__mro__:
        if ancestor in table:
            return table[ancestor]
    return otherwise


def _plain(fields: Mapping[str, object]) -> Json:
    return cast(Json, json.loads(_printable(json.dumps(fields, default=str, skipkeys=True, ensure_ascii=False))))


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
