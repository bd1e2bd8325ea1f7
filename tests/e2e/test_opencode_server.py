"""The real opencode through its own server, offline on the scripted model server; also killed, and without a server."""

import base64
import json
import os
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx2
import pytest

from coder.client import Client
from coder.errors import InvalidInput
from coder.host import Host
from coder.model.events import AgentStatusChanged, PermissionRequested, Record, Text, TurnEnded
from coder.model.sessions import AgentSession, Session
from coder.model.tasks import Attachment, TaskState
from coder.protocol import Prompt
from coder.testing.harness import open_live_host
from coder.testing.model_server import open_model_server
from coder.testing.real_agents import AgentMissing, real_agent
from coder.testing.repositories import FILES, make_repository

AGENT = "opencode"
SECONDS = 110
LONG = 'remember the word marzipan [[text {"n": 2000, "delay": 0.05}]]'


@dataclass
class Stage:
    """A live host with the real program and one open session."""

    host: Host
    client: Client
    session: Session
    home: Path
    without_server: Path
    """While this file is there, the program does not start as a server."""
    records: list[Record] = field(default_factory=list[Record])

    async def beside(self) -> "Stage":
        """Another session of the same project."""
        session = await self.client.open_session(self.session.project_id)
        return Stage(self.host, self.client, session, self.home, self.without_server)

    async def run_turn(
        self, text: str, meanwhile: Callable[[Record], None] = lambda _: None, attachments: tuple[Attachment, ...] = ()
    ) -> TurnEnded:
        """One turn; every permission request is answered with its first option that allows once."""
        after = (await self.client.session(self.session.id)).last_seq
        async with self.client.events(self.session.id, after) as stream:
            await self.client.prompt(self.session.id, Prompt(agent=AGENT, input=text, attachments=attachments))
            async for item in stream:
                if not isinstance(item, Record):
                    continue
                self.records.append(item)
                meanwhile(item)
                if isinstance(item.event, PermissionRequested):
                    options = item.event.request.options
                    chosen = next(option.id for option in options if option.kind == "allow_once")
                    await self.client.answer_permission(item.event.request.id, chosen)
                if isinstance(item.event, TurnEnded):
                    return item.event
        raise AssertionError("the stream ended before the turn")

    async def agent_session(self) -> AgentSession:
        (found,) = await self.client.agent_sessions(self.session.id)
        return found

    def said(self) -> str:
        return "".join(record.event.text for record in self.records if isinstance(record.event, Text))

    def told(self) -> list[str]:
        """What viewers were told beside the status itself."""
        events = (record.event for record in self.records)
        return [event.message for event in events if isinstance(event, AgentStatusChanged) and event.message]

    def server_pids(self) -> set[int]:
        """The servers that live in this host's home."""
        mark = f"XDG_DATA_HOME={self.home}".encode()
        found = (path for path in Path("/proc").glob("[0-9]*") if b"\0serve\0" in _read(path / "cmdline"))
        return {int(path.name) for path in found if mark in _read(path / "environ")}


@asynccontextmanager
async def open_stage(
    tmp_path: Path, database_url: str, model_url: str, *, is_shared: bool = False, max_memory_mb: int = 4096
) -> AsyncGenerator[Stage]:
    try:
        real = real_agent(AGENT, tmp_path / "agent-home", model_url)
    except AgentMissing as missing:
        pytest.skip(str(missing))
    real.prepare()
    flag, program, home = tmp_path / "without-server", tmp_path / "opencode", tmp_path / "home"
    program.write_text(f'#!/bin/sh\n[ "$1" = serve ] && [ -e {flag} ] && exit 3\nexec {real.command[0]} "$@"\n')
    program.chmod(0o755)
    home.mkdir()
    entry = {"command": [str(program)], "env": dict(real.env), "share_server": is_shared}
    (home / "coder-providers.json").write_text(json.dumps({"providers": {AGENT: entry}}))
    repository = make_repository(tmp_path / "repository", FILES)
    async with open_live_host(home, database_url, pool_max_memory_mb=max_memory_mb) as live, live.client() as client:
        project = await client.register_project(str(repository))
        session = await client.open_session(project.id)
        yield Stage(live.host, client, session, home, flag)


