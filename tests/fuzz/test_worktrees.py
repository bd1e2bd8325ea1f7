"""Whatever happens in a worktree, a snapshot that is helped by what is remembered is the one that git makes."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import hypothesis
import pytest
from hypothesis import strategies

from coder.testing.repositories import FILES
from coder.worktrees import tree
from coder.worktrees.fingerprints import Fingerprints
from tests.fuzz.drawing import often
from tests.worktrees.room import RACY_NS, open_room, pass_time

SAMPLE: dict[str, str | bytes] = {**FILES, ".gitignore": "*.log\nbuild/\n", "a": "a\n", "d/a": "a\n", "d/e/b": "b\n"}

Step = Callable[[Path], None]

names = strategies.sampled_from(
    ["a", "b", "d", "d/a", "d/e", "d/e/b", "f/g", "f/g/h", "build", "build/x", "x.log", "d/x.log", "n~1", "é", "B"]
)
texts = strategies.sampled_from(["", "one\n", "two\n", "x" * 5000])
rules = strategies.sampled_from(
    ["", "*.log\n", "*.log\nbuild/\n", "d/\n", "*\n!a\n", "*\n!*/\n!b\n", "!x.log\n/a\n", "# all\n*\n"]
)


def clear(path: Path) -> None:
    """Nothing is there, and its folder is: whatever is in the way goes."""
    for folder in reversed(path.parents):
        if folder.is_symlink() or folder.is_file() or folder.is_fifo():
            folder.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write(name: str, text: str) -> Step:
    def step(worktree: Path) -> None:
        path = worktree / name
        if os.path.realpath(path) != os.fspath(path) or not path.is_file():
            clear(path)
        path.write_text(text)

    return step


def remove(name: str) -> Step:
    return lambda worktree: clear(worktree / name)


def move(name: str, other: str) -> Step:
    def step(worktree: Path) -> None:
        source = worktree / name
        if (
            os.path.lexists(source)
            and not f"{other}/".startswith(f"{name}/")
            and not f"{name}/".startswith(f"{other}/")
        ):
            clear(worktree / other)
            if os.path.lexists(source):
                source.rename(worktree / other)

    return step


def change_mode(name: str, mode: int) -> Step:
    def step(worktree: Path) -> None:
        if (worktree / name).is_file() and os.path.realpath(worktree / name) == os.fspath(worktree / name):
            (worktree / name).chmod(mode)

    return step


def link(name: str, target: str) -> Step:
    def step(worktree: Path) -> None:
        clear(worktree / name)
        (worktree / name).symlink_to(target)

    return step


def make_pipe(name: str) -> Step:
    def step(worktree: Path) -> None:
        clear(worktree / name)
        os.mkfifo(worktree / name)

    return step


def make_nested(name: str) -> Step:
    def step(worktree: Path) -> None:
        clear(worktree / name)
        for folder in ("objects", "refs"):
            (worktree / name / ".git" / folder).mkdir(parents=True)
        (worktree / name / ".git" / "HEAD").write_text("ref: refs/heads/main\n")

    return step


edits = strategies.one_of(
    strategies.builds(write, names, texts),
    strategies.builds(write, names, texts),
    strategies.builds(write, strategies.sampled_from([".gitignore", "d/.gitignore", "f/.gitignore"]), rules),
    strategies.builds(remove, names),
    strategies.builds(move, names, names),
    strategies.builds(change_mode, names, strategies.sampled_from([0o644, 0o755, 0o600])),
    strategies.builds(link, names, names),
)
# what is done, and how it is looked at: now, after a while, by a program or by a host that remembers nothing, or while
# something is there that git does not take
rounds = strategies.tuples(
    strategies.lists(edits, max_size=3),
    strategies.sampled_from(["now", "now", "now", "later", "later", "later", "foreign", "anew", "pipe", "nested"]),
)


async def play(folder: Path, played: list[tuple[list[Step], str]]) -> None:
    room = await open_room(folder, SAMPLE, fingerprints=Fingerprints(racy_ns=RACY_NS))
    shutil.copytree(room.shadow.git_dir, folder / "other.git")
    asking = replace(room.shadow, git_dir=folder / "other.git", fingerprints=None)
    for steps, way in played:
        for step in steps:
            step(room.worktree)
        match way:
            case "later":
                await pass_time(room)
            case "anew":
                fresh = Fingerprints(racy_ns=RACY_NS)
                room = replace(room, shadow=replace(room.shadow, fingerprints=fresh))
            case "foreign":
                assert await tree.take_snapshot(room.without_memory().shadow) == await tree.take_snapshot(asking)
            case "pipe":
                make_pipe("f/odd")(room.worktree)
            case "nested":
                make_nested("d/odd")(room.worktree)
            case _:
                pass
        found, wanted = await tree.take_snapshot(room.shadow), await tree.take_snapshot(asking)
        assert found == wanted
        differences = await tree.differences(asking, room.base, wanted.tree)
        assert await tree.differences(room.shadow, room.base, found.tree) == differences
        for name in ("f/odd", "d/odd"):
            if os.path.lexists(room.worktree / name):
                clear(room.worktree / name)


@pytest.mark.scenario("worktrees: What a look cannot tell is left to git")
@hypothesis.settings(often(12), phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate])
@hypothesis.given(strategies.lists(rounds, min_size=6, max_size=16))
def test_what_is_remembered_gives_gits_own_snapshots(played: list[tuple[list[Step], str]]) -> None:
    with TemporaryDirectory() as folder:
        anyio.run(play, Path(folder), played)
