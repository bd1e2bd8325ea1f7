"""Agents of others, offline on the scripted model server, through HTTP and one WebSocket.

Where an agent is not installed its tests skip, and say how to install it; in CI a skip is a failure.
"""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from coder.client import Client
from coder.model.events import PermissionRequested, Record, Text, TurnEnded
from coder.model.sessions import Session
from coder.model.tasks import TaskState
from coder.protocol import (
    SUBPROTOCOL,
    Ack,
    EventsFrame,
    PermissionFrame,
    PromptFrame,
    Subscribe,
    server_frame,
)
from coder.testing.harness import LiveHost, open_live_host
from coder.testing.model_server import open_model_server
from coder.testing.real_agents import AgentMissing, real_agent
from coder.testing.repositories import FILES, make_repository

SECONDS = 100


@dataclass
class Viewer:
    """What one WebSocket saw of one session."""

    socket: ClientConnection
    session: Session
    records: list[Record] = field(default_factory=list[Record])
    acks: list[Ack] = field(default_factory=list[Ack])

    async def run_turn(self, agent: str, prompt: str, *, answer: str) -> None:
        """Prompt, answer every permission request with an option of that kind, and see the turn's end."""
        await self.socket.send(Subscribe(session_id=self.session.id, after=0).model_dump_json())
        frame = PromptFrame(id="prompt-1", session_id=self.session.id, agent=agent, input=prompt)
        await self.socket.send(frame.model_dump_json())
        async for text in self.socket:
            match server_frame.validate_json(text):
                case EventsFrame(records=records):
                    self.records += records
                    for record in records:
                        if isinstance(record.event, PermissionRequested):
                            await self._answer(record.event, answer)
                    if any(isinstance(record.event, TurnEnded) for record in records):
                        return
                case Ack() as ack:
                    self.acks.append(ack)
                case _:
                    pass

    def text(self) -> str:
        return "".join(record.event.text for record in self.records if isinstance(record.event, Text))

    def types(self) -> list[str]:
        return [record.event.type for record in self.records]

    async def _answer(self, asked: PermissionRequested, kind: str) -> None:
        chosen = next(option.id for option in asked.request.options if option.kind == kind)
        frame = PermissionFrame(id=f"answer-{asked.request.id}", request_id=asked.request.id, option_id=chosen)
        await self.socket.send(frame.model_dump_json())


@dataclass
class Stage:
    """A live host with one real agent and one open session."""

    client: Client
    viewer: Viewer
    repository: Path
    session: Session


@asynccontextmanager
async def open_stage(agent: str, tmp_path: Path, database_url: str, model_url: str) -> AsyncGenerator[Stage]:
    try:
        real = real_agent(agent, tmp_path / "agent-home", model_url)
    except AgentMissing as missing:
        pytest.skip(str(missing))
    real.prepare()
    home = tmp_path / "home"
    home.mkdir()
    (home / "coder-providers.json").write_text(json.dumps({"providers": {agent: real.provider_entry()}}))
    repository = make_repository(tmp_path / "repository", {**FILES, ".gitignore": ".agentao/\nagentao.log\n"})
    async with open_live_host(home, database_url) as live, live.client() as client:
        project = await client.register_project(str(repository))
        session = await client.open_session(project.id)
        async with open_socket(live) as socket:
            yield Stage(client, Viewer(socket, session), repository, session)


@asynccontextmanager
async def open_socket(live: LiveHost) -> AsyncGenerator[ClientConnection]:
    async with connect(
        f"ws{live.url.removeprefix('http')}/api/ws",
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        additional_headers={"Authorization": f"Bearer {live.token}"},
        proxy=None,
    ) as socket:
        yield socket


def write_by_tool(worktree: str) -> str:
    file = json.dumps({"path": f"{worktree}/src/hello.py", "content": "print('changed')\n"})
    return f'[[think {{"text":"I will look"}}]] [[write {file}]] [[text {{"text":"I changed the file."}}]]'


def write_by_shell(worktree: str) -> str:
    command = json.dumps({"cmd": f"echo \"print('changed')\" > {worktree}/src/hello.py"})
    return f'[[plan {{"items":["look","write"]}}]] [[bash {command}]] [[text {{"text":"I changed the file."}}]]'


SCRIPTS = {"opencode": write_by_tool, "agentao": write_by_shell}


@pytest.mark.scenario("testing: A real agent's change reaches the checkout")
@pytest.mark.parametrize("agent", SCRIPTS)
async def test_a_real_agents_change_reaches_the_checkout(agent: str, tmp_path: Path, database_url: str):
    with open_model_server() as model_url, anyio.fail_after(SECONDS):
        async with open_stage(agent, tmp_path, database_url, model_url) as stage:
            prompt = SCRIPTS[agent](stage.session.worktree_path or "")
            await stage.viewer.run_turn(agent, prompt, answer="allow_once")
            changes = (await stage.client.changes(stage.session.id)).items
            applied = await stage.client.apply_change(changes[0].id)

    seen = stage.viewer
    assert seen.text().endswith("I changed the file.")
    assert {"permission_requested", "permission_resolved", "tool_call", "change_recorded"} <= set(seen.types())
    assert [record.seq for record in seen.records] == list(range(1, len(seen.records) + 1))
    assert [(change.file_path, change.operation, change.agent) for change in changes] == [
        ("src/hello.py", "edit", agent)
    ]
    assert applied.status == "applied"
    assert (stage.repository / "src/hello.py").read_text() == "print('changed')\n"


@pytest.mark.parametrize("agent", SCRIPTS)
async def test_what_is_refused_to_a_real_agent_does_not_happen(agent: str, tmp_path: Path, database_url: str):
    with open_model_server() as model_url, anyio.fail_after(SECONDS):
        async with open_stage(agent, tmp_path, database_url, model_url) as stage:
            prompt = SCRIPTS[agent](stage.session.worktree_path or "")
            await stage.viewer.run_turn(agent, prompt, answer="reject_once")
            changes = (await stage.client.changes(stage.session.id)).items

    assert "permission_resolved" in stage.viewer.types()
    assert changes == ()


async def test_the_example_agent_of_the_typescript_sdk_runs_a_turn(tmp_path: Path, database_url: str):
    with open_model_server() as model_url, anyio.fail_after(SECONDS):
        async with open_stage("sdk-example", tmp_path, database_url, model_url) as stage:
            await stage.viewer.run_turn("sdk-example", "hello", answer="allow_once")
            [task] = (await stage.client.tasks(stage.session.id)).items

    assert (task.state, task.stop_reason) == (TaskState.COMPLETED, "end_turn")
    assert "successfully updated the configuration" in stage.viewer.text()
    assert {ack.id.split("-")[0] for ack in stage.viewer.acks} == {"prompt", "answer"}
