"""A host that dies in the middle of a decision, at every step of it, and what the next one finds."""

import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from coder.client import Client
from coder.model.changes import ChangeStatus
from coder.model.decisions import DecisionState
from coder.protocol import Prompt
from coder.testing.desk import open_desk
from coder.testing.host_process import open_host_process
from coder.testing.repositories import make_repository
from coder.testing.rooms import open_room

EDITS = "edit README.md Sample => Example; write new/deep.txt fresh; delete data/logo.bin; write other.txt more"
STEPS = (
    ("decision.underway",),
    ("write.prepared", "write.prepared"),
    ("write.removed",),
    ("write.moved",),
    ("decision.written",),
    ("decision.recorded",),
)


def files_below(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and ".git" not in path.relative_to(folder).parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


async def die_in(home: Path, database_url: str, session_id: str, verb: str, *failpoints: str) -> None:
    """Let a process of its own decide, and end at the last of the failpoints."""
    command = [sys.executable, "-m", "coder.testing.desk", database_url, str(home), session_id, verb, *failpoints]
    ended = await anyio.run_process(command, check=False, stdout=subprocess.DEVNULL)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()


@pytest.mark.scenario("changes: a killed host leaves nothing half-applied")
@pytest.mark.parametrize("verb", ["apply", "reject", "restore"])
async def test_a_decision_that_was_cut_off_never_happened(tmp_path: Path, database_url: str, verb: str) -> None:
    home = tmp_path / "home"
    async with open_room(tmp_path, database_url) as room:
        await room.prompt(EDITS)
        pending = await room.changes()
    place = room.repository if verb == "apply" else room.worktree
    before = files_below(place)
    for failpoints in STEPS:
        await die_in(home, database_url, room.session.id, verb, *failpoints)
        async with open_desk(home, database_url) as desk:
            await desk.decisions.reconcile()
            assert files_below(place) == before, failpoints
            assert len(await desk.decisions.pending_picks(room.session.id)) == len(pending)
            ledger = (await desk.decisions.list(room.session.id, None, None, 50)).items
            assert {decision.state for decision in ledger} == {DecisionState.REFUSED}
    await die_in(home, database_url, room.session.id, verb, "decision.committed")
    async with open_desk(home, database_url) as desk:
        await desk.decisions.reconcile()
        assert await desk.decisions.pending_picks(room.session.id) == []
        decided = files_below(place)
        assert ("new/deep.txt" in decided) == (verb == "apply")
        assert ("data/logo.bin" in decided) == (verb != "apply")


@pytest.mark.scenario("changes: what a person wrote in between is not taken back")
async def test_an_edit_after_the_crash_is_kept(tmp_path: Path, database_url: str) -> None:
    home = tmp_path / "home"
    async with open_room(tmp_path, database_url) as room:
        await room.prompt(EDITS)
    await die_in(home, database_url, room.session.id, "apply", "decision.written")
    readme = room.repository / "README.md"
    mine = readme.read_text() + "a\nperson's\nline\n"
    readme.write_text(mine)
    async with open_desk(home, database_url) as desk:
        await desk.decisions.reconcile()
        assert readme.read_text() == mine
        assert not (room.repository / "new").exists()
        await desk.decide(room.session.id, "apply")
        assert readme.read_text() == mine
        assert (room.repository / "new/deep.txt").exists()


async def turn(client: Client, session_id: str, text: str) -> None:
    await client.wait_for_task((await client.prompt(session_id, Prompt(agent="demo", input=text))).id)


@pytest.mark.scenario("changes: queued decisions survive the host")
async def test_a_queued_reject_is_carried_out_by_the_next_host(tmp_path: Path, database_url: str) -> None:
    home, flags = tmp_path / "home", ("--database-url", database_url)
    async with open_host_process(home, *flags) as host, host.client() as client:
        project = await client.register_project(str(make_repository(tmp_path / "repository")))
        session = await client.open_session(project.id)
        await turn(client, session.id, "write notes.txt agent; write kept.txt agent")
        pending = {change.file_path: change.id for change in (await client.changes(session.id)).items}
        running = await client.prompt(session.id, Prompt(agent="demo", input="write half.txt done; hang"))
        with anyio.fail_after(30):
            while (await client.task(running.id)).state != "running":
                await anyio.sleep(0.02)
        assert (await client.reject_change(pending["notes.txt"])).queued
        worktree = Path(session.worktree_path or "")
        with anyio.fail_after(30):
            while not (worktree / "half.txt").exists():
                await anyio.sleep(0.02)
        await host.end(signal.SIGKILL)
    async with open_host_process(home, *flags) as host, host.client() as client:
        assert not (worktree / "notes.txt").exists()
        left = (await client.changes(session.id, ChangeStatus.PENDING)).items
        assert {(change.file_path, change.agent) for change in left} == {("kept.txt", "demo"), ("half.txt", "demo")}
