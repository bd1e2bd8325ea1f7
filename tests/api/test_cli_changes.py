"""Deciding in the terminal: diffs, hunks, the ledger, checkpoints. The command in its own process, on a real host."""

import os
import pty
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread
import orjson
import pytest

from coder.client import Client
from coder.model.sessions import Session
from coder.protocol import Prompt
from coder.testing.harness import open_live_host
from tests.api.test_cli import Ended, at, coder, environment
from tests.api.wire import open_test_session

LINES = [f"line {number}" for number in range(1, 31)]
EDITS = {"line 2": "second", "line 15": "middle", "line 28": "late"}


@dataclass(frozen=True)
class Terminal:
    """A session, the host it is on, and the command pointed at that host."""

    client: Client
    session: Session
    flags: Sequence[str]
    checkout: Path

    async def run(self, *arguments: str, text: str = "") -> Ended:
        return await coder(*self.flags, *arguments, text=text.encode())

    async def prompt(self, text: str) -> None:
        """One turn to its end."""
        task = await self.client.prompt(self.session.id, Prompt(agent="demo", input=text))
        with anyio.fail_after(20):
            assert (await self.client.wait_for_task(task.id)).state == "completed"

    async def hunk_ids(self) -> list[str]:
        """The hunks of the one file that is pending."""
        (change,) = (await self.client.changes(self.session.id, None)).items[:1]
        return [hunk.id for hunk in (await self.client.change(change.id)).hunks]

    def checked_out(self, name: str = "long.txt") -> str:
        return (self.checkout / name).read_text()

    def in_worktree(self, name: str = "long.txt") -> str:
        return (Path(self.session.worktree_path or "") / name).read_text()


@asynccontextmanager
async def open_terminal(tmp_path: Path, database_url: str) -> AsyncGenerator[Terminal]:
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        session = await open_test_session(client, tmp_path / "repo")
        yield Terminal(client, session, at(live), tmp_path / "repo")


async def edit_three_places(terminal: Terminal) -> None:
    """A long file that is applied already, with three hunks pending in it."""
    await terminal.prompt("write long.txt " + "".join(f"{line}\\n" for line in LINES))
    await terminal.client.apply_changes(terminal.session.id)
    await terminal.prompt("; ".join(f"edit long.txt {old}\\n => {new}\\n" for old, new in EDITS.items()))


def replaced(*words: str) -> str:
    new = {old: word for old, word in EDITS.items() if word in words}
    return "".join(f"{new.get(line, line)}\n" for line in LINES)


@pytest.mark.scenario("cli: What is pending is shown as a diff")
async def test_a_diff_shows_what_is_pending_in_every_form(tmp_path: Path, database_url: str) -> None:
    async with open_terminal(tmp_path, database_url) as terminal:
        session = terminal.session.id
        nothing = await terminal.run("diff", session)
        assert (nothing.code, nothing.out, nothing.err) == (0, "", "")
        await terminal.prompt("write src/b.txt one\\ntwo\\n; write a.txt \x1b[31mred\\n; write .env KEY=1\\n")
        whole = await terminal.run("diff", session)
        assert whole.code == 0, whole
        heads = [line for line in whole.out.splitlines() if line.startswith("diff --git")]
        assert [head.rpartition("/")[2] for head in heads] == [".env", "a.txt", "b.txt"]
        assert "+\\x1b[31mred" in whole.out
        assert "\x1b" not in whole.out
        assert "# looks like a secret" in whole.out
        part = await terminal.run("diff", session, "./src/", "--hunks")
        (hunk,) = [line.split()[1] for line in part.out.splitlines() if line.startswith("hunk ")]
        assert ("0 +one" in part.out, "a.txt" in part.out) == (True, False), part
        stat = await terminal.run("diff", session, "--stat")
        assert stat.out.splitlines()[-2:] == [" src/b.txt | 2 ++", " 3 files, 4 lines added, 0 deleted"], stat
        details = [orjson.loads(line) for line in (await terminal.run("diff", session, "--json")).out.splitlines()]
        assert details[-1]["hunks"][0]["id"] == hunk
        missing = await terminal.run("diff", session, "c.txt")
        assert (missing.code, missing.err) == (2, "error: nothing is pending at c.txt (not_found)\n"), missing


@pytest.mark.scenario("cli: A terminal sees colours, a pipe does not")
async def test_a_diff_is_coloured_on_a_terminal_only(tmp_path: Path, database_url: str) -> None:
    async with open_terminal(tmp_path, database_url) as terminal:
        await terminal.prompt("write a.txt one")
        command = [sys.executable, "-m", "coder", *terminal.flags, "diff", terminal.session.id]
        own, given = pty.openpty()
        try:
            with anyio.fail_after(60):
                await anyio.run_process(command, stdout=given, env=environment())
                shown = await anyio.to_thread.run_sync(os.read, own, 65536)
        finally:
            os.close(own)
            os.close(given)
        assert b"\x1b[32m+one\x1b[0m" in shown
        assert "\x1b" not in (await terminal.run("diff", terminal.session.id)).out


