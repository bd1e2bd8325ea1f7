"""Writing back: three-way, all or none, and nothing but the files of the change."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from coder.errors import MergeConflict
from coder.testing.repositories import FILES, commit_files, git, write_files
from tests.worktrees.room import Room, open_room

TEXT = "".join(f"line {number}\n" for number in range(30))
SAMPLE: dict[str, str | bytes] = {**FILES, "src/long.py": TEXT, "old/name.txt": TEXT[5:], "script.sh": "echo\n"}


def content_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below, with its executable bit and bytes; a link is its target."""
    found: dict[str, tuple[int, bytes]] = {}
    for path in sorted(folder.rglob("*")):
        name = os.fsencode(path.relative_to(folder)).decode(errors="backslashreplace")
        if name.split("/")[0] == ".git":
            continue
        if path.is_symlink():
            found[name] = (-1, os.fsencode(path.readlink()))
        elif path.is_file():
            found[name] = (path.stat().st_mode & 0o100, path.read_bytes())
    return found


async def apply(room: Room) -> None:
    await room.apply(await room.differences())


async def revert(room: Room) -> None:
    await room.revert(await room.differences())


def change_everything(worktree: Path) -> None:
    """An edit, creations, a deletion, a rename, a mode, a link, and a file and a folder that change places."""
    write_files(worktree, {"src/long.py": "first\n" + TEXT, "new/deep/file.txt": "new\n", "bin.dat": b"\0\xff"})
    (worktree / "README.md").unlink()
    (worktree / "old" / "name.txt").rename(worktree / "name.txt")
    (worktree / "script.sh").chmod(0o755)
    (worktree / "link").symlink_to("../elsewhere")
    (worktree / "file").unlink()
    (worktree / "folder" / "below").unlink()
    (worktree / "folder").rmdir()
    write_files(worktree, {"file/now-a-folder": "one\n", "folder": "now a file\n"})
    Path(os.fsdecode(os.fsencode(worktree) + b"/caf\xe9")).write_text("odd\n")


MIXED: dict[str, str | bytes] = {**SAMPLE, "file": "file\n", "folder/below": "below\n"}


@pytest.mark.scenario("worktrees: Changes are applied to the checkout")
async def test_every_kind_of_change_is_applied_and_reverted(tmp_path: Path) -> None:
    room = await open_room(tmp_path, MIXED)
    before = content_of(room.repo)
    index = (room.repo / ".git" / "index").read_bytes()
    change_everything(room.worktree)

    await apply(room)
    assert content_of(room.repo) == content_of(room.worktree)
    assert not (room.repo / "old").exists()
    await apply(room)
    assert content_of(room.repo) == content_of(room.worktree)

    await revert(room)
    assert content_of(room.repo) == before
    assert (room.repo / ".git" / "index").read_bytes() == index


@pytest.mark.scenario("worktrees: Rejected changes")
async def test_rejecting_gives_the_worktree_its_base_back(tmp_path: Path) -> None:
    room = await open_room(tmp_path, MIXED)
    before = content_of(room.worktree)
    change_everything(room.worktree)

    await room.reject(await room.differences())

    assert content_of(room.worktree) == before
    assert await room.differences() == []
    assert git(room.worktree, "status", "--short") == ""


async def test_rejecting_one_file_leaves_the_others(tmp_path: Path) -> None:
    room = await open_room(tmp_path, MIXED)
    change_everything(room.worktree)
    found = await room.differences()
    (renamed,) = [each for each in found if each.operation == "rename"]

    await room.reject([renamed])

    assert (room.worktree / "old" / "name.txt").exists()
    assert not (room.worktree / "name.txt").exists()
    assert await room.differences() == [each for each in found if each != renamed]


@pytest.mark.scenario("worktrees: The checkout has moved on elsewhere in the file")
async def test_an_edit_elsewhere_in_the_file_is_merged_both_ways(tmp_path: Path) -> None:
    room = await open_room(tmp_path, SAMPLE)
    write_files(room.worktree, {"src/long.py": "agent\n" + TEXT})
    write_files(room.repo, {"src/long.py": TEXT + "person\n"})
    (room.repo / "src" / "long.py").chmod(0o755)

    await apply(room)
    assert (room.repo / "src" / "long.py").read_text() == "agent\n" + TEXT + "person\n"
    assert stat.S_IMODE((room.repo / "src" / "long.py").stat().st_mode) == 0o755

    await revert(room)
    assert (room.repo / "src" / "long.py").read_text() == TEXT + "person\n"


