"""What is remembered of a worktree spares git a look, and is never believed where something may have changed."""

import mmap
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from anyio import create_task_group, to_thread

from coder.testing.repositories import FILES, git, make_repository, write_files
from coder.worktrees import tree
from coder.worktrees.fingerprints import Fingerprints
from coder.worktrees.tree import Snapshot
from tests.worktrees.room import RACY_NS, Room, open_room, pass_time

SAMPLE: dict[str, str | bytes] = {
    **FILES,
    ".gitignore": "*.log\nbuild/\n",
    "script.sh": "echo\n",
    "deep/er/a.txt": "a\n",
    "deep/b.txt": "b\n",
}

spared = pytest.mark.scenario("worktrees: A look that spares git")
doubted = pytest.mark.scenario("worktrees: What a look cannot tell is left to git")


@dataclass(frozen=True)
class Pair:
    """One worktree with two shadows: what one remembers of it must be what git finds for the other."""

    room: Room
    asking: Room

    async def look(self) -> Snapshot:
        """What both find."""
        found = await tree.take_snapshot(self.room.shadow)
        assert found == await tree.take_snapshot(self.asking.shadow)
        return found

    async def settle(self) -> None:
        """Remember the worktree as it is, at a time when everything in it is old."""
        for _ in range(2):
            await self.look()
            await pass_time(self.room)
        await self.look()

    async def look_without_git(self, patch: pytest.MonkeyPatch) -> str:
        """The snapshot that is taken where there is no git to ask."""
        with patch.context() as patched:
            patched.setenv("PATH", os.fspath(self.room.repo))
            found = await tree.snapshot(self.room.shadow)
        assert found == await tree.snapshot(self.asking.shadow)
        return found


async def open_pair(
    folder: Path, file_limit: int = 1000, prepare: Callable[[Path], object] = lambda repo: None
) -> Pair:
    fingerprints = Fingerprints(racy_ns=RACY_NS, file_limit=file_limit)
    room = await open_room(folder, SAMPLE, prepare, fingerprints=fingerprints)
    shutil.copytree(room.shadow.git_dir, folder / "other.git")
    asking = replace(room.shadow, git_dir=folder / "other.git", fingerprints=None)
    return Pair(room, replace(room, shadow=asking))


@spared
async def test_where_nothing_has_changed_no_program_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = await open_pair(tmp_path)
    write_files(pair.room.worktree, {"new.txt": "x\n", "noise.log": "x", "build/out": "x", "empty/x.log": "x"})
    await pair.settle()

    assert await pair.look_without_git(monkeypatch) == (await pair.look()).tree
    write_files(pair.room.worktree, {"noise.log": "more", "build/other": "x", "build/deep/x": "x"})
    assert await pair.look_without_git(monkeypatch) == (await pair.look()).tree


@spared
async def test_edited_files_are_read_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = await open_pair(tmp_path)
    await pair.settle()
    before = (await pair.look()).tree
    write_files(pair.room.worktree, {"script.sh": "ech0\n", "deep/er/a.txt": "more\n" * 100})
    (pair.room.worktree / "deep" / "b.txt").chmod(0o755)
    (pair.room.worktree / "README.md").unlink()
    (pair.room.worktree / "README.md").symlink_to("script.sh")

    after = await pair.look_without_git(monkeypatch)

    assert after != before
    found = await pair.room.differences()
    assert found == await pair.asking.differences()
    assert {each.file_path for each in found} == {"script.sh", "deep/er/a.txt", "deep/b.txt", "README.md"}
    git(pair.room.repo, f"--git-dir={pair.room.shadow.git_dir}", "fsck", "--strict", after)


