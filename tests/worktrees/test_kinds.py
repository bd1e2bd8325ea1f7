"""Every kind of file goes the whole way: recorded, applied to the checkout, taken out again, turned down."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from coder.testing.repositories import FILES, git, write_files
from coder.worktrees import tree
from tests.worktrees.room import open_room

TEXT = "".join(f"line {number}\n" for number in range(30))
SAMPLE: dict[str, str | bytes] = {
    **FILES,
    "text.txt": TEXT,
    "empty": b"",
    "crlf.txt": TEXT.replace("\n", "\r\n"),
    "bare.txt": TEXT + "no end",
    "script.sh": "echo\n",
    "folder/one": "one\n" + TEXT,
    "folder/two": "two\n" + TEXT,
    "latin.txt": b"caf\xe9\n",
}


def prepare(repo: Path) -> None:
    """Links are part of the base as well."""
    (repo / "link").symlink_to("text.txt")
    (repo / "dangling").symlink_to("nowhere")
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--amend", "--no-edit")


def content_of(folder: Path) -> dict[bytes, tuple[int, bytes]]:
    """Every file below, with its executable bit and bytes; a link is its target."""
    found: dict[bytes, tuple[int, bytes]] = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if name.parts[0] == ".git":
            continue
        if path.is_symlink():
            found[os.fsencode(name)] = (-1, os.fsencode(path.readlink()))
        elif path.is_file():
            found[os.fsencode(name)] = (path.stat().st_mode & 0o100, path.read_bytes())
    return found


def odd(folder: Path, name: bytes) -> Path:
    return folder / os.fsdecode(name)


def rename(folder: Path) -> None:
    (folder / "text.txt").rename(folder / "moved.txt")


def rename_and_edit(folder: Path) -> None:
    rename(folder)
    write_files(folder, {"moved.txt": TEXT + "more\n"})


def rename_by_case(folder: Path) -> None:
    (folder / "README.md").rename(folder / "readme.md")


def rename_a_folder(folder: Path) -> None:
    (folder / "folder").rename(folder / "elsewhere")


def change_modes(folder: Path) -> None:
    (folder / "script.sh").chmod(0o755)
    write_files(folder, {"tool": "#!/bin/sh\n"})
    (folder / "tool").chmod(0o755)


def change_links(folder: Path) -> None:
    (folder / "link").unlink()
    (folder / "link").symlink_to("folder/one")
    (folder / "dangling").unlink()
    (folder / "new-dangling").symlink_to("nothing/there")
    (folder / "to-a-folder").symlink_to("folder")


def file_to_link(folder: Path) -> None:
    (folder / "text.txt").unlink()
    (folder / "text.txt").symlink_to("nowhere")


def link_to_file(folder: Path) -> None:
    (folder / "link").unlink()
    (folder / "dangling").unlink()
    write_files(folder, {"link": "a file now\n", "dangling": b"\0binary"})


def folder_to_link(folder: Path) -> None:
    for name in ("one", "two"):
        (folder / "folder" / name).unlink()
    (folder / "folder").rmdir()
    (folder / "folder").symlink_to("src")


def link_to_folder(folder: Path) -> None:
    (folder / "link").unlink()
    write_files(folder, {"link/inside": "x\n"})


def binary(folder: Path) -> None:
    write_files(folder, {"data/logo.bin": b"\0\xff" * 500, "text.txt": b"\0now binary", "new.bin": bytes(range(256))})


def empty_files(folder: Path) -> None:
    write_files(folder, {"empty": "no longer\n", "text.txt": b"", "new-empty": b"", "deep/er/empty": b""})


def remove_the_empty_file(folder: Path) -> None:
    (folder / "empty").unlink()


def file_to_folder(folder: Path) -> None:
    (folder / "text.txt").unlink()
    write_files(folder, {"text.txt/inside": "x\n", "text.txt/deep/er": "y\n"})


def folder_to_file(folder: Path) -> None:
    for name in ("one", "two"):
        (folder / "folder" / name).unlink()
    (folder / "folder").rmdir()
    write_files(folder, {"folder": "a file now\n"})


def line_ends(folder: Path) -> None:
    write_files(folder, {"crlf.txt": TEXT, "text.txt": TEXT.replace("\n", "\r\n"), "mixed.txt": "a\r\nb\nc\r"})


def last_line_ends(folder: Path) -> None:
    write_files(folder, {"bare.txt": TEXT + "no end\n", "text.txt": TEXT.rstrip("\n"), "new.txt": "no end"})


def odd_names(folder: Path) -> None:
    for name in (b"caf\xe9", b"-rf", b"--", b'"quoted"', b"new\nline", b"tab\t", b" ", b"back\\slash", b":(glob)*"):
        odd(folder, name).write_bytes(b"text\n")
    odd(folder, b"folder \xff\n").mkdir()
    odd(folder, b"folder \xff\n/-x").write_bytes(b"deep\n")


def other_encodings(folder: Path) -> None:
    write_files(folder, {"latin.txt": b"caf\xe9 cr\xe8me\n", "wide.txt": "wide\n".encode("utf-16")})


def attributes_of_its_own(folder: Path) -> None:
    write_files(
        folder, {".gitattributes": "* text=auto eol=crlf\n", "text.txt": TEXT + "more\n", "sub/.gitignore": "x\n"}
    )


KINDS = [
    rename,
    rename_and_edit,
    rename_by_case,
    rename_a_folder,
    change_modes,
    change_links,
    file_to_link,
    link_to_file,
    folder_to_link,
    link_to_folder,
    binary,
    empty_files,
    remove_the_empty_file,
    file_to_folder,
    folder_to_file,
    line_ends,
    last_line_ends,
    odd_names,
    other_encodings,
    attributes_of_its_own,
]


@pytest.mark.scenario("worktrees: Every kind of file goes the whole way")
@pytest.mark.parametrize("change", KINDS, ids=lambda change: change.__name__)
async def test_a_change_of_any_kind_is_applied_reverted_and_rejected(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    room = await open_room(tmp_path, SAMPLE, prepare)
    before = content_of(room.repo)
    change(room.worktree)
    after = content_of(room.worktree)
    assert after != before

    taken = await tree.take_snapshot(room.shadow)
    found = await tree.differences(room.shadow, room.base, taken.tree)
    assert not taken.left_out

    await room.apply(found)
    assert content_of(room.repo) == after
    await room.revert(found)
    assert content_of(room.repo) == before
    await room.reject(found)
    assert content_of(room.worktree) == before
    assert await room.differences() == []


@pytest.mark.scenario("worktrees: Every kind of file goes the whole way")
@pytest.mark.parametrize("setting", ["core.autocrlf=true", "core.autocrlf=input", "core.eol=crlf", "attributes"])
async def test_line_ends_stay_what_they_are_whatever_the_repository_converts(tmp_path: Path, setting: str) -> None:
    def configure(repo: Path) -> None:
        if setting == "attributes":
            write_files(repo, {".gitattributes": "*.txt text eol=crlf\n"})
            git(repo, "add", "--all")
            git(repo, "commit", "--quiet", "--message", "Convert")
        else:
            git(repo, "config", *setting.split("="))

    room = await open_room(tmp_path, SAMPLE, configure)
    before = content_of(room.worktree)
    assert await room.differences() == []
    line_ends(room.worktree)
    last_line_ends(room.worktree)

    found = await room.differences()
    await room.reject(found)

    assert len(found) >= 4
    assert content_of(room.worktree) == before
    assert await room.differences() == []


@pytest.mark.scenario("worktrees: Very many and very large files")
async def test_twenty_thousand_files_at_once_go_the_whole_way(tmp_path: Path) -> None:
    room = await open_room(tmp_path, SAMPLE)
    write_files(room.worktree, {f"many/{number % 100}/{number}.txt": f"{number}\n" for number in range(20_000)})

    found = await room.differences()
    assert len(found) == 20_000

    await room.apply(found)
    written = {int(path.stem): path.read_text() for path in (room.repo / "many").glob("*/*")}
    assert written == {number: f"{number}\n" for number in range(20_000)}
    await room.revert(found)
    assert not (room.repo / "many").exists()


@pytest.mark.scenario("worktrees: Very many and very large files")
async def test_a_file_of_a_hundred_megabytes_goes_the_whole_way(tmp_path: Path) -> None:
    room = await open_room(tmp_path, SAMPLE)
    before = content_of(room.worktree)
    with (room.worktree / "large.bin").open("wb") as file:
        file.write(b"\0start")
        file.truncate(100 * 1024**2)

    found = await room.differences()
    assert [each.file_path for each in found] == ["large.bin"]
    assert found[0].is_binary

    await room.apply(found)
    assert (room.repo / "large.bin").stat().st_size == 100 * 1024**2
    await room.revert(found)
    assert not (room.repo / "large.bin").exists()
    await room.reject(found)
    assert content_of(room.worktree) == before
