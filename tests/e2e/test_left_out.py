"""What could not be taken into a turn's changes is told in the session."""

from pathlib import Path

import pytest

from coder.model.events import Error
from coder.testing.repositories import FILES, make_repository
from coder.testing.rooms import Room, open_room


async def told(room: Room) -> list[str]:
    return [event.message for event in await room.events() if isinstance(event, Error)]


@pytest.mark.scenario("worktrees: What was left out is told once")
async def test_a_nested_repository_is_named_at_the_turns_end_and_not_again(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        make_repository(room.worktree / "nested", FILES)
        await room.prompt("write new.txt fresh")
        await room.prompt("write newer.txt fresh")

        assert [change.file_path for change in await room.changes()] == ["new.txt", "newer.txt"]
        assert await told(room) == ["not among the changes: nested (a repository of its own)"]
        order = [record.event.type for record in await room.records()]
        assert order.index("error") < order.index("turn_ended")

        make_repository(room.worktree / "other", FILES)
        await room.prompt("write newest.txt fresh")
        assert [message.count("repository of its own") for message in await told(room)] == [1, 2]