@pytest.mark.scenario("opencode-backend: A turn runs through the real server")
async def test_the_real_server_carries_out_a_turn_and_its_tools_do_not_know_its_password(
    tmp_path: Path, database_url: str
):
    command = json.dumps({"cmd": 'echo "password:$OPENCODE_SERVER_PASSWORD" > out.txt'})
    with open_model_server() as model_url, anyio.fail_after(SECONDS):
        async with open_stage(tmp_path, database_url, model_url) as stage:
            words = '[[think {"text":"well"}]] [[plan {"items":["a","b"]}]]'
            ended = await stage.run_turn(f'{words} [[bash {command}]] [[text {{"text":"Done."}}]]')
            row = await stage.agent_session()
            (change,) = (await stage.client.changes(stage.session.id)).items
            detail = await stage.client.change(change.id)
            assert len(stage.server_pids()) == 1
        assert stage.server_pids() == set()

    assert (ended.state, ended.stop_reason) == (TaskState.COMPLETED, "end_turn")
    assert ended.usage is not None
    assert ended.usage.context_used
    assert (row.backend, row.server_port is not None) == ("opencode_server", True)
    assert (change.file_path, change.operation) == ("out.txt", "create")
    assert detail.diff is not None
    assert "+password:\n" in detail.diff
    assert stage.said() == "Done."
    kinds = {record.event.type for record in stage.records}
    assert {"reasoning", "plan", "tool_call", "tool_update", "permission_requested", "usage", "commands"} <= kinds
    assert stage.told() == []


@pytest.mark.scenario("opencode-backend: What a prompt carries reaches the model or is refused")
async def test_a_file_is_read_by_the_model_and_an_image_that_it_does_not_take_is_refused(
    tmp_path: Path, database_url: str
):
    notes = Attachment(name="notes.md", mime_type="text/plain", data=base64.b64encode(b"about gingerbread").decode())
    image = Attachment(name="dot.png", mime_type="image/png", data="aGk=")
    with open_model_server() as model_url, anyio.fail_after(SECONDS):
        async with open_stage(tmp_path, database_url, model_url) as stage:
            (known,) = [row for row in await stage.client.refresh_providers([AGENT]) if row.id == AGENT]
            assert known.status == "ready"
            ended = await stage.run_turn('[[text {"text":"Read."}]]', attachments=(notes,))
            heard = await _last_request(model_url)
            with pytest.raises(InvalidInput) as refused:
                await stage.run_turn("look", attachments=(image,))

    assert (ended.state, "about gingerbread" in heard) == (TaskState.COMPLETED, True)
    assert refused.value.stable_code == "attachment_not_taken"
    assert stage.said() == "Read."


@pytest.mark.scenario("opencode-backend: What a server kept goes with its session")
async def test_closing_the_session_deletes_what_its_server_kept(tmp_path: Path, database_url: str):
    with open_model_server() as model_url, anyio.fail_after(SECONDS):
        async with open_stage(tmp_path, database_url, model_url) as stage:
            await stage.client.warm(stage.session.id, AGENT)
            kept = stage.home / "agents" / stage.session.id
            assert (kept / AGENT / "data").is_dir()
            await stage.client.close_session(stage.session.id, force=True)
            assert not kept.exists()
            assert stage.server_pids() == set()


