"""One opencode server for the sessions of a project: shared, kept apart, ended by the last one out."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import pytest

from coder.backends.base import AgentSessionHandle, SessionOptions, TurnResult
from coder.backends.opencode.backend import OpencodeBackend
from coder.backends.opencode.servers import Servers, open_servers
from coder.backends.turn import AgentLimits
from coder.errors import AgentUnavailable
from coder.model.events import Text, ToolCallStarted, Unknown, UsageReported
from tests.contract.stage import LIMITS, PATIENCE, Stage, is_alive, join_demo_server, open_stage


@dataclass
class Guest:
    """One session: its worktree, what it was told, its backend."""

    stage: Stage
    backend: OpencodeBackend
    options: SessionOptions
    handle: AgentSessionHandle

    async def prompt(self, text: str, cancel: anyio.Event | None = None) -> TurnResult:
        return await self.stage.prompt(self.backend, self.handle, text, cancel=cancel)

    async def said(self, words: str) -> None:
        await self.stage.wait_until(lambda: words in self.stage.said)

    @property
    def port(self) -> int | None:
        return self.handle.server_port


@dataclass
class House:
    """Where sessions meet."""

    stage: Stage
    servers: Servers
    limits: AgentLimits = LIMITS

    @asynccontextmanager
    async def guest(
        self,
        name: str,
        project: str = "prj_1",
        env: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> AsyncGenerator[Guest]:
        worktree = self.stage.worktree.parent / name
        worktree.mkdir(exist_ok=True)
        own = Stage(self.stage.supervisor, worktree, self.stage.environment)
        options = replace(own.options(resume_token=token), session_id=f"ses_{name}", project_id=project)
        async with join_demo_server(own, self.servers, env, self.limits, is_shared=True) as backend:
            yield Guest(own, backend, options, await backend.ensure_session(options))


@asynccontextmanager
async def open_house(tmp_path: Path, limits: AgentLimits = LIMITS) -> AsyncGenerator[House]:
    async with open_stage(tmp_path) as stage, open_servers(stage.supervisor, limits, tmp_path / "agents") as servers:
        yield House(stage, servers, limits)


@pytest.mark.scenario("opencode-backend: Sessions of a project share a server")
async def test_two_sessions_of_a_project_work_on_one_server_each_in_its_own_worktree(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house, house.guest("one") as one, house.guest("two") as two:
        assert one.port == two.port
        assert len(_servers(tmp_path)) == 1
        async with anyio.create_task_group() as group:
            group.start_soon(one.prompt, "write a.txt one; say 1")
            group.start_soon(two.prompt, "write a.txt two; say 2")
        assert (one.stage.said, two.stage.said) == ("1", "2")
        assert (one.stage.worktree / "a.txt").read_text() == "one\n"
        assert (two.stage.worktree / "a.txt").read_text() == "two\n"


@pytest.mark.scenario("opencode-backend: Sessions on one server hear nothing of each other")
async def test_what_one_session_does_is_told_to_no_other(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house, house.guest("one") as one, house.guest("two") as two:

        async def ask_in_the_other() -> None:
            ask = two.stage.answering("allow_once")
            await two.stage.prompt(two.backend, two.handle, "think hm; ask; write b.txt x; say other", ask=ask)

        result = await one.stage.prompt(one.backend, one.handle, "stream 50 5", meanwhile=ask_in_the_other)
        assert result.ok
        assert {type(event) for event in one.stage.events} <= {Text, UsageReported}
        assert one.stage.said == "".join(f"chunk {number} " for number in range(50))
        assert (one.stage.asked, len(two.stage.asked)) == ([], 1)
        assert [event for event in two.stage.events if isinstance(event, ToolCallStarted)]
        assert not [event for event in one.stage.everything if isinstance(event, Unknown)]


@pytest.mark.scenario("opencode-backend: No server is shared across projects")
async def test_sessions_of_different_projects_have_different_servers(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house, house.guest("one") as one, house.guest("two", "prj_2") as two:
        assert one.port != two.port
        assert len(_servers(tmp_path)) == 2


@pytest.mark.scenario("opencode-backend: The last one out ends the shared server")
async def test_the_server_stays_while_somebody_uses_it_and_ends_with_the_last_one(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        async with house.guest("one") as one:
            async with house.guest("two") as two:
                assert (await two.prompt("say hello")).ok
            assert len(_servers(tmp_path)) == 1
            assert (await one.prompt("say still here")).ok
        assert _servers(tmp_path) == []


@pytest.mark.scenario("opencode-backend: A shared server that is retired takes nobody new")
async def test_who_comes_after_a_server_was_retired_gets_another_one_while_the_old_turn_goes_on(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house, house.guest("two") as two:
        async with house.guest("one") as one:
            await two.prompt("counter")

            async def move_the_other() -> None:
                await one.said("chunk 9 ")
                two.backend.retire()
                assert (one.backend.is_retired, two.backend.is_retired) == (True, True)
                await two.backend.dispose()
                async with house.guest("two", token=two.handle.agent_session_id) as moved:
                    assert moved.port != one.port
                    await moved.prompt("counter")
                    assert "Prompt 2 of this conversation" in moved.stage.said
                    assert not moved.backend.is_retired
                    assert len(_servers(tmp_path)) == 2

            result = await one.stage.prompt(one.backend, one.handle, "stream 400 10", meanwhile=move_the_other)
            assert result.ok
            assert one.stage.said == "".join(f"chunk {number} " for number in range(400))
        assert _servers(tmp_path) == []


@pytest.mark.scenario("opencode-backend: A session that leaves takes its turn along")
async def test_a_turn_ends_when_its_session_leaves_and_the_others_go_on(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house, house.guest("one") as one, house.guest("two") as two:

        async def leave() -> None:
            await two.said("begun")
            await two.backend.dispose()

        result = await two.stage.prompt(two.backend, two.handle, "say begun; sleep 60000", meanwhile=leave)
        assert result.stop_reason == "cancelled" or (result.error and result.error.code == "agent_died")
        assert two.backend.health() == "down"
        assert (await one.prompt("say still here")).ok


@pytest.mark.scenario("opencode-backend: A dead shared server ends every turn on it")
async def test_a_server_that_dies_ends_every_turn_and_the_next_one_resumes_every_conversation(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        async with house.guest("one") as one, house.guest("two") as two:
            for guest in (one, two):
                await guest.prompt("counter")
            results: list[TurnResult] = []

            async def run(guest: Guest, text: str) -> None:
                results.append(await guest.prompt(text))

            async with anyio.create_task_group() as group:
                group.start_soon(run, one, "say begun; sleep 60000")
                await one.said("begun")
                group.start_soon(run, two, "fork 600; die 9")
            assert [result.error and result.error.code for result in results] == ["agent_died"] * 2
            assert all("exit code 9" in result.error.message for result in results if result.error)
            child = int(two.stage.said.rpartition("Forked process ")[2].rstrip(". "))
            with anyio.fail_after(PATIENCE):
                await one.backend.wait_closed()
                await two.backend.wait_closed()
            assert not is_alive(child)
            tokens = one.handle.agent_session_id, two.handle.agent_session_id
            async with house.guest("one", token=tokens[0]) as again, house.guest("two", token=tokens[1]) as other:
                assert again.port == other.port != one.port
                for guest in (again, other):
                    assert guest.handle.is_resumed
                    await guest.prompt("counter")
                    assert "Prompt 3 of this conversation" in guest.stage.said
        assert _servers(tmp_path) == []


@pytest.mark.scenario("opencode-backend: A shared server that hangs is replaced")
async def test_a_turn_that_cannot_be_ended_ends_the_server_and_the_others_are_told_why(tmp_path: Path) -> None:
    limits = replace(LIMITS, cancel=0.3)
    async with open_house(tmp_path, limits) as house, house.guest("one") as one, house.guest("two") as two:
        cancel = anyio.Event()

        async def cancel_the_other() -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: two.prompt("ignore cancel; say begun; hang", cancel=cancel))
                await two.said("begun")
                cancel.set()

        result = await one.stage.prompt(one.backend, one.handle, "sleep 60000", meanwhile=cancel_the_other)
        assert result.error is not None
        assert "the server that the sessions of this project share was ended" in result.error.message


@pytest.mark.scenario("opencode-backend: Plugins of a repository are refused")
async def test_a_session_whose_worktree_brings_plugins_gets_no_place_at_a_shared_server(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house, house.guest("one") as one:
        plugins = tmp_path / "two" / ".opencode" / "plugin"
        plugins.mkdir(parents=True)
        (plugins / "spy.js").write_text("export const Spy = async () => ({})")
        with pytest.raises(AgentUnavailable, match="spy"):
            async with house.guest("two"):
                raise AssertionError
        assert (await one.prompt("say still here")).ok


async def test_a_session_that_gives_up_while_it_starts_the_server_leaves_another_to_start_it(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        patience = anyio.CancelScope()

        async def come_and_go() -> None:
            with patience:
                async with house.guest("one", env={"DEMO_FAULT_AT": "initialize:hang"}):
                    raise AssertionError

        async def come_and_stay() -> None:
            async with house.guest("two") as two:
                assert (await two.prompt("say hello")).ok

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(come_and_go)
                while not _servers(tmp_path):
                    await anyio.sleep(0.01)
                group.start_soon(come_and_stay)
                await anyio.wait_all_tasks_blocked()
                patience.cancel()
        assert _servers(tmp_path) == []


def _servers(folder: Path) -> list[int]:
    """The servers whose home is below the folder."""
    mark = f"XDG_DATA_HOME={folder}".encode()
    pids = (path for path in Path("/proc").glob("[0-9]*") if b"\0serve\0" in _read(path / "cmdline"))
    return [int(path.name) for path in pids if mark in _read(path / "environ")]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
