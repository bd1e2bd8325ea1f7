"""The route that tells whether the host works; open to all."""

from coder import __version__
from coder.api.operations import Call, Nothing, read
from coder.host import Host
from coder.protocol import Health


async def health(host: Host, call: Call[Nothing, Nothing]) -> Health:
    is_up = await host.store.is_up()
    return Health(
        status="draining" if host.is_draining else "ok" if is_up else "degraded",
        version=__version__,
        database="up" if is_up else "down",
        dispatcher=host.dispatcher.mode,
        pool=host.pool.health(),
        socket_url=host.settings.socket_url,
    )


routes = [
    read(
        "/api/health",
        health,
        "Whether the host works",
        tag="host",
        query=Nothing,
        answer=Health,
        is_open=True,
    ),
]