@pytest.mark.scenario("opencode-backend: A real server killed in a turn is replaced and remembers")
async def test_a_server_killed_in_a_turn_ends_it_in_words_and_the_next_prompt_resumes_the_conversation(
    tmp_path: Path, database_url: str
):
    with open_model_server() as model_url, anyio.fail_after(SECONDS):
        async with open_stage(tmp_path, database_url, model_url) as stage:
            ended = await stage.run_turn(LONG, _at_first_text(lambda: _kill(stage)))
            before = await stage.agent_session()
            again = await stage.run_turn('[[text {"text":"Back again."}]]')
            after = await stage.agent_session()
            heard = await _last_request(model_url)

    assert ended.state is TaskState.FAILED
    assert ended.error is not None
    assert ended.error.code == "agent_died"
    assert (again.state, again.stop_reason) == (TaskState.COMPLETED, "end_turn")
    assert stage.said().endswith("Back again.")
    assert after.agent_session_id == before.agent_session_id
    assert after.server_port is not None
    assert "marzipan" in heard
    assert not [words for words in stage.told() if "memory" in words]


@pytest.mark.scenario("checkpoints: the conversation goes back with the files")
async def test_a_restored_checkpoint_brings_back_the_conversation_and_its_undo_brings_back_the_rest(
    tmp_path: Path, database_url: str
):
    async def words_heard(stage: Stage, model_url: str) -> set[str]:
        ended = await stage.run_turn('what do you remember [[text {"text":"Much."}]]')
        assert ended.state is TaskState.COMPLETED
        heard = await _last_request(model_url)
        return {word for word in ("marzipan", "nougat", "remember") if word in heard}

    with open_model_server() as model_url, anyio.fail_after(SECONDS):
        async with open_stage(tmp_path, database_url, model_url) as stage:
            await stage.run_turn('keep the word marzipan [[text {"text":"Kept."}]]')
            checkpoint = (await stage.client.checkpoints(stage.session.id))[0]
            await stage.run_turn('keep the word nougat [[text {"text":"Kept."}]]')
            shown = await stage.client.checkpoint(checkpoint.id)

            saved = await stage.client.restore_checkpoint(checkpoint.id)
            restored = await words_heard(stage, model_url)
            await stage.client.restore_checkpoint(saved.id)
            undone = await words_heard(stage, model_url)

    assert (shown.differences, shown.conversations) == ((), (AGENT,))
    assert restored == {"marzipan", "remember"}
    assert undone == {"marzipan", "nougat", "remember"}
    assert not [words for words in stage.told() if "memory" in words or "remembers more" in words]


@pytest.mark.scenario("opencode-backend: A conversation goes on over ACP where its server cannot be had")
async def test_a_conversation_with_the_server_goes_on_over_acp_when_there_is_no_server(
    tmp_path: Path, database_url: str
):
    with open_model_server() as model_url, anyio.fail_after(SECONDS):
        async with open_stage(tmp_path, database_url, model_url) as stage:
            await stage.run_turn('remember the word marzipan [[text {"text":"Noted."}]]')
            served = await stage.agent_session()
            stage.without_server.touch()
            await stage.client.close_agent(stage.session.id, AGENT)
            ended = await stage.run_turn('[[text {"text":"Over ACP."}]]')
            over_acp = await stage.agent_session()
            heard = await _last_request(model_url)

    assert (served.backend, over_acp.backend) == ("opencode_server", "acp_warm")
    assert served.agent_session_id == over_acp.agent_session_id
    assert ended.state is TaskState.COMPLETED
    assert stage.said() == "Noted.Over ACP."
    assert "marzipan" in heard
    assert [words for words in stage.told() if words.startswith("falls back to ACP: OpenCode server")]


