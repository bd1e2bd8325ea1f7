"""The documentation says what the routes do: it is made from the same table, and answers are held against it."""

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.routing import Route

from coder.api.operations import Operation
from coder.api.routes import all_operations, build_api
from coder.protocol import Prompt
from coder.testing.harness import open_live_host
from tests.api.wire import good_headers, open_request, open_test_session, path_of, send_raw

PROMISED = """
GET /api/health
POST /api/login
POST /api/logout
POST /api/tickets
GET /api/providers/snapshot
GET /api/providers/config
PATCH /api/providers/config
POST /api/providers/refresh
GET /api/providers/{id}/diagnostic
GET /api/projects
POST /api/projects
GET /api/projects/{id}
PATCH /api/projects/{id}
DELETE /api/projects/{id}
POST /api/projects/{id}/trust
GET /api/sessions/{id}/setup
POST /api/sessions/{id}/setup
GET /api/sessions
POST /api/sessions
GET /api/sessions/{id}
PATCH /api/sessions/{id}
DELETE /api/sessions/{id}
POST /api/sessions/{id}/messages
GET /api/sessions/{id}/events
GET /api/sessions/{id}/files
GET /api/sessions/{id}/folder
GET /api/sessions/{id}/file
GET /api/sessions/{id}/draft
PATCH /api/sessions/{id}/draft
GET /api/sessions/{id}/agent-sessions
POST /api/sessions/{id}/agent-sessions/{agent}/warm
DELETE /api/sessions/{id}/agent-sessions/{agent}
GET /api/tasks
POST /api/tasks
GET /api/tasks/{id}
PATCH /api/tasks/{id}
POST /api/tasks/{id}/cancel
GET /api/permissions
GET /api/permissions/{id}
POST /api/permissions/{id}
GET /api/sessions/{id}/changes
POST /api/sessions/{id}/changes/apply
POST /api/sessions/{id}/changes/reject
GET /api/changes/{id}
GET /api/changes/{id}/lines
POST /api/changes/{id}/apply
POST /api/changes/{id}/reject
POST /api/changes/{id}/revert
POST /api/changes/{id}/comments
GET /api/sessions/{id}/comments
GET /api/comments/{id}
PATCH /api/comments/{id}
POST /api/comments/{id}/replies
POST /api/sessions/{id}/review
GET /api/sessions/{id}/decisions
DELETE /api/decisions/{id}
GET /api/sessions/{id}/checkpoints
GET /api/checkpoints/{id}
POST /api/checkpoints/{id}/restore
GET /api/sessions/{id}/branch
POST /api/sessions/{id}/commit
POST /api/sessions/{id}/branch/update
GET /api/sessions/{id}/patch
GET /api/openapi.json
GET /api/docs
GET /metrics
"""


@pytest.mark.scenario("api: Every route is documented")
async def test_the_document_lists_exactly_the_routes_that_there_are(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path, database_url) as live:
        reply = await send_raw(live.url, "GET", "/api/openapi.json", good_headers(live))
        document: dict[str, Any] = orjson.loads(reply.body)
        routes = {
            route.path: route.methods or set() for route in build_api(live.host).routes if isinstance(route, Route)
        }
        page = (await send_raw(live.url, "GET", "/api/docs", good_headers(live))).body.decode()
    documented = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert documented == set(PROMISED.split("\n")) - {""}
    assert documented == {f"{method} {path}" for path, found in routes.items() for method in found - {"HEAD"}}
    assert document["openapi"] == "3.1.0"
    assert all(line.split(" ")[1] in page for line in documented)
    references = set(re.findall(r'"\$ref":"(.*?)"', reply.body.decode()))
    assert references <= {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(document["x-frames"]) == {"client", "server"}


def test_the_page_names_every_route_of_reviewing() -> None:
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    tags = {"changes", "comments", "branches", "setups"}
    unnamed = [
        f"{operation.method} {operation.path}"
        for operation in all_operations()
        if operation.tag in tags and f"`{operation.method} {operation.path}`" not in page
    ]
    assert not unnamed


@pytest.mark.scenario("api: Answers are what the documentation says")
async def test_every_readable_route_answers_as_documented(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        session = await open_test_session(client, tmp_path / "repo")
        task = await client.prompt(session.id, Prompt(agent="demo", input="write a.txt x\nask"))
        request = await open_request(client, session.id)
        await client.answer_permission(request.id, "yes")
        await client.wait_for_task(task.id)
        change = (await client.changes(session.id)).items[0]
        comment = await client.begin_comment(change.id, 1, "why?")
        ids = {
            "projects": session.project_id,
            "sessions": session.id,
            "tasks": task.id,
            "permissions": request.id,
            "changes": change.id,
            "comments": comment.id,
            "providers": "demo",
            "checkpoints": (await client.checkpoints(session.id))[0].id,
        }
        for operation in all_operations():
            if operation.method == "GET" and operation.answer is not None:
                path = path_of(operation, id=ids.get(operation.path.split("/")[2], "nobody"))
                reply = await send_raw(live.url, "GET", path, good_headers(live))
                _check_answer(operation, reply.status, reply.body)


def _check_answer(operation: Operation, status: int, body: bytes) -> None:
    assert status == operation.status, (operation.path, body)
    assert operation.answer is not None
    answer = operation.answer.model_validate_json(body, strict=True)
    assert orjson.loads(answer.model_dump_json()) == orjson.loads(body), operation.path
