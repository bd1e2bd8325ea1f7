"""Access: which requests and sockets are let in, before any routing. Host, path, origin, then token."""

import hashlib
import hmac
import math
import re
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from coder.api.bodies import parse_model, read_bytes
from coder.api.context import Caller, host_of, set_caller
from coder.api.operations import Call, Nothing, command, raw
from coder.errors import Forbidden, MalformedBody, NotAuthenticated, TooMany
from coder.host import Host
from coder.protocol import Login, SocketTicket
from coder.settings import Settings

TOKEN_SUBPROTOCOL = "coder.token."
"""A browser cannot set headers on a WebSocket: it may offer this prefix and the token beside `coder.v1`."""
TICKET_SUBPROTOCOL = "coder.ticket."
"""The same with what `POST /api/tickets` gave: a pane does not know the token, and its cookie stays on its own host."""

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_COOKIE_LIFE_S = 30 * 86400
_TICKET_LIFE_S = 30
_LOGIN_LIMIT = 1024
_OPEN = frozenset({("GET", "/api/health"), ("HEAD", "/api/health"), ("POST", "/api/login")})
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?")
_BAD_ESCAPE = re.compile(rb"%(?:2f|5c|2e|00|25)", re.IGNORECASE)


@dataclass(frozen=True)
class Access:
    """The rules. `clock` gives seconds since the epoch."""

    token: str
    bound_host: str
    allowed_hosts: frozenset[str]
    allowed_origins: frozenset[str]
    clock: Callable[[], float] = time.time

    def admit(self, connection: HTTPConnection) -> Caller | None:
        """Who is calling; None on an open route.

        Raises:
            Forbidden: host or origin is not on its list. MalformedBody: the path is not canonical.
            NotAuthenticated: no valid token came along where one is needed.
        """
        method = str(connection.scope.get("method", "GET"))
        path = str(connection.scope["path"])
        self._check_host(connection)
        _check_path(connection.scope)
        self._check_origin(connection, is_api=is_guarded(path))
        if not is_guarded(path) or (method, path) in _OPEN:
            return None
        caller = self._identify(connection)
        if caller.way != "token" and (connection.scope["type"] == "websocket" or method not in _SAFE):
            _check_same_site(connection)
        return caller

    def has_token(self, offered: str) -> bool:
        """Whether this is the token; takes the same time for every wrong one."""
        return hmac.compare_digest(_digest(offered), _digest(self.token))

    def new_cookie(self) -> str:
        """A cookie value that proves a login. It is not the token: cookies reach every port of a host name."""
        return self._claim("cookie", _COOKIE_LIFE_S)

    def has_login(self, cookie: str) -> bool:
        """Whether the cookie was made by `new_cookie` under this token and is not too old."""
        return self._holds("cookie", cookie)

    def new_ticket(self) -> tuple[str, datetime]:
        """What opens a socket in the next seconds, and until when."""
        ticket = self._claim("ticket", _TICKET_LIFE_S)
        return ticket, datetime.fromtimestamp(int(ticket.partition(".")[0]), UTC)

    def _claim(self, purpose: str, life_s: int) -> str:
        claim = f"{int(self.clock()) + life_s}.{secrets.token_urlsafe(12)}"
        return f"{claim}.{self._sign(purpose, claim)}"

    def _holds(self, purpose: str, claimed: str) -> bool:
        claim, _, signature = claimed.rpartition(".")
        until = claim.partition(".")[0]
        if not hmac.compare_digest(_digest(signature), _digest(self._sign(purpose, claim))):
            return False
        return until.isascii() and until.isdigit() and len(until) < 16 and int(until) > self.clock()

    def _sign(self, purpose: str, claim: str) -> str:
        return hmac.new(self.token.encode(), f"{purpose} {claim}".encode(), hashlib.sha256).hexdigest()

    def _check_host(self, connection: HTTPConnection) -> None:
        hosts = Headers(scope=connection.scope).getlist("host")
        match = _HOST.fullmatch(hosts[0].lower()) if len(hosts) == 1 else None
        if match is None:
            raise Forbidden("the request must name one host", code="forbidden_host")
        name, port = match[1], int(match[2] or _default_port(connection.scope))
        if name in self.allowed_hosts:
            return
        if name not in self._own_names(connection.scope) or port != _own_port(connection.scope):
            raise Forbidden("the host does not answer to this name", code="forbidden_host")

    def _check_origin(self, connection: HTTPConnection, *, is_api: bool) -> None:
        headers = Headers(scope=connection.scope)
        origins = headers.getlist("origin")
        if len(origins) > 1 or (origins and not self._is_own_origin(connection.scope, origins[0])):
            raise Forbidden("requests from this origin are refused", code="forbidden_origin")
        # Pages of other sites may link to the pane, but not reach the API, not even with a plain GET.
        if is_api and not origins and headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise Forbidden("requests from another site are refused", code="forbidden_origin")

    def _is_own_origin(self, scope: Scope, origin: str) -> bool:
        if origin in self.allowed_origins:
            return True
        port = _own_port(scope)
        suffixes = (f":{port}", "") if port == _default_port(scope) else (f":{port}",)
        scheme = "https" if scope["scheme"] in ("https", "wss") else "http"
        return any(origin == f"{scheme}://{name}{suffix}" for name in self._own_names(scope) for suffix in suffixes)

    def _own_names(self, scope: Scope) -> frozenset[str]:
        # The address that the connection arrived at cannot be rebound by a name server: it is the host's own.
        return _LOOPBACK | {_bracketed(self.bound_host), _bracketed(str(scope["server"][0]))}

    def _identify(self, connection: HTTPConnection) -> Caller:
        offered = _bearer(connection)
        if offered is not None:
            if not self.has_token(offered):
                raise NotAuthenticated("the token is not valid")
            return Caller("token")
        ticket = _offer(connection, TICKET_SUBPROTOCOL)
        if ticket is not None:
            if not self._holds("ticket", ticket):
                raise NotAuthenticated("the ticket is not valid, or not any more")
            return Caller("ticket")
        cookie = connection.cookies.get(cookie_name(connection.scope))
        if cookie is None or not self.has_login(cookie):
            raise NotAuthenticated("a token is needed")
        return Caller("cookie")


