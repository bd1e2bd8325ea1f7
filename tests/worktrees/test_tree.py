"""Snapshots and differences: everything that changed, and nothing of the user's touched."""

import os
from pathlib import Path

import pytest
from anyio import fail_after, sleep

from coder.errors import GitError
from coder.model.changes import FileDifference
from coder.testing.repositories import FILES, commit_files, git, make_repository, write_files
from coder.worktrees import tree
from coder.worktrees.hunks import text_diff
from coder.worktrees.moves import Move, move_in_tree
from coder.worktrees.names import shown_name, stored_name
from coder.worktrees.texts import blobs_at
from tests.worktrees.room import Room, open_room

TEXT = "".join(f"line {number}\n" for number in range(30))
SAMPLE: dict[str, str | bytes] = {**FILES, "src/long.py": TEXT, "old/name.txt": TEXT[5:], "script.sh": "echo\n"}


def short(difference: FileDifference) -> tuple[str, str, str | None]:
    return difference.operation, difference.file_path, difference.old_path


@pytest.mark.scenario("worktrees: Everything that changed is seen")
async def test_a_snapshot_sees_every_kind_of_change(tmp_path: Path) -> None:
    room = await open_room(tmp_path, {**SAMPLE, ".gitignore": "*.o\n"})
    write_files(
        room.worktree, {"src/long.py": TEXT + "more\n", "new/file.txt": "new\n", "bin.dat": b"\0\1", "x.o": "o"}
    )
    (room.worktree / "README.md").unlink()
    (room.worktree / "old" / "name.txt").rename(room.worktree / "name.txt")
    (room.worktree / "script.sh").chmod(0o755)
    (room.worktree / "link").symlink_to("../elsewhere")

    found = {short(each): each for each in await room.differences()}

    assert set(found) == {
        ("edit", "src/long.py", None),
        ("create", "new/file.txt", None),
        ("create", "bin.dat", None),
        ("create", "link", None),
        ("delete", "README.md", None),
        ("rename", "name.txt", "old/name.txt"),
        ("edit", "script.sh", None),
    }
    edit, script = found["edit", "src/long.py", None], found["edit", "script.sh", None]
    assert (edit.added_lines, edit.deleted_lines, edit.is_binary) == (1, 0, False)
    assert (script.base_mode, script.new_mode, script.base_blob == script.new_blob) == ("100644", "100755", True)
    assert found["create", "link", None].new_mode == "120000"
    assert found["create", "bin.dat", None].is_binary
    assert found["delete", "README.md", None].new_blob is None


async def test_the_first_snapshot_is_the_commits_tree_and_finds_no_difference(tmp_path: Path) -> None:
    room = await open_room(tmp_path, SAMPLE)

    assert room.base == git(room.repo, "rev-parse", "HEAD^{tree}")
    assert await room.differences() == []


@pytest.mark.scenario("worktrees: The user's own files stay untouched")
async def test_a_snapshot_touches_neither_index_nor_branch_nor_files(tmp_path: Path) -> None:
    room = await open_room(tmp_path, SAMPLE)
    write_files(room.worktree, {"staged.txt": "staged\n", "loose.txt": "loose\n"})
    git(room.worktree, "add", "staged.txt")
    indexes = [room.repo / ".git/index", room.repo / ".git/worktrees/session/index"]
    before = [path.read_bytes() for path in indexes], git(room.repo, "for-each-ref"), git(room.worktree, "status", "-s")

    assert len(await room.differences()) == 2

    assert before == ([path.read_bytes() for path in indexes], git(room.repo, "for-each-ref"), before[2])
    assert git(room.worktree, "status", "-s") == before[2]


@pytest.mark.scenario("worktrees: An edit of the same size in the same second")
async def test_an_edit_of_the_same_size_in_the_same_second_is_seen(tmp_path: Path) -> None:
    room = await open_room(tmp_path, SAMPLE)
    for number in range(5):
        (room.worktree / "script.sh").write_text(f"ech{number}\n")
        (difference,) = await room.differences()
        assert f"+ech{number}" in (await text_diff(room.shadow, difference)).shown


