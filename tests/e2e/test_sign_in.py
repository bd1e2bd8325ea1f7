"""Agents that want a login first, on a real host with the scripted agent, seen through the API."""

import json
import os
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from coder.client import Client
from coder.errors import AuthRequired
from coder.model.providers import ProviderSnapshot
from coder.model.sessions import Session
from coder.model.tasks import Task, TaskState
from coder.protocol import Prompt
from coder.testing.harness import open_live_host
from coder.testing.repositories import make_repository


@dataclass(frozen=True)
class Desk:
    """A person's view of a host whose demo agent wants a login, at first that of `state`."""

    client: Client
    session: Session
    state: Path

    async def prompt(self, text: str) -> Task:
        """A whole turn; the ended task."""
        task = await self.client.prompt(self.session.id, Prompt(agent="demo", input=text))
        return await self.client.wait_for_task(task.id)

    async def row(self, *, force: bool = False) -> ProviderSnapshot:
        """The agent's row, once nothing is being found out about it."""
        with anyio.fail_after(20):
            while True:
                row = next(row for row in await self.client.providers(force=force) if row.id == "demo")
                if row.status != "loading":
                    return row
                await anyio.sleep(0.02)

    def sign_in(self, command: tuple[str, ...]) -> None:
        """Run the command that the host shows."""
        subprocess.run(command, env={**os.environ, "XDG_STATE_HOME": str(self.state)}, check=True, capture_output=True)

    def sign_out(self) -> None:
        (self.state / "coder-demo" / "login").unlink()


@asynccontextmanager
async def open_desk(folder: Path, database_url: str, login_needed: str) -> AsyncGenerator[Desk]:
    home, state = folder / "home", folder / "state"
    home.mkdir()
    env = {"DEMO_LOGIN_NEEDED": login_needed, "XDG_STATE_HOME": str(state)}
    (home / "coder-providers.json").write_text(json.dumps({"providers": {"demo": {"env": env}}}))
    async with open_live_host(home, database_url) as live, live.client() as client:
        project = await client.register_project(str(make_repository(folder / "repository")))
        yield Desk(client, await client.open_session(project.id), state)


def commands_of(row: ProviderSnapshot) -> list[tuple[str, ...]]:
    return [method.command for method in row.auth_methods if method.command]


@pytest.mark.scenario("providers: a prompt that is refused for want of a login signs the agent out")
@pytest.mark.scenario("providers: a turn that succeeds signs the agent in")
async def test_a_refused_prompt_signs_the_agent_out_until_somebody_has_signed_in(tmp_path: Path, database_url: str):
    async with open_desk(tmp_path, database_url, "prompt") as desk:
        before = await desk.row(force=True)
        assert (before.status, before.signed_in) == ("ready", True)

        refused = await desk.prompt("say hello")

        row = await desk.row()
        [command] = commands_of(row)
        assert refused.state is TaskState.FAILED
        assert refused.error is not None
        assert refused.error.code == "auth_required"
        assert refused.error.message.startswith("Demo wants a login first: Authentication required; to sign in, run ")
        assert " ".join(command) in refused.error.message
        assert (row.status, row.signed_in, row.usable) == ("unavailable", False, False)
        assert [method.id for method in row.auth_methods] == ["demo-login", "demo-terminal"]
        assert row.error == f"nobody is signed in; run in a terminal: {' '.join(command)}"
        assert row.models == before.models

        desk.sign_in(command)
        assert (await desk.prompt("say hello")).state is TaskState.COMPLETED
        after = await desk.row()
        assert (after.status, after.signed_in, after.usable, after.error) == ("ready", True, True, None)


@pytest.mark.scenario("providers: only a probe that is asked for overrules a refused prompt")
async def test_a_probe_that_is_asked_for_overrules_a_refused_prompt(tmp_path: Path, database_url: str):
    async with open_desk(tmp_path, database_url, "prompt") as desk:
        assert (await desk.prompt("say hello")).state is TaskState.FAILED  # before anybody probed it
        row = await desk.row()
        assert (row.status, row.signed_in) == ("unavailable", False)

        desk.sign_in(commands_of(row)[0])

        assert (await desk.row()).signed_in is False
        assert (await desk.row(force=True)).status == "ready"


@pytest.mark.scenario("providers: a start that is refused for want of a login signs the agent out")
async def test_a_refused_start_signs_the_agent_out(tmp_path: Path, database_url: str):
    async with open_desk(tmp_path, database_url, "1") as desk:
        signed_out = await desk.row(force=True)
        [command] = commands_of(signed_out)
        desk.sign_in(command)
        signed_in = await desk.row(force=True)
        assert (signed_in.status, signed_in.signed_in) == ("ready", True)
        desk.sign_out()

        refused = await desk.prompt("say hello")

        row = await desk.row()
        assert refused.error is not None
        assert refused.error.code == "auth_required"
        assert " ".join(command) in refused.error.message
        assert (row.status, row.signed_in, row.auth_methods) == ("unavailable", False, signed_out.auth_methods)


@pytest.mark.scenario("providers: a start that is refused for want of a login signs the agent out")
async def test_a_refused_start_ahead_of_a_prompt_signs_the_agent_out(tmp_path: Path, database_url: str):
    async with open_desk(tmp_path, database_url, "1") as desk:
        with pytest.raises(AuthRequired, match="Demo wants a login first"):
            await desk.client.warm(desk.session.id, "demo")

        row = await desk.row()
        assert (row.status, row.signed_in) == ("unavailable", False)

        desk.sign_in(commands_of(row)[0])
        assert (await desk.prompt("say hello")).state is TaskState.COMPLETED
        ready = await desk.row()
        assert (ready.status, ready.signed_in) == ("ready", True)
        assert ready.models
