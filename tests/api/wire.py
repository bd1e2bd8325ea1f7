"""Requests for every route, sent byte by byte: what no well-behaved client would send is what must be tried."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import anyio
from anyio.abc import SocketStream
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from coder.api.operations import Nothing, Operation
from coder.api.routes import all_operations
from coder.client import Client
from coder.model.events import Record
from coder.model.permissions import PermissionRequest, PermissionStatus
from coder.model.sessions import Session
from coder.protocol import ServerFrame, SnapshotFrame, server_frame
from coder.testing.harness import LiveHost
from coder.testing.repositories import make_repository

Headers = Sequence[tuple[str, str]]
JSON = ("Content-Type", "application/json")


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes


async def send_raw(url: str, method: str, path: str, headers: Headers, body: bytes = b"") -> Reply:
    """One request with exactly these headers; `Content-Length` is added for a body."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "Connection: close"]
    if body and not any(name in ("Content-Length", "Transfer-Encoding") for name, _ in headers):
        lines.append(f"Content-Length: {len(body)}")
    address = urlsplit(url)
    with anyio.fail_after(10):
        async with await anyio.connect_tcp(address.hostname or "", address.port or 0) as stream:
            # A host may refuse before the whole body was sent: its answer counts, not the broken pipe.
            with suppress(anyio.BrokenResourceError):
                await stream.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
            return await read_reply(stream)


async def read_reply(stream: SocketStream) -> Reply:
    """What comes until the other side closes, as one answer."""
    received = b""
    with anyio.fail_after(10), suppress(anyio.EndOfStream, anyio.BrokenResourceError):
        while True:
            received += await stream.receive()
    head, _, content = received.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(": ") for line in rest)
    return Reply(int(first.split(" ")[1]), {name.lower(): value for name, _, value in pairs}, content)


def good_headers(live: LiveHost) -> list[tuple[str, str]]:
    """What a well-behaved program sends."""
    return [("Host", urlsplit(live.url).netloc), ("Authorization", f"Bearer {live.token}")]


def path_of(operation: Operation, **parameters: str) -> str:
    """The route's path, with ids that nobody has unless they are given."""
    return operation.path.format_map({"id": "nobody", "agent": "nobody"} | parameters)


def commands() -> list[Operation]:
    """Every route that changes something."""
    return [operation for operation in all_operations() if operation.method != "GET"]


def takes_fields(operation: Operation) -> bool:
    return operation.body is not Nothing


async def open_test_session(client: Client, folder: Path) -> Session:
    """A session on a new repository."""
    project = await client.register_project(str(make_repository(folder)))
    return await client.open_session(project.id)


def open_socket(live: LiveHost, **options: object) -> connect:
    """A WebSocket that is signed in by header."""
    given: dict[str, object] = {
        "additional_headers": {"Authorization": f"Bearer {live.token}"},
        "subprotocols": [Subprotocol("coder.v1")],
        "compression": None,
        "max_size": None,
        "proxy": None,
        "close_timeout": 1,
    }
    return connect("ws" + live.url.removeprefix("http") + "/api/ws", **(given | options))  # pyright: ignore[reportArgumentType]: options of connect


async def next_frame(socket: ClientConnection) -> ServerFrame:
    """The next frame that is not a heartbeat."""
    with anyio.fail_after(10):
        while True:
            frame = server_frame.validate_json(await socket.recv())
            if frame.type != "ping":
                return frame


async def open_request(client: Client, session_id: str) -> PermissionRequest:
    """The request that the session's agent is waiting with."""
    async with client.events(session_id) as items:
        with anyio.fail_after(15):
            async for item in items:
                if isinstance(item, SnapshotFrame) and item.permissions:
                    return item.permissions[0]
                if isinstance(item, Record) and item.event.type == "permission_requested":
                    found = await client.permissions(session_id, PermissionStatus.PENDING)
                    return found[0]
    raise AssertionError("nothing was asked")
