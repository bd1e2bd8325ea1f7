"""What a snapshot cannot hold is named, and takes nothing else with it."""

import os
from pathlib import Path

import pytest

from coder.testing.repositories import FILES, make_repository, write_files
from coder.worktrees import tree
from coder.worktrees.tree import LeftOut
from tests.worktrees.room import open_room

SAMPLE: dict[str, str | bytes] = {**FILES, "script.sh": "echo\n"}


@pytest.mark.scenario("worktrees: Files that a snapshot cannot hold")
async def test_what_is_left_out_is_named_with_its_reason(tmp_path: Path) -> None:
    room = await open_room(tmp_path, SAMPLE)
    make_repository(room.worktree / "nested", FILES)
    (room.worktree / "script.sh").unlink()
    os.mkfifo(room.worktree / "script.sh")
    with (room.worktree / "huge").open("wb") as file:
        file.truncate(tree.FILE_LIMIT + 1)
    write_files(room.worktree, {"beside.txt": "x\n"})

    taken = await tree.take_snapshot(room.shadow)

    assert set(taken.left_out) == {
        LeftOut("nested", "a repository of its own"),
        LeftOut("script.sh", "not a regular file"),
        LeftOut("huge", "over 256 MiB"),
    }
    found = await tree.differences(room.shadow, room.base, taken.tree)
    assert [each.file_path for each in found] == ["beside.txt"]