async def test_a_file_back_at_its_base_is_no_difference(tmp_path: Path) -> None:
    room = await open_room(tmp_path, SAMPLE)
    (room.worktree / "script.sh").write_text("other\n")
    assert len(await room.differences()) == 1
    (room.worktree / "script.sh").write_text("echo\n")

    assert await room.differences() == []


@pytest.mark.scenario("worktrees: Commits do not hide changes")
async def test_what_an_agent_commits_is_still_a_difference(tmp_path: Path) -> None:
    room = await open_room(tmp_path, SAMPLE)
    commit_files(room.worktree, {"new.txt": "new\n"})

    assert [short(each) for each in await room.differences()] == [("create", "new.txt", None)]


@pytest.mark.scenario("worktrees: A nested repository")
@pytest.mark.parametrize("has_commit", [True, False], ids=["with-commit", "empty"])
async def test_a_nested_repository_is_left_out(tmp_path: Path, has_commit: bool) -> None:
    room = await open_room(tmp_path, SAMPLE)
    make_repository(room.worktree / "nested", FILES if has_commit else {})
    write_files(room.worktree, {"beside.txt": "x\n"})

    for _ in range(2):
        assert [short(each) for each in await room.differences()] == [("create", "beside.txt", None)]


async def test_a_submodule_is_left_out(tmp_path: Path) -> None:
    other = make_repository(tmp_path / "other")

    def add_submodule(repo: Path) -> None:
        git(repo, "-c", "protocol.file.allow=always", "submodule", "add", "--quiet", str(other), "sub")
        commit_files(repo, {}, "Add a submodule")

    room = await open_room(tmp_path, SAMPLE, add_submodule)
    git(room.worktree, "-c", "protocol.file.allow=always", "submodule", "update", "--init", "--quiet")
    write_files(room.worktree, {"sub/README.md": "changed\n", "beside.txt": "x\n"})

    assert [short(each) for each in await room.differences()] == [("create", "beside.txt", None)]


async def test_a_folder_in_place_of_a_file_and_the_other_way_round(tmp_path: Path) -> None:
    room = await open_room(tmp_path, {**SAMPLE, "a": "a\n", "b/c": "c\n"})
    (room.worktree / "a").unlink()
    (room.worktree / "b" / "c").unlink()
    (room.worktree / "b").rmdir()
    write_files(room.worktree, {"a/x": "new one\n", "b": "new two\n"})

    found = {short(each) for each in await room.differences()}

    assert found == {
        ("delete", "a", None),
        ("create", "a/x", None),
        ("delete", "b/c", None),
        ("create", "b", None),
    }


async def test_a_folder_that_becomes_a_link_is_seen_as_deletions(tmp_path: Path) -> None:
    room = await open_room(tmp_path, {**SAMPLE, "b/c": "c\n"})
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "c").write_text("secret\n")
    (room.worktree / "b" / "c").unlink()
    (room.worktree / "b").rmdir()
    (room.worktree / "b").symlink_to(tmp_path / "outside")

    found = {short(each) for each in await room.differences()}

    assert found == {("delete", "b/c", None), ("create", "b", None)}


@pytest.mark.scenario("worktrees: Odd file names")
async def test_odd_names_are_shown_and_found_again(tmp_path: Path) -> None:
    names = [b"caf\xe9.txt", b'"quoted".txt', b"new\nline", b"tab\there", "ünï ☃".encode(), b"-x", b"back\\slash \xff"]
    room = await open_room(tmp_path, SAMPLE)
    for name in names:
        Path(os.fsdecode(os.fsencode(room.worktree) + b"/" + name)).write_text("text\n")

    found = await room.differences()

    assert {os.fsencode(stored_name(each.file_path)) for each in found} == set(names)
    assert {each.file_path for each in found} >= {'"caf\\351.txt"', "ünï ☃", "-x"}
    for each in found:
        each.file_path.encode()
        assert "+text" in (await text_diff(room.shadow, each)).shown
    await room.reject(found)
    assert await room.differences() == []


