"""What a route is: one value from which the routing, the parsing, the answer and the documentation all come."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from coder.api.bodies import BODY_LIMIT, parse_model, parse_query, read_bytes
from coder.api.context import caller_of, host_of
from coder.api.idempotency import Answer, answer_once, key_of
from coder.errors import Unavailable
from coder.host import Host
from coder.model.values import Input

Method = Literal["GET", "POST", "PATCH", "DELETE"]
Endpoint = Callable[[Request], Awaitable[Response]]

Body = TypeVar("Body", bound=BaseModel)
Query = TypeVar("Query", bound=BaseModel)
Result = TypeVar("Result", bound=BaseModel | None)


class Nothing(Input):
    """No fields at all: a command without a body takes none or `{}`, a route without parameters takes none."""


@dataclass(frozen=True)
class Call(Generic[Body, Query]):
    """One request, parsed. `key` is the client's idempotency key; `by` is what decisions are recorded under."""

    path: Mapping[str, str]
    body: Body
    query: Query
    key: str | None
    by: str


@dataclass(frozen=True)
class Operation:
    """One method of one path, and everything its documentation needs."""

    method: Method
    path: str
    endpoint: Endpoint
    summary: str
    tag: str
    body: type[BaseModel]
    query: type[BaseModel]
    answer: type[BaseModel] | None
    status: int
    media_types: tuple[str, ...]
    is_open: bool
    takes_key: bool
    failing: int | None = None
    """A status that comes with the same answer, where that tells of trouble."""


def read(
    path: str,
    run: Callable[[Host, Call[Nothing, Query]], Awaitable[Result]],
    summary: str,
    *,
    tag: str,
    answer: type[Result],
    query: type[Query],
    is_open: bool = False,
) -> Operation:
    """A GET route: changes nothing."""

    async def endpoint(request: Request) -> Response:
        arguments = parse_query(query, request.scope["query_string"])
        by = "" if is_open else caller_of(request).name
        result = await run(host_of(request), Call(request.path_params, Nothing(), arguments, None, by))
        return _response(_answer(200, result))

    return Operation(
        "GET", path, endpoint, summary, tag, Nothing, query, _model(answer), 200, (JSON_TYPE,), is_open, False
    )


def command(
    method: Literal["POST", "PATCH", "DELETE"],
    path: str,
    run: Callable[[Host, Call[Body, Query]], Awaitable[Result]],
    summary: str,
    *,
    tag: str,
    body: type[Body],
    query: type[Query],
    answer: type[Result],
    status: int,
    limit: int = BODY_LIMIT,
    keeps_key: bool = False,
) -> Operation:
    """A route that changes something. `keeps_key`: what it calls takes care of the idempotency key itself."""

    async def endpoint(request: Request) -> Response:
        host = host_of(request)
        arguments = parse_query(query, request.scope["query_string"])
        content = parse_model(body, await read_bytes(request, limit) or b"{}")
        key = key_of(request)
        if host.is_draining:
            raise Unavailable("the host is shutting down")
        call = Call(request.path_params, content, arguments, key, caller_of(request).name)

        async def carry_out() -> Answer:
            return _answer(status, await run(host, call))

        if key is None or keeps_key:
            return _response(await carry_out())
        scope = f"{method} {request.url.path}"
        return _response(await answer_once(host.store, scope, key, (content, arguments), carry_out))

    return Operation(
        method, path, endpoint, summary, tag, body, query, _model(answer), status, (JSON_TYPE,), False, True
    )


def raw(
    method: Method,
    path: str,
    endpoint: Endpoint,
    summary: str,
    *,
    tag: str,
    body: type[BaseModel] = Nothing,
    query: type[BaseModel] = Nothing,
    answer: type[BaseModel] | None = None,
    status: int = 200,
    media_types: tuple[str, ...] = (),
    is_open: bool = False,
    failing: int | None = None,
) -> Operation:
    """A route that reads its request and makes its response itself. Its query is checked before it is asked."""

    async def checked(request: Request) -> Response:
        parse_query(query, request.scope["query_string"])
        return await endpoint(request)

    return Operation(
        method, path, checked, summary, tag, body, query, answer, status, media_types, is_open, False, failing
    )


JSON_TYPE = "application/json"


def _answer(status: int, result: BaseModel | None) -> Answer:
    return Answer(status, b"" if result is None else result.model_dump_json().encode())


def _response(answer: Answer) -> Response:
    if not answer.body:
        return Response(status_code=answer.status)
    return Response(answer.body, answer.status, media_type=JSON_TYPE)


def _model(answer: type[Result]) -> type[BaseModel] | None:
    return answer if issubclass(answer, BaseModel) else None
