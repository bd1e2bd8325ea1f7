"""The scripted agent as a program, seen over its pipes by a bare client."""

import os
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from coder.testing.raw_client import AgentEnded, Answer, RawClient, allow, choose, open_raw_client, reject
from coder.testing.wire import Fields, RequestRefused, fields, items, string

COMMAND = (sys.executable, "-m", "coder.testing.agent")


def open_demo(home: Path, answer: Answer = allow, **environment: str) -> AbstractContextManager[RawClient]:
    return open_raw_client(COMMAND, {"HOME": str(home), "PATH": os.environ["PATH"], **environment}, answer)


def kinds(client: RawClient) -> list[str]:
    return [string(update.get("sessionUpdate")) for update in client.updates]


@pytest.mark.scenario("testing: Plain words get a whole turn")
def test_plain_words_get_a_whole_turn(tmp_path: Path):
    with open_demo(tmp_path / "home") as client:
        session = client.open_session(tmp_path)

        assert client.prompt(session, "Please add a feature") == "end_turn"

    assert (tmp_path / "DEMO.md").read_text().startswith("# Demo\n")
    assert {"agent_thought_chunk", "agent_message_chunk", "plan", "tool_call", "usage_update"} <= set(kinds(client))
    assert [method for method, _ in client.asked] == ["session/request_permission"]


@pytest.mark.scenario("testing: Verbs do what they say")
def test_verbs_change_files_in_the_session_folder(tmp_path: Path):
    with open_demo(tmp_path / "home") as client:
        session = client.open_session(tmp_path)
        client.prompt(session, "write a/b.txt one two; edit a/b.txt two => three; rename a/b.txt => c.txt")
        client.prompt(session, "write d.txt gone; delete d.txt; terminal printf '%s' hi > e.txt")

    assert (tmp_path / "c.txt").read_text() == "one three\n"
    assert (tmp_path / "e.txt").read_text() == "hi"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["c.txt", "e.txt"]


@pytest.mark.scenario("testing: A refused permission skips the change")
def test_a_refused_permission_skips_the_next_change_only(tmp_path: Path):
    with open_demo(tmp_path / "home", reject) as client:
        session = client.open_session(tmp_path)
        client.prompt(session, "ask; write a.txt no; write b.txt yes")

    assert not (tmp_path / "a.txt").exists()
    assert (tmp_path / "b.txt").exists()
    assert "Permission refused. Skipped: Write a.txt. " in client.said()


def test_a_permission_allowed_always_is_not_asked_for_again(tmp_path: Path):
    def allow_always(method: str, params: Fields) -> Fields:
        return choose("allow_always", method, params)

    with open_demo(tmp_path / "home", allow_always) as client:
        session = client.open_session(tmp_path)
        client.prompt(session, "ask; write a.txt x; ask; write b.txt x")

    assert len(client.asked) == 1


@pytest.mark.scenario("testing: A cancel ends the turn as cancelled")
@pytest.mark.parametrize(
    "script", ["say begun; hang", "say begun; terminal sleep 60", "say begun; flood stdout 100000000"]
)
def test_a_cancel_ends_the_turn_as_cancelled(tmp_path: Path, script: str):
    with open_demo(tmp_path / "home") as client:
        session = client.open_session(tmp_path)
        client.on_first("agent_message_chunk", lambda: client.peer.notify("session/cancel", {"sessionId": session}))

        assert client.prompt(session, script) == "cancelled"


def test_a_cancel_is_ignored_when_told_so(tmp_path: Path):
    with open_demo(tmp_path / "home") as client:
        session = client.open_session(tmp_path)
        client.on_first("agent_message_chunk", lambda: client.peer.notify("session/cancel", {"sessionId": session}))

        assert client.prompt(session, "ignore cancel; say begun; sleep 100; say still here") == "end_turn"


@pytest.mark.scenario("testing: A conversation survives its process")
def test_a_conversation_survives_its_process(tmp_path: Path):
    with open_demo(tmp_path / "home") as client:
        session = client.open_session(tmp_path)
        client.prompt(session, "say hello; counter")
    with open_demo(tmp_path / "home") as client:
        client.request("initialize", {"protocolVersion": 1, "clientCapabilities": {}})
        client.request("session/load", {"sessionId": session, "cwd": str(tmp_path), "mcpServers": []})

        assert kinds(client)[:2] == ["user_message_chunk", "agent_message_chunk"]
        client.prompt(session, "counter")

    assert "Prompt 2 of this conversation, prompt 1 of process" in client.said()


