"""What the opencode backend does beyond the contract: its server's faults, its password, plugins, the fallback."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from coder.backends.acp.backend import open_acp_backend
from coder.backends.base import SessionOptions
from coder.backends.fallback import open_with_fallback
from coder.backends.opencode.backend import ALLOW_PLUGINS, OpencodeBackend
from coder.backends.opencode.probe import probe_opencode
from coder.backends.opencode.server import ServerUnavailable
from coder.errors import AgentUnavailable
from coder.model.events import AgentStatusChanged, Plan
from coder.model.providers import Provider
from tests.contract.stage import LIMITS, PYTHON, Stage, is_alive, open_demo_server, open_stage

SERVER = (*PYTHON, "coder.testing.opencode_server")
CHUNKS = "".join(f"chunk {number} " for number in range(150))


@pytest.mark.scenario("opencode-backend: A lost event stream loses nothing")
async def test_a_stream_cut_again_and_again_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage, open_demo_server(stage) as backend:
        handle = await backend.ensure_session(stage.options())

        async def cut() -> None:
            for pieces in (10, 40, 80):
                await stage.wait_until(lambda pieces=pieces: stage.said.count("chunk") >= min(pieces, 11))
                await _http(backend).post("/demo/cut", {})

        script = "stream 150 5; write a.txt x"
        result = await stage.prompt(backend, handle, script, meanwhile=cut)
        assert (result.ok, result.stop_reason) == (True, "end_turn")
        assert stage.said == CHUNKS
        assert [call.status for call in stage.calls.values()] == ["completed"]


@pytest.mark.scenario("opencode-backend: A request is found after a reconnection")
async def test_a_permission_asked_while_nobody_listened_is_asked_after_the_reconnection(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage, open_demo_server(stage) as backend:
        handle = await backend.ensure_session(stage.options())

        async def cut() -> None:
            await stage.wait_until(lambda: bool(stage.said))
            await _http(backend).post("/demo/cut", {})

        answer = stage.answering("allow_once")
        await stage.prompt(backend, handle, "say a; sleep 30; ask; write a.txt x", ask=answer, meanwhile=cut)
        assert len(stage.asked) == 1
        assert (stage.worktree / "a.txt").exists()


@pytest.mark.scenario("opencode-backend: A lost event stream loses nothing")
async def test_a_plan_made_while_nobody_listened_is_told_after_the_reconnection_and_once(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage, open_demo_server(stage) as backend:
        handle = await backend.ensure_session(stage.options())

        async def cut() -> None:
            await stage.wait_until(lambda: bool(stage.said))
            await _http(backend).post("/demo/cut", {})

        await stage.prompt(backend, handle, "say a; sleep 30; plan look; sleep 500; say b", meanwhile=cut)
        (plan,) = [event for event in stage.events if isinstance(event, Plan)]
        assert [entry.content for entry in plan.entries] == ["look"]


@pytest.mark.scenario("opencode-backend: A stalled stream is opened again")
async def test_a_stream_on_which_nothing_comes_is_opened_again(tmp_path: Path) -> None:
    limits = replace(LIMITS, inactivity=1.0, request=3.0)
    faults = {"DEMO_HTTP": "/event:stall!"}
    async with open_stage(tmp_path) as stage, open_demo_server(stage, faults, limits) as backend:
        handle = await backend.ensure_session(stage.options())
        assert (await stage.prompt(backend, handle, "say a")).ok
        assert stage.said == "a"


@pytest.mark.scenario("opencode-backend: Errors of the server end the turn in words")
@pytest.mark.parametrize(("status", "is_up"), [("401", False), ("500", True)])
async def test_a_server_that_refuses_a_prompt_fails_the_turn(tmp_path: Path, status: str, is_up: bool) -> None:
    faults = {"DEMO_HTTP": f"prompt_async:{status}!"}
    async with open_stage(tmp_path) as stage, open_demo_server(stage, faults) as backend:
        handle = await backend.ensure_session(stage.options())
        result = await stage.prompt(backend, handle, "write a.txt x")
        assert result.error is not None
        assert (result.error.code, result.reached_agent) == ("agent_protocol", False)
        assert status in result.error.message
        assert not (stage.worktree / "a.txt").exists()
        if is_up:
            assert (await stage.prompt(backend, handle, "say again")).ok
        else:
            with anyio.fail_after(15):
                await backend.wait_closed()


async def test_a_prompt_whose_answer_was_lost_and_that_never_came_is_known_not_to_have(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage, open_demo_server(stage, {"DEMO_HTTP": "prompt_async:drop!"}) as backend:
        handle = await backend.ensure_session(stage.options())
        result = await stage.prompt(backend, handle, "write a.txt x")
        assert (result.ok, result.reached_agent) == (False, False)
        assert (await stage.prompt(backend, handle, "say again")).ok


@pytest.mark.scenario("opencode-backend: A server without a password is refused")
async def test_a_server_that_answers_strangers_is_ended_and_not_used(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage, open_demo_server(stage, {"DEMO_OPEN": "1"}) as backend:
        with pytest.raises(ServerUnavailable, match="answers strangers"):
            await backend.ensure_session(stage.options())
        assert backend.health() == "down"


@pytest.mark.scenario("opencode-backend: The password stays out of the command line")
async def test_the_password_is_in_no_command_line(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage, open_demo_server(stage) as backend:
        await backend.ensure_session(stage.options())
        pids = [path.parent for path in Path("/proc").glob("[0-9]*/cmdline") if b"opencode_server" in _read(path)]
        ours = [pid for pid in pids if str(tmp_path).encode() in _read(pid / "environ")]
        (password,) = {
            value.partition(b"=")[2]
            for pid in ours
            for value in _read(pid / "environ").split(b"\0")
            if value.startswith(b"OPENCODE_SERVER_PASSWORD=")
        }
        assert len(password) >= 32
        assert all(password not in _read(pid / "cmdline") for pid in ours)


@pytest.mark.scenario("opencode-backend: Plugins of a repository are refused")
@pytest.mark.parametrize("place", [".opencode/plugin/spy.js", ".opencode/plugins/spy.ts", "opencode.json"])
async def test_a_server_does_not_start_where_the_repository_brings_plugins(tmp_path: Path, place: str) -> None:
    async with open_stage(tmp_path) as stage, open_demo_server(stage) as backend:
        _bring_plugin(stage, place)
        with pytest.raises(AgentUnavailable, match=place.replace(".", r"\.")) as refused:
            await backend.ensure_session(stage.options())
        assert refused.value.stable_code == "plugins_refused"
        assert backend.seat is None


@pytest.mark.scenario("opencode-backend: Plugins that are allowed are told")
async def test_plugins_that_the_entry_allows_are_told_of(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage, open_demo_server(stage, {ALLOW_PLUGINS: "1"}) as backend:
        _bring_plugin(stage, ".opencode/plugin/spy.js")
        await backend.ensure_session(stage.options())
        told = [event.message for event in stage.outside if isinstance(event, AgentStatusChanged)]
        assert told == ["runs code that the repository brings along: .opencode/plugin/spy.js"]


@pytest.mark.scenario("opencode-backend: Without a server the agent is used over ACP")
@pytest.mark.parametrize("fault", [{"DEMO_FAULT_AT": "start:die"}, {"DEMO_OPEN": "1"}, {"DEMO_HTTP": "health:500"}])
async def test_where_no_server_can_be_had_the_session_goes_on_over_acp_and_says_so(
    tmp_path: Path, fault: Mapping[str, str]
) -> None:
    async with open_stage(tmp_path) as stage, _open_with_fallback(stage, fault) as backend:
        handle = await backend.ensure_session(stage.options())
        assert (handle.backend, backend.kind, backend.health()) == ("acp_warm", "acp_warm", "up")
        assert (await stage.prompt(backend, handle, "say over acp")).ok
        assert stage.said == "over acp"
        (told,) = [event for event in stage.outside if isinstance(event, AgentStatusChanged)]
        assert told.message is not None
        assert told.message.startswith("falls back to ACP: Demo server")


async def test_where_a_server_can_be_had_nothing_falls_back(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage, _open_with_fallback(stage, {}) as backend:
        handle = await backend.ensure_session(stage.options())
        assert (handle.backend, handle.server_port is not None) == ("opencode_server", True)
        assert (await stage.prompt(backend, handle, "say served")).ok


@pytest.mark.scenario("opencode-backend: The next server resumes the conversation")
async def test_after_a_killed_server_the_next_one_resumes_the_conversation(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        async with open_demo_server(stage) as backend:
            handle = await backend.ensure_session(stage.options())
            await stage.prompt(backend, handle, "counter")
            result = await stage.prompt(backend, handle, "fork 600; die 9")
            assert (result.ok, result.reached_agent) == (False, True)
            child = int(stage.said.rpartition("Forked process ")[2].rstrip(". "))
            with anyio.fail_after(15):
                await backend.wait_closed()
            assert not is_alive(child)
        async with open_demo_server(stage) as backend:
            again = await backend.ensure_session(stage.options(resume_token=handle.agent_session_id))
            await stage.prompt(backend, again, "counter")
        assert (again.is_resumed, again.agent_session_id) == (True, handle.agent_session_id)
        assert "Prompt 3 of this conversation, prompt 1 of process" in stage.said


@pytest.mark.scenario("opencode-backend: The next server resumes the conversation")
async def test_a_conversation_is_resumed_in_a_worktree_that_is_reached_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / "link").symlink_to("place")
    async with open_stage(tmp_path / "link") as stage:
        async with open_demo_server(stage) as backend:
            handle = await backend.ensure_session(stage.options())
            await stage.prompt(backend, handle, "counter")
        async with open_demo_server(stage) as backend:
            again = await backend.ensure_session(stage.options(resume_token=handle.agent_session_id))
        assert (again.is_resumed, again.agent_session_id) == (True, handle.agent_session_id)


def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / "probe"
    folder.mkdir()
    return folder


def _http(backend: OpencodeBackend):
    assert backend.seat is not None
    return backend.seat.http


def _bring_plugin(stage: Stage, place: str) -> None:
    path = stage.worktree / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"plugin": ["./spy.js"]}' if place.endswith(".json") else "export const Spy = async () => ({})")


def _open_with_fallback(stage: Stage, fault: Mapping[str, str]):
    provider = Provider(id="demo", label="Demo", command=(*PYTHON, "coder.testing.agent"))

    def over_acp(options: SessionOptions):
        return open_acp_backend(
            provider,
            provider.command,
            stage.environment,
            supervisor=stage.supervisor,
            emit=stage.emit_outside,
            limits=LIMITS,
        )

    server = open_demo_server(stage, fault)
    return open_with_fallback("demo", server, over_acp, stage.emit_outside, ServerUnavailable)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.scenario("opencode-backend: A probe tells what the server offers")
async def test_a_probe_starts_a_server_asks_it_and_ends_it(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        provider = Provider(id="demo", label="Demo", command=SERVER, transport="opencode")
        found = await probe_opencode(
            provider, SERVER, stage.environment, supervisor=stage.supervisor, limits=LIMITS, cwd=_folder(tmp_path)
        )
    assert [model.id for model in found.models] == ["demo/demo-small", "demo/demo-large"]
    assert [level.id for level in found.models[0].thinking_options] == ["low", "normal", "high"]
    assert [mode.id for mode in found.modes] == ["ask", "auto", "plan"]
    assert [command.name for command in found.commands] == ["demo"]
    assert (found.default_model, found.default_mode) == ("demo/demo-small", "ask")
    assert (found.can_resume, found.signed_in, found.error) == (True, True, None)


async def test_a_probe_of_what_does_not_start_raises_and_leaves_nothing(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        provider = Provider(id="demo", label="Demo", command=SERVER, transport="opencode")
        env = {**stage.environment, "DEMO_FAULT_AT": "start:die"}
        with pytest.raises(ServerUnavailable, match="dying at start"):
            await probe_opencode(
                provider, SERVER, env, supervisor=stage.supervisor, limits=LIMITS, cwd=_folder(tmp_path)
            )
