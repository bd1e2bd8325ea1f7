"""Containment: no name leads out of the root, with `openat2` and without."""

import ctypes
import os
import stat
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from coder.errors import InvalidInput, NotFound, PathEscape, TooLarge
from coder.worktrees.paths import READ_LIMIT, FileState, WorktreeRoot, open_root

both_ways = pytest.mark.parametrize("use_openat2", [True, False], ids=["openat2", "walk"])

ESCAPES = [
    "../outside/secret",
    "folder/../../outside/secret",
    "folder/./.././../outside/secret",
    "../root-evil/secret",
    "..",
    "/etc/passwd",
    "{root}/../outside/secret",
    "{root}-evil/secret",
    "{outside}/secret",
    "{outside}",
    "link-to-outside/secret",
    "link-to-secret",
    "link-up/outside/secret",
    "link-absolute-inside",
    "chain-1",
    "folder/link-far-up/outside/secret",
    "/proc/self/environ",
    "link-to-proc/self/environ",
]


HEADS = (
    "",
    "./",
    "folder/../",
    "folder/./../",
    "nowhere/../",
    ".git/../",
    "link-to-folder/../",
    "{root}/",
    "{root}/./",
)
TAILS = ("", "/", "/.")
DOTS = ("..", "../..", "../../..", "folder/../..", "folder/../../folder/..", "./../.", "..//..")
TARGETS = ("outside/secret", "root-evil/secret", "outside", "new", ".bashrc")

RACE_TRIES = int(os.environ.get("CODER_RACE_TRIES", "2000"))
"""How often each way in is tried while a folder turns into a link and back; 100000 for the long run."""