@pytest.mark.scenario("cli: Hunks are asked about one by one")
async def test_what_has_no_hunks_is_asked_about_whole(tmp_path: Path, database_url: str) -> None:
    async with open_terminal(tmp_path, database_url) as terminal:
        worktree = Path(terminal.session.worktree_path or "")
        (worktree / "logo.bin").write_bytes(b"\0new")
        (worktree / "link").symlink_to("a.txt")
        await terminal.prompt("write a.txt one\\n; write z.txt two\\n")
        some = await terminal.run("apply", terminal.session.id, "-p", text="d\na\ny\nn\nn\n")
        assert (some.code, some.out) == (0, "applied link\n"), some
        assert "(1/1) Apply this file [y,n,q,?]?" in some.err
        assert (terminal.checkout / "link").is_symlink()
        rest = await terminal.run("reject", terminal.session.id, "logo.bin", "-p", text="y\n")
        assert (rest.out, (worktree / "logo.bin").exists()) == ("rejected logo.bin\n", False), rest
        assert terminal.in_worktree("z.txt") == "two\n"


@pytest.mark.scenario("cli: Hunks are asked about one by one")
async def test_hunks_are_applied_and_rejected_as_they_are_answered(tmp_path: Path, database_url: str) -> None:
    async with open_terminal(tmp_path, database_url) as terminal:
        session = terminal.session.id
        await edit_three_places(terminal)
        none = await terminal.run("apply", session, "-p")
        assert (none.code, none.out, "nothing is chosen" in none.err) == (0, "", True), none
        some = await terminal.run("apply", session, "-p", text="what\ny\nn\nq\n")
        assert (some.code, some.out) == (0, "applied long.txt in part\n"), some
        assert "(1/3) Apply this hunk [y,n,l,a,d,q,?]?" in some.err
        assert "d - leave this and all later hunks of the file pending" in some.err
        assert terminal.checked_out() == replaced("second")
        lines = await terminal.run("reject", session, "-p", "--reason", "no", text="l\n99\n2-4\nq\n")
        assert (lines.code, "change nothing" in lines.err) == (0, True), lines
        assert terminal.in_worktree() == replaced("second", "late")
        rest = await terminal.run("apply", session, "long.txt", "--patch", "--json", text="a\n")
        assert orjson.loads(rest.out)["status"] == "applied", rest
        assert terminal.checked_out() == terminal.in_worktree()
        nothing = await terminal.run("apply", session, "-p")
        assert (nothing.code, nothing.err) == (0, "nothing is pending\n"), nothing


@pytest.mark.scenario("cli: A hunk or a file is decided by its name")
async def test_named_hunks_lines_and_files_are_decided(tmp_path: Path, database_url: str) -> None:
    async with open_terminal(tmp_path, database_url) as terminal:
        session = terminal.session.id
        await edit_three_places(terminal)
        first, second, third = await terminal.hunk_ids()
        applied = await terminal.run("apply", session, "--hunk", third, "--hunk", f"{second}:0-9")
        assert (applied.code, terminal.checked_out()) == (0, replaced("middle", "late")), applied
        stale = await terminal.run("reject", session, "--hunk", second)
        assert (stale.code, "(stale_hunk)" in stale.err) == (1, True), stale
        for bad in (f"{first}:0", f"{first}:x"):
            refused = await terminal.run("reject", session, "--hunk", bad)
            assert (refused.code, "(no_such_line)" in refused.err) == (2, True), refused
        assert (await terminal.run("apply", session, "-p", "--hunk", first)).code == 2
        await terminal.prompt("write other.txt x")
        rejected = await terminal.run("reject", session, "long.txt", "--reason", "not this")
        assert (rejected.code, rejected.out) == (0, "rejected long.txt\n"), rejected
        assert terminal.in_worktree() == replaced("middle", "late")
        (left,) = (await terminal.run("diff", session, "--stat")).out.splitlines()[:-1]
        assert "other.txt" in left
        everything = await terminal.run("apply", session)
        assert (everything.code, everything.out) == (0, "applied other.txt\n"), everything
        ledger = (await terminal.run("decisions", session)).out.splitlines()[1:]
        assert [" ".join(line.split()[5:]) for line in ledger[:3]] == [
            "apply other.txt",
            "reject long.txt not this",
            "apply long.txt in part",
        ], ledger


@pytest.mark.scenario("cli: A conflict is shown where it is")
async def test_a_conflict_shows_both_sides_and_writes_nothing(tmp_path: Path, database_url: str) -> None:
    async with open_terminal(tmp_path, database_url) as terminal:
        await edit_three_places(terminal)
        mine = terminal.checked_out().replace("line 15", "mine")
        (terminal.checkout / "long.txt").write_text(mine)
        refused = await terminal.run("apply", terminal.session.id)
        assert (refused.code, "(merge_conflict)" in refused.err) == (1, True), refused
        shown = [line.split(maxsplit=1)[-1] for line in refused.err.splitlines() if line[:1] == " "]
        assert ("mine" in shown, "middle" in shown, "line 1" in shown) == (True, True, False), refused
        assert terminal.checked_out() == mine


