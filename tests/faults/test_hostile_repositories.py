"""Hostile repositories on their way through a whole host: whatever it is told to do, no trap is sprung."""

import ast
import os
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import pytest

from coder.client import Client
from coder.errors import CoderError
from coder.model.sessions import Session
from coder.protocol import Prompt
from coder.testing.harness import LiveHost, open_live_host
from coder.testing.repositories import FILES, commit_files, make_repository, write_files
from tests.faults.scene import QUICK
from tests.worktrees import traps
from tests.worktrees.traps import TRAPS, Place, Trap

Lay = Callable[[Place, Trap], None]
ALONE: tuple[Lay, ...] = (
    traps.worktree_configuration,
    traps.swapped_git_file,
    traps.common_folder_swapped,
    traps.linked_git_file,
    traps.filter_process,
)
NESTED: tuple[Lay, ...] = (
    traps.nested_repository,
    traps.nested_bare_repository,
    traps.submodule_that_updates_itself,
    traps.names_that_are_options,
)
TOGETHER = tuple(lay for lay in TRAPS if lay not in (*ALONE, *NESTED))
GROUPS: Mapping[str, Sequence[Lay]] = {"configuration": TOGETHER, "nested": NESTED} | {
    lay.__name__: (lay,) for lay in ALONE
}
SETUP = 'include = ["*.local"]\nsubmodules = true\n'
WORDS = "edit README.md Sample => Example; write new.txt new; write data/more.txt more; delete data/logo.bin"
CODER = Path(sys.modules["coder"].__path__[0])


@dataclass(frozen=True)
class Ground:
    """A session's repository and worktree."""

    repo: Path
    worktree: Path


@dataclass
class Tour:
    """Everything that has the host call git, one after the other. What is refused is refused."""

    live: LiveHost
    client: Client
    session: Session
    repo: Path
    is_hostile: bool = True

    async def advance(self) -> None:
        """The default branch moves on, unless the test's own git would spring what lies there."""
        if not self.is_hostile:
            theirs = {"README.md": f"# Sample\n\nTheirs {self.session.id}.\n", "theirs.txt": os.urandom(4).hex()}
            commit_files(self.repo, theirs)

    async def turn(self, text: str) -> None:
        task = await self.client.prompt(self.session.id, Prompt(agent="demo", input=text))
        await self.client.wait_for_task(task.id)

    async def go(self) -> int:
        """How many steps were not refused."""
        client, id = self.client, self.session.id
        steps: list[Callable[[], object]] = [
            lambda: self.turn(
                "edit README.md Example => Sample2; write late.txt late; write one.txt 1; write two.txt 2"
            ),
            lambda: client.branch(id),
            lambda: client.patch(id, "pending"),
            lambda: self.decide(),
            lambda: client.commit(id, "what was applied", "applied"),
            lambda: client.update_branch(id, "merge"),
            lambda: self.turn("write again.txt again; edit src/hello.py a => b"),
            self.advance,
            lambda: client.update_branch(id, "rebase"),
            self.advance,
            lambda: client.update_branch(id, "merge", "agent", "demo"),
            lambda: self.turn("write last.txt last"),
            lambda: client.commit(id, "all of it", "all"),
            lambda: client.patch(id, "all"),
            lambda: self.back(),
            lambda: client.open_session(self.session.project_id),
            lambda: client.register_project(str(self.session.worktree_path)),
        ]
        done = 0
        for step in steps:
            with suppress(CoderError):
                await step()  # type: ignore[misc]
                done += 1
        return done

    async def decide(self) -> None:
        """A comment, one change applied, one reverted, one rejected, one hunk at a time."""
        for change in (await self.client.changes(self.session.id)).items:
            with suppress(CoderError):
                await self.client.begin_comment(change.id, 1, "why?")
        found = (await self.client.changes(self.session.id)).items
        # rows of one moment come in any order: the file that the checkout has changed too is the one
        one, two = (next(change for change in found if change.file_path == name) for name in ("README.md", "two.txt"))
        applied = await self.client.apply_change(one.id)
        await self.client.apply_change(two.id, target="branch")
        await self.client.revert_change(applied.id)
        with suppress(CoderError):
            await self.client.apply_changes(self.session.id)
        with suppress(CoderError):
            await self.client.reject_changes(self.session.id)

    async def back(self) -> None:
        points = await self.client.checkpoints(self.session.id)
        await self.client.checkpoint(points[-1].id)
        await self.client.restore_checkpoint(points[-1].id)


