"""Hand edits between turns: whose they are, and when they are looked for."""

from pathlib import Path

import pytest

from coder.hand_edits import FRESH_SECONDS, HandEdits
from coder.testing.rooms import open_room


@pytest.mark.scenario("changes: a look that began with the prompt serves its turn, an old one does not")
async def test_a_turn_uses_the_look_that_began_with_its_prompt_while_that_is_fresh(
    tmp_path: Path, database_url: str
) -> None:
    async with open_room(tmp_path, database_url) as room:
        at = 100.0
        hand_edits = HandEdits(room.host.journal, room.host.decisions, clock=lambda: at)
        (room.worktree / "first.txt").write_text("1")
        await hand_edits.look_ahead(room.session.id)
        assert [(change.file_path, change.agent) for change in await room.changes()] == [("first.txt", "user")]

        (room.worktree / "second.txt").write_text("2")
        await hand_edits.settle(room.session.id)
        assert len(await room.changes()) == 1

        await hand_edits.look_ahead(room.session.id)
        (room.worktree / "third.txt").write_text("3")
        at += FRESH_SECONDS
        await hand_edits.settle(room.session.id)
        found = [(change.file_path, change.agent) for change in await room.changes()]
        assert found == [("first.txt", "user"), ("second.txt", "user"), ("third.txt", "user")]
