"""What a turn's end and a new session cost in git, beside plain git doing the same.

The reference of a turn's end is a shadow index that is kept between turns: `add -A`, `write-tree`, `diff-tree`. Both
look at the same worktree, in turns, and the paths that the host finds must be those of `git status`.
"""

import os
import random
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio

from bench.native_programs import Programs
from bench.rows import Row, at_most, median
from coder.model.changes import FileDifference
from coder.testing.repositories import git, make_repository
from coder.worktrees import tree
from coder.worktrees.fingerprints import Fingerprints
from coder.worktrees.names import stored_name
from coder.worktrees.opening import open_worktree
from coder.worktrees.shadow import Shadow

SIZES = {100: 31, 5000: 15, 50000: 7}
"""Files in the repository, and how often each figure is taken."""

CHANGED = (0, 1, 10, 1000)
OPENED, OPENED_FILES = 9, 5000


async def measure(programs: Programs, work: Path) -> list[Row]:
    """Medians in milliseconds of wall time and of CPU time, git's processes included."""
    del programs, work
    with tempfile.TemporaryDirectory(prefix="coder-bench-") as name:
        rows: list[Row] = []
        for size, rounds in SIZES.items():
            repository = make_repository(Path(name, f"repository-{size}"), sample_files(size))
            rows += await _measure_turns(repository, Path(name, str(size)), size, rounds)
            if size == OPENED_FILES:
                rows += await _measure_opening(repository, Path(name, "opened"))
            shutil.rmtree(repository)
        return rows


@dataclass
class _Times:
    """Wall and CPU milliseconds of each run."""

    wall: list[float] = field(default_factory=list[float])
    cpu: list[float] = field(default_factory=list[float])

    async def of(self, run: Callable[[], Awaitable[None]]) -> None:
        begun, used = time.perf_counter(), _cpu_seconds()
        await run()
        self.wall.append((time.perf_counter() - begun) * 1000)
        self.cpu.append((_cpu_seconds() - used) * 1000)


@dataclass
class _Plain:
    """The recipe in plain git, with a git directory and an index of its own."""

    git_dir: Path
    worktree: Path
    base: str
    paths: set[bytes] = field(default_factory=set[bytes])

    def prepare(self, repository: Path) -> None:
        git(self.worktree, "init", "--quiet", "--bare", str(self.git_dir))
        (self.git_dir / "objects/info/alternates").write_text(f"{repository}/.git/objects\n")
        shutil.copy2(git(self.worktree, "rev-parse", "--git-path", "index"), self.git_dir / "index")

    async def run(self) -> None:
        self._git("add", "-A")
        new = self._git("write-tree").decode().strip()
        output = self._git("diff-tree", "-r", "-M", "-z", "--raw", "--numstat", self.base, new)
        self.paths = {part for part in output.split(b"\0") if part and not part.startswith(b":")}

    def _git(self, *arguments: str) -> bytes:
        environment = {
            **os.environ,
            "GIT_DIR": str(self.git_dir),
            "GIT_WORK_TREE": str(self.worktree),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        return subprocess.run(
            ["git", *arguments], cwd=self.worktree, env=environment, stdout=subprocess.PIPE, check=True
        ).stdout


@dataclass
class _Host:
    """The host's own path: the shadow is opened, a snapshot taken and compared; what was found is remembered."""

    shadow: Shadow
    base: str
    known: Fingerprints = field(default_factory=Fingerprints)
    found: list[FileDifference] = field(default_factory=list[FileDifference])

    async def run(self) -> None:
        places = self.shadow.git_dir, self.shadow.repo, self.shadow.worktree
        shadow = await tree.open_shadow(*places, self.base, self.known)
        self.found = await tree.differences(shadow, self.base, await tree.snapshot(shadow))


async def _measure_turns(repository: Path, folder: Path, size: int, rounds: int) -> list[Row]:
    worktree = folder / "worktree"
    opened = await open_worktree(repository, worktree, f"bench/{size}", None, folder / "shadow.git")
    host, plain = _Host(opened.shadow, opened.base_tree), _Plain(folder / "plain.git", worktree, opened.base_tree)
    plain.prepare(repository)
    # both write their index once more in a later second than the files
    for _ in range(2):
        await anyio.sleep(1.1)
        await host.run()
        await plain.run()
    rows: list[Row] = []
    for changed in CHANGED:
        ours, theirs = _Times(), _Times()
        for turn in range(rounds):
            _change(worktree, size, changed, turn)
            pairs = [(ours, host.run), (theirs, plain.run)]
            for times, run in pairs if turn % 2 else reversed(pairs):
                await times.of(run)
            _compare(host.found, worktree)
        rows += _rows("turn-diff", f"{size} files, {changed} changed", ours, theirs, "plain git", 1.3)
    await _remove(repository, folder)
    return rows


async def _measure_opening(repository: Path, folder: Path) -> list[Row]:
    ours, theirs = _Times(), _Times()
    for turn in range(OPENED):
        pairs = [
            (ours, partial(_open, repository, folder / f"ours-{turn}")),
            (theirs, partial(_add, repository, folder / f"plain-{turn}")),
        ]
        for times, run in pairs if turn % 2 else reversed(pairs):
            await times.of(run)
    return _rows("session-open", f"{OPENED_FILES} files", ours, theirs, "git worktree add", 1.2)


async def _open(repository: Path, folder: Path) -> None:
    await open_worktree(repository, folder / "worktree", f"bench/{folder.name}", None, folder / "shadow.git")


async def _add(repository: Path, folder: Path) -> None:
    git(repository, "worktree", "add", "--quiet", "-b", f"bench/{folder.name}", str(folder / "worktree"))


def _rows(name: str, metric: str, ours: _Times, theirs: _Times, reference: str, target: float) -> list[Row]:
    return [
        at_most(name, metric, "ms", median(ours.wall), (reference, median(theirs.wall)), target),
        at_most(name, f"{metric}, CPU", "ms", median(ours.cpu), (reference, median(theirs.cpu))),
    ]


def sample_files(size: int) -> dict[str, str | bytes]:
    words = random.Random(size)
    return {
        _name(number): "".join(f"line {words.random()}\n" for _ in range(words.randrange(10, 100)))
        for number in range(size)
    }


def _name(number: int) -> str:
    return f"part{number % 7}/module{number // 7 % 60}/file{number}.txt"


def _change(worktree: Path, size: int, changed: int, turn: int) -> None:
    """Other content in the same files each turn: most of them are edited, the others new."""
    edited = min(changed - changed // 5, size // 2)
    for number in range(edited):
        path = worktree / _name(number * (size // max(edited, 1)))
        path.write_text(f"{turn} of {changed}\n" + path.read_text().split("\n", 1)[1])
    for number in range(changed - edited):
        path = worktree / f"new{number % 3}" / f"file{number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{turn} {number}\n" * 20)


def _compare(found: Sequence[FileDifference], worktree: Path) -> None:
    status = git(worktree, "status", "--porcelain", "-z", "--untracked-files=all").split("\0")
    paths = {path for each in found for path in (each.file_path, each.old_path) if path}
    assert {stored_name(path) for path in paths} == {line[3:] for line in status if line}, "not what git status finds"


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


async def _remove(repository: Path, folder: Path) -> None:
    git(repository, "worktree", "remove", "--force", str(folder / "worktree"))
    shutil.rmtree(folder)
