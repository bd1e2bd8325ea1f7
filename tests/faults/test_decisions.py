"""A host that dies in the middle of a decision, at every step of it, and what the next one finds."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import pytest

from coder.client import Client
from coder.model.changes import ChangeStatus
from coder.model.decisions import DecisionState, Pick
from coder.protocol import Prompt
from coder.testing.desk import Desk, open_desk
from coder.testing.host_process import open_host_process
from coder.testing.mortal_desk import Died, Order, open_nursery
from coder.testing.repositories import commit_files, git, make_repository
from coder.testing.rooms import Room, open_room

EDITS = "edit README.md Sample => Example; write new/deep.txt fresh; delete data/logo.bin; write other.txt more"
Steps = tuple[str, ...]
STEPS: Sequence[Steps] = (
    ("decision.underway",),
    ("write.prepared", "write.prepared"),
    ("write.removed",),
    ("write.moved",),
    ("decision.written",),
    ("decision.recorded",),
)
BRANCH_STEPS = (("decision.underway",), ("branch.staged",), ("decision.written",), ("decision.recorded",))


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


@dataclass(frozen=True)
class Standing:
    """Everything that a decision about the branch may touch, beside the rows."""

    head: str
    status: str
    checkout: dict[str, bytes]
    worktree: dict[str, bytes]


def standing(room: Room) -> Standing:
    git(room.worktree, "update-index", "-q", "--really-refresh")
    return Standing(
        git(room.repository, "rev-parse", str(room.session.branch)),
        git(room.worktree, "status", "--porcelain", "--untracked-files=all"),
        files_below(room.repository),
        files_below(room.worktree),
    )


async def rows(desk: Desk, session_id: str) -> Sequence[tuple[str, ...]]:
    found = (await desk.changes.list(session_id, None, None, 500)).items
    return sorted((change.id, change.status, str(change.sides)) for change in found)


async def cut_off_everywhere(room: Room, home: Path, database_url: str, verb: str, steps: Sequence[Steps]) -> None:
    """At each step the host dies, and the next one finds everything as it was; at the end of them it is done."""
    before, id = standing(room), room.session.id
    async with open_desk(home, database_url) as desk:
        rows_before = await rows(desk, id)
    for failpoints in steps:
        await die_in(home, database_url, id, verb, *failpoints)
        async with open_desk(home, database_url) as desk:
            await desk.decisions.reconcile()
            assert standing(room) == before, failpoints
            assert await rows(desk, id) == rows_before
            (newest,) = (await desk.decisions.list(id, None, None, 1)).items
            assert newest.state is DecisionState.REFUSED
    await die_in(home, database_url, id, verb, "decision.committed")
    async with open_desk(home, database_url) as desk:
        done = standing(room)
        await desk.decisions.reconcile()
        assert standing(room) == done
        assert done.head != before.head
        assert await rows(desk, id) != rows_before


@pytest.mark.scenario("changes: a killed host leaves the branch as it was")
async def test_an_apply_to_the_branch_and_its_revert_are_whole_or_never_happened(
    tmp_path: Path, database_url: str
) -> None:
    home = tmp_path / "home"
    async with open_room(tmp_path, database_url) as room:
        await room.prompt(EDITS)
    at_first = standing(room)
    await cut_off_everywhere(room, home, database_url, "apply to branch", BRANCH_STEPS)
    assert standing(room).status == ""
    assert git(room.repository, "show", f"{room.session.branch}:new/deep.txt") == "fresh"
    await cut_off_everywhere(room, home, database_url, "revert", BRANCH_STEPS)
    assert replace(standing(room), head=at_first.head) == at_first


@pytest.mark.scenario("changes: a killed host leaves the branch as it was")
async def test_a_commit_is_whole_or_never_happened(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt(EDITS)
    await cut_off_everywhere(room, tmp_path / "home", database_url, "commit", BRANCH_STEPS[1:])
    assert standing(room).status == ""


@pytest.mark.scenario("changes: a killed host leaves the branch as it was")
async def test_an_update_is_whole_or_never_happened(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("write mine.txt committed")
        await room.host.branches.commit(room.session.id, "Mine", "all", "test")
        await room.prompt("edit README.md small => pending; write new.txt fresh")
    text = (room.repository / "README.md").read_text().replace("Sample", "Incoming")
    commit_files(room.repository, {"README.md": text, "theirs/deep.txt": "t\n"})
    steps = (*BRANCH_STEPS, ("write.prepared", "write.prepared"), ("write.moved",))
    await cut_off_everywhere(room, tmp_path / "home", database_url, "merge", steps)
    assert "# Incoming\n\nA pending" in (room.worktree / "README.md").read_text()
    assert standing(room).status == " M README.md\n?? new.txt"


async def test_a_branch_that_somebody_moved_after_the_crash_is_left_alone(tmp_path: Path, database_url: str) -> None:
    home = tmp_path / "home"
    async with open_room(tmp_path, database_url) as room:
        await room.prompt(EDITS)
    await die_in(home, database_url, room.session.id, "apply to branch", "decision.written")
    theirs = commit_files(room.worktree, {}, "On top of it")
    async with open_desk(home, database_url) as desk:
        await desk.decisions.reconcile()
        assert standing(room).head == theirs
        assert len(await desk.decisions.pending_picks(room.session.id)) == 4
        await desk.decide(room.session.id, "apply to branch")
        assert standing(room).head == theirs
        assert await desk.decisions.pending_picks(room.session.id) == []


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


def test_a_queued_reject_that_was_cut_off_is_no_change_of_the_agents(database_url: str) -> None:
    with tempfile.TemporaryDirectory() as name, open_nursery(Path(name), database_url) as nursery:
        desk = nursery.open_desk(Path(name))
        opened = desk.do(Order(verb="open", session_id=str(make_repository(Path(name, "repository"))))).books
        assert opened is not None
        id = opened.session_id
        desk.do(Order(verb="begin_turn", session_id=id))
        (Path(name, "worktrees", id[-10:]) / "notes.txt").write_text("agent")
        ended = desk.do(Order(verb="end_turn", session_id=id)).books
        assert ended is not None
        (change,) = ended.changes
        desk.do(Order(verb="begin_turn", session_id=id))
        desk.do(Order(verb="reject", session_id=id, picks=(Pick(change_id=change.id),)))
        with pytest.raises(Died):
            desk.do(Order(verb="end_turn", session_id=id, failpoints=("decision.written",)))
        desk = nursery.open_desk(Path(name))
        after = desk.do(Order(verb="boot", session_id=id)).books
        desk.close()
    assert after is not None
    assert [(row.id, row.status) for row in after.changes] == [(change.id, ChangeStatus.REJECTED)]


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
