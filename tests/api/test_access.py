"""Who is let in: every route against every way of coming from where one should not."""

from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from coder.api.auth import access_rules
from coder.api.operations import Operation
from coder.api.routes import all_operations
from coder.testing.harness import LiveHost, open_live_host
from tests.api.wire import JSON, Headers, commands, good_headers, open_socket, path_of, send_raw

OPEN = {("GET", "/api/health"), ("POST", "/api/login")}


@dataclass(frozen=True)
class Vector:
    """A way to come: the headers it is tried with, and the only status that is right."""

    name: str
    headers: Headers
    status: int


def vectors_of_strangers(live: LiveHost) -> list[Vector]:
    """Right address, but no proof of belonging."""
    host = _host(live)

    def vector(name: str, *headers: tuple[str, str]) -> Vector:
        return Vector(name, [host, *headers], 401)

    cookie = f"coder_token_{_port(live)}"
    return [
        vector("no token"),
        vector("wrong token", ("Authorization", "Bearer " + "x" * 43)),
        vector("empty token", ("Authorization", "Bearer ")),
        vector("other scheme", ("Authorization", f"Basic {live.token}")),
        vector("token twice", ("Authorization", f"Bearer {live.token}"), ("Authorization", f"Bearer {live.token}")),
        vector("token in a cookie", ("Cookie", f"{cookie}={live.token}")),
        vector("forged cookie", ("Cookie", f"{cookie}=9999999999.a.b")),
        vector("expired cookie", ("Cookie", f"{cookie}={_cookie_of(live, token=live.token, made_at=0)}")),
        vector("cookie of another token", ("Cookie", f"{cookie}={_cookie_of(live, token='x' * 43)}")),
        vector("cookie of another port", ("Cookie", f"{cookie}1={_cookie_of(live, token=live.token)}")),
        vector("token in another header", ("X-Token", live.token)),
        vector("empty cookie", ("Cookie", f"{cookie}=")),
    ]


def vectors_of_pages(live: LiveHost) -> list[Vector]:
    """Right token, but from a page that is not ours."""

    def vector(name: str, *headers: tuple[str, str]) -> Vector:
        return Vector(name, [*good_headers(live), *headers], 403)

    return [
        vector("foreign origin", ("Origin", "http://evil.example")),
        vector("null origin", ("Origin", "null")),
        vector("origin on another port", ("Origin", "http://127.0.0.1:3000")),
        vector("our origin as prefix", ("Origin", f"{live.url}.evil.example")),
        vector("our origin over https", ("Origin", live.url.replace("http", "https"))),
        vector("two origins", ("Origin", live.url), ("Origin", "http://evil.example")),
        vector("page of another site", ("Sec-Fetch-Site", "cross-site")),
        vector("page on another port", ("Sec-Fetch-Site", "same-site")),
    ]


def vectors_of_names(live: LiveHost) -> list[Vector]:
    """Right token, but addressed to a name that is not ours."""

    def vector(name: str, *hosts: str) -> Vector:
        return Vector(name, [*(("Host", host) for host in hosts), good_headers(live)[1]], 403)

    ours, port = _host(live)[1], _port(live)
    return [
        vector("foreign host", "evil.example"),
        vector("rebound host", f"127.0.0.1.evil.example:{port}"),
        vector("host on another port", "127.0.0.1:1"),
        vector("host without the port", "localhost"),
        vector("host with a trailing dot", f"localhost.:{port}"),
        vector("host with a user", f"localhost@evil.example:{port}"),
        vector("no host"),
        vector("two hosts", ours, "evil.example"),
        vector("the same host twice", ours, ours),
    ]


@pytest.mark.scenario("access: Every route is closed to whoever does not belong")
async def test_no_route_is_reached_by_whoever_does_not_belong(tmp_path: Path, database_url: str):
    let_in: list[str] = []
    async with open_live_host(tmp_path, database_url) as live:
        for operation in all_operations():
            vectors = [*vectors_of_pages(live), *vectors_of_names(live)]
            if (operation.method, operation.path) not in OPEN:
                vectors += vectors_of_strangers(live)
            for vector in vectors:
                status = await _try(live, operation, vector.headers)
                if status != vector.status:
                    let_in.append(f"{operation.method} {operation.path}: {vector.name} got {status}")
    assert let_in == []


