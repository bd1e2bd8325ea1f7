"""Bad input on every route and frame: a clear problem, never a 500, never a traceback, nothing half-done."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import anyio
import orjson
import pytest
from websockets.exceptions import ConnectionClosed

from coder.api.operations import Operation
from coder.api.routes import all_operations
from coder.protocol import ErrorFrame, Problem
from coder.testing.harness import LiveHost, open_live_host
from tests.api.wire import (
    JSON,
    Headers,
    Reply,
    commands,
    good_headers,
    next_frame,
    open_socket,
    open_test_session,
    path_of,
    send_raw,
    takes_fields,
)

BODIES = [
    b"{",
    b"nul",
    b"[]",
    b'"text"',
    b"5",
    b"null",
    b'{"x": NaN}',
    b'{"x": 1e400}',
    b'{"x": "\\u0000"}',
    b'{"x": "\\ud800"}',
    b'{"x": 99999999999999999999}',
    b'{"x": 1, "x": 1}',
    b'{"\xff": 1}',
    b'{"unknown": 1}',
    b"[" * 1000,
]
QUERIES = ["?unknown=1", "?limit=0", "?limit=x", "?after=-1", "?force=perhaps", "?status=odd", "?cursor=%00", "?a=%ff"]
WRONG: Sequence[object] = [None, True, 5, -1.5, "", "x" * 1000, [], [1], {}, {"a": 1}, "\u0000", "no-such-id"]


@pytest.mark.scenario("api: A body that is not understood is refused by name")
async def test_no_body_makes_a_route_fail(tmp_path: Path, database_url: str, caplog: pytest.LogCaptureFixture):
    async with open_live_host(tmp_path, database_url) as live:
        for operation in commands():
            for body in [*BODIES, *_wrong_fields(operation)]:
                reply = await _send(live, operation, body)
                _check_problem(reply, operation, body)
    assert _faults(caplog) == []


@pytest.mark.scenario("api: A query that is not understood is refused by name")
async def test_no_query_makes_a_route_fail(tmp_path: Path, database_url: str, caplog: pytest.LogCaptureFixture):
    async with open_live_host(tmp_path, database_url) as live:
        for operation in all_operations():
            for query in QUERIES:
                headers = [*good_headers(live), JSON]
                body = b"{}" if operation.method in ("POST", "PATCH") else b""
                reply = await send_raw(live.url, operation.method, path_of(operation) + query, headers, body)
                _check_problem(reply, operation, query.encode())
    assert _faults(caplog) == []


@pytest.mark.scenario("api: Too large is told before it is read")
async def test_a_body_over_the_limit_is_refused(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path, database_url) as live:
        for operation in commands():
            limit = 17 * 1024 * 1024 if operation.path in ("/api/tasks", "/api/sessions/{id}/messages") else 1024 * 1024
            declared = [*good_headers(live), JSON, ("Content-Length", str(limit + 1))]
            reply = await send_raw(live.url, operation.method, path_of(operation), declared)
            assert reply.status == 413, operation.path
        chunked = [*good_headers(live), JSON, ("Transfer-Encoding", "chunked")]
        body = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        reply = await send_chunked(live, chunked, body * 20)
        assert reply.status == 413


async def send_chunked(live: LiveHost, headers: Headers, body: bytes) -> Reply:
    lines = [("X-Note", "the length is not declared"), *headers]
    return await send_raw(live.url, "POST", "/api/projects", lines, body + b"0\r\n\r\n")


@pytest.mark.scenario("api: What nobody has is not found")
async def test_an_unknown_id_or_route_is_not_found(tmp_path: Path, database_url: str):
    found: list[str] = []
    async with open_live_host(tmp_path, database_url) as live:
        for operation in all_operations():
            if "{" not in operation.path:
                continue
            for name in ("nobody", "ses_0", "x" * 2000, "%F0%9F%98%80", "-1", "%27%20OR%201=1"):
                reply = await _send(live, operation, _smallest_body(operation), name)
                if reply.status != 404:
                    found.append(f"{operation.method} {operation.path} with {name[:20]} got {reply.status}")
        for path in ("/api", "/api/", "/api/nowhere", "/api/projects/", "/api/projects/a/b", "/metrics/x"):
            reply = await send_raw(live.url, "GET", path, good_headers(live))
            if (reply.status, Problem.model_validate_json(reply.body).code) != (404, "not_found"):
                found.append(path)
    assert found == []


@pytest.mark.scenario("api: A wrong method is told the right ones")
async def test_a_wrong_method_is_refused_with_the_right_ones(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path, database_url) as live:
        reply = await send_raw(live.url, "PUT", "/api/projects/nobody", [*good_headers(live), JSON], b"{}")
        assert reply.status == 405
        assert set(reply.headers["allow"].split(", ")) == {"GET", "HEAD", "PATCH", "DELETE"}
        assert Problem.model_validate_json(reply.body).code == "method_not_allowed"


@pytest.mark.scenario("stream: A frame that is not understood is answered, not punished")
async def test_a_bad_frame_gets_an_error_frame_and_the_socket_lives_on(
    tmp_path: Path, database_url: str, caplog: pytest.LogCaptureFixture
):
    types = ("subscribe", "unsubscribe", "prompt", "cancel", "permission", "ping", "pong")
    shapes = [orjson.dumps({"type": name, "surplus": 1}) for name in types]
    names = ("session_id", "id", "agent", "input", "task_id", "request_id", "option_id", "after", "epoch")
    shapes += [orjson.dumps({"type": kind, **dict.fromkeys(names, wrong)}) for kind in types[:5] for wrong in WRONG]
    async with open_live_host(tmp_path, database_url) as live, open_socket(live) as socket:
        assert (await next_frame(socket)).type == "welcome"
        for data in [*BODIES, b'{"type": "bogus"}', b'{"type": 5}', b"{}", b'{"id": "k", "type": "prompt"}', *shapes]:
            await socket.send(data.decode("utf-8", "replace"))
            frame = await next_frame(socket)
            assert isinstance(frame, ErrorFrame), data[:80]
            assert frame.code != "internal", data[:80]
        await socket.send('{"id": "k", "type": "prompt"}')
        answer = await next_frame(socket)
        assert isinstance(answer, ErrorFrame)
        assert answer.id == "k"
        await socket.send('{"type": "ping"}')
        assert (await next_frame(socket)).type == "pong"
    assert _faults(caplog) == []


@pytest.mark.scenario("stream: Binary and oversized frames end the socket with a reason")
async def test_binary_and_oversized_frames_are_told_and_closed(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path, database_url) as live:
        for message, code in ((b"{}", 1003), ("x" * (1024 * 1024 + 1), 1009), ("x" * (5 * 1024 * 1024), 1009)):
            async with open_socket(live) as socket:
                assert (await next_frame(socket)).type == "welcome"
                with suppress(ConnectionClosed):
                    await socket.send(message)
                with anyio.fail_after(10):
                    await socket.wait_closed()
                assert socket.close_code == code


@pytest.mark.scenario("api: An unknown agent is refused before anything is made")
async def test_a_prompt_to_an_unknown_agent_leaves_no_task(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        session = await open_test_session(client, tmp_path / "repo")
        body = orjson.dumps({"agent": "nobody", "input": "x"})
        path = f"/api/sessions/{session.id}/messages"
        reply = await send_raw(live.url, "POST", path, [*good_headers(live), JSON], body)
        assert reply.status == 404
        assert (await client.tasks(session.id)).items == ()


def _wrong_fields(operation: Operation) -> list[bytes]:
    names = list(operation.body.model_fields)
    return [orjson.dumps(dict.fromkeys(names, wrong)) for wrong in WRONG] if names else []


def _smallest_body(operation: Operation) -> bytes:
    if not takes_fields(operation):
        return b""
    fields: dict[str, object] = {"name": "x", "agent": "demo", "input": "x", "option_id": "x", "action": "run"}
    fields |= {"digest": "0" * 64, "line": 1, "body": "x", "status": "open", "message": "x", "text": "x"}
    return orjson.dumps({name: fields[name] for name in operation.body.model_fields if name in fields})


async def _send(live: LiveHost, operation: Operation, body: bytes, id: str = "nobody") -> Reply:
    headers = [*good_headers(live), JSON] if body else good_headers(live)
    return await send_raw(live.url, operation.method, path_of(operation, id=id), headers, body)


def _check_problem(reply: Reply, operation: Operation, sent: bytes) -> None:
    context = f"{operation.method} {operation.path} given {sent[:60]!r} answered {reply.status} {reply.body[:200]!r}"
    # Nothing to change and everything to refresh are wishes that can be granted.
    harmless = operation.tag == "providers" and reply.status == 200
    assert harmless or 400 <= reply.status < 500, context
    if not harmless:
        assert reply.headers["content-type"] == "application/problem+json", context
        problem = Problem.model_validate_json(reply.body)
        assert (problem.status, problem.code != "internal", bool(problem.detail)) == (reply.status, True, True), context


def _faults(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