async def test_a_renamed_and_edited_file_is_merged_into_its_new_name(tmp_path: Path) -> None:
    room = await open_room(tmp_path, SAMPLE)
    (room.worktree / "old" / "name.txt").unlink()
    write_files(room.worktree, {"name.txt": TEXT[5:] + "agent\n"})
    write_files(room.repo, {"old/name.txt": "person\n" + TEXT[5:]})

    await apply(room)

    assert (room.repo / "name.txt").read_text() == "person\n" + TEXT[5:] + "agent\n"
    assert not (room.repo / "old").exists()


async def test_a_renamed_file_keeps_the_executable_bit_of_the_checkout(tmp_path: Path) -> None:
    room = await open_room(tmp_path, SAMPLE)
    (room.repo / "script.sh").chmod(0o755)
    (room.worktree / "script.sh").rename(room.worktree / "run.sh")
    await apply(room)
    assert (room.repo / "run.sh").stat().st_mode & 0o111 == 0o111


async def test_an_empty_folder_gives_way_to_a_file(tmp_path: Path) -> None:
    room = await open_room(tmp_path, SAMPLE)
    (room.repo / "notes/old").mkdir(parents=True)
    (room.worktree / "notes").write_text("new\n")
    await apply(room)
    assert (room.repo / "notes").read_text() == "new\n"


async def test_a_folder_that_has_taken_a_files_place_already_is_filled(tmp_path: Path) -> None:
    room = await open_room(tmp_path, SAMPLE)
    for place, name in ((room.repo, "mine.md"), (room.worktree, "deep/new.md")):
        (place / "README.md").unlink()
        write_files(place, {f"README.md/{name}": "text\n"})
    await apply(room)
    assert {path.name for path in (room.repo / "README.md").rglob("*.md")} == {"mine.md", "new.md"}


async def test_a_link_gives_way_to_a_folder_in_a_folder(tmp_path: Path) -> None:
    def link(repo: Path) -> None:
        (repo / "way").symlink_to("nowhere")
        commit_files(repo, {})

    room = await open_room(tmp_path, SAMPLE, link)
    (room.worktree / "way").unlink()
    write_files(room.worktree, {"way/far/new.md": "text\n"})
    await apply(room)
    assert (room.repo / "way/far/new.md").read_text() == "text\n"
    await revert(room)
    assert (room.repo / "way").is_symlink()


def edit_same_line(repo: Path) -> None:
    write_files(repo, {"src/long.py": TEXT.replace("line 3\n", "person\n")})


def delete_file(repo: Path) -> None:
    (repo / "src" / "long.py").unlink()


def make_folder(repo: Path) -> None:
    delete_file(repo)
    write_files(repo, {"src/long.py/inside": "x"})


def make_link(repo: Path) -> None:
    delete_file(repo)
    (repo / "src" / "long.py").symlink_to("/etc/passwd")


def make_binary(repo: Path) -> None:
    write_files(repo, {"src/long.py": b"\0binary"})


def link_the_folder_away(repo: Path) -> None:
    (repo / "src").rename(repo.parent / "elsewhere")
    (repo / "src").symlink_to(repo.parent / "elsewhere")


def create_the_same_file(repo: Path) -> None:
    write_files(repo, {"new.txt": "something else\n"})


def put_a_file_where_a_folder_must_be(repo: Path) -> None:
    write_files(repo, {"deep": "a file\n"})


@pytest.mark.scenario("worktrees: A change does not fit the checkout")
@pytest.mark.parametrize(
    ("meddle", "conflicting"),
    [
        (edit_same_line, "src/long.py"),
        (delete_file, "src/long.py"),
        (make_folder, "src/long.py"),
        (make_link, "src/long.py"),
        (make_binary, "src/long.py"),
        (link_the_folder_away, "src/long.py"),
        (create_the_same_file, "new.txt"),
        (put_a_file_where_a_folder_must_be, "deep/file.txt"),
    ],
)
async def test_a_change_that_does_not_fit_writes_nothing_at_all(
    tmp_path: Path, meddle: Callable[[Path], None], conflicting: str
) -> None:
    room = await open_room(tmp_path, SAMPLE)
    agents = TEXT.replace("line 3\n", "agent\n")
    write_files(room.worktree, {"src/long.py": agents, "new.txt": "new\n", "deep/file.txt": "x\n", "a.txt": "fine\n"})
    (room.worktree / "README.md").unlink()
    meddle(room.repo)
    before = content_of(room.repo)

    with pytest.raises(MergeConflict) as caught:
        await apply(room)

    assert content_of(room.repo) == before
    (conflict,) = cast("list[dict[str, str]]", caught.value.fields["conflicts"])
    assert conflict["file_path"] == conflicting
    if meddle is edit_same_line:
        assert (conflict["base"], conflict["change"]) == (TEXT, agents)
        assert "person" in conflict["checkout"]