def access_rules(settings: Settings, token: str) -> Access:
    """The rules that these settings ask for."""
    return Access(
        token,
        settings.host.lower(),
        frozenset(name.lower() for name in settings.allowed_hosts),
        frozenset(settings.allowed_origins) - {"null", "*"},
    )


class Throttle:
    """Counts wrong logins. The token cannot be guessed, so a right one is let in always: nobody locks its owner out."""

    limit = 10
    window_s = 60.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: deque[float] = deque(maxlen=self.limit)

    def count_failure(self) -> None:
        """One more login was wrong.

        Raises:
            TooMany: it comes too soon after too many others.
        """
        moment = self._clock()
        if len(self._failures) == self.limit and moment - self._failures[0] < self.window_s:
            wait = math.ceil(self._failures[0] + self.window_s - moment)
            raise TooMany("too many wrong logins; wait a little", code="too_many_logins", retry_after=wait)
        self._failures.append(moment)


class Door:
    """ASGI middleware: nothing behind it is reached without being admitted."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            set_caller(scope, self._access.admit(HTTPConnection(scope)))
        await self._app(scope, receive, send)


def cookie_name(scope: Scope) -> str:
    """Cookies are shared by all ports of a name, so the port is part of the cookie's own name."""
    return f"coder_token_{_own_port(scope)}"


