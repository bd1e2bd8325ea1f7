"""OpenAPI 3.1 and a plain page, both made from the route table."""

import base64
import hashlib
import html
import re
from collections.abc import Sequence
from typing import Any, cast

import orjson
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from coder import __version__
from coder.api.errors import PROBLEM_TYPE
from coder.api.operations import JSON_TYPE, Nothing, Operation, raw
from coder.model.values import Json
from coder.protocol import Problem, client_frame, server_frame

_Schema = dict[str, Json]
_Schemas = dict[tuple[str, JsonSchemaMode], _Schema]
_PARAMETER = re.compile(r"\{(\w+)\}")
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code{font-family:ui-monospace,monospace}h2{margin-top:2rem;text-transform:capitalize}"
    "dt{margin-top:1rem}dd{margin-left:0;color:GrayText}:root{color-scheme:light dark}"
)


def describe(operations: Sequence[Operation]) -> _Schema:
    """The OpenAPI 3.1 document of these routes. `x-frames` holds the frames of the WebSocket."""
    named: list[tuple[str, JsonSchemaMode, TypeAdapter[Any]]] = [
        *((model.__name__, mode, TypeAdapter(model)) for model, mode in _models(operations)),
        ("client", "validation", client_frame),
        ("server", "serialization", server_frame),
    ]
    found, definitions = TypeAdapter.json_schemas(named, ref_template="#/components/schemas/{model}")
    schemas = cast(_Schemas, found)
    paths: dict[str, Json] = {}
    for operation in operations:
        path = cast(_Schema, paths.setdefault(operation.path, {}))
        path[operation.method.lower()] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "coder", "version": __version__, "description": "A host for coding agents."},
        "paths": paths,
        "components": {
            "schemas": cast(Json, definitions.get("$defs", {})),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
        "x-frames": {"client": schemas["client", "validation"], "server": schemas["server", "serialization"]},
    }


def documentation_routes(operations: Sequence[Operation]) -> list[Operation]:
    """The routes that answer with the documentation of `operations`, and of themselves."""
    described: list[Operation] = []

    async def openapi(request: Request) -> Response:
        return Response(orjson.dumps(describe(described)), media_type=JSON_TYPE)

    async def docs(request: Request) -> Response:
        digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
        policy = f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'; base-uri 'none'"
        return HTMLResponse(render_page(described), headers={"Content-Security-Policy": policy})

    own = [
        raw("GET", "/api/openapi.json", openapi, "This API as OpenAPI 3.1", tag="host", media_types=(JSON_TYPE,)),
        raw("GET", "/api/docs", docs, "This API as a page", tag="host", media_types=("text/html",)),
    ]
    described += [*operations, *own]
    return own


def render_page(operations: Sequence[Operation]) -> str:
    """A page that lists the routes; it needs nothing but itself."""
    parts: list[str] = []
    for tag in dict.fromkeys(operation.tag for operation in operations):
        parts.append(f"<h2>{html.escape(tag)}</h2><dl>")
        parts += [_entry(operation) for operation in operations if operation.tag == tag]
        parts.append("</dl>")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>coder API</title><style>{_STYLE}</style>'
        f"</head><body><h1>coder {html.escape(__version__)}</h1><p>The same as data: "
        f'<a href="/api/openapi.json">OpenAPI 3.1</a>. Live records: WebSocket <code>/api/ws</code>, subprotocol '
        f"<code>coder.v1</code>.</p>{''.join(parts)}</body></html>"
    )


def _entry(operation: Operation) -> str:
    names = [f"?{name}" for name in operation.query.model_fields]
    takes = [] if operation.body is Nothing else [operation.body.__name__]
    gives = [] if operation.answer is None else [operation.answer.__name__]
    line = f"{operation.method} {operation.path} {' '.join(names)}".strip()
    types = " → ".join([*takes, *gives])
    return (
        f"<dt><code>{html.escape(line)}</code></dt>"
        f"<dd>{html.escape(operation.summary)}{' · ' if types else ''}<code>{html.escape(types)}</code></dd>"
    )


def _models(operations: Sequence[Operation]) -> list[tuple[type[BaseModel], JsonSchemaMode]]:
    found: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(Problem, "serialization"): None}
    for operation in operations:
        if operation.body is not Nothing:
            found[operation.body, "validation"] = None
        if operation.answer is not None:
            found[operation.answer, "serialization"] = None
    return list(found)


def _operation(operation: Operation, schemas: _Schemas) -> _Schema:
    described: _Schema = {
        "summary": operation.summary,
        "operationId": _id_of(operation),
        "tags": [operation.tag],
        "parameters": cast(Json, _parameters(operation)),
        "responses": _responses(operation, schemas),
    }
    if operation.body is not Nothing:
        schema = schemas[operation.body.__name__, "validation"]
        described["requestBody"] = {"required": True, "content": {JSON_TYPE: {"schema": schema}}}
    if operation.is_open:
        described["security"] = []
    return described


def _responses(operation: Operation, schemas: _Schemas) -> _Schema:
    success: _Schema = {"description": operation.summary}
    content: _Schema = {media_type: {} for media_type in operation.media_types}
    if operation.answer is not None:
        content[JSON_TYPE] = {"schema": schemas[operation.answer.__name__, "serialization"]}
    if content and operation.status != 204:
        success["content"] = content
    failing: _Schema = {} if operation.failing is None else {str(operation.failing): success}
    problem: _Schema = {"schema": schemas[Problem.__name__, "serialization"]}
    return {
        str(operation.status): success,
        **failing,
        "default": {"description": "A problem (RFC 9457) with a stable code", "content": {PROBLEM_TYPE: problem}},
    }


def _parameters(operation: Operation) -> list[_Schema]:
    parameters: list[_Schema] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(operation.path)
    ]
    schema = operation.query.model_json_schema()
    for name, described in cast(dict[str, _Schema], schema.get("properties", {})).items():
        definitions = cast(dict[str, _Schema], schema.get("$defs", {}))
        parameters.append({"name": name, "in": "query", "schema": _inlined(described, definitions)})
    if operation.takes_key:
        key: _Schema = {"type": "string", "minLength": 1, "maxLength": 200}
        parameters.append({"name": "Idempotency-Key", "in": "header", "schema": key})
    return parameters


def _inlined(value: _Schema, definitions: dict[str, _Schema]) -> _Schema:
    """The schema with its references replaced: parameters stand alone."""

    def inline(part: Json) -> Json:
        if isinstance(part, list):
            return [inline(item) for item in part]
        if not isinstance(part, dict):
            return part
        name = str(part.get("$ref", "")).removeprefix("#/$defs/")
        return inline(cast(Json, definitions[name])) if name else {key: inline(item) for key, item in part.items()}

    return cast(_Schema, inline(cast(Json, value)))


def _id_of(operation: Operation) -> str:
    words = _PARAMETER.sub(r"\1", operation.path).replace("/api/", "").strip("/")
    return f"{operation.method.lower()}_{re.sub(r'[^a-z0-9]+', '_', words)}"
