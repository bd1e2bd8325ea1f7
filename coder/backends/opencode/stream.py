"""The server's event stream, split into events, over as many connections as it takes."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
import httpx2

from coder.backends.opencode.http import Http, is_refused_sign_in
from coder.backends.wire import Fields, fields, text
from coder.errors import AgentError, AgentProtocolError, LineTooLong
from coder.json_values import NotJson, read_line

logger = logging.getLogger(__name__)

FRAME_LIMIT = 16 * 1024 * 1024
PAUSES = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds before another try to connect, the last one from then on."""

OnEvent = Callable[[str, Fields], Awaitable[None]]
OnConnected = Callable[[], Awaitable[None]]


async def follow(http: Http, is_alive: Callable[[], bool], on_connected: OnConnected, on_event: OnEvent) -> None:
    """Hand every event on, in order, until the server is dead and its last words are heard.

    `on_connected` is called on each connection before its first event: nothing that happens afterwards is missed.

    Raises:
        AgentError: the server refuses us; there is no use in another try.
    """
    tries = 0
    while is_alive():
        try:
            async with http.events() as response:
                async for kind, properties in _events(response):
                    if kind == "server.connected":
                        tries = 0
                        await on_connected()
                    else:
                        await on_event(kind, properties)
        except LineTooLong:
            raise
        except AgentProtocolError as error:
            if is_refused_sign_in(error):
                raise
            logger.info("event stream refused: %s", error)
        except AgentError as error:
            logger.info("event stream not reconciled: %s", error)
        except (httpx2.TransportError, httpx2.StreamError) as error:
            logger.info("event stream lost: %s", error or type(error).__name__)
        await anyio.sleep(PAUSES[min(tries, len(PAUSES) - 1)])
        tries += 1


async def _events(response: httpx2.Response) -> AsyncIterator[tuple[str, Fields]]:
    buffer = bytearray()
    async for chunk in response.aiter_bytes():
        searched = max(0, len(buffer) - 1)
        buffer += chunk
        if len(buffer) > FRAME_LIMIT:
            raise LineTooLong(f"the server sent an event of more than {FRAME_LIMIT} bytes", limit=FRAME_LIMIT)
        while (end := buffer.find(b"\n\n", searched)) >= 0:
            frame = bytes(buffer[:end])
            del buffer[: end + 2]
            searched = 0
            if event := _event(frame):
                yield event


def _event(frame: bytes) -> tuple[str, Fields] | None:
    data = b"\n".join(line[5:].strip() for line in frame.split(b"\n") if line.startswith(b"data:"))
    if not data:
        return None
    try:
        message = fields(read_line(data))
    except NotJson:
        logger.warning("an event of the server is no JSON and left out")
        return None
    kind = text(message.get("type"))
    return (kind, fields(message.get("properties"))) if kind and kind != "sync" else None
