"""One TCP connection: what is bounded before there is a request that anything else could refuse."""

import asyncio
from dataclasses import dataclass
from typing import Any, cast

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from coder.api.errors import problem_response
from coder.errors import CoderError, HeadersTooLarge, MalformedBody, TooSlow, Unavailable


@dataclass(frozen=True)
class ConnectionLimits:
    """`header_deadline` in seconds from the opening, or from the first byte of a later request, to the last header.

    Above `count` connections a request is answered 503; `spare` more are let in so far that they can be told.
    """

    count: int = 1000
    spare: int = 64
    header_deadline: float = 10.0
    header_bytes: int = 64 * 1024


class Connection(HttpToolsProtocol):
    """HTTP by uvicorn, with a deadline and a size for headers, and every refusal as a problem."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: ConnectionLimits,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._deadline: asyncio.TimerHandle | None = None
        self._has_begun = False
        self._is_in_headers = True
        self._header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._limits.count + self._limits.spare:
            transport.abort()
        else:
            self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        is_first, headers_before = not self._has_begun, self.headers
        super().data_received(data)
        if self.transport.is_closing() or not (self._is_in_headers or self._is_idle):
            return
        # Between requests too: bytes that begin none have ended uvicorn's own wait for the next one.
        if self._deadline is None:
            self._await_headers()
        # A later request's first piece may hold the end of the body before it.
        if self._is_in_headers and (is_first or self.headers is headers_before):
            self._header_bytes += len(data)
        if self._header_bytes > self._limits.header_bytes:
            self._refuse(self._headers_too_large())

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._has_begun = self._is_in_headers = True
        self._header_bytes = 0

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        self._is_in_headers = False
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > self._limits.header_bytes:
            self.app = _refusal(self._headers_too_large())
        elif len(self.connections) > self._limits.count:
            self.app = _refusal(Unavailable("too many connections are open", code="too_many_connections"))
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(MalformedBody("this is not HTTP", code="malformed_request"))

    @property
    def _is_idle(self) -> bool:
        # There is none before the first request, and none for what becomes a WebSocket.
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is not None and cycle.response_complete

    def _await_headers(self) -> None:
        self._deadline = self.loop.call_later(self._limits.header_deadline, self._end_late)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end_late(self) -> None:
        if self._is_in_headers and self._has_begun:
            seconds = self._limits.header_deadline
            self._refuse(TooSlow(f"the headers did not arrive within {seconds:g} s", code="headers_too_slow"))
        else:
            self.transport.close()

    def _headers_too_large(self) -> HeadersTooLarge:
        return HeadersTooLarge(f"the headers are over {self._limits.header_bytes} bytes")

    def _refuse(self, error: CoderError) -> None:
        """Answer without a request; nothing more is read here."""
        self._stop_waiting()
        response = problem_response(error)
        response.headers["Connection"] = "close"
        head = b"".join(name + b": " + value + b"\r\n" for name, value in response.raw_headers)
        self.transport.write(STATUS_LINE[response.status_code] + head + b"\r\n" + bytes(response.body))
        self.transport.close()


def _refusal(error: CoderError) -> ASGIApp:
    """An application that knows one answer, and ends the connection with it."""
    response = problem_response(error)
    response.headers["Connection"] = "close"
    return response
