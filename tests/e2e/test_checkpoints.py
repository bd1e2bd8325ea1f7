"""Checkpoints: the way back to what a worktree held."""

from pathlib import Path

import pytest

from coder.errors import Conflict
from coder.model.events import HostNote
from coder.store import agent_sessions
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


@pytest.mark.scenario("checkpoints: an agent that remembers is told")
async def test_an_agent_begins_anew_before_its_first_turn_and_is_told_in_between(
    tmp_path: Path, database_url: str
) -> None:
    async with open_room(tmp_path, database_url) as room:
        checkpoints = room.host.checkpoints

        async def conversation() -> str | None:
            async with room.host.store.connection() as connection:
                return (await agent_sessions.get(connection, room.session.id, "demo")).agent_session_id

        await room.prompt("write a.txt one")
        first = await conversation()
        await room.prompt("write a.txt two")
        _, made, opened = (await checkpoints.list(room.session.id, None, 10)).items
        found = [await checkpoints.get(id) for id in (made.id, opened.id)]
        assert [each.conversations for each in found] == [(), ("demo",)]
        assert await conversation() == first

        saved = await checkpoints.restore(opened.id, by="test")
        with pytest.raises(Conflict) as refused:
            await checkpoints.restore(opened.id, by="test")
        assert refused.value.stable_code == "nothing_to_restore"
        await room.prompt("say hello")
        assert await conversation() != first

        await checkpoints.restore(saved.id, by="test")
        await room.prompt("say again")
        assert await conversation() == first
        notes = [event.text for event in await room.events() if isinstance(event, HostNote)]
        assert "brought back to an earlier checkpoint" in notes[-1]


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