async def test_a_deleted_file_that_was_edited_in_the_checkout_is_a_conflict(tmp_path: Path) -> None:
    room = await open_room(tmp_path, SAMPLE)
    (room.worktree / "script.sh").unlink()
    write_files(room.repo, {"script.sh": "person\n"})

    with pytest.raises(MergeConflict, match="the file was edited"):
        await apply(room)

    assert (room.repo / "script.sh").read_text() == "person\n"


async def test_a_binary_file_is_taken_whole_or_refused(tmp_path: Path) -> None:
    room = await open_room(tmp_path, SAMPLE)
    write_files(room.worktree, {"data/logo.bin": b"\0agent"})
    await apply(room)
    assert (room.repo / "data" / "logo.bin").read_bytes() == b"\0agent"

    write_files(room.repo, {"data/logo.bin": b"\0person"})
    with pytest.raises(MergeConflict, match="cannot be merged"):
        await revert(room)


async def test_two_files_that_change_names_with_each_other(tmp_path: Path) -> None:
    room = await open_room(tmp_path, {"a.txt": TEXT, "b.txt": TEXT.upper()})
    (room.worktree / "a.txt").rename(room.worktree / "x")
    (room.worktree / "b.txt").rename(room.worktree / "a.txt")
    (room.worktree / "x").rename(room.worktree / "b.txt")

    await apply(room)

    assert content_of(room.repo) == content_of(room.worktree)


async def test_the_checkouts_own_branch_and_commits_do_not_matter(tmp_path: Path) -> None:
    room = await open_room(tmp_path, SAMPLE)
    commit_files(room.repo, {"src/long.py": TEXT + "person\n"})
    head = git(room.repo, "rev-parse", "HEAD")
    write_files(room.worktree, {"src/long.py": "agent\n" + TEXT})

    await apply(room)

    assert (room.repo / "src" / "long.py").read_text() == "agent\n" + TEXT + "person\n"
    assert git(room.repo, "rev-parse", "HEAD") == head
    assert git(room.repo, "diff", "--cached", "--name-only") == ""


@pytest.mark.scenario("worktrees: The checkout cannot be written")
async def test_a_failure_in_the_middle_is_undone(tmp_path: Path) -> None:
    room = await open_room(tmp_path, SAMPLE)
    (room.worktree / "README.md").unlink()
    write_files(room.worktree, {"new": "fine\n", "src/hello.py": "changed\n", "old/name.txt": "changed\n"})
    found = await room.differences()
    (new,) = [each for each in found if each.operation == "create"]
    # no tree can hold both: the second cannot be put in its place
    impossible = new.model_copy(update={"file_path": "new/below"})
    before = content_of(room.repo)

    with pytest.raises(MergeConflict, match="cannot be written"):
        await room.apply([*found, impossible])

    assert content_of(room.repo) == before


async def test_the_checkouts_git_folder_is_never_written(tmp_path: Path) -> None:
    room = await open_room(tmp_path, SAMPLE)
    write_files(room.worktree, {"new": "owned\n"})
    (new,) = await room.differences()
    config = (room.repo / ".git" / "config").read_bytes()

    for path in (".git/config", ".git/hooks/pre-commit", ".GIT/x", "sub/.git/config"):
        with pytest.raises(MergeConflict):
            await room.apply([new.model_copy(update={"file_path": path})])

    assert (room.repo / ".git" / "config").read_bytes() == config
    assert not (room.repo / ".git" / "hooks" / "pre-commit").exists()


async def test_a_path_that_leads_out_of_the_checkout_is_never_written(tmp_path: Path) -> None:
    room = await open_room(tmp_path, SAMPLE)
    write_files(room.worktree, {"new": "owned\n"})
    (new,) = await room.differences()

    for path in ("../escaped", "src/../../escaped", str(tmp_path / "escaped")):
        with pytest.raises(MergeConflict):
            await room.apply([new.model_copy(update={"file_path": path})])

    assert not (tmp_path / "escaped").exists()
