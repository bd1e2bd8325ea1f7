"""Schemathesis over the document that the host itself gives: every route, alone and one after the other."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from coder.client import Client
from coder.protocol import Prompt
from coder.testing.harness import LiveHost, open_live_host
from tests.api.wire import open_request, open_test_session
from tests.fuzz.drawing import SECONDS, errors_in

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "allow_header_conformance",
    "ignored_auth",
    "use_after_free",
)


@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.scenario("fuzz: Any request is answered as documented")
async def test_no_request_gets_an_answer_that_is_not_documented(
    tmp_path: Path, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = tmp_path / "schemathesis.toml"
    settings.write_text('[headers]\nAuthorization = "Bearer ${CODER_FUZZ_TOKEN}"\n')
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        ids = tmp_path / "ids.json"
        ids.write_text(json.dumps(await _ids(client, tmp_path)))
        said, status = await _schemathesis(live, settings, ids)
        assert (await client.health()).status == "ok"
    assert status == 0, said[-8000:]
    found = re.search(r"(\d+) generated, \1 passed", said)
    assert found, said[-3000:]
    assert int(found[1]) >= 50
    assert errors_in(caplog) == []


async def _ids(client: Client, folder: Path) -> Mapping[str, str]:
    """One of each kind: a session after a turn that asked, and one after another with a comment on what it changed."""
    session = await open_test_session(client, folder / "repository")
    task = await client.prompt(session.id, Prompt(agent="demo", input="write a.txt x\nask"))
    request = await open_request(client, session.id)
    await client.answer_permission(request.id, "yes")
    await client.wait_for_task(task.id)
    change = (await client.changes(session.id)).items[0]
    return {
        "sessions": session.id,
        "projects": session.project_id,
        "tasks": task.id,
        "permissions": request.id,
        "changes": change.id,
        "comments": (await client.begin_comment(change.id, 1, "why?")).id,
        "checkpoints": (await client.checkpoints(session.id))[0].id,
        "providers": "demo",
    }


async def _schemathesis(live: LiveHost, settings: Path, ids: Path) -> tuple[str, int]:
    """What it printed, and its exit status. The token goes by environment: an argument is seen by everybody."""
    environment = {
        "CODER_FUZZ_TOKEN": live.token,
        "CODER_FUZZ_IDS": str(ids),
        "SCHEMATHESIS_HOOKS": "tests.fuzz.ids",
        "PYTHONPATH": str(Path.cwd()),
    }
    program = [str(Path(sys.executable).with_name("st")), "--config-file", str(settings), "run"]
    flags = ["--no-color", "--checks", ",".join(CHECKS), "--max-time", str(SECONDS), "--continue-on-failure"]
    flags += ["--request-timeout", "10", "--generation-database", "none", "--warnings", "off"]
    command = [*program, f"{live.url}/api/openapi.json", *flags]
    ended = await anyio.run_process(
        command, check=False, stderr=subprocess.STDOUT, cwd=settings.parent, env={**os.environ, **environment}
    )
    return ended.stdout.decode(), ended.returncode