@pytest.mark.parametrize("name", [b"plain", b'"', b'"a"', b'\xff"\\\n', bytes(range(1, 256)).replace(b"/", b"")])
def test_every_name_comes_back(name: bytes) -> None:
    assert os.fsencode(stored_name(shown_name(name))) == name
    shown_name(name).encode()


@pytest.mark.scenario("worktrees: Line ends and filters of the repository")
@pytest.mark.parametrize(
    "attributes", ["* text=auto eol=crlf\n", "* text eol=lf\n", "*.py ident\n", "* filter=evil diff=evil merge=evil\n"]
)
async def test_files_are_compared_byte_for_byte_whatever_the_attributes_say(tmp_path: Path, attributes: str) -> None:
    files: dict[str, str | bytes] = {**SAMPLE, ".gitattributes": attributes, "crlf.py": b"one\r\n# $Id$\r\n"}
    room = await open_room(tmp_path, files)
    before = (room.worktree / "src" / "long.py").read_bytes()
    assert await room.differences() == []
    (room.worktree / "src" / "long.py").write_bytes(b"x\r\n" + before)

    (difference,) = await room.differences()

    assert difference.new_blob is not None
    blobs = await room.shadow.read_blobs([difference.new_blob])
    assert blobs[difference.new_blob] == b"x\r\n" + before
    await room.reject([difference])
    assert (room.worktree / "src" / "long.py").read_bytes() == before


async def test_ignore_rules_of_the_repository_itself_hold_in_snapshots(tmp_path: Path) -> None:
    def ignore_logs(repo: Path) -> None:
        (repo / ".git" / "info" / "exclude").write_text("*.log\n")

    room = await open_room(tmp_path, SAMPLE, ignore_logs)
    write_files(room.worktree, {"noise.log": "x", "kept.txt": "x"})

    assert [each.file_path for each in await room.differences()] == ["kept.txt"]


