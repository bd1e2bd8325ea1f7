"""The route that tells whether the host works; open to all."""

from starlette.requests import Request
from starlette.responses import Response

from coder import __version__
from coder.api.context import host_of
from coder.api.operations import JSON_TYPE, raw
from coder.host import Host
from coder.protocol import Health

RED = 503


async def examine(host: Host) -> Health:
    """How the host is, with every trouble it has."""
    troubles = await host.vitals.troubles() if not host.is_draining else ()
    is_up = await host.store.is_up() if host.is_draining else all(one.reason != "database_away" for one in troubles)
    return Health(
        status="draining" if host.is_draining else "degraded" if troubles else "ok",
        version=__version__,
        database="up" if is_up else "down",
        dispatcher=host.dispatcher.mode,
        pool=host.pool.health(),
        socket_url=host.settings.socket_url,
        troubles=troubles,
    )


async def health(request: Request) -> Response:
    found = await examine(host_of(request))
    headers = {"Retry-After": "2"} if found.troubles else {}
    return Response(found.model_dump_json(), RED if found.troubles else 200, headers, JSON_TYPE)


routes = [
    raw(
        "GET",
        "/api/health",
        health,
        "Whether the host works; 503 with the reasons when it does not",
        tag="host",
        answer=Health,
        is_open=True,
        failing=RED,
    ),
]
