"""Setups from the command line."""

import sys
from pathlib import Path

import anyio
import pytest

from coder.testing.harness import open_live_host
from coder.testing.repositories import make_repository
from tests.api.test_cli import at, coder, environment

TOML = "ports = ['PORT']\n[env]\nMODE = 'test'\n[setup]\ncommand = ['echo', 'set up']\n"


@pytest.mark.scenario("worktree-setup: From the command line")
async def test_a_person_sees_trusts_and_skips_a_setup_in_the_terminal(tmp_path: Path, database_url: str) -> None:
    repository = make_repository(tmp_path / "repository", {"a.txt": "a\n", ".coder/worktree.toml": TOML})
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        project = await client.register_project(str(repository))
        session = await client.open_session(project.id)
        shown = await coder(*at(live), "setup", session.id)
        assert shown.code == 0, shown
        assert "setup untrusted, prompts wait for it" in shown.out
        assert "setup command: echo 'set up'" in shown.out
        assert "variable MODE=test" in shown.out
        refused = await coder(*at(live), "setup", session.id, "--run")
        assert (refused.code, "trust it first" in refused.err) == (1, True), refused
        unsaid = await coder(*at(live), "trust", project.id, text=b"n\n")
        assert unsaid.code == 3, unsaid
        trusted = await coder(*at(live), "trust", str(repository), "--yes")
        assert trusted.code == 0, trusted
        with anyio.fail_after(20):
            while (await client.setup(session.id)).state != "done":
                await anyio.sleep(0.02)
        log = await coder(*at(live), "setup", session.id)
        assert log.out.endswith("\nset up\n"), log
        nothing = await coder(*at(live), "trust", project.id, "--yes")
        assert nothing.code == 2, nothing


@pytest.mark.scenario("worktree-setup: A prompt that waits says why")
async def test_a_prompt_in_the_terminal_says_that_it_waits_for_the_setup(tmp_path: Path, database_url: str) -> None:
    repository = make_repository(tmp_path / "repository", {"a.txt": "a\n", ".coder/worktree.toml": TOML})
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        session = await client.open_session((await client.register_project(str(repository))).id)
        command = [sys.executable, "-m", "coder", *at(live), "prompt", session.id, "--agent", "demo", "say hi"]
        with anyio.fail_after(60):
            async with await anyio.open_process(command, env=environment()) as process:
                assert process.stderr is not None
                said = b""
                while b"coder trust" not in said:
                    said += await process.stderr.receive()
                assert b"[setup] untrusted; the prompt waits for it" in said
                skipped = await coder(*at(live), "setup", session.id, "--skip")
                assert skipped.out.startswith("setup skipped\n"), skipped
                while b"[setup] skipped" not in said:
                    said += await process.stderr.receive()
                assert await process.wait() == 0
