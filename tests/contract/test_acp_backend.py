"""What the ACP backend does beyond the contract: the protocol's requests, its faults, logins and probes."""

import sys
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from coder.backends.acp.probe import probe_acp
from coder.errors import AgentDied, AgentProtocolError, AgentTimeout, AgentUnavailable, AuthRequired
from coder.model.events import Commands, Unknown
from coder.model.providers import ProbeResult, Provider
from coder.model.tasks import Attachment
from tests.contract.stage import CHECKOUT, LIMITS, PYTHON, Stage, open_demo, open_stage

PNG = "iVBORw0KGgo="


@pytest.mark.scenario("acp-backend: Noise on the wire is ignored")
async def test_garbage_unknown_updates_and_unknown_requests_do_not_disturb_a_turn(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage, open_demo(stage) as backend:
        handle = await backend.ensure_session(stage.options())
        result = await stage.prompt(backend, handle, "say a; garbage; unknown; unknownrequest; say b")
        assert result.ok
        assert Unknown(raw={"sessionUpdate": "demo_unknown_kind", "answer": 42}) in stage.events
        assert stage.said == "aThe unknown request was refused: -32601. b"


async def test_calls_and_sessions_never_announced_are_taken_as_they_come(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage, open_demo(stage) as backend:
        handle = await backend.ensure_session(stage.options())
        await stage.prompt(backend, handle, "badorder; say end")
        (call,) = stage.calls.values()
        assert (call.title, call.kind, call.status) == ("Announced late", "read", "completed")
        assert stage.said == "end"


@pytest.mark.scenario("acp-backend: Files are read and written inside the worktree only")
@pytest.mark.parametrize("offers", [True, False], ids=["offered", "not offered"])
async def test_files_of_the_worktree_are_read_and_written_and_others_are_not(tmp_path: Path, offers: bool) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    async with open_stage(tmp_path) as stage, open_demo(stage, offers=offers) as backend:
        handle = await backend.ensure_session(stage.options())
        (stage.worktree / "way-out").symlink_to(tmp_path)
        await stage.prompt(backend, handle, "fswrite new/a.txt one\\ntwo\\nthree; fsread new/a.txt 2 1")
        assert (stage.worktree / "new/a.txt").read_text() == "one\ntwo\nthree\n"
        assert "Read: two\n" in stage.said
        for path in ("../secret.txt", "way-out/secret.txt", "/etc/passwd"):
            stage.events.clear()
            await stage.prompt(backend, handle, f"fsread {path}; fswrite {path} x")
            assert stage.said.count("path escapes worktree") == 2
        assert (tmp_path / "secret.txt").read_text() == "secret"


async def test_a_file_that_is_not_there_is_told_as_such(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage, open_demo(stage, offers=True) as backend:
        handle = await backend.ensure_session(stage.options())
        await stage.prompt(backend, handle, "fsread no/such.txt")
        assert "(-32002)" in stage.said


@pytest.mark.scenario("acp-backend: Terminals run in the worktree and are shown")
async def test_a_command_runs_in_a_terminal_of_the_host_and_its_output_is_shown(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage, open_demo(stage, offers=True) as backend:
        handle = await backend.ensure_session(stage.options())
        await stage.prompt(backend, handle, "terminal pwd && echo oops >&2 && exit 3")
        (call,) = stage.calls.values()
        assert call.status == "failed"
        assert call.output == {"output": f"{stage.worktree}\noops\n", "exitCode": 3}
        assert call.terminals[0].output == f"{stage.worktree}\noops\n"
        assert call.terminals[0].exit_code == 3


async def test_a_terminal_is_ended_when_its_turn_is_cancelled(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage, open_demo(stage, offers=True) as backend:
        handle = await backend.ensure_session(stage.options())
        cancel = anyio.Event()

        async def cancel_when_running() -> None:
            await stage.wait_until(lambda: any(call.terminals for call in stage.calls.values()))
            cancel.set()

        script = "terminal echo begun && sleep 600"
        result = await stage.prompt(backend, handle, script, cancel=cancel, meanwhile=cancel_when_running)
        assert result.stop_reason == "cancelled"
        assert backend.health() == "up"
        assert [call.status for call in stage.calls.values()] == ["failed"]


async def test_output_of_a_terminal_of_the_agent_is_shown(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage, open_demo(stage) as backend:
        handle = await backend.ensure_session(stage.options())
        await stage.prompt(backend, handle, "terminal echo out1 && echo out2")
        (call,) = stage.calls.values()
        assert call.status == "completed"
        assert [terminal.output for terminal in call.terminals] == ["out1\nout2\n"]
        assert call.terminals[0].exit_code == 0


async def test_attachments_travel_as_the_agent_can_take_them(tmp_path: Path) -> None:
    image = Attachment(name="a.png", mime_type="image/png", data=PNG)
    notes = Attachment(name="notes.md", mime_type="text/markdown", data="IyBoaQ==")
    link = Attachment(name="page", mime_type="text/html", uri="https://example.com/")
    async with open_stage(tmp_path) as stage, open_demo(stage) as backend:
        handle = await backend.ensure_session(stage.options())
        await stage.prompt(backend, handle, "attachments", attachments=(image, notes, link))
        assert "image image/png" in stage.said
        assert "resource attachment:///notes.md" in stage.said
        assert "resource_link" in stage.said


@pytest.mark.scenario("acp-backend: A replay of history is not recorded again")
async def test_a_replay_that_comes_after_the_answer_to_a_load_is_not_recorded(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        async with open_demo(stage) as backend:
            handle = await backend.ensure_session(stage.options())
            await stage.prompt(backend, handle, "replay-late; say told before")
        stage.events.clear()
        stage.outside.clear()
        load_only = (sys.executable, str(CHECKOUT / "tests/contract/load_only_agent.py"))
        async with open_demo(stage, command=load_only) as backend:
            again = await backend.ensure_session(stage.options(resume_token=handle.agent_session_id))
            await stage.prompt(backend, again, "say new")
            assert again.is_resumed
            assert stage.said == "new"
            assert [event.type for event in stage.outside] == ["mode", "model"]


@pytest.mark.scenario("acp-backend: A login that is needed is told with its ways")
async def test_an_agent_that_wants_a_login_says_how(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage, open_demo(stage, {"DEMO_LOGIN_NEEDED": "1"}) as backend:
        with pytest.raises(AuthRequired) as caught:
            await backend.ensure_session(stage.options())
        methods = caught.value.fields["auth_methods"]
        assert [method.id for method in backend.introduction.auth] == ["demo-login", "demo-terminal"]
        assert methods == backend.introduction.auth
        assert backend.introduction.auth[1].command == (*PYTHON, "coder.testing.agent", "--login")
        assert backend.health() == "down"


@pytest.mark.parametrize("protocol", ["1", "2"])
@pytest.mark.scenario("acp-backend: A prompt that is refused for want of a login is told with its ways")
async def test_a_refused_prompt_ends_with_the_ways_to_sign_in(tmp_path: Path, protocol: str) -> None:
    env = {"DEMO_LOGIN_NEEDED": "prompt", "DEMO_PROTOCOL": protocol}
    async with open_stage(tmp_path) as stage, open_demo(stage, env) as backend:
        handle = await backend.ensure_session(stage.options())
        result = await stage.prompt(backend, handle, "say hello")
        assert result.error is not None
        assert result.error.code == "auth_required"
        assert result.error.message == "Demo wants a login first: Authentication required"
        assert result.auth_methods == backend.introduction.auth
        assert [method.id for method in backend.introduction.auth] == ["demo-login", "demo-terminal"]


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("start:die", AgentDied, "dying at start"),
        ("initialize:die", AgentDied, "dying at initialize"),
        ("initialize:hang", AgentTimeout, "initialize"),
        ("initialize:error", AgentProtocolError, "fails at initialize"),
        ("session:die", AgentDied, "dying at session"),
        ("session:hang", AgentTimeout, "session/new"),
        ("session:error", AgentProtocolError, "fails at session"),
    ],
)
@pytest.mark.scenario("acp-backend: A start that fails is told in words and leaves nothing running")
async def test_an_agent_that_does_not_come_up_is_ended_and_says_why(
    tmp_path: Path, fault: str, error: type[Exception], words: str
) -> None:
    limits = replace(LIMITS, initialize=0.5, session_start=0.5)
    async with open_stage(tmp_path) as stage, open_demo(stage, {"DEMO_FAULT_AT": fault}, limits) as backend:
        with pytest.raises(error, match=words):
            await backend.ensure_session(stage.options())
        assert backend.health() == "down"
        with anyio.fail_after(1):
            await backend.wait_closed()


async def test_a_program_that_is_missing_makes_the_agent_unavailable(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage, open_demo(stage, command=("no-such-agent",)) as backend:
        with pytest.raises(AgentUnavailable, match="no-such-agent"):
            await backend.ensure_session(stage.options())


async def test_a_program_that_says_back_what_it_hears_is_no_agent(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage, open_demo(stage, command=("cat",)) as backend:
        with pytest.raises(AgentProtocolError):
            await backend.ensure_session(stage.options())


@pytest.mark.scenario("acp-backend: An agent of another implementation is served")
async def test_an_agent_built_on_the_official_sdk_is_served(tmp_path: Path) -> None:
    command = (sys.executable, str(CHECKOUT / "tests/contract/sdk_agent.py"))
    async with open_stage(tmp_path) as stage, open_demo(stage, offers=True, command=command) as backend:
        handle = await backend.ensure_session(stage.options())
        assert backend.introduction.name == "SDK agent"
        result = await stage.prompt(backend, handle, "hello", ask=stage.answering("allow_once"))
        assert (result.ok, result.stop_reason) == (True, "end_turn")
        assert stage.said == "hello: written"
        assert (stage.worktree / "sdk.txt").read_text() == "from the SDK"
        assert [call.status for call in stage.calls.values()] == ["completed"]


@pytest.mark.scenario("acp-backend: A probe tells what an agent offers")
async def test_a_probe_tells_what_an_agent_offers(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        found = await _probe(stage)
        assert found.error is None
        assert found.signed_in is True
        assert [model.id for model in found.models] == ["demo-small", "demo-large"]
        assert [option.id for option in found.models[0].thinking_options] == ["low", "normal", "high"]
        assert [mode.id for mode in found.modes] == ["ask", "auto", "plan"]
        assert (found.default_model, found.default_mode) == ("demo-small", "ask")
        assert [command.name for command in found.commands] == ["demo", "explain"]
        assert (found.agent_name, found.can_resume, found.accepts_images) == ("Demo agent", True, True)


@pytest.mark.parametrize("protocol", ["1", "2"])
@pytest.mark.scenario("acp-backend: What a prompt may carry is known before it is sent")
async def test_a_probe_tells_what_a_prompt_may_carry(tmp_path: Path, protocol: str) -> None:
    async with open_stage(tmp_path) as stage:
        found = await _probe(stage, {"DEMO_PROTOCOL": protocol})
        assert (found.accepts_images, found.accepts_audio, found.accepts_files) == (True, False, True)


@pytest.mark.scenario("acp-backend: A probe that fails says so in words")
async def test_a_probe_of_an_agent_that_wants_a_login_is_no_failure(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        found = await _probe(stage, {"DEMO_LOGIN_NEEDED": "1"})
        assert (found.signed_in, found.error) == (False, None)
        assert [method.id for method in found.auth_methods] == ["demo-login", "demo-terminal"]


@pytest.mark.parametrize(
    ("env", "command", "words"),
    [({"DEMO_FAULT_AT": "initialize:die"}, None, "exit code 1"), ({}, ("no-such-agent",), "not found")],
    ids=["death", "missing"],
)
@pytest.mark.scenario("acp-backend: A probe that fails says so in words")
async def test_a_probe_that_fails_says_so_in_words(
    tmp_path: Path, env: dict[str, str], command: tuple[str, ...] | None, words: str
) -> None:
    async with open_stage(tmp_path) as stage:
        found = await _probe(stage, env, command or (*PYTHON, "coder.testing.agent"))
        assert found.signed_in is None
        assert words in (found.error or "")


async def test_commands_that_come_before_the_first_turn_are_told_outside_of_it(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage, open_demo(stage) as backend:
        await backend.ensure_session(stage.options())
        await stage.wait_until(lambda: any(isinstance(event, Commands) for event in stage.outside))
        assert backend.capabilities.commands


async def _probe(
    stage: Stage, env: dict[str, str] | None = None, command: tuple[str, ...] = (*PYTHON, "coder.testing.agent")
) -> ProbeResult:
    provider = Provider(id="demo", label="Demo", command=command)
    environment = {**stage.environment, **(env or {})}
    return await probe_acp(
        provider, command, environment, supervisor=stage.supervisor, limits=LIMITS, cwd=stage.worktree
    )
