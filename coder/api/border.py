"""The outermost ring: what goes wrong inside becomes a problem or a close code, and every answer carries its guards."""

import logging
import time
from collections.abc import Mapping, Sequence

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

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def guards_of(frame_origins: Sequence[str] = (), socket_origin: str | None = None) -> Mapping[str, str]:
    """The headers of every answer: nothing from elsewhere, framed by nobody but pages of these origins."""
    connected = " ".join(filter(None, ("'self'", socket_origin)))
    framed_by = " ".join(frame_origins or ("'none'",))
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; "
        f"connect-src {connected}; manifest-src 'self'; "
        f"frame-ancestors {framed_by}; base-uri 'none'; form-action 'none'"
    )
    guards = {**_HEADERS, "Content-Security-Policy": policy}
    # It knows no list; where there is one, the policy alone must speak.
    return guards if frame_origins else {**guards, "X-Frame-Options": "DENY"}


class Border:
    """ASGI middleware around everything else. `guards` are headers of every answer that does not set them itself."""

    def __init__(self, app: ASGIApp, meter: Meter, guards: Mapping[str, str] | None = None) -> None:
        self._app = app
        self._meter = meter
        self._guards = guards_of() if guards is None else guards

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
                self._guard(scope, MutableHeaders(scope=message))
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

    def _guard(self, scope: Scope, headers: MutableHeaders) -> None:
        for name, value in self._guards.items():
            headers.setdefault(name, value)
        if is_guarded(HTTPConnection(scope).scope["path"]):
            headers.setdefault("Cache-Control", "no-store")