def escapes(root: Path, outside: Path) -> list[str]:
    """Every name that leads out, in every dress."""
    plain = [*ESCAPES, *(f"{dots}/{target}" for dots in DOTS for target in TARGETS)]
    found = {
        (head + name + tail).format(root=root, outside=outside)
        for name in plain
        for head in (HEADS if not name.startswith(("/", "{")) else ("",))
        for tail in TAILS
    }
    return sorted(found)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def exchange(one: Path, other: Path) -> None:
    """Let two names change places in one step (`renameat2` with RENAME_EXCHANGE)."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2) == 0


@contextmanager
def root_in(folder: Path, *, use_openat2: bool) -> Generator[WorktreeRoot]:
    root, outside, evil = folder / "root", folder / "outside", folder / "root-evil"
    for each in (root / "folder", root / ".git", outside, evil):
        each.mkdir(parents=True)
    (outside / "secret").write_text("secret")
    (evil / "secret").write_text("secret")
    (root / "file.txt").write_text("one\ntwo\nthree\n")
    (root / ".git" / "config").write_text("[core]\n")
    links = {
        "link-to-outside": str(outside),
        "link-to-secret": "../outside/secret",
        "link-up": "..",
        "link-absolute-inside": str(root / "file.txt"),
        "chain-1": "chain-2",
        "chain-2": "folder/../../outside/secret",
        "folder/link-far-up": "../..",
        "link-to-proc": "/proc",
        "link-inside": "folder/../file.txt",
        "link-to-folder": "folder",
        "link-to-git": ".git",
        "loop": "loop",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    with open_root(root, use_openat2=use_openat2) as opened:
        yield opened


@both_ways
@pytest.mark.scenario("worktrees: A path leads out of the worktree")
@pytest.mark.parametrize("path", ESCAPES)
def test_a_path_that_leads_out_is_refused_for_reading_and_writing(tmp_path: Path, path: str, use_openat2: bool) -> None:
    with root_in(tmp_path, use_openat2=use_openat2) as root:
        path = path.format(root=root.path, outside=tmp_path / "outside")
        for act in (root.read_text, partial(root.write_text, text="owned"), root.resolve_folder, root.read_bytes):
            with pytest.raises(PathEscape) as caught:
                act(path)
            assert str(caught.value) == f"path escapes worktree: {path}"
    assert (tmp_path / "outside" / "secret").read_text() == "secret"
    assert (tmp_path / "root" / "file.txt").read_text() == "one\ntwo\nthree\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "root", "root-evil"]


@both_ways
@pytest.mark.scenario("worktrees: Every dress of a name that leads out")
def test_no_dress_of_a_name_leads_out(tmp_path: Path, use_openat2: bool) -> None:
    leaks: list[str] = []
    with root_in(tmp_path, use_openat2=use_openat2) as root:
        names = escapes(root.path, tmp_path / "outside")
        assert len(names) > 900
        for name in names:
            for act in (root.read_text, partial(root.write_text, text="owned"), root.resolve_folder, root.state):
                try:
                    found = act(name)
                except (PathEscape, NotFound, InvalidInput):
                    continue
                # A link itself is the worktree\'s own; where it leads is not.
                if found is not None and not (isinstance(found, FileState) and found.kind == "link"):
                    leaks.append(f"{act} {name}: {found}")
    assert leaks == []
    assert [path.read_text() for path in (tmp_path / "outside/secret", tmp_path / "root-evil/secret")] == ["secret"] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "root", "root-evil"]
    assert names_in(tmp_path / "outside") == names_in(tmp_path / "root-evil") == ["secret"]


@both_ways
@pytest.mark.scenario("worktrees: The repository's own files")
@pytest.mark.parametrize(
    "path", [".git/config", ".git/hooks/post-checkout", ".GIT/config", "folder/../.git/x", "link-to-git/config", ".git"]
)
def test_the_repositorys_own_files_are_not_written(tmp_path: Path, path: str, use_openat2: bool) -> None:
    with root_in(tmp_path, use_openat2=use_openat2) as root:
        with pytest.raises(InvalidInput):
            root.write_text(path, "owned")
        with pytest.raises(InvalidInput):
            root.write_text(f"{root.path}/{path}", "owned")

    assert (tmp_path / "root" / ".git" / "config").read_text() == "[core]\n"
    assert names_in(tmp_path / "root" / ".git") == ["config"]


@both_ways
@pytest.mark.parametrize(
    "path",
    ["file.txt", "./file.txt", "folder/../file.txt", "link-inside", "link-to-folder/../file.txt", "link-up/root"],
)
def test_paths_that_stay_inside_are_read(tmp_path: Path, path: str, use_openat2: bool) -> None:
    with root_in(tmp_path, use_openat2=use_openat2) as root:
        if path == "link-up/root":
            with pytest.raises(PathEscape):
                root.read_text(f"{path}/file.txt")
            return
        assert root.read_text(path) == "one\ntwo\nthree\n"
        assert root.read_text(f"{root.path}/{path}") == "one\ntwo\nthree\n"


@both_ways
def test_absolute_paths_work_when_the_root_is_reached_through_a_link(tmp_path: Path, use_openat2: bool) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / "file").write_text("text")
    with open_root(tmp_path / "link", use_openat2=use_openat2) as root:
        assert root.read_text(str(tmp_path / "link" / "file")) == "text"
        assert root.read_text(str(tmp_path / "real" / "file")) == "text"
        assert root.resolve_folder(str(tmp_path / "link")) == tmp_path / "real"


@both_ways
@pytest.mark.parametrize("path", ["", "a\0b", ".", "folder", "loop", "fifo", "file.txt/below", "x" * 300, "\ud800"])
def test_what_is_no_readable_file_is_refused_at_once(tmp_path: Path, path: str, use_openat2: bool) -> None:
    with root_in(tmp_path, use_openat2=use_openat2) as root:
        os.mkfifo(root.path / "fifo")
        with pytest.raises((InvalidInput, NotFound)):
            root.read_text(path)
        with pytest.raises(InvalidInput):
            root.write_text(path, "text")

    assert stat.S_ISFIFO((tmp_path / "root" / "fifo").stat().st_mode)


@both_ways
def test_a_missing_file_is_not_found(tmp_path: Path, use_openat2: bool) -> None:
    with root_in(tmp_path, use_openat2=use_openat2) as root:
        for path in ("nothing", "folder/nothing", "nothing/below"):
            with pytest.raises(NotFound):
                root.read_text(path)


@pytest.mark.scenario("worktrees: Reading by lines")
@pytest.mark.parametrize(
    ("line", "limit", "expected"),
    [
        (None, None, "one\r\ntwo\nthree"),
        (1, 1, "one\r\n"),
        (2, None, "two\nthree"),
        (2, 1, "two\n"),
        (3, 5, "three"),
        (4, 1, ""),
        (0, 1, "one\r\n"),
        (1, 0, ""),
        (None, 2, "one\r\ntwo\n"),
    ],
)
def test_lines_are_counted_from_one(tmp_path: Path, line: int | None, limit: int | None, expected: str) -> None:
    (tmp_path / "file").write_bytes(b"one\r\ntwo\nthree")
    with open_root(tmp_path) as root:
        assert root.read_text("file", line, limit) == expected


def test_what_is_not_utf_8_is_read_with_replacement_characters(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"caf\xe9\n")
    with open_root(tmp_path) as root:
        assert root.read_text("file") == "caf\ufffd\n"


def test_a_file_over_the_limit_is_refused_without_reading_it(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(50 * 1024**3)
    (tmp_path / "fits").write_bytes(b"x" * READ_LIMIT)
    with open_root(tmp_path) as root:
        with pytest.raises(TooLarge):
            root.read_bytes("huge")
        assert len(root.read_bytes("fits")) == READ_LIMIT


@both_ways
def test_writing_makes_folders_keeps_the_mode_and_follows_links_inside(tmp_path: Path, use_openat2: bool) -> None:
    with root_in(tmp_path, use_openat2=use_openat2) as root:
        (root.path / "file.txt").chmod(0o750)
        root.write_text("link-inside", "changed")
        root.write_text("new/deep/file", "new")
        root.write_text("link-to-folder/other", "other")

    inside = tmp_path / "root"
    assert (inside / "file.txt").read_text() == "changed"
    assert stat.S_IMODE((inside / "file.txt").stat().st_mode) == 0o750
    assert (inside / "link-inside").is_symlink()
    assert (inside / "new/deep/file").read_text() == "new"
    assert (inside / "folder/other").read_text() == "other"
    assert not list(inside.rglob(".coder-*"))


def test_the_files_of_the_tree_are_reached_without_following_any_link(tmp_path: Path) -> None:
    with root_in(tmp_path, use_openat2=True) as root:
        state = root.state("link-to-secret")
        assert state is not None
        assert (state.kind, state.content) == ("link", b"../outside/secret")
        with pytest.raises(PathEscape):
            root.state("link-to-folder/file")
        with pytest.raises(PathEscape):
            root.prepare("link-to-outside/file", b"", is_link=False, is_executable=False, mode=None, token="t")
        root.remove("link-to-secret")

    assert (tmp_path / "outside" / "secret").exists()


@both_ways
@pytest.mark.scenario("worktrees: A race against the check")
def test_a_folder_that_turns_into_a_link_again_and_again_never_leads_out(tmp_path: Path, use_openat2: bool) -> None:
    root_path, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root_path / "here", outside):
        folder.mkdir(parents=True)
        (folder / "file").write_text(folder.name)
    (tmp_path / "evil").symlink_to(outside)
    is_done = threading.Event()

    def swap() -> None:
        while not is_done.is_set():
            exchange(root_path / "here", tmp_path / "evil")

    swapper = threading.Thread(target=swap)
    swapper.start()
    seen: set[str] = set()
    try:
        with open_root(root_path, use_openat2=use_openat2) as root:
            for _ in range(RACE_TRIES):
                try:
                    seen.add(root.read_text("here/file"))
                    root.write_text("here/new", "x")
                except (PathEscape, NotFound, InvalidInput):
                    continue
    finally:
        is_done.set()
        swapper.join()

    assert seen <= {"here"}
    assert names_in(outside) == ["file"]