@pytest.mark.scenario("opencode-backend: Real sessions share a server and keep apart")
async def test_two_sessions_share_the_real_server_which_is_killed_and_both_remember(tmp_path: Path, database_url: str):
    with open_model_server() as model_url, anyio.fail_after(SECONDS):
        async with open_stage(tmp_path, database_url, model_url, is_shared=True) as one:
            two = await one.beside()
            assert one.session.worktree_path is not None
            Path(one.session.worktree_path, "AGENTS.md").write_text("Speak like a pirate.")
            await one.run_turn('remember the word liquorice [[text {"text":"First."}]]')
            heard_one = await _last_request(model_url)
            await two.run_turn('remember the word nougat [[bash {"cmd":"pwd > out.txt"}]] [[text {"text":"Second."}]]')
            heard_two = await _last_request(model_url)
            rows = [await stage.agent_session() for stage in (one, two)]
            (server,) = one.server_pids()
            (change,) = (await two.client.changes(two.session.id)).items
            detail = await two.client.change(change.id)
            await one.client.close_agent(one.session.id, AGENT)
            assert one.server_pids() == {server}

            ended = await two.run_turn(LONG, _at_first_text(lambda: _kill(two)))
            again = [await stage.run_turn('[[text {"text":"Back."}]]') for stage in (one, two)]
            heard_again = await _last_request(model_url)
            after = [await stage.agent_session() for stage in (one, two)]
            assert len(one.server_pids() - {server}) == 1
        assert one.server_pids() == set()

    assert rows[0].server_port == rows[1].server_port
    assert (one.said(), two.said().startswith("Second.")) == ("First.Back.", True)
    assert "pirate" in heard_one
    assert "pirate" not in heard_two
    assert f"+{two.session.worktree_path}\n" in (detail.diff or "")
    assert ended.error is not None
    assert ended.error.code == "agent_died"
    assert [turn.state for turn in again] == [TaskState.COMPLETED] * 2
    assert [row.agent_session_id for row in after] == [row.agent_session_id for row in rows]
    assert ("nougat" in heard_again, "liquorice" in heard_again) == (True, False)


@pytest.mark.scenario("opencode-backend: A shared server that is retired takes nobody new")
async def test_a_real_shared_server_that_grew_too_large_is_left_one_by_one_and_nobody_forgets(
    tmp_path: Path, database_url: str
):
    with open_model_server() as model_url, anyio.fail_after(SECONDS):
        async with open_stage(tmp_path, database_url, model_url, is_shared=True, max_memory_mb=1) as one:
            two, has_begun, ends, heard = await one.beside(), anyio.Event(), list[TurnEnded](), list[str]()
            await two.run_turn('remember the word nougat [[text {"text":"Noted."}]]')
            (old,) = one.server_pids()

            async def run_long() -> None:
                ends.append(await one.run_turn(LONG, _at_first_text(has_begun.set)))

            async with anyio.create_task_group() as group:
                group.start_soon(run_long)
                await has_begun.wait()
                await one.host.pool.sweep()
                moved = await two.run_turn('[[text {"text":"Moved."}]]')
                heard.append(await _last_request(model_url))
                assert (moved.state, ends) == (TaskState.COMPLETED, [])
                assert len(one.server_pids() - {old}) == 1
                (task,) = (await one.client.tasks(one.session.id)).items
                await one.client.cancel_task(task.id)
            while old in one.server_pids():
                await anyio.sleep(0.1)
            again = await one.run_turn('[[text {"text":"Back."}]]')
            heard.append(await _last_request(model_url))
            assert len(one.server_pids()) == 1
        assert one.server_pids() == set()

    assert [turn.state for turn in (*ends, again)] == [TaskState.CANCELLED, TaskState.COMPLETED]
    assert ("nougat" in heard[0], "marzipan" in heard[1]) == (True, True)


def _at_first_text(act: Callable[[], None]) -> Callable[[Record], None]:
    heard: list[Record] = []

    def listen(record: Record) -> None:
        if isinstance(record.event, Text) and not heard:
            heard.append(record)
            act()

    return listen


def _kill(stage: Stage) -> None:
    for pid in stage.server_pids():
        os.kill(pid, signal.SIGKILL)


async def _last_request(model_url: str) -> str:
    async with httpx2.AsyncClient(trust_env=False) as http:
        requests = (await http.get(f"{model_url}/_requests")).json()["requests"]
    return json.dumps(requests[-1])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
