"""A reverse proxy that shows a host below a path prefix, and a page of its own everywhere else."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import anyio
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

_HEAD_LIMIT = 64 * 1024


class Proxy:
    """Answers on `port` of the loopback address, under every name that leads there.

    Requests below `prefix` go to the host that `lead_to` named, the prefix cut off and all else as it came. `page` is
    what every other path shows. Without `passes_sockets` it refuses WebSockets, as proxies do that were never told of
    them.
    """

    def __init__(self, port: int, prefix: str, *, passes_sockets: bool) -> None:
        self.port = port
        self.prefix = prefix
        self.page = ""
        self._passes_sockets = passes_sockets
        self._target: tuple[str, int] = ("127.0.0.1", 0)

    def lead_to(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 80)

    def origin(self, name: str) -> str:
        return f"http://{name}:{self.port}"

    async def serve(self, client: SocketStream) -> None:
        async with client:
            with suppress(anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
                reader = BufferedByteReceiveStream(client)
                head = await reader.receive_until(b"\r\n\r\n", _HEAD_LIMIT)
                await self._answer(client, head, reader.buffer)

    async def _answer(self, client: SocketStream, head: bytes, body: bytes) -> None:
        line, *fields = head.split(b"\r\n")
        method, _, rest = line.partition(b" ")
        if not rest.startswith(self.prefix.encode()):
            await client.send(_response(200, self.page))
            return
        is_socket = any(field.lower().startswith(b"upgrade:") for field in fields)
        if is_socket and not self._passes_sockets:
            await client.send(_response(502, "no sockets here"))
            return
        # One request to a connection, so that nothing but its head needs to be understood.
        kept = [field for field in fields if is_socket or not field.lower().startswith(b"connection:")]
        added = [] if is_socket else [b"Connection: close"]
        path = b"/" + rest.removeprefix(self.prefix.encode())
        request = b"\r\n".join([b" ".join((method, path)), *kept, *added, b"", b""]) + body
        async with await anyio.connect_tcp(*self._target) as server, anyio.create_task_group() as tasks:
            await server.send(request)
            tasks.start_soon(_pump, client, server)
            await _pump(server, client)
            tasks.cancel_scope.cancel()


async def _pump(source: SocketStream, sink: SocketStream) -> None:
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        async for data in source:
            await sink.send(data)


def _response(status: int, page: str) -> bytes:
    content = page.encode()
    head = (
        f"HTTP/1.1 {status} -\r\nContent-Type: text/html\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + content


@asynccontextmanager
async def open_proxy(prefix: str, *, passes_sockets: bool = True) -> AsyncGenerator[Proxy]:
    """A proxy on a free port. `prefix` begins and ends with a slash."""
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        port = int(str(listener.extra(anyio.abc.SocketAttribute.local_port)))
        proxy = Proxy(port, prefix, passes_sockets=passes_sockets)
        tasks.start_soon(listener.serve, proxy.serve)
        yield proxy
        tasks.cancel_scope.cancel()
