"""What a host refuses, as the errors that it raised itself."""

from collections.abc import Mapping

from pydantic import ValidationError

from coder import errors
from coder.errors import CoderError
from coder.protocol import Problem

_CLASSES: Mapping[str, type[CoderError]] = {
    value.code: value
    for value in vars(errors).values()
    if isinstance(value, type)
    and issubclass(value, CoderError)
    and value not in (errors.PathEscape, errors.DatabaseAway)
}
_BY_STATUS: Mapping[int, type[CoderError]] = {
    400: errors.MalformedBody,
    401: errors.NotAuthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    413: errors.TooLarge,
    415: errors.UnsupportedMediaType,
    422: errors.InvalidInput,
    429: errors.TooMany,
    431: errors.HeadersTooLarge,
    503: errors.Unavailable,
}


def error_of(status: int, content: bytes) -> CoderError:
    """The error behind an answer of the API that is none of success."""
    try:
        problem = Problem.model_validate_json(content)
    except ValidationError:
        return _BY_STATUS.get(status, CoderError)(f"the host answered {status}")
    fields: dict[str, object] = {**(problem.fields or {})}
    if problem.errors:
        fields["errors"] = problem.errors
    error = error_class(problem.code, problem.status)(problem.detail, code=problem.code)
    error.fields = fields
    return error


def error_class(code: str, status: int | None = None) -> type[CoderError]:
    """The class of an error that the host named, or of its status."""
    return _CLASSES.get(code) or _BY_STATUS.get(status or 0, CoderError)
