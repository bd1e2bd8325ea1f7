"""Worktrees that are deleted under a running turn, and locks that a dead git left."""

import shutil
from pathlib import Path

import anyio
import pytest

from coder.errors import Conflict
from coder.model.tasks import TaskState
from coder.testing.ledgers import numbered
from coder.testing.repositories import git
from tests.faults.scene import open_scene


@pytest.mark.scenario("faults: A worktree deleted under a running turn")
async def test_a_turn_whose_worktree_is_deleted_ends_and_the_next_one_finds_it_made_again(
    tmp_path: Path, database_url: str
) -> None:
    async with open_scene(tmp_path, database_url) as scene:
        task = await scene.submit(f"write notes.txt one; {numbered('a', 40, pause_ms=20)}")
        await scene.saw("<a.5>")
        shutil.rmtree(scene.worktree)
        with anyio.fail_after(30):
            await scene.ended(task)
        told = [one.event for one in (await scene.client.records(scene.session.id, limit=500))]
        assert any(event.type == "error" and event.code == "snapshot_failed" for event in told), [
            event for event in told if event.type not in ("text", "commands")
        ][3:]
        await scene.settle()
        again = await scene.prompt(numbered("b", 3))
        assert (again.state, again.error) == (TaskState.COMPLETED, None)
        assert (scene.worktree / "README.md").exists()
        assert len(scene.agents()) == 1


@pytest.mark.scenario("faults: A worktree deleted while its agent writes on")
async def test_what_an_agent_writes_into_a_folder_that_was_deleted_under_it_is_kept_as_its_own(
    tmp_path: Path, database_url: str
) -> None:
    async with open_scene(tmp_path, database_url) as scene:
        await scene.prompt("write kept.txt one")
        await scene.client.commit(scene.session.id, "keep it", "all")
        task = await scene.submit(f"{numbered('a', 30, pause_ms=20)}; write new/later.txt two")
        await scene.saw("<a.5>")
        shutil.rmtree(scene.worktree)
        assert (await scene.ended(task)).state is TaskState.COMPLETED
        await scene.settle()
        told = [one.event for one in (await scene.client.records(scene.session.id, limit=500))]
        assert [event.code for event in told if event.type == "error"] == ["worktree_restored"]
        pending = (await scene.client.changes(scene.session.id)).items
        assert [(one.file_path, one.agent) for one in pending if one.status == "pending"] == [("new/later.txt", "demo")]
        assert (scene.worktree / "new/later.txt").read_text().strip() == "two"
        assert (scene.worktree / "kept.txt").read_text().strip() == "one"
        assert git(scene.worktree, "status", "--porcelain") == "?? new/"
        assert git(scene.worktree, "symbolic-ref", "HEAD") == f"refs/heads/{scene.session.branch}"
        await scene.prompt("write again.txt three")
        await scene.client.commit(scene.session.id, "all of it", "all")
        assert git(scene.worktree, "status", "--porcelain") == ""


@pytest.mark.scenario("faults: A lock that a dead git left")
async def test_a_stale_lock_holds_up_no_turn_and_is_named_where_it_does(tmp_path: Path, database_url: str) -> None:
    async with open_scene(tmp_path, database_url) as scene:
        lock = scene.repository / ".git/worktrees" / scene.worktree.name / "index.lock"
        lock.touch()
        assert (await scene.prompt(f"write notes.txt one; {numbered('a', 3)}")).state is TaskState.COMPLETED
        assert [change.file_path for change in (await scene.client.changes(scene.session.id)).items] == ["notes.txt"]
        with pytest.raises(Conflict) as caught:
            await scene.client.commit(scene.session.id, "all of it", "all")
        assert caught.value.stable_code == "index_locked"
        lock.unlink()
        await scene.client.commit(scene.session.id, "all of it", "all")
