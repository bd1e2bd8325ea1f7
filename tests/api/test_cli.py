"""The `coder` command as a person or a script uses it: its own process, its output, its exit code."""

import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import anyio
import orjson
import pytest

from coder.testing.harness import LiveHost, open_live_host
from coder.testing.repositories import commit_files, git, make_repository
from coder.tokens import load_token
from tests.api.wire import open_test_session


class Ended:
    """How a command ended."""

    def __init__(self, code: int, out: bytes, err: bytes) -> None:
        self.code = code
        self.out = out.decode()
        self.err = err.decode()

    def __repr__(self) -> str:
        return f"exit {self.code}\n{self.out}\n{self.err}"


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CODER_", "PYTHON"))}
    return kept | {"COLUMNS": "200"} | more


async def coder(*arguments: str, text: bytes = b"", more: Mapping[str, str] | None = None) -> Ended:
    """Run the command to its end, with `more` in its environment."""
    command = [sys.executable, "-m", "coder", *arguments]
    with anyio.fail_after(60):
        done = await anyio.run_process(command, input=text, check=False, env=environment(**(more or {})))
    ended = Ended(done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in ended.err, ended
    return ended


def at(live: LiveHost) -> list[str]:
    return ["--home", str(live.host.settings.home), "--url", live.url]


@pytest.mark.scenario("cli: The main job in the terminal")
async def test_a_prompt_is_shown_and_its_change_applied(tmp_path: Path, database_url: str):
    repository = make_repository(tmp_path / "repo")
    async with open_live_host(tmp_path / "home", database_url) as live:
        words = ["say Hello\nwrite notes.md hi\nask may I"]
        done = await coder(*at(live), "prompt", "--project", str(repository), "--agent", "demo", "--allow", *words)
        assert (done.code, "Hello" in done.out) == (0, True), done
        assert "notes.md" in done.err
        pool = await coder(*at(live), "providers", "pool")
        row = next(line for line in pool.out.splitlines() if line.startswith("demo "))
        assert row.split()[:6] == ["demo", "1", "0", "1", "0", "%"], pool
        assert "1 of at most 10 agents are warm; they hold" in pool.out
        assert "0 % of 1 opened sessions were ready" in pool.out
        session = done.err.split()[1]
        listed = await coder(*at(live), "changes", "list", session, "--json")
        change = orjson.loads(listed.out)
        shown = await coder(*at(live), "changes", "show", change["id"])
        assert "+hi" in shown.out
        applied = await coder(*at(live), "changes", "apply", "--session", session)
        assert (applied.code, applied.out) == (0, "applied notes.md\n"), applied
        again = await coder(*at(live), "prompt", "--project", str(repository), "--agent", "demo", "say Again")
        assert (again.code, "Again" in again.out) == (0, True), again
        assert (repository / "notes.md").read_text().strip() == "hi"


@pytest.mark.scenario("comments: Comments in the terminal")
async def test_comments_are_made_listed_and_sent_as_a_review(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        session = await open_test_session(client, tmp_path / "repo")
        asked = await coder(*at(live), "prompt", session.id, "--agent", "demo", "write a.txt one\\ntwo\\n")
        assert asked.code == 0, asked
        (change,) = (await client.changes(session.id)).items
        made = await coder(*at(live), "comment", change.id, "--line", "2", "-", text=b"why two?\n")
        assert made.code == 0, made
        listed = await coder(*at(live), "comments", session.id)
        assert [made.out.strip(), "open", "a.txt:2", "why two?"] == listed.out.splitlines()[1].split(maxsplit=3)
        for line in ("3", "0"):
            assert (await coder(*at(live), "comment", change.id, "--line", line, "too far")).code == 2
        done = await coder(*at(live), "review", session.id, "--agent", "demo", "--deny", "Only this.")
        assert (done.code, "demo agent" in done.out) == (0, True), done
        (task, _) = (await client.tasks(session.id)).items
        assert ("> 2 | two" in task.input, task.input.endswith("Only this.")) == (True, True)
        again = await coder(*at(live), "review", session.id, "--agent", "demo")
        assert (again.code, "no open comment" in again.err) == (2, True), again


@pytest.mark.scenario("branches: Git out in the terminal")
async def test_a_session_is_committed_updated_exported_and_closed(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        session = await open_test_session(client, tmp_path / "repo")
        asked = await coder(*at(live), "prompt", session.id, "--agent", "demo", "write a.txt one")
        assert asked.code == 0, asked
        patch = await coder(*at(live), "patch", session.id)
        assert (patch.code, "+one" in patch.out) == (0, True), patch
        nothing = await coder(*at(live), "commit", session.id, "-m", "Nothing yet")
        assert (nothing.code, "nothing to commit" in nothing.err) == (1, True), nothing
        made = await coder(*at(live), "commit", session.id, "--all", "-m", "-", text=b"Say one\n")
        assert (made.code, made.out.strip()) == (0, git(tmp_path / "repo", "rev-parse", session.branch or "")), made
        (change,) = (await client.changes(session.id)).items
        assert (await coder(*at(live), "changes", "revert", change.id)).code == 0
        applied = await coder(*at(live), "changes", "apply", "--session", session.id, "--target", "branch")
        assert (applied.code, applied.out) == (0, "applied a.txt\n"), applied
        assert git(tmp_path / "repo", "show", f"{session.branch}:a.txt") == "one"
        assert not (tmp_path / "repo/a.txt").exists()
        commit_files(tmp_path / "repo", {"b.txt": "two"})
        shown = await coder(*at(live), "branch", session.id)
        assert "3 ahead, 1 behind" in shown.out, shown
        updated = await coder(*at(live), "update", session.id, "--rebase")
        assert (updated.code, updated.out.split()[0]) == (0, "rebased"), updated
        refused = await coder(*at(live), "close", session.id)
        assert (refused.code, "no other branch" in refused.err) == (1, True), refused
        closed = await coder(*at(live), "close", session.id, "--keep-branch")
        assert closed.code == 0, closed
        assert git(tmp_path / "repo", "show", "-s", "--format=%s", session.branch or "") == "Apply a change of a.txt"


@pytest.mark.scenario("cli: The host runs until it is told to stop")
async def test_up_prints_the_link_serves_and_ends_well(tmp_path: Path, database_url: str):
    home = ["--home", str(tmp_path / "home")]
    more = environment(CODER_DATABASE_URL=database_url, CODER_PROVIDERS_PATH=str(tmp_path / "providers.json"))
    with anyio.fail_after(60):
        async with await anyio.open_process(
            [sys.executable, "-m", "coder", *home, "up", "--port", "auto"], env=more, stderr=None
        ) as process:
            assert process.stdout is not None
            told = b""
            while b"#token=" not in told or not told.endswith(b"\n"):
                told += await process.stdout.receive()
            url, _, token = told.decode().split("http", 1)[1].strip().partition("/#token=")
            assert token == load_token(tmp_path / "home")
            assert (await coder(*home, "--url", f"http{url}", "projects", "list")).code == 0
            process.terminate()
            assert await process.wait() == 0


@pytest.mark.scenario("cli: Exit codes tell how a turn ended")
async def test_each_end_of_a_turn_has_its_exit_code(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        session = await open_test_session(client, tmp_path / "repo")
        ask = [*at(live), "prompt", session.id, "--agent", "demo"]
        records = await coder(*ask, "--json", "-", text=b"say one")
        kinds = [orjson.loads(line)["event"]["type"] for line in records.out.splitlines()]
        assert (records.code, kinds[-1], "text" in kinds) == (0, "turn_ended", True), records
        failed = await coder(*ask, "say soon\ndie 3")
        assert (failed.code, "[failed]" in failed.err) == (1, True), failed
        denied = await coder(*ask, "--deny", "ask may I\nsay after")
        assert denied.code == 0, denied
        assert (await client.permissions(session.id))[0].option_id == "no"
        assert (await coder(*ask[:-1], "nobody", "say x")).code == 2


@pytest.mark.scenario("cli: Ctrl-C cancels the turn")
async def test_an_interrupt_cancels_the_turn_and_says_so(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        session = await open_test_session(client, tmp_path / "repo")
        command = [sys.executable, "-m", "coder", *at(live), "prompt", session.id, "--agent", "demo", "say on it\nhang"]
        with anyio.fail_after(40):
            async with await anyio.open_process(command, env=environment()) as process:
                assert process.stdout is not None
                assert b"on it" in await process.stdout.receive()
                process.send_signal(signal.SIGINT)
                assert await process.wait() == 3
        assert (await client.tasks(session.id)).items[0].state == "cancelled"


@pytest.mark.scenario("cli: Agents cannot write to the terminal")
async def test_what_an_agent_says_cannot_steer_the_terminal(tmp_path: Path, database_url: str):
    hostile = "before \x1b]2 title\x07 \x1b[2J \x9b2J \u202eevil\u2066 after"
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        session = await open_test_session(client, tmp_path / "repo")
        done = await coder(*at(live), "prompt", session.id, "--agent", "demo", f"say {hostile}")
        assert "before" in done.out, done
        assert "after" in done.out
        assert all(character.isprintable() or character == "\n" for character in done.out + done.err), ascii(done.out)


async def test_projects_and_sessions_are_added_and_listed(tmp_path: Path, database_url: str):
    repository = make_repository(tmp_path / "repo")
    async with open_live_host(tmp_path / "home", database_url) as live:
        project = (await coder(*at(live), "projects", "add", str(repository))).out.strip()
        session = (await coder(*at(live), "sessions", "open", project, "--name", "try")).out.strip()
        table = (await coder(*at(live), "sessions", "list")).out.splitlines()
        assert table[0].split() == ["ID", "NAME", "STATE", "BRANCH", "WORKTREE"]
        assert table[1].split()[:3] == [session, "try", "open"]
        edited = await coder(*at(live), "sessions", "edit", session, "--name", "tried", "--auto-apply")
        assert edited.out == "tried, auto-apply on\n", edited
        assert (await coder(*at(live), "sessions", "edit", session)).code == 2
        refused = await coder(*at(live), "projects", "rm", project)
        assert (refused.code, refused.err.startswith("error: "), refused.err.count("\n")) == (1, True, 1), refused


@pytest.mark.scenario("cli: Providers are added on the machine itself")
async def test_a_provider_is_added_to_the_file_and_toggled_over_the_api(tmp_path: Path, database_url: str):
    file = tmp_path / "home" / "coder-providers.json"
    async with open_live_host(tmp_path / "home", database_url) as live:
        more = {"CODER_PROVIDERS_PATH": str(file)}
        added = await coder(
            *at(live), "providers", "add", "mine", "--label", "Mine", "--", "mine-acp", "--fast", more=more
        )
        assert added.code == 0, added
        assert orjson.loads(file.read_bytes())["providers"]["mine"]["command"] == ["mine-acp", "--fast"]
        assert (await coder(*at(live), "providers", "disable", "mine")).code == 0
        async with live.client() as client:
            assert [found.enabled for found in await client.providers() if found.id == "mine"] == [False]
        bad = await coder(*at(live), "providers", "add", "Not An Id", "--", "x", more=more)
        assert (bad.code, bad.err.count("\n")) == (2, 1), bad


@pytest.mark.scenario("cli: No host is told apart from a failure")
async def test_a_host_that_is_not_there_or_not_ours_is_one_clear_line(tmp_path: Path):
    missing = await coder("--home", str(tmp_path), "projects", "list")
    assert (missing.code, "coder up" in missing.err) == (1, True), missing
    token = load_token(tmp_path)
    link = await coder("--home", str(tmp_path), "token", "--login-url")
    assert link.out == f"http://127.0.0.1:9502/#token={token}\n"
    away = await coder("--home", str(tmp_path), "--url", "http://127.0.0.1:9", "projects", "list")
    assert (away.code, "no host answers" in away.err) == (4, True), away


@pytest.mark.scenario("cli: Wrong usage is told in one line")
async def test_wrong_usage_exits_with_two():
    assert (await coder("frobnicate")).code == 2
    bad = await coder("up", "--port", "99999")
    assert (bad.code, bad.err.count("\n")) == (1, 1), bad


@pytest.mark.scenario("cli: The doctor says what is missing")
async def test_the_doctor_names_what_is_missing_and_how_to_get_it(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        home = ["--home", str(tmp_path / "home")]
        more = {"CODER_PORT": port, "CODER_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/x", "PATH": str(tmp_path)}
        done = await coder(*home, "doctor", "--json", more=more)
        findings = {found["name"]: found for found in map(orjson.loads, done.out.splitlines())}
        assert done.code == 1, done
        assert findings["home"]["state"] == "ok"
        for name in ("git", "database", "port"):
            assert (findings[name]["state"], bool(findings[name]["remedy"])) == ("missing", True), findings[name]
        assert f"(process {os.getpid()})" in findings["port"]["message"]
        assert findings["agent goose"]["remedy"]
        assert "hunter2" not in done.out


async def test_the_doctor_finds_a_healthy_machine_healthy(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path / "home", database_url) as live:
        port = live.url.rpartition(":")[2]
        more = {"CODER_PORT": port, "CODER_DATABASE_URL": database_url}
        done = await coder("--home", str(tmp_path / "home"), "doctor", more=more)
        assert (done.code, "already answers" in done.out) == (0, True), done


async def test_a_terminal_that_cannot_ask_refuses(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        session = await open_test_session(client, tmp_path / "repo")
        done = await coder(*at(live), "prompt", session.id, "--agent", "demo", "ask may I")
        assert (done.code, "nobody can be asked" in done.err) == (0, True), done
        assert (await client.permissions(session.id))[0].option_id == "no"