def test_a_late_replay_comes_after_the_answer_to_load(tmp_path: Path):
    with open_demo(tmp_path / "home") as client:
        session = client.open_session(tmp_path)
        client.prompt(session, "replay-late; say hello")
    with open_demo(tmp_path / "home") as client:
        client.request("initialize", {"protocolVersion": 1, "clientCapabilities": {}})
        client.request("session/load", {"sessionId": session, "cwd": str(tmp_path), "mcpServers": []})

        assert client.wait_for("agent_message_chunk")


def test_an_unknown_session_is_refused(tmp_path: Path):
    with open_demo(tmp_path / "home") as client:
        client.open_session(tmp_path)
        with pytest.raises(RequestRefused, match=r"no session \.\./x"):
            client.request("session/load", {"sessionId": "../x", "cwd": str(tmp_path), "mcpServers": []})


def test_modes_models_and_options_can_be_chosen(tmp_path: Path):
    with open_demo(tmp_path / "home") as client:
        session = client.open_session(tmp_path, {"session": {"configOptions": {"boolean": {}}}})
        client.request("session/set_mode", {"sessionId": session, "modeId": "auto"})
        client.request("session/set_model", {"sessionId": session, "modelId": "demo-large"})
        for option, value in (("thinking", "high"), ("verbose", True)):
            answer = client.request(
                "session/set_config_option", {"sessionId": session, "configId": option, "value": value}
            )
        client.prompt(session, "settings; ask; write a.txt unasked")

    assert {string(fields(option)["id"]) for option in items(answer["configOptions"])} == {
        "mode",
        "model",
        "thinking",
        "verbose",
    }
    assert "mode=auto model=demo-large thinking=high verbose=on" in client.said()
    assert client.asked == []


def test_a_login_is_wanted_when_the_environment_says_so(tmp_path: Path):
    with open_demo(tmp_path / "home", DEMO_LOGIN_NEEDED="1") as client:
        with pytest.raises(RequestRefused) as refused:
            client.open_session(tmp_path)
        client.request("authenticate", {"methodId": "demo-login"})

        assert refused.value.code == -32000
        assert client.request("session/new", {"cwd": str(tmp_path), "mcpServers": []})["sessionId"]


def test_it_dies_with_the_code_it_was_given(tmp_path: Path):
    with open_demo(tmp_path / "home") as client:
        session = client.open_session(tmp_path)
        with pytest.raises(RequestRefused, match="closed"):
            client.prompt(session, "die 7")

        assert client.child.wait(10) == 7


@pytest.mark.scenario("testing: The end of input ends the agent")
def test_the_end_of_input_ends_it_even_in_a_turn(tmp_path: Path):
    with open_demo(tmp_path / "home") as client:
        session = client.open_session(tmp_path)
        client.peer.post("session/prompt", {"sessionId": session, "prompt": [{"type": "text", "text": "say x; hang"}]})
        client.wait_for("agent_message_chunk")
        assert client.child.stdin is not None
        client.child.stdin.close()

        assert client.child.wait(10) == 0


def test_it_outlives_sigterm_and_the_end_of_input_when_told_so(tmp_path: Path):
    with open_demo(tmp_path / "home") as client:
        session = client.open_session(tmp_path)
        client.prompt(session, "ignore term; ignore eof")
        assert client.child.stdin is not None
        client.child.send_signal(signal.SIGTERM)
        client.child.stdin.close()

        with pytest.raises(subprocess.TimeoutExpired):
            client.child.wait(0.3)
        client.child.kill()


def test_noise_on_the_wire_does_not_end_the_turn(tmp_path: Path):
    with open_demo(tmp_path / "home") as client:
        session = client.open_session(tmp_path)
        script = "garbage; unknown; unknownrequest; badorder; longline 200000; flood stdout 1000; flood stderr 300000"

        assert client.prompt(session, script) == "end_turn"

    assert "refused: -32601" in client.said()
    assert client.said().endswith("flood 999 ")


@pytest.mark.scenario("testing: The agent starts light")
def test_it_starts_without_the_parts_of_the_host():
    program = "import sys, coder.testing.agent; print(*sorted(sys.modules))"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert not {"pydantic", "anyio", "asyncio", "asyncpg", "coder.model", "coder.settings"} & set(loaded)


def test_waiting_for_what_never_comes_ends(tmp_path: Path):
    with open_demo(tmp_path / "home") as client:
        client.open_session(tmp_path)
        with pytest.raises(AgentEnded):
            client.wait_for("plan", 0.05)