@pytest.mark.scenario("access: No handshake opens a socket to whoever does not belong")
async def test_no_socket_is_opened_by_whoever_does_not_belong(tmp_path: Path, database_url: str):
    opened: list[str] = []
    async with open_live_host(tmp_path, database_url) as live:
        signed_in = ("Cookie", f"coder_token_{_port(live)}={_cookie_of(live, token=live.token)}")
        by_cookie = [
            Vector("our cookie, no origin", [_host(live), signed_in], 403),
            Vector("our cookie, foreign origin", [_host(live), signed_in, ("Origin", "http://evil.example")], 403),
            Vector("our cookie, null origin", [_host(live), signed_in, ("Origin", "null")], 403),
        ]
        by_offer = [
            Vector(f"token offered: {name}", [_host(live), ("Sec-WebSocket-Protocol", f"coder.v1, {offer}")], 401)
            for name, offer in (("wrong", "coder.token.x"), ("empty", "coder.token."), ("bare", live.token))
        ]
        vectors = [*vectors_of_pages(live), *vectors_of_names(live), *vectors_of_strangers(live), *by_cookie, *by_offer]
        for vector in vectors:
            answer = await shake_hands(live, vector.headers)
            # What uvicorn's own parser refuses never reaches a close code.
            if answer not in (f"closed {4000 + vector.status}", "refused 400"):
                opened.append(f"{vector.name} got {answer}")
        for headers in ([_host(live), signed_in, ("Origin", live.url)], good_headers(live)):
            assert await shake_hands(live, headers) == "welcome"
        headers = [_host(live), ("Sec-WebSocket-Protocol", f"coder.v1, coder.token.{live.token}")]
        assert await shake_hands(live, headers) == "welcome"
        query = await shake_hands(live, [_host(live)], f"/api/ws?token={live.token}")
        assert query == "closed 4401"
    assert opened == []


async def shake_hands(live: LiveHost, headers: Headers, path: str = "/api/ws") -> str:
    """What becomes of a WebSocket handshake with exactly these headers: `welcome`, `refused STATUS`, `closed CODE`."""
    handshake = [
        *headers,
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]
    request = "".join([f"GET {path} HTTP/1.1\r\n", *(f"{name}: {value}\r\n" for name, value in handshake), "\r\n"])
    address = urlsplit(live.url)
    received = b""
    with anyio.fail_after(10):
        async with await anyio.connect_tcp(address.hostname or "", address.port or 0) as stream:
            await stream.send(request.encode("latin-1"))
            while b"\r\n\r\n" not in received or len(received.partition(b"\r\n\r\n")[2]) < 4:
                try:
                    received += await stream.receive()
                except anyio.EndOfStream:
                    break
    head, _, frame = received.partition(b"\r\n\r\n")
    status = head.split(b" ")[1].decode()
    if status != "101":
        return f"refused {status}"
    return f"closed {int.from_bytes(frame[2:4], 'big')}" if frame[0] == 0x88 else "welcome"


@pytest.mark.scenario("access: A program with the token is let in")
async def test_the_same_requests_with_token_host_and_own_origin_are_let_in(tmp_path: Path, database_url: str):
    shut_out: list[str] = []
    async with open_live_host(tmp_path, database_url) as live:
        port = _port(live)
        for operation in all_operations():
            for name in ("127.0.0.1", "localhost", "[::1]"):
                headers = [
                    ("Host", f"{name}:{port}"),
                    ("Origin", f"http://{name}:{port}"),
                    ("Authorization", f"Bearer {live.token}"),
                ]
                reply = await _try(live, operation, headers)
                if reply in (401, 403) and operation.path != "/api/login":
                    shut_out.append(f"{operation.method} {operation.path} as {name} got {reply}")
    assert shut_out == []


