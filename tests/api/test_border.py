"""What a caller sees when the host itself fails, and how the host tells of itself."""

import logging
from pathlib import Path

import httpx2
import orjson
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coder import errors
from coder.api.border import Border
from coder.api.errors import close_code_of, problem_of, status_of
from coder.api.metrics import Meter
from coder.protocol import Problem
from coder.testing.harness import open_live_host
from tests.api.wire import good_headers, send_raw


def open_app(app: ASGIApp) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(Border(app, Meter()), raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1")


async def fail(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("secret detail")


async def fail_halfway(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise RuntimeError("secret detail")


@pytest.mark.scenario("api: A mistake of the host is logged, not shown")
async def test_an_unexpected_failure_is_a_plain_500_and_one_log_entry(caplog: pytest.LogCaptureFixture):
    async with open_app(fail) as http:
        response = await http.get("/api/x")
    problem = Problem.model_validate_json(response.content)
    assert (response.status_code, problem.code, problem.retryable) == (500, "internal", False)
    assert "secret" not in response.text
    assert [record.exc_info is not None for record in caplog.records if record.levelno >= logging.ERROR] == [True]


async def test_a_failure_in_the_middle_of_an_answer_is_logged_once(caplog: pytest.LogCaptureFixture):
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    scope: Scope = {"type": "http", "method": "GET", "path": "/api/x", "headers": []}
    await Border(fail_halfway, Meter())(scope, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1


@pytest.mark.scenario("api: Every error has its status and its code")
def test_every_error_of_the_host_has_a_status_and_a_close_code():
    found = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.CoderError)]
    for kind in found:
        error = kind("words")
        problem = problem_of(error)
        assert problem.status == status_of(error)
        assert problem.code == kind.code
        assert close_code_of(error) in (1002, 1003, 1009, 1011, 1012, 1013, 4401, 4403, 4404, 4408)
        assert (problem.status == 500) == (kind is errors.CoderError), kind


def test_a_problem_carries_the_error_s_own_data():
    error = errors.MergeConflict("does not fit", files=["a.txt"], path=Path("/x"))
    problem = problem_of(ExceptionGroup("wrapped by a task group", [error]))
    assert problem.code == "merge_conflict"
    assert problem.fields == {"files": ["a.txt"], "conflicts": [], "path": "/x"}
    assert problem_of(errors.PathEscape("../x\ud800")).detail.startswith("path escapes worktree: ../x")


@pytest.mark.scenario("api: The host tells how it is")
async def test_health_is_open_and_figures_are_not(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path, database_url) as live:
        health = await send_raw(live.url, "GET", "/api/health", good_headers(live)[:1])
        told = orjson.loads(health.body)
        assert (told["status"], told["database"], told["dispatcher"]) == ("ok", "up", "notify")
        assert set(told["pool"]) == {"size", "warm", "leased", "limit"}
        assert (await send_raw(live.url, "GET", "/metrics", good_headers(live)[:1])).status == 401
        figures = (await send_raw(live.url, "GET", "/metrics", good_headers(live))).body.decode()
        for name in ("coder_pool_slots", "coder_tasks", "coder_viewers", "coder_journal_unstored_bytes"):
            assert f"\n{name}" in figures
        assert 'coder_http_requests_total{method="GET",route="/api/health",status="200"} 1.0' in figures
