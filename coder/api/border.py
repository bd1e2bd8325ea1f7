"""The outermost ring: what goes wrong inside becomes a problem or a close code, and every answer carries its guards."""

import logging
import time

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coder.api.auth import is_guarded
from coder.api.errors import close_code_of, error_frame, problem_response
from coder.api.metrics import Meter
from coder.errors import NotFound
from coder.protocol import SUBPROTOCOL

logger = logging.getLogger(__name__)

_CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; manifest-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Border:
    """ASGI middleware around everything else."""

    def __init__(self, app: ASGIApp, meter: Meter) -> None:
        self._app = app
        self._meter = meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._converse(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = time.monotonic()
        status = 0

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _guard(scope, MutableHeaders(scope=message))
            await send(message)

        try:
            await self._app(scope, receive, send_guarded)
        except Exception as error:
            if status:
                logger.exception("response broke off")
            else:
                await problem_response(error)(scope, receive, send_guarded)
        finally:
            self._meter.count_request(scope, status, time.monotonic() - begun)

    async def _converse(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_accepted = is_closed = False

        async def send_noted(message: Message) -> None:
            nonlocal is_accepted, is_closed
            is_accepted = is_accepted or message["type"] == "websocket.accept"
            is_closed = is_closed or message["type"] == "websocket.close"
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except Exception as error:
            reason = NotFound("no such socket") if isinstance(error, HTTPException) else error
            frame = error_frame(reason)
            # Accepted first: a browser is told the close code of an open socket only, never why a handshake failed.
            if not is_accepted:
                subprotocol = SUBPROTOCOL if SUBPROTOCOL in scope.get("subprotocols", ()) else None
                await send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": []})
            if not is_closed:
                await send({"type": "websocket.close", "code": close_code_of(reason), "reason": frame.message[:100]})


def _guard(scope: Scope, headers: MutableHeaders) -> None:
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    if is_guarded(HTTPConnection(scope).scope["path"]):
        headers.setdefault("Cache-Control", "no-store")