@pytest.mark.scenario("access: Nothing but JSON changes anything")
async def test_a_command_with_a_body_that_a_foreign_page_could_send_is_refused(tmp_path: Path, database_url: str):
    taken: list[str] = []
    async with open_live_host(tmp_path, database_url) as live:
        for operation in commands():
            for media_type in (
                "text/plain",
                "application/x-www-form-urlencoded",
                "multipart/form-data; boundary=x",
                "",
            ):
                headers = [*good_headers(live), ("Content-Type", media_type)] if media_type else good_headers(live)
                reply = await send_raw(live.url, operation.method, path_of(operation), headers, b"{}")
                if reply.status != 415:
                    taken.append(f"{operation.method} {operation.path} as {media_type!r} got {reply.status}")
    assert taken == []


@pytest.mark.scenario("access: Reading changes nothing")
async def test_a_command_cannot_be_given_with_get(tmp_path: Path, database_url: str):
    readable = {operation.path for operation in all_operations() if operation.method == "GET"}
    async with open_live_host(tmp_path, database_url) as live:
        for operation in commands():
            reply = await send_raw(live.url, "GET", path_of(operation), good_headers(live))
            if operation.path not in readable:
                allowed = reply.headers.get("allow", "")
                assert (reply.status, operation.method in allowed) == (405, True), (operation.path, reply)


@pytest.mark.scenario("access: A path is canonical or refused")
async def test_a_path_that_two_readers_could_read_differently_is_refused(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path, database_url) as live:
        for path in (
            "/api/../api/projects",
            "/api/%2e%2e/projects",
            "/api//projects",
            "//api/projects",
            "/api/projects%2fx",
            "/api/projects\\x",
            "/api/projects%5cx",
            "/api/projects/%00",
            "/api/projects/%ff",
            "/api/projects/%0a",
            "/api/./projects",
            "/api/projects/%252e",
        ):
            reply = await send_raw(live.url, "GET", path, good_headers(live))
            assert (reply.status, b"bad_path" in reply.body) == (400, True), path


@pytest.mark.scenario("access: The pane signs in with a cookie")
async def test_a_login_gives_a_cookie_that_reads_and_writes_from_our_own_page_only(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path, database_url) as live:
        host, origin = _host(live), ("Origin", live.url)
        login = b'{"token": "%s"}' % live.token.encode()
        reply = await send_raw(live.url, "POST", "/api/login", [host, origin, JSON], login)
        assert reply.status == 204
        attributes = reply.headers["set-cookie"]
        assert all(word in attributes for word in ("HttpOnly", "SameSite=strict", "Path=/"))
        assert live.token not in attributes
        cookie = ("Cookie", attributes.partition(";")[0])

        async def status(method: str, *headers: tuple[str, str]) -> int:
            return (await send_raw(live.url, method, "/api/projects", [host, cookie, *headers])).status

        assert await status("GET") == 200
        assert await status("POST", origin) == 422
        assert await status("POST", ("Sec-Fetch-Site", "same-origin")) == 422
        assert await status("POST") == 403
        assert await status("POST", ("Sec-Fetch-Site", "same-site")) == 403
        assert await status("POST", ("Origin", "http://localhost:3000")) == 403

        reply = await send_raw(live.url, "POST", "/api/logout", [host, cookie, origin])
        assert (reply.status, "Max-Age=0" in reply.headers["set-cookie"]) == (204, True)


async def test_a_login_with_a_wrong_token_is_refused_and_sets_nothing(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path, database_url) as live:
        reply = await send_raw(live.url, "POST", "/api/login", [_host(live), JSON], b'{"token": "wrong"}')
        assert (reply.status, "set-cookie" in reply.headers) == (401, False)


