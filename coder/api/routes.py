"""The whole API: every noun's routes behind one door."""

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from coder import resources
from coder.api import (
    auth,
    branches,
    changes,
    checkpoints,
    comments,
    decisions,
    drafts,
    events,
    files,
    health,
    messages,
    metrics,
    permissions,
    projects,
    providers,
    sessions,
    setups,
    stream,
    tasks,
)
from coder.api.auth import Door, Throttle, access_rules
from coder.api.border import Border, guards_of
from coder.api.errors import problem_response
from coder.api.metrics import TEMPLATE, Meter
from coder.api.openapi import documentation_routes
from coder.api.operations import Operation
from coder.api.pane import Pane
from coder.api.seats import Seats
from coder.api.stream import StreamLimits
from coder.host import Host


def all_operations() -> list[Operation]:
    """Every HTTP route of the API."""
    operations = [
        *health.routes,
        *auth.routes,
        *projects.routes,
        *sessions.routes,
        *setups.routes,
        *messages.routes,
        *drafts.routes,
        *files.routes,
        *events.routes,
        *tasks.routes,
        *permissions.routes,
        *changes.routes,
        *comments.routes,
        *decisions.routes,
        *checkpoints.routes,
        *branches.routes,
        *providers.routes,
        *metrics.routes,
    ]
    return [*operations, *documentation_routes(operations)]


def build_api(host: Host, *, stream_limits: StreamLimits | None = None) -> Starlette:
    """The ASGI application for an open host: API, WebSocket and pane."""
    meter = Meter()
    access = access_rules(host.settings, host.token)
    guards = guards_of(host.settings.frame_origins, host.settings.socket_origin)
    app = Starlette(
        routes=[*_resources(all_operations()), *stream.routes],
        middleware=[Middleware(Border, meter=meter, guards=guards), Middleware(Door, access=access)],
        exception_handlers={HTTPException: _answer_http_error},
    )
    app.router.redirect_slashes = False
    app.router.default = Pane(resources.ui_path())
    app.state.host = host
    app.state.meter = meter
    app.state.throttle = Throttle()
    app.state.seats = Seats(host.settings.max_viewers)
    app.state.stream_limits = stream_limits or StreamLimits()
    return app


def _resources(operations: Sequence[Operation]) -> list[BaseRoute]:
    """One route per path, so that a wrong method is told all the right ones."""
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    return [_resource(path, methods) for path, methods in by_path.items()]


def _resource(path: str, operations: dict[str, Operation]) -> Route:
    async def endpoint(request: Request) -> Response:
        request.scope[TEMPLATE] = path
        return await operations["GET" if request.method == "HEAD" else request.method].endpoint(request)

    return Route(path, endpoint, methods=list(operations))


async def _answer_http_error(request: Request, error: Exception) -> Response:
    return problem_response(error)
