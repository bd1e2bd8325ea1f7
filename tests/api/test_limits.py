"""What one caller may take of the host: every limit is met over a real socket, at the last that fits and one beyond."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import orjson
import pytest
from anyio.abc import SocketStream
from websockets.exceptions import ConnectionClosed

from coder.api.auth import Throttle
from coder.api.connections import ConnectionLimits
from coder.api.stream import StreamLimits
from coder.errors import TooMany
from coder.protocol import INPUT_LIMIT, ErrorFrame, Problem
from coder.testing.harness import LiveHost, open_live_host
from tests.api.wire import (
    JSON,
    good_headers,
    next_frame,
    open_socket,
    open_test_session,
    read_reply,
    send_raw,
)

SLOW = ConnectionLimits(header_deadline=1.0)


@asynccontextmanager
async def connected(live: LiveHost, first: bytes = b"") -> AsyncGenerator[SocketStream]:
    address = urlsplit(live.url)
    async with await anyio.connect_tcp(address.hostname or "", address.port or 0) as stream:
        if first:
            await stream.send(first)
        yield stream


async def health(live: LiveHost) -> int:
    return (await send_raw(live.url, "GET", "/api/health", good_headers(live)[:1])).status


def code_of(body: bytes) -> str:
    return Problem.model_validate_json(body).code


@pytest.mark.scenario("limits: Headers have a deadline")
@pytest.mark.parametrize("first", [b"", b"GET /api/health HT", b"GET /api/health HTTP/1.1\r\nHost: a\r\nX-Slow"])
async def test_a_request_that_is_not_finished_is_not_waited_for(tmp_path: Path, database_url: str, first: bytes):
    async with open_live_host(tmp_path, database_url, connection_limits=SLOW) as live:
        async with connected(live, first) as stream:
            if first:
                reply = await read_reply(stream)
                assert (reply.status, code_of(reply.body)) == (408, "headers_too_slow")
            else:
                with anyio.fail_after(10), pytest.raises(anyio.EndOfStream):
                    await stream.receive()
        assert await health(live) == 200


async def test_a_connection_that_is_kept_is_ended_when_the_next_request_does_not_come(
    tmp_path: Path, database_url: str
):
    async with open_live_host(tmp_path, database_url, connection_limits=SLOW) as live:
        request = f"GET /api/health HTTP/1.1\r\nHost: {urlsplit(live.url).netloc}\r\n\r\n".encode()
        for rest in (b"\r\n", b"GET /api"):
            async with connected(live, request) as stream:
                with anyio.fail_after(10):
                    assert b" 200 OK" in await stream.receive()
                    await stream.send(rest)
                    with suppress(anyio.EndOfStream):
                        while True:
                            await stream.receive()


@pytest.mark.scenario("limits: Headers have a size")
async def test_headers_over_their_size_are_refused(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path, database_url) as live:
        headers = good_headers(live)
        for size, status in ((60_000, 200), (66_000, 431)):
            reply = await send_raw(live.url, "GET", "/api/projects", [*headers, ("X-Much", "x" * size)])
            assert reply.status == status
        assert code_of(reply.body) == "headers_too_large"
        endless = b"GET /api/health HTTP/1.1\r\n" + b"X: 1234567890\r\n" * 4500
        async with connected(live, endless) as stream:
            assert (await read_reply(stream)).status == 431
        assert await health(live) == 200


@pytest.mark.scenario("limits: What is not HTTP is told so")
async def test_what_is_no_request_gets_a_problem(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path, database_url) as live, connected(live, b"\x16\x03\x01 hello\r\n") as stream:
        reply = await read_reply(stream)
        assert (reply.status, code_of(reply.body)) == (400, "malformed_request")


@pytest.mark.scenario("limits: Connections are counted")
async def test_one_connection_too_many_is_told_so_and_there_is_room_again_afterwards(tmp_path: Path, database_url: str):
    limits = ConnectionLimits(count=2, spare=1)
    async with open_live_host(tmp_path, database_url, connection_limits=limits) as live:
        async with connected(live), connected(live):
            reply = await send_raw(live.url, "GET", "/api/health", good_headers(live)[:1])
            assert (reply.status, code_of(reply.body)) == (503, "too_many_connections")
            assert "retry-after" in reply.headers
            async with connected(live), connected(live, b"GET ") as beyond:
                with anyio.fail_after(10), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                    await beyond.receive()
        with anyio.fail_after(10):
            while await health(live) != 200:
                await anyio.lowlevel.checkpoint()


@pytest.mark.scenario("limits: Viewers are counted")
async def test_one_viewer_too_many_is_told_so_by_socket_and_by_event_stream(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path / "home", database_url, max_viewers=1) as live, live.client() as client:
        session = await open_test_session(client, tmp_path / "repository")
        stream = [*good_headers(live), ("Accept", "text/event-stream")]
        async with open_socket(live) as first:
            assert (await next_frame(first)).type == "welcome"
            async with open_socket(live) as second:
                with anyio.fail_after(10), pytest.raises(ConnectionClosed):
                    await second.recv()
                assert second.close_code == 1013
            reply = await send_raw(live.url, "GET", f"/api/sessions/{session.id}/events", stream)
            assert (reply.status, code_of(reply.body)) == (429, "too_many_viewers")
        with anyio.fail_after(10):
            while True:
                async with open_socket(live) as again:
                    with suppress(ConnectionClosed):
                        assert (await next_frame(again)).type == "welcome"
                        break


@pytest.mark.scenario("limits: Subscriptions of a socket are counted")
async def test_one_subscription_too_many_is_refused_and_the_others_go_on(tmp_path: Path, database_url: str):
    limits = StreamLimits(subscriptions=1)
    async with open_live_host(tmp_path / "home", database_url, stream_limits=limits) as live, live.client() as client:
        session = await open_test_session(client, tmp_path / "repository")
        async with open_socket(live) as socket:
            await next_frame(socket)
            for id in (session.id, session.id, "ses_other"):
                await socket.send(orjson.dumps({"type": "subscribe", "session_id": id, "after": None}).decode())
            frames = [await next_frame(socket) for _ in range(2)]
            refused = next(frame for frame in frames if isinstance(frame, ErrorFrame))
            assert refused.code == "too_many"
            assert any(frame.type == "snapshot" for frame in frames)


@pytest.mark.scenario("limits: A prompt has a size")
async def test_a_prompt_is_taken_up_to_its_size(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        session = await open_test_session(client, tmp_path / "repository")
        path = f"/api/sessions/{session.id}/messages"
        for text, status in (("say " + "x" * (INPUT_LIMIT - 4), 202), ("x" * (INPUT_LIMIT + 1), 422)):
            body = orjson.dumps({"agent": "demo", "input": text})
            assert (await send_raw(live.url, "POST", path, [*good_headers(live), JSON], body)).status == status
        await client.wait_for_task((await client.tasks(session.id)).items[0].id)


@pytest.mark.scenario("limits: Waiting prompts of a session are counted")
async def test_one_waiting_prompt_too_many_is_refused_and_a_repeated_one_is_not(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path / "home", database_url, max_queue=2) as live, live.client() as client:
        session = await open_test_session(client, tmp_path / "repository")
        path = f"/api/sessions/{session.id}/messages"

        async def send(text: str) -> tuple[int, bytes]:
            headers = [*good_headers(live), JSON, ("Idempotency-Key", text.replace(" ", "-"))]
            body = orjson.dumps({"agent": "demo", "input": text})
            reply = await send_raw(live.url, "POST", path, headers, body)
            return reply.status, reply.body

        running = orjson.loads((await send("hang"))[1])["id"]
        with anyio.fail_after(30):
            while (await client.task(running)).state != "running":
                await anyio.sleep(0.02)
        assert [(await send(text))[0] for text in ("say a", "say b")] == [202, 202]
        status, body = await send("say c")
        assert (status, code_of(body)) == (429, "queue_full")
        assert (await send("say b"))[0] == 202
        assert len((await client.tasks(session.id)).items) == 3


@pytest.mark.scenario("limits: Sessions are counted")
async def test_one_session_too_many_leaves_nothing(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path / "home", database_url, max_sessions=1) as live, live.client() as client:
        session = await open_test_session(client, tmp_path / "repository")
        with pytest.raises(TooMany) as caught:
            await client.open_session(session.project_id)
        assert caught.value.stable_code == "too_many_sessions"
        assert len((await client.sessions()).items) == 1
        assert len(list((tmp_path / "home/worktrees").iterdir())) == 1


@pytest.mark.scenario("limits: Wrong logins are slowed down")
async def test_after_ten_wrong_logins_only_the_right_token_is_looked_at(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path, database_url) as live:

        async def log_in(token: str) -> int:
            nonlocal reply
            headers = [good_headers(live)[0], JSON]
            reply = await send_raw(live.url, "POST", "/api/login", headers, orjson.dumps({"token": token}))
            return reply.status

        reply = await send_raw(live.url, "GET", "/api/health", good_headers(live)[:1])
        assert [await log_in(f"guess {number}") for number in range(10)] == [401] * 10
        assert await log_in("one more guess") == 429
        assert code_of(reply.body) == "too_many_logins"
        assert 0 < int(reply.headers["retry-after"]) <= 60
        assert await log_in(live.token) == 204


def test_wrong_logins_are_forgotten_after_a_minute():
    moment = 0.0
    throttle = Throttle(lambda: moment)
    for _ in range(throttle.limit):
        throttle.count_failure()
    moment = 59.0
    with pytest.raises(TooMany):
        throttle.count_failure()
    moment = 60.0
    throttle.count_failure()