@pytest.mark.scenario("access: Sockets obey the same rules")
async def test_a_socket_is_told_why_it_is_closed(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path, database_url) as live:
        right = {"Authorization": f"Bearer {live.token}"}
        protocol = Subprotocol("coder.v1")

        async def close_code(headers: dict[str, str], *subprotocols: str) -> int:
            offered = [protocol, *(Subprotocol(name) for name in subprotocols)]
            async with open_socket(live, additional_headers=headers, subprotocols=offered) as socket:
                assert socket.subprotocol == "coder.v1"
                with anyio.fail_after(5), pytest.raises(ConnectionClosed) as caught:
                    await socket.recv()
                return caught.value.rcvd.code if caught.value.rcvd else 0

        assert await close_code({}) == 4401
        assert await close_code({"Authorization": "Bearer wrong"}) == 4401
        assert await close_code({}, "coder.token.wrong") == 4401
        assert await close_code(right | {"Origin": "http://evil.example"}) == 4403
        assert await close_code(right | {"Origin": "null"}) == 4403
        assert await close_code(right | {"Sec-Fetch-Site": "cross-site"}) == 4403


@pytest.mark.scenario("access: A browser's socket signs in")
async def test_a_socket_signs_in_by_subprotocol_or_by_cookie_from_our_page(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path, database_url) as live:
        reply = await send_raw(
            live.url, "POST", "/api/login", [_host(live), JSON], b'{"token": "%s"}' % live.token.encode()
        )
        cookie = {"Cookie": reply.headers["set-cookie"].partition(";")[0]}

        async def greeting(headers: dict[str, str], *subprotocols: str) -> str:
            offered = [Subprotocol(name) for name in ("coder.v1", *subprotocols)]
            async with open_socket(live, additional_headers=headers, subprotocols=offered) as socket:
                assert socket.subprotocol == "coder.v1"
                with anyio.fail_after(5):
                    try:
                        return str(await socket.recv())
                    except ConnectionClosed as error:
                        return str(error.rcvd.code if error.rcvd else 0)

        assert "welcome" in await greeting({}, f"coder.token.{live.token}")
        assert "welcome" in await greeting(cookie | {"Origin": live.url})
        assert await greeting(cookie) == "4403"


@pytest.mark.scenario("access: Answers tell a browser to be careful")
async def test_every_answer_carries_the_guarding_headers(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path, database_url) as live:
        for path in ("/", "/api/health", "/api/projects", "/api/nowhere", "/api/docs"):
            reply = await send_raw(live.url, "GET", path, good_headers(live))
            policy = reply.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert reply.headers["x-content-type-options"] == "nosniff"
            assert reply.headers["cache-control"] == ("no-cache" if path == "/" else "no-store")


@pytest.mark.scenario("access: Further names and origins are listed")
async def test_listed_hosts_and_origins_are_let_in_exactly_as_listed(tmp_path: Path, database_url: str):
    hosts, origins = ("coder.example",), ("https://coder.example",)
    async with open_live_host(tmp_path, database_url, allowed_hosts=hosts, allowed_origins=origins) as live:
        token = good_headers(live)[1]

        async def status(host: str, origin: str) -> int:
            return (
                await send_raw(live.url, "GET", "/api/projects", [("Host", host), ("Origin", origin), token])
            ).status

        assert await status("coder.example", "https://coder.example") == 200
        assert await status("coder.example:8443", "https://coder.example") == 200
        assert await status("coder.example", "http://coder.example") == 403
        assert await status("a.coder.example", "https://coder.example") == 403
        assert await status("coder.example", "https://coder.example.evil") == 403


def _host(live: LiveHost) -> tuple[str, str]:
    return ("Host", urlsplit(live.url).netloc)


def _cookie_of(live: LiveHost, *, token: str, made_at: float | None = None) -> str:
    """A cookie as the host would make it, with this token and at this time."""
    access = access_rules(live.host.settings, token)
    return (access if made_at is None else replace(access, clock=lambda: made_at)).new_cookie()


def _port(live: LiveHost) -> int:
    return urlsplit(live.url).port or 0


async def _try(live: LiveHost, operation: Operation, headers: Headers) -> int:
    body = b"{}" if operation.method in ("POST", "PATCH") else b""
    typed = [*headers, JSON] if body else headers
    return (await send_raw(live.url, operation.method, path_of(operation), typed, body)).status
