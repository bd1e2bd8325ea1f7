"""The listening socket and the HTTP server on it: limits set here, signals left to whoever runs the host."""

import asyncio
import errno
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Literal, cast

import anyio
import uvicorn
from starlette.types import ASGIApp

from coder.api.bodies import BODY_LIMIT
from coder.api.connections import Connection, ConnectionLimits
from coder.errors import HostConfigError

PREFERRED_PORT = 9502

_BACKLOG = 128
_PEER_TIMEOUT_MS = 30_000
_FRAME_LIMIT = 4 * BODY_LIMIT
"""Above what the stream itself refuses with a reason, so that the reason can be given."""


def bind(host: str, port: int | Literal["auto"]) -> socket.socket:
    """A listening socket. `auto` takes the usual port, or any free one where that is taken.

    Raises:
        HostConfigError: the port is taken or the address is not this machine's; the message says what to do.
    """
    if port == "auto":
        try:
            return _bind(host, PREFERRED_PORT)
        except OSError:
            port = 0
    try:
        return _bind(host, port)
    except OSError as error:
        raise HostConfigError(_describe(host, port, error)) from error


def base_url(listener: socket.socket) -> str:
    """Where a browser on this machine reaches the socket."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@asynccontextmanager
async def open_server(
    app: ASGIApp, listener: socket.socket, *, grace: float = 3.0, limits: ConnectionLimits | None = None
) -> AsyncGenerator[str]:
    """Serve the application on the socket until the context is left; gives the base URL.

    Leaving closes the socket and every connection; requests may take `grace` seconds to end.
    """
    url = base_url(listener)
    server = _Server(_config(app, grace, limits or ConnectionLimits()))
    async with anyio.create_task_group() as group:
        group.start_soon(server.run_shielded, listener)
        await server.is_listening.wait()
        try:
            yield url
        finally:
            server.should_exit = True
            with anyio.CancelScope(shield=True):
                await server.is_done.wait()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_listening = anyio.Event()
        self.is_done = anyio.Event()

    async def run_shielded(self, listener: socket.socket) -> None:
        # Ended by `should_exit` alone: a cancelled server would leave its connections behind.
        try:
            with anyio.CancelScope(shield=True):
                await self.serve([listener])
        finally:
            self.is_done.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_listening.set()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def _config(app: ASGIApp, grace: float, limits: ConnectionLimits) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=cast(type[asyncio.Protocol], partial(Connection, limits=limits)),
        ws="websockets-sansio",
        ws_max_size=_FRAME_LIMIT,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=max(1, round(grace)),
    )


def _bind(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # A peer that stops reading holds its connection for ever otherwise: sends block and so does closing.
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _PEER_TIMEOUT_MS)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _describe(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} is taken: stop what uses it, or choose another with --port (or CODER_PORT; `auto` takes any)"
        )
    if error.errno == errno.EACCES:
        return f"port {port} may not be used by this account: choose one above 1023"
    return f"cannot listen on {host} port {port}: {error.strerror or error}"
