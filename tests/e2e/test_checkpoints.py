"""Checkpoints: the way back to what a worktree held."""

from pathlib import Path

import pytest

from coder.errors import Conflict
from coder.testing.rooms import Room, open_room


def files_of(room: Room) -> dict[str, bytes]:
    """Every file of the worktree with its content."""
    found = (path for path in room.worktree.rglob("*") if path.is_file() and path.name != ".git")
    return {str(path.relative_to(room.worktree)): path.read_bytes() for path in found}


@pytest.mark.scenario("checkpoints: every turn leaves a checkpoint")
@pytest.mark.scenario("checkpoints: a restore is shown before it is done")
async def test_turns_leave_checkpoints_that_say_what_a_restore_would_change(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        first = await room.prompt("write a.txt one; delete data/logo.bin")
        second = await room.prompt("write a.txt two; write b.txt b")
        found = (await room.host.checkpoints.list(room.session.id, None, 10)).items
        assert [(each.kind, each.task_id, each.agent) for each in found] == [
            ("turn", second.id, "demo"),
            ("turn", first.id, "demo"),
            ("opened", None, None),
        ]
        detail = await room.host.checkpoints.get(found[2].id)
        assert {each.file_path: each.operation for each in detail.differences} == {
            "a.txt": "delete",
            "b.txt": "delete",
            "data/logo.bin": "create",
        }


@pytest.mark.scenario("checkpoints: a restore brings the files back")
@pytest.mark.scenario("checkpoints: a restore can be undone")
async def test_files_go_back_and_forth_with_their_authors(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        (room.repository / ".git/info/exclude").write_text("*.log\n")
        await room.prompt("write a.txt one; rename src/hello.py => src/hi.py")
        before = files_of(room)
        await room.prompt("write a.txt two; delete README.md")
        (room.worktree / "mine.txt").write_text("person")
        after = files_of(room)
        wanted = (await room.host.checkpoints.list(room.session.id, None, 10)).items[1]

        saved = await room.host.checkpoints.restore(wanted.id, by="test", reason="too much")

        assert files_of(room) == before
        assert {change.file_path: change.agent for change in await room.changes()} == {
            "a.txt": "demo",
            "src/hi.py": "demo",
        }
        with pytest.raises(Conflict) as refused:
            await room.host.checkpoints.restore(wanted.id, by="test")
        assert refused.value.stable_code == "nothing_to_restore"

        await room.host.checkpoints.restore(saved.id, by="test")

        assert files_of(room) == after
        assert {change.file_path: change.agent for change in await room.changes()} == {
            "README.md": "demo",
            "a.txt": "demo",
            "mine.txt": "user",
            "src/hi.py": "demo",
        }
        ledger = (await room.host.decisions.list(room.session.id, None, None, 10)).items
        assert [(each.verb, each.checkpoint_id) for each in ledger] == [("restore", saved.id), ("restore", wanted.id)]


@pytest.mark.scenario("checkpoints: a restore waits for no turn")
async def test_nothing_is_restored_while_a_turn_runs(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("write a.txt one")
        opened = (await room.host.checkpoints.list(room.session.id, None, 10)).items[-1]
        running = await room.submit("say begun; hang")
        await room.seen(lambda record: record.event.type == "text" and record.task_id == running.id)
        with pytest.raises(Conflict) as refused:
            await room.host.checkpoints.restore(opened.id, by="test")
        assert refused.value.stable_code == "turn_running"
        assert (room.worktree / "a.txt").exists()
        await room.host.dispatcher.cancel(running.id)
        await room.ended(running)