async def log_in(request: Request) -> Response:
    login = parse_model(Login, await read_bytes(request, _LOGIN_LIMIT))
    access = access_rules(host_of(request).settings, host_of(request).token)
    if not access.has_token(login.token):
        throttle: Throttle = request.app.state.throttle
        throttle.count_failure()
        raise NotAuthenticated("the token is not valid")
    in_frame = login.in_frame and bool(host_of(request).settings.frame_origins)
    return _with_cookie(request, access.new_cookie(), _COOKIE_LIFE_S, in_frame=in_frame)


async def log_out(request: Request) -> Response:
    parse_model(Nothing, await read_bytes(request, _LOGIN_LIMIT) or b"{}")
    return _with_cookie(request, "", 0, in_frame=bool(host_of(request).settings.frame_origins))


async def give_ticket(host: Host, call: Call[Nothing, Nothing]) -> SocketTicket:
    ticket, expires_at = access_rules(host.settings, host.token).new_ticket()
    return SocketTicket(ticket=ticket, expires_at=expires_at)


def _with_cookie(request: Request, value: str, life_s: int, *, in_frame: bool) -> Response:
    response = Response(status_code=204)
    name = cookie_name(request.scope)
    is_secure = request.headers.get("origin", "").startswith("https://")
    response.set_cookie(name, value, life_s, path="/", httponly=True, samesite="strict", secure=is_secure)
    if in_frame:
        # A strict cookie is not kept in a frame on another site. This one is, for frames on that site alone.
        fields = f"Max-Age={life_s}; Path=/; HttpOnly; Secure; SameSite=None; Partitioned"
        response.headers.append("Set-Cookie", f"{name}={value}; {fields}")
    return response


def is_guarded(path: str) -> bool:
    """Whether the path needs a token unless it is listed as open; everything else is the pane."""
    return path in ("/api", "/metrics") or path.startswith(("/api/", "/metrics/"))


def _check_path(scope: Scope) -> None:
    raw_path = scope.get("raw_path") or b""
    path = str(scope["path"])
    if (
        not path.startswith("/")
        or _BAD_ESCAPE.search(raw_path)
        or any(part in ("..", ".") for part in path.split("/"))
        or "//" in path
        or "\\" in path
        or not path.isprintable()
        or "\ufffd" in path
    ):
        raise MalformedBody("the path is not canonical", code="bad_path")


def _check_same_site(connection: HTTPConnection) -> None:
    # The origin, where there is one, was found to be ours before. Without it the browser must vouch for the page.
    if "origin" not in connection.headers and connection.headers.get("sec-fetch-site") != "same-origin":
        raise Forbidden("a cookie is not enough without an origin", code="forbidden_origin")


def _bearer(connection: HTTPConnection) -> str | None:
    authorizations = connection.headers.getlist("authorization")
    if authorizations:
        scheme, _, token = authorizations[0].partition(" ")
        return token.strip() if scheme.lower() == "bearer" and len(authorizations) == 1 else ""
    return _offer(connection, TOKEN_SUBPROTOCOL)


def _offer(connection: HTTPConnection, prefix: str) -> str | None:
    offers = connection.scope.get("subprotocols", ())
    return next((offer.removeprefix(prefix) for offer in offers if offer.startswith(prefix)), None)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _bracketed(name: str) -> str:
    return f"[{name.lower()}]" if ":" in name else name.lower()


def _own_port(scope: Scope) -> int:
    return int(scope["server"][1])


def _default_port(scope: Scope) -> int:
    return 443 if scope["scheme"] in ("https", "wss") else 80


routes = [
    raw(
        "POST",
        "/api/login",
        log_in,
        "Trade the token for a cookie",
        tag="access",
        body=Login,
        status=204,
    ),
    raw("POST", "/api/logout", log_out, "Forget the cookie", tag="access", body=Nothing, status=204),
    command(
        "POST",
        "/api/tickets",
        give_ticket,
        "Take a ticket for a WebSocket on another origin",
        tag="access",
        body=Nothing,
        query=Nothing,
        answer=SocketTicket,
        status=200,
    ),
]