async def test_a_repository_with_sha_256_works(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    repo.mkdir()
    git(repo, "init", "--quiet", "--object-format=sha256")
    room = await open_room(tmp_path, SAMPLE)
    (room.worktree / "script.sh").write_text("x\n")
    (room.worktree / "README.md").unlink()

    deleted, edited = sorted(await room.differences(), key=lambda each: each.operation)

    assert len(deleted.base_blob or "") == 64
    assert "-# Sample" in (await text_diff(room.shadow, deleted)).shown
    assert await move_in_tree(
        room.shadow, room.base, [Move.forward(each) for each in [deleted, edited]]
    ) == await tree.snapshot(room.shadow)


@pytest.mark.scenario("worktrees: A change as a diff")
async def test_a_change_is_shown_as_gits_own_diff(tmp_path: Path) -> None:
    room = await open_room(tmp_path, SAMPLE)
    write_files(room.worktree, {"src/long.py": TEXT.replace("line 3\n", "line x\n").replace("line 20\n", "")})
    (difference,) = await room.differences()

    diff = await text_diff(room.shadow, difference)

    assert diff.shown + "" == git(room.worktree, "diff", "--full-index", "--", "src/long.py") + "\n"
    first, second = (hunk.shown for hunk in diff.hunks)
    assert first.lines[3:5] == ("-line 3", "+line x")
    assert second.header.startswith("@@ -18,7 +18,6 @@")
    assert first.id != second.id


async def test_a_hunk_keeps_its_id_when_it_moves(tmp_path: Path) -> None:
    room = await open_room(tmp_path, SAMPLE)
    edited = TEXT.replace("line 20\n", "line x\n")
    write_files(room.worktree, {"src/long.py": edited})
    (alone,) = (await text_diff(room.shadow, (await room.differences())[0])).hunks
    write_files(room.worktree, {"src/long.py": "first\nsecond\n" + edited})
    hunks = (await text_diff(room.shadow, (await room.differences())[0])).hunks

    assert [hunk.id for hunk in hunks][1] == alone.id


async def test_moving_files_in_a_tree_gives_exactly_the_other_tree(tmp_path: Path) -> None:
    room = await open_room(tmp_path, {**SAMPLE, "a": "a\n", "b/c": "c\n"})
    for name in ("a", "b/c", "README.md"):
        (room.worktree / name).unlink()
    (room.worktree / "b").rmdir()
    (room.worktree / "old" / "name.txt").rename(room.worktree / "name.txt")
    write_files(room.worktree, {"a/x": "x\n", "b": "b\n"})
    new = await tree.snapshot(room.shadow)
    found = await tree.differences(room.shadow, room.base, new)

    assert await move_in_tree(room.shadow, room.base, [Move.forward(each) for each in found]) == new
    assert await move_in_tree(room.shadow, new, [Move.backward(each) for each in found]) == room.base


@pytest.mark.scenario("worktrees: The host died during a snapshot")
async def test_a_lock_left_by_a_dead_host_does_not_stop_the_next_snapshot(tmp_path: Path) -> None:
    room = await open_room(tmp_path, SAMPLE)
    (room.shadow.git_dir / "index.lock").touch()
    write_files(room.worktree, {"new.txt": "x\n"})

    assert len(await room.differences()) == 1


async def test_a_lost_shadow_is_an_error_and_not_an_empty_base(tmp_path: Path) -> None:
    room = await open_room(tmp_path, SAMPLE)
    write_files(room.worktree, {"new.txt": "x\n"})
    moved = await tree.snapshot(room.shadow)
    assert (await tree.open_shadow(room.shadow.git_dir, room.repo, room.worktree, moved)) == room.shadow

    with pytest.raises(GitError):
        await tree.open_shadow(tmp_path / "elsewhere.git", room.repo, room.worktree, moved)


def written(room: Room) -> dict[str, int]:
    """When each file of the shadow was last written."""
    return {str(path): path.stat().st_mtime_ns for path in room.shadow.git_dir.rglob("*") if path.is_file()}


@pytest.mark.scenario("worktrees: Nothing has changed")
async def test_a_snapshot_of_what_has_not_changed_writes_nothing(tmp_path: Path) -> None:
    room = (await open_room(tmp_path, SAMPLE)).without_memory()
    write_files(room.worktree, {"new.txt": "x\n"})
    first = await tree.snapshot(room.shadow)
    # the index that came with the worktree is written anew once, in a later second than its files
    with fail_after(5):
        while (room.shadow.git_dir / "unsettled").exists():
            assert await tree.snapshot(room.shadow) == first
            await sleep(0.1)
    before = written(room)

    assert await tree.snapshot(room.shadow) == first
    assert written(room) == before


@pytest.mark.scenario("worktrees: Nothing has changed")
@pytest.mark.parametrize("note", ["old", "torn", "none"])
async def test_a_host_that_died_before_it_noted_the_tree_finds_the_right_one(tmp_path: Path, note: str) -> None:
    room = (await open_room(tmp_path, SAMPLE)).without_memory()
    first = await tree.snapshot(room.shadow)
    record = room.shadow.git_dir / "last-tree"
    old = record.read_text()
    (room.worktree / "script.sh").write_text("ech0\n")
    second = await tree.snapshot(room.shadow)
    match note:
        case "old":
            record.write_text(old)
        case "torn":
            record.write_text(record.read_text()[:30])
        case _:
            record.unlink()

    assert first != second
    assert await tree.snapshot(room.shadow) == second
    (room.worktree / "script.sh").write_text("echo\n")
    assert await tree.snapshot(room.shadow) == first


async def test_files_are_found_by_names_that_mean_something_to_git(tmp_path: Path) -> None:
    room = await open_room(tmp_path, dict(FILES))
    names = [":(exclude)*", ":/README.md", "*.md", "--output=owned", "[a]"]
    write_files(room.worktree, {name: f"{name}\n" for name in names})
    content = await tree.snapshot(room.shadow)
    assert set(await blobs_at(room.shadow, content, [*names, "no*such"])) == set(names)
