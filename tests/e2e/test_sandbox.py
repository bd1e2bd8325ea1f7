"""Agents in sandboxes through a whole host: what they do is as ever, and everybody sees what confines them."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from coder.host import open_host
from coder.model.events import AgentStatusChanged
from coder.model.providers import ProviderSnapshot
from coder.model.sandboxes import Sandbox
from coder.model.tasks import TaskState
from coder.protocol import NewProject
from coder.store import agent_sessions
from coder.testing.model_server import open_model_server
from coder.testing.real_agents import OPENCODE_SERVER, AgentMissing, real_agent
from coder.testing.repositories import git, make_repository
from coder.testing.rooms import Room, room_settings
from coder.testing.trials import open_trial
from tests.process.sandboxes import every_sandbox

NONE = Sandbox(reason="this machine is a test")


@asynccontextmanager
async def open_room(folder: Path, database_url: str, sandbox: Sandbox, **providers: object) -> AsyncGenerator[Room]:
    """A host on a machine that has this sandbox."""

    async def look(path: str | None) -> Sandbox:
        return sandbox

    home = folder / "home"
    home.mkdir()
    (home / "coder-providers.json").write_text(json.dumps({"providers": providers}))
    settings = room_settings(home, database_url, sandbox="auto")
    async with open_host(settings, "token", look_for_sandbox=look) as host:
        repository = make_repository(folder / "repository")
        project = await host.projects.register(NewProject(repo_path=str(repository)))
        yield Room(host, repository, await host.sessions.open(project.id, None, None))


async def row_of(room: Room, agent: str) -> ProviderSnapshot:
    return next(row for row in await room.host.providers.snapshot() if row.id == agent)


@every_sandbox
@pytest.mark.scenario("sandbox: A host confines its agents and says so")
async def test_an_agent_works_as_ever_and_everybody_sees_what_confines_it(
    tmp_path: Path, database_url: str, sandbox: Sandbox
) -> None:
    async with open_room(tmp_path, database_url, sandbox, demo={"offer_terminal": True}) as room:
        secret = room.worktree.parent.parent / "token"
        secret.write_text("canary")
        written = await room.prompt("write notes.txt noted", mode_id="auto")
        task = await room.prompt(f"terminal git add -A && git commit -qm Done && cat {secret}", mode_id="auto")
        row = await row_of(room, "demo")
        [change] = await room.changes()
        async with room.host.store.connection() as connection:
            stored = await agent_sessions.get(connection, room.session.id, "demo")
        events = await room.events()

    assert (written.state, task.state) == (TaskState.COMPLETED, TaskState.COMPLETED)
    assert change.file_path == "notes.txt"
    assert git(room.repository, "log", "-1", "--format=%s", room.session.branch or "") == "Done"
    assert [event.sandbox for event in events if isinstance(event, AgentStatusChanged) and event.sandbox] == [
        sandbox.kind
    ]
    assert stored.sandbox == row.sandbox == sandbox.kind
    assert "canary" not in str(events)
    assert "No such file" in str(events) or "Permission denied" in str(events)


@every_sandbox
@pytest.mark.scenario("sandbox: A host confines its agents and says so")
async def test_the_real_server_works_in_a_sandbox(tmp_path: Path, database_url: str, sandbox: Sandbox) -> None:
    async def look(path: str | None) -> Sandbox:
        return sandbox

    with open_model_server() as model_url:
        try:
            agent = real_agent(OPENCODE_SERVER, tmp_path / "agent-home", model_url)
        except AgentMissing as missing:
            pytest.skip(str(missing))
        async with open_trial(
            agent, tmp_path, database_url, model_url, sandbox="require", look_for_sandbox=look
        ) as trial:
            written = await trial.play(trial.write_prompt("notes.txt"))
            secret = trial.room.worktree.parent.parent / "token"
            secret.write_text("canary")
            looked = await trial.play(f'[[bash {{"cmd":"cat {secret}"}}]] [[text {{"text":"Looked."}}]]')
            async with trial.room.host.store.connection() as connection:
                stored = await agent_sessions.get(connection, trial.room.session.id, "opencode")
            changes = await trial.room.changes()

    assert written.is_completed, written.end
    assert [change.file_path for change in changes] == ["notes.txt"]
    assert (stored.sandbox, stored.backend) == (sandbox.kind, "opencode_server")
    assert looked.is_completed, looked.end
    assert looked.calls
    assert "canary" not in str(looked.calls)


@pytest.mark.scenario("sandbox: A sandbox is required and there is none")
async def test_an_agent_that_must_be_confined_is_not_started_where_nothing_confines(
    tmp_path: Path, database_url: str
) -> None:
    entry = {"extends": "acp", "label": "Free", "command": ["true"], "sandbox": "off"}
    async with open_room(tmp_path, database_url, NONE, demo={"sandbox": "require"}, free=entry) as room:
        task = await room.prompt("hello")
        row, free = await row_of(room, "demo"), await row_of(room, "free")

    assert task.error is not None
    assert (task.state, task.error.code) == (TaskState.FAILED, "sandbox_unavailable")
    assert "this machine is a test" in task.error.message
    assert (row.sandbox, row.usable, row.status) == (None, False, "unavailable")
    assert free.sandbox == "none"


@every_sandbox
@pytest.mark.scenario("sandbox: An agent does not start in its sandbox")
async def test_an_agent_that_does_not_start_says_that_it_was_in_a_sandbox(
    tmp_path: Path, database_url: str, sandbox: Sandbox
) -> None:
    entry = {"extends": "acp", "label": "Frail", "command": ["sh", "-c", "exit 3"]}
    async with open_room(tmp_path, database_url, sandbox, frail=entry) as room:
        task = await room.prompt("hello", agent="frail")

    assert task.error is not None
    assert "exit code 3" in task.error.message
    assert f"in a sandbox, {sandbox.kind}" in task.error.message
    assert '"sandbox": "off"' in task.error.message
