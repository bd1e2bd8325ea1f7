"""What a snapshot cannot hold is named, and takes nothing else with it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from coder.testing.repositories import FILES, commit_files, git, make_repository, write_files
from coder.worktrees import tree
from coder.worktrees.refusals import FILE_LIMIT, NESTED, REFUSED_NAME, REMOVED_SUBMODULE, SPECIAL, UNREADABLE, LeftOut
from tests.worktrees.room import Room, open_room

SAMPLE: dict[str, str | bytes] = {**FILES, "script.sh": "echo\n"}
named = pytest.mark.scenario("worktrees: Files that a snapshot cannot hold")


async def look(room: Room) -> tuple[list[str], set[LeftOut]]:
    """The paths of the differences, and what was left out; looking again finds the same."""
    taken = await tree.take_snapshot(room.shadow)
    assert await tree.take_snapshot(room.shadow) == taken
    found = await tree.differences(room.shadow, room.base, taken.tree)
    return [each.file_path for each in found], set(taken.left_out)


@named
async def test_what_is_left_out_is_named_with_its_reason(tmp_path: Path) -> None:
    room = await open_room(tmp_path, SAMPLE)
    make_repository(room.worktree / "nested", FILES)
    with (room.worktree / "huge").open("wb") as file:
        file.truncate(FILE_LIMIT + 1)
    write_files(room.worktree, {"beside.txt": "x\n"})

    assert await look(room) == (["beside.txt"], {LeftOut("nested", NESTED), LeftOut("huge", "over 256 MiB")})


@named
async def test_pipes_and_sockets_are_named_and_never_opened(tmp_path: Path) -> None:
    room = await open_room(tmp_path, SAMPLE)
    (room.worktree / "script.sh").unlink()
    os.mkfifo(room.worktree / "script.sh")
    os.mkfifo(room.worktree / "src" / "pipe")
    write_files(room.worktree, {"src/beside.txt": "x\n"})
    with socket.socket(socket.AF_UNIX) as listener:
        folder = os.open(room.worktree, os.O_RDONLY)
        try:
            listener.bind(f"/proc/self/fd/{folder}/socket")
        finally:
            os.close(folder)
        found = await look(room)

    assert found == (["src/beside.txt"], {LeftOut(name, SPECIAL) for name in ("script.sh", "src/pipe", "socket")})


@named
@pytest.mark.parametrize("name", [".GIT/config", "folder/.Git", "git~1", "sub/GIT~1/x", ".git /x", ".git."])
async def test_names_that_git_refuses_take_nothing_else_with_them(tmp_path: Path, name: str) -> None:
    room = await open_room(tmp_path, SAMPLE)
    write_files(room.worktree, {name: "x\n", "beside.txt": "x\n"})

    assert await look(room) == (["beside.txt"], {LeftOut(name, REFUSED_NAME)})


@named
async def test_a_link_in_place_of_gitmodules_is_named(tmp_path: Path) -> None:
    room = await open_room(tmp_path, SAMPLE)
    (room.worktree / ".gitmodules").symlink_to("README.md")

    assert await look(room) == ([], {LeftOut(".gitmodules", REFUSED_NAME)})


@named
async def test_a_submodule_is_named_when_it_is_there_and_when_it_is_removed(tmp_path: Path) -> None:
    other = make_repository(tmp_path / "other")

    def add_submodule(repo: Path) -> None:
        git(repo, "-c", "protocol.file.allow=always", "submodule", "add", "--quiet", str(other), "sub")
        commit_files(repo, {}, "Add a submodule")

    room = await open_room(tmp_path, SAMPLE, add_submodule)
    assert await look(room) == ([], set())

    git(room.worktree, "-c", "protocol.file.allow=always", "submodule", "update", "--init", "--quiet")
    write_files(room.worktree, {"sub/README.md": "changed\n", "beside.txt": "x\n"})
    assert await look(room) == (["beside.txt"], {LeftOut("sub", NESTED)})

    git(room.worktree, "rm", "--quiet", "--force", "sub")
    assert await look(room) == ([".gitmodules", "beside.txt"], {LeftOut("sub", REMOVED_SUBMODULE)})


async def look_at_closed_files(folder: Path) -> None:
    """Run by a process that no closed file is open to."""
    room = await open_room(folder, {**SAMPLE, "closed/known.txt": "x\n"})
    write_files(room.worktree, {"unreadable.txt": "x\n", "beside.txt": "x\n"})
    closed = [room.worktree / name for name in ("unreadable.txt", "closed", "script.sh")]
    (room.worktree / "script.sh").write_text("changed\n")
    for path in closed:
        path.chmod(0)
    try:
        paths, left_out = await look(room)
    finally:
        for path in closed:
            path.chmod(0o700)
    assert paths == ["beside.txt"], paths
    assert left_out == {LeftOut(path.name, UNREADABLE) for path in closed}, left_out


@named
def test_closed_files_and_folders_are_named(tmp_path: Path) -> None:
    limits = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"] if os.getuid() == 0 else []
    program = [*limits, sys.executable, "-m", "tests.worktrees.test_left_out", str(tmp_path)]
    done = subprocess.run(program, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    anyio.run(look_at_closed_files, Path(sys.argv[1]))