@asynccontextmanager
async def open_tour(folder: Path, database_url: str) -> AsyncGenerator[Tour]:
    async with (
        open_live_host(folder / "home", database_url, permission_timeout=1.0, **QUICK) as live,
        live.client() as client,
    ):
        repository = folder / "repository"
        if repository.exists():
            yield Tour(live, client, (await client.sessions()).items[-1], repository)
        else:
            make_repository(repository, {**FILES, ".coder/worktree.toml": SETUP, ".gitignore": "*.local\n"})
            (repository / "secret.local").write_text("mine")
            project = await client.register_project(str(repository))
            yield Tour(live, client, await client.open_session(project.id), repository)


async def travel(folder: Path, database_url: str, lay: Callable[[Ground], None], *, is_hostile: bool = True) -> int:
    """A session with changes, then what `lay` does, then the tour, and the tour's end by another host."""
    async with open_tour(folder, database_url) as tour:
        tour.is_hostile = is_hostile
        ground = Ground(folder / "repository", Path(tour.session.worktree_path or ""))
        await tour.turn(WORDS)
        commit_files(ground.repo, {"README.md": "# Sample\n\nA smaller project.\n", "theirs.txt": "theirs\n"})
        lay(ground)
        write_files(ground.worktree, {"by-hand.txt": "by hand\n"})
        done = await tour.go()
    async with open_tour(folder, database_url) as tour:
        for session in (await tour.client.sessions()).items:
            with suppress(CoderError):
                await tour.client.close_session(session.id)
            with suppress(CoderError):
                await tour.client.close_session(session.id, force=True, keep_branch=True)
    return done


@pytest.mark.scenario("worktrees: Hostile repositories go through the whole host")
@pytest.mark.parametrize("group", list(GROUPS))
async def test_no_trap_is_sprung_on_the_way_through_the_host(tmp_path: Path, database_url: str, group: str) -> None:
    trap = Trap(tmp_path / "trap")

    def lay(ground: Ground) -> None:
        for one in GROUPS[group]:
            one(ground, trap)
        trap.sprung.unlink(missing_ok=True)

    await travel(tmp_path, database_url, lay)
    assert not trap.sprung.exists(), trap.sprung.read_text()


@pytest.mark.scenario("worktrees: Hostile repositories go through the whole host")
async def test_the_way_through_the_host_passes_every_place_that_calls_git(tmp_path: Path, database_url: str) -> None:
    assert sum(len(group) for group in GROUPS.values()) == len(TRAPS) >= 20
    with watched() as entered:
        assert await travel(tmp_path, database_url, convert, is_hostile=False) >= 12
    left = {place for place in git_places() - entered - ELSEWHERE if place[0] != "parcels.py"}
    assert sorted(left) == []


def convert(ground: Ground) -> None:
    """Files that git keeps otherwise than they are on the disk: that takes a way of its own."""
    write_files(ground.worktree, {".gitattributes": "* text=auto\n", "crlf.txt": "one\r\n"})


ELSEWHERE = {
    ("doctor.py", "_git"),  # its version, in no repository
    ("listing.py", "find_files"),  # tests/worktrees/test_attacks.py, as the two below
    ("listing.py", "list_folder"),
    ("grounds.py", "find_ground"),
    ("submodules.py", "_check_out"),  # tests/e2e/test_setups.py
    ("worktree.py", "_has_changes"),  # tests/worktrees/test_attacks.py, as those below
    ("worktree.py", "prune"),
    ("worktree.py", "restore_worktree"),
    ("worktree.py", "_adopt"),
    ("hunks.py", "_body"),
    ("hunks.py", "_is_large"),
    ("conversion.py", "_checked_out"),  # on the way of the traps that define filters
    ("conversion.py", "_cleaned"),
    (
        "incoming.py",
        "_replayed",
    ),  # where a rebase finds something to do: tests/worktrees/test_branch.py, as those below
    ("incoming.py", "_tree_of"),
    ("incoming.py", "rebase_onto"),
    ("merge.py", "_shown"),
}
"""Not on this way, or not always; neither is what backups call, for which see tests/worktrees/test_parcels.py."""


@contextmanager
def watched() -> Generator[set[tuple[str, str]]]:
    """The functions of the host that are entered meanwhile."""
    entered: set[tuple[str, str]] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(str(CODER)):
            entered.add((Path(frame.f_code.co_filename).name, frame.f_code.co_name))

    sys.setprofile(note)
    try:
        yield entered
    finally:
        sys.setprofile(None)


def git_places() -> set[tuple[str, str]]:
    """Every function that calls git, by reading the code."""
    found: set[tuple[str, str]] = set()
    for file in CODER.rglob("*.py"):
        if "testing" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) and any(map(_calls_git, ast.walk(node))):
                found.add((file.name, node.name))
    return found


def _calls_git(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="run_git")) | ast.Call(func=ast.Attribute(attr="git")):
            return True
        case _:
            return False