def edit_with_the_old_time(worktree: Path) -> None:
    path = worktree / "script.sh"
    before = path.stat()
    path.write_text("ech1\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_with_the_old_time(worktree: Path) -> None:
    path = worktree / "script.sh"
    before = path.stat()
    (worktree / "build").mkdir()
    (worktree / "build" / "x").write_text("ech1\n")
    os.utime(worktree / "build" / "x", ns=(before.st_atime_ns, before.st_mtime_ns))
    (worktree / "build" / "x").rename(path)


def swap_folders(worktree: Path) -> None:
    write_files(worktree, {"deep/twin/a.txt": "b\n"})
    (worktree / "deep/er").rename(worktree / "deep/middle")
    (worktree / "deep/twin").rename(worktree / "deep/er")
    (worktree / "deep/middle").rename(worktree / "deep/twin")


def put_a_folder_in_the_place_of_a_file(worktree: Path) -> None:
    (worktree / "script.sh").unlink()
    write_files(worktree, {"script.sh/inside": "x\n"})


def put_a_file_in_the_place_of_a_folder(worktree: Path) -> None:
    shutil.rmtree(worktree / "deep")
    (worktree / "deep").write_text("x\n")


def put_a_link_in_the_place_of_a_folder(worktree: Path) -> None:
    (worktree / "deep").rename(worktree / "build")
    (worktree / "deep").symlink_to("build")


def ignore_no_more(worktree: Path) -> None:
    (worktree / ".gitignore").write_text("*.log\nbuilt/\n")


def ignore_what_is_known(worktree: Path) -> None:
    (worktree / ".gitignore").write_text("*.log\n*.txt\nbuild/\n")


def ignore_a_folder_in_itself(worktree: Path) -> None:
    write_files(worktree, {"deep/.gitignore": "*\n", "deep/new.txt": "x\n", "deep/er/new.txt": "x\n"})
    write_files(worktree, {"deep/er/.gitignore": "!new.txt\n", "deep/er/a.txt": "edited\n"})


def link_the_rules(worktree: Path) -> None:
    (worktree / ".gitignore").rename(worktree / "rules")
    (worktree / ".gitignore").symlink_to("rules")


def ignore_deeper(worktree: Path) -> None:
    write_files(worktree, {"deep/.gitignore": "*\n", "deep/new.txt": "x\n", "deep/b.txt": "edited\n"})


def add_odd_names(worktree: Path) -> None:
    for name in (b"caf\xe9.txt", b"new\nline", b":(exclude)x", b"a~1", b"back\\slash", "ünï ☃".encode(), b"README.MD"):
        (Path(os.fsdecode(os.fsencode(worktree) + b"/" + name))).write_text("x\n")


def add_a_repository(worktree: Path) -> None:
    make_repository(worktree / "nested", FILES)


def empty_everything(worktree: Path) -> None:
    for name in ("deep", "src"):
        shutil.rmtree(worktree / name)
    (worktree / "script.sh").unlink()


def add_a_pipe(worktree: Path) -> None:
    os.mkfifo(worktree / "deep" / "pipe")
    (worktree / "deep" / "b.txt").write_text("edited\n")


TRAPS: list[Callable[[Path], object]] = [
    edit_with_the_old_time,
    replace_with_the_old_time,
    swap_folders,
    put_a_folder_in_the_place_of_a_file,
    put_a_file_in_the_place_of_a_folder,
    put_a_link_in_the_place_of_a_folder,
    ignore_no_more,
    ignore_what_is_known,
    link_the_rules,
    ignore_deeper,
    ignore_a_folder_in_itself,
    add_odd_names,
    add_a_repository,
    empty_everything,
    add_a_pipe,
    lambda worktree: (worktree / "script.sh").chmod(0o755),
    lambda worktree: (worktree / "script.sh").rename(worktree / "Script.sh"),
    lambda worktree: write_files(worktree, {".GIT/config": "x", "beside.txt": "x"}),
    lambda worktree: write_files(worktree, {"huge.txt": "x" * 3_000_000}),
]


@doubted
@pytest.mark.parametrize("trap", TRAPS)
async def test_what_git_finds_is_found_with_what_is_remembered(tmp_path: Path, trap: Callable[[Path], object]) -> None:
    pair = await open_pair(tmp_path)
    write_files(pair.room.worktree, {"build.d/x.txt": "x\n", "left.log": "x\n", "build/left": "x\n"})
    shutil.rmtree(pair.room.worktree / "build")
    await pair.settle()
    before = await pair.look()

    trap(pair.room.worktree)

    assert await pair.look() != before
    await pair.settle()
    write_files(pair.room.worktree, {"last.txt": "x\n"})
    await pair.look()


@doubted
async def test_a_write_that_leaves_all_times_as_they_were_is_seen_in_a_file_that_was_new(tmp_path: Path) -> None:
    pair = await open_pair(tmp_path)
    await pair.settle()
    path = pair.room.worktree / "script.sh"
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[0:4] = b"ECHO"
        before = await tree.snapshot(pair.room.shadow)
        # the page is dirty already: the kernel does not note a time again
        memory[0:4] = b"PRNT"
        after = await tree.snapshot(pair.room.shadow)

    assert before != after
    (difference,) = await pair.room.differences()
    assert difference.new_blob is not None
    assert await pair.room.shadow.read_blobs([difference.new_blob]) == {difference.new_blob: b"PRNT\n"}


def scribble(worktree: Path, round: int) -> None:
    """Write the same names again and again, at the same size."""
    for number in range(30):
        (worktree / "script.sh").write_text(f"{round:02} {number:02}\n")
        (worktree / "passing.txt").write_text(f"{number:02}\n")
        (worktree / "passing.txt").rename(worktree / "deep" / "passing.txt")
        if number < 29 or round % 2:
            (worktree / "deep" / "passing.txt").unlink()


@doubted
async def test_a_worktree_that_is_written_while_it_is_looked_at_is_found_as_it_was_left(tmp_path: Path) -> None:
    pair = await open_pair(tmp_path)
    await pair.settle()
    for round in range(12):
        async with create_task_group() as tasks:
            tasks.start_soon(to_thread.run_sync, scribble, pair.room.worktree, round)
            for _ in range(4):
                tasks.start_soon(tree.snapshot, pair.room.shadow)

        found = {each.file_path for each in await pair.room.differences()}
        await pair.look()

        assert found == ({"script.sh"} if round % 2 else {"script.sh", "deep/passing.txt"})


@doubted
async def test_what_is_known_though_it_is_ignored_stays_known(tmp_path: Path) -> None:
    pair = await open_pair(tmp_path)
    write_files(pair.room.worktree, {"notes.txt": "x\n", "gone.txt": "x\n"})
    await pair.settle()
    write_files(pair.room.worktree, {"later.txt": "x\n"})
    await pair.look()
    (pair.room.worktree / ".gitignore").write_text("*.txt\n")
    await pair.settle()
    assert {"notes.txt", "later.txt"} <= {each.file_path for each in await pair.room.differences()}

    write_files(pair.room.worktree, {"notes.txt": "more\n", "new.txt": "x\n"})
    (pair.room.worktree / "gone.txt").unlink()
    await pair.look()
    write_files(pair.room.worktree, {"gone.txt": "again\n"})
    await pair.look()

    assert "gone.txt" not in {each.file_path for each in await pair.room.differences()}


@doubted
async def test_a_folder_that_was_not_entered_is_asked_for_again(tmp_path: Path) -> None:
    pair = await open_pair(tmp_path)
    write_files(pair.room.worktree, {"build/x.log": "x\n"})
    await pair.settle()
    (pair.room.worktree / ".gitignore").write_text("*.log\n")
    for _ in range(4):
        await pair.settle()
    write_files(pair.room.worktree, {"build/new.txt": "x\n"})

    await pair.look()

    assert {each.file_path for each in await pair.room.differences()} == {".gitignore", "build/new.txt"}


@doubted
async def test_ignore_rules_beside_the_worktree_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", os.fspath(tmp_path / "home"))
    pair = await open_pair(tmp_path)
    await pair.settle()
    write_files(tmp_path / "home", {"git/ignore": "*.tmp\n"})
    write_files(pair.room.worktree, {"a.tmp": "x\n"})
    await pair.settle()
    assert await pair.room.differences() == []

    for room in (pair.room, pair.asking):
        (room.shadow.git_dir / "info" / "exclude").write_text("!a.tmp\n")
    await pair.look()
    (tmp_path / "home/git/ignore").unlink()
    await pair.look()

    assert [each.file_path for each in await pair.room.differences()] == ["a.tmp"]


@doubted
@pytest.mark.parametrize("place", ["rules", "{folder}/rules"])
async def test_ignore_rules_that_a_setting_names_count(tmp_path: Path, place: str) -> None:
    place = place.format(folder=tmp_path)
    pair = await open_pair(tmp_path, prepare=lambda repo: git(repo, "config", "core.excludesFile", place))
    write_files(pair.room.worktree, {"a.tmp": "x\n"})
    await pair.settle()
    (pair.room.worktree / place).write_text("*.tmp\n")
    await pair.settle()
    write_files(pair.room.worktree, {"b.tmp": "x\n"})
    await pair.settle()
    (pair.room.worktree / place).write_text("*.none\n")

    await pair.look()

    assert {"a.tmp", "b.tmp"} <= {each.file_path for each in await pair.room.differences()}


@doubted
async def test_an_index_that_somebody_else_has_written_is_not_believed(tmp_path: Path) -> None:
    pair = await open_pair(tmp_path)
    await pair.settle()
    for room in (pair.room, pair.asking):
        await room.shadow.git("update-index", "--force-remove", "script.sh")
        (room.worktree / ".gitignore").write_text("*.sh\n")

    await pair.look()

    assert [each.operation for each in await pair.room.differences()] == ["edit", "delete"]


@doubted
async def test_what_was_remembered_of_a_shadow_that_is_lost_is_not_believed(tmp_path: Path) -> None:
    pair = await open_pair(tmp_path)
    await pair.settle()
    write_files(pair.room.worktree, {"script.sh": "ech0\n"})
    await pair.look()
    shadow = pair.room.shadow
    shutil.rmtree(shadow.git_dir)

    opened = await tree.open_shadow(shadow.git_dir, shadow.repo, shadow.worktree, pair.room.base, shadow.fingerprints)

    assert b"script.sh" in await opened.git("ls-tree", await tree.snapshot(opened))


@doubted
async def test_a_clock_that_was_set_back_is_not_believed(tmp_path: Path) -> None:
    ahead = [0]
    room = await open_room(tmp_path, SAMPLE, fingerprints=Fingerprints(lambda: time.time_ns() + ahead[0]))
    pair = Pair(room, room.without_memory())
    ahead[0] = 3_600_000_000_000
    await tree.snapshot(room.shadow)
    ahead[0] = 0
    path = room.worktree / "script.sh"
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[0:4] = b"ECHO"
        ahead[0] = 3_600_000_000_000
        before = await tree.snapshot(room.shadow)
        memory[0:4] = b"PRNT"
        ahead[0] = 0

        assert await tree.snapshot(room.shadow) != before
    await pair.look()


@doubted
@pytest.mark.parametrize("limit", [5, 14])
async def test_a_large_worktree_is_left_to_git_and_ignored_folders_do_not_make_it_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    pair = await open_pair(tmp_path, file_limit=limit)
    write_files(pair.room.worktree, {f"build/{number}/x": "x" for number in range(40)})
    write_files(pair.room.worktree, {f".cache/{number}/x": "x" for number in range(40)})
    write_files(pair.room.worktree, {".cache/.gitignore": "# made by a tool\n*\n", ".cache/1/.gitignore": "!x\n"})
    await pair.settle()
    await pair.settle()
    if limit == 14:
        await pair.look_without_git(monkeypatch)
    write_files(pair.room.worktree, {"script.sh": "ech0\n"})

    await pair.look()

    assert [each.file_path for each in await pair.room.differences()] == ["script.sh"]


async def test_what_is_remembered_is_bounded_over_all_worktrees(tmp_path: Path) -> None:
    fingerprints = Fingerprints(racy_ns=RACY_NS, total_limit=40)
    rooms = [
        await open_room(tmp_path / str(number), {**FILES, "x": "x\n"}, fingerprints=fingerprints) for number in range(5)
    ]
    for room in rooms:
        await pass_time(room)
        await tree.snapshot(room.shadow)

    found = [fingerprints.find(room.shadow.git_dir) for room in rooms]
    assert found[0] is None
    assert found[-1] is not None