@pytest.mark.scenario("cli: The ledger is read, a decision is undone or withdrawn")
async def test_decisions_are_listed_reverted_and_withdrawn(tmp_path: Path, database_url: str) -> None:
    async with open_terminal(tmp_path, database_url) as terminal:
        session = terminal.session.id
        await terminal.prompt("write a.txt one")
        applied = orjson.loads((await terminal.run("apply", session, "--reason", "good", "--json")).out)
        reverted = await terminal.run("revert", applied["id"])
        assert (reverted.code, reverted.out, (terminal.checkout / "a.txt").exists()) == (0, "reverted a.txt\n", False)
        again = await terminal.run("revert", applied["id"])
        assert (again.code, "(wrong_state)" in again.err) == (1, True), again
        task = await terminal.client.prompt(session, Prompt(agent="demo", input="say on it\nhang"))
        await _running(terminal.client, task.id)
        queued = await terminal.run("reject", session, "a.txt", "--reason", "bad")
        assert (queued.code, queued.out, "coder withdraw dec_" in queued.err) == (0, "queued a.txt\n", True), queued
        assert "# rejected at the end of the turn" in (await terminal.run("diff", session)).out
        unasked = await terminal.run("apply", session, "-p", text="y\n")
        assert (unasked.code, "nothing is chosen" in unasked.err) == (0, True), unasked
        listed = (await terminal.run("decisions", session)).out.splitlines()
        assert [line.split()[3:] for line in listed[1:]] == [
            ["queued", "api", "reject", "a.txt", "bad"],
            ["done", "api", "revert", "a.txt"],
            ["done", "api", "apply", "a.txt", "good"],
        ], listed
        decision = listed[1].split()[0]
        withdrawn = await terminal.run("withdraw", decision)
        assert (withdrawn.code, withdrawn.out) == (0, f"withdrawn {decision}\n"), withdrawn
        assert (await terminal.run("withdraw", decision)).code == 1
        assert (await terminal.run("decisions", session, "--state", "queued")).out == ""
        await terminal.client.cancel_task(task.id)
        assert terminal.in_worktree("a.txt") == "one\n"


@pytest.mark.scenario("cli: A restore is shown first and can be undone")
async def test_a_checkpoint_is_shown_asked_about_restored_and_undone(tmp_path: Path, database_url: str) -> None:
    async with open_terminal(tmp_path, database_url) as terminal:
        await terminal.prompt("write a.txt one")
        await terminal.prompt("write b.txt two")
        rows = [line.split() for line in (await terminal.run("checkpoints", terminal.session.id)).out.splitlines()]
        assert [row[3] for row in rows[1:]] == ["turn", "turn", "opened"], rows
        first = rows[2][0]
        shown = await terminal.run("checkpoint", "show", first)
        assert shown.out.split() == ["a", "restore", "would", "delete", "+0", "-1", "b.txt"], shown
        unsaid = await terminal.run("checkpoint", "restore", first, text="n\n")
        assert (unsaid.code, "b.txt" in unsaid.err, terminal.in_worktree("b.txt")) == (3, True, "two\n"), unsaid
        restored = await terminal.run("checkpoint", "restore", first, text="y\n")
        assert restored.code == 0, restored
        assert not (Path(terminal.session.worktree_path or "") / "b.txt").exists()
        back = restored.out.split("`")[1].split()
        undone = await terminal.run(*back[1:], "--yes", "--json")
        assert orjson.loads(undone.out)["kind"] == "restore", undone
        assert terminal.in_worktree("b.txt") == "two\n"
        again = await terminal.run("checkpoint", "restore", back[-1], "--yes")
        assert (again.code, "(nothing_to_restore)" in again.err) == (1, True), again


@pytest.mark.scenario("cli: Comments are answered and settled")
async def test_a_comment_is_replied_to_and_resolved(tmp_path: Path, database_url: str) -> None:
    async with open_terminal(tmp_path, database_url) as terminal:
        await terminal.prompt("write a.txt one")
        (change,) = (await terminal.client.changes(terminal.session.id)).items
        comment = await terminal.client.begin_comment(change.id, 1, "why?")
        replied = await terminal.run("reply", comment.id, "because", "of", "that")
        assert replied.code == 0, replied
        assert "why? (+1)" in (await terminal.run("comments", terminal.session.id)).out
        settled = await terminal.run("resolve", comment.id)
        assert (settled.code, settled.out) == (0, "resolved a.txt:1\n"), settled
        twice = await terminal.run("resolve", comment.id)
        assert (twice.code, "(wrong_state)" in twice.err) == (1, True), twice
        assert (await terminal.run("resolve", comment.id, "--reopen")).out == "open a.txt:1\n"


async def _running(client: Client, task_id: str) -> None:
    with anyio.fail_after(20):
        while (await client.task(task_id)).state != "running":
            await anyio.sleep(0.02)
