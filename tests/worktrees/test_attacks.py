"""What somebody has put into the worktree or the repository's configuration never runs when the host calls git."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from coder.errors import CoderError, GitError, UnusableRepository
from coder.testing.repositories import FILES, commit_files, git, make_repository, write_files
from coder.worktrees import tree
from coder.worktrees.git import checked_ref, run_git
from coder.worktrees.grounds import find_ground
from coder.worktrees.hunks import text_diff
from coder.worktrees.listing import find_files, list_folder
from coder.worktrees.worktree import (
    add_worktree,
    has_unsaved_work,
    inspect_repository,
    list_worktrees,
    prune,
    remove_worktree,
    restore_worktree,
)
from tests.worktrees.room import BRANCH, open_room
from tests.worktrees.traps import TRAPS, Place, Trap


@pytest.mark.scenario("worktrees: Traps in the worktree and the repository")
@pytest.mark.parametrize("lay", TRAPS, ids=lambda lay: lay.__name__)
async def test_no_trap_is_sprung_by_any_call_of_the_host(tmp_path: Path, lay: Callable[[Place, Trap], None]) -> None:
    room, trap = await open_room(tmp_path, dict(FILES)), Trap(tmp_path / "trap")
    lay(room, trap)
    write_files(room.worktree, {"README.md": "agent\n\nA small project.\n", "new.txt": "new\n"})
    write_files(room.repo, {"README.md": "# Sample\n\nA small project.\nperson\n"})
    trap.sprung.unlink(missing_ok=True)

    await room.differences()
    found = await room.differences()
    for difference in found:
        await text_diff(room.shadow, difference)
    ours = [each for each in found if each.file_path in ("README.md", "new.txt")]
    assert len(ours) == 2
    await room.apply(ours)
    await room.revert(ours)
    await room.reject(ours)
    await inspect_repository(room.repo)
    with suppress(UnusableRepository):
        await inspect_repository(room.worktree / "src")
    await list_worktrees(room.repo)
    await find_ground(room.repo, room.worktree, BRANCH)
    await list_folder(room.shadow, "", 100)
    await find_files(room.shadow, "read", 10)
    await add_worktree(room.repo, tmp_path / "second", "coder/second", None)
    await has_unsaved_work(room.repo, room.worktree, BRANCH)
    await has_unsaved_work(room.repo, tmp_path / "second", "coder/second")
    await remove_worktree(room.repo, tmp_path / "second", "coder/second", force=True)
    await prune(room.repo)
    await tree.open_shadow(tmp_path / "other.git", room.repo, room.worktree, room.base)
    assert not trap.sprung.exists(), trap.sprung.read_text()


async def test_a_trap_in_a_commit_is_not_sprung_when_a_worktree_is_made_from_it(tmp_path: Path) -> None:
    room, trap = await open_room(tmp_path, dict(FILES)), Trap(tmp_path / "trap")
    commit_files(room.worktree, {".gitattributes": "* filter=evil\n"})
    for name in ("clean", "smudge", "process"):
        git(room.repo, "config", f"filter.evil.{name}", str(trap.program))

    await add_worktree(room.repo, tmp_path / "second", "coder/second", BRANCH)
    await remove_worktree(room.repo, tmp_path / "second", "coder/second", force=False)
    git(room.repo, "branch", "coder/third", BRANCH)
    await restore_worktree(room.repo, tmp_path / "third", "coder/third")

    (tmp_path / "third" / ".git").unlink()
    (tmp_path / "third" / "README.md").unlink()
    await restore_worktree(room.repo, tmp_path / "third", "coder/third")

    assert (tmp_path / "third" / "README.md").exists()
    assert not trap.sprung.exists()


@pytest.mark.scenario("worktrees: Git variables in the host's environment")
async def test_git_variables_of_the_hosts_environment_are_not_handed_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = make_repository(tmp_path / "repo")
    other = make_repository(tmp_path / "other", {"other.txt": "x"})
    trap = Trap(tmp_path / "trap")
    for name, value in {
        "GIT_DIR": str(other / ".git"),
        "GIT_INDEX_FILE": str(tmp_path / "index"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.fsmonitor",
        "GIT_CONFIG_VALUE_0": str(trap.program),
        "GIT_EXTERNAL_DIFF": str(trap.program),
        "GIT_OBJECT_DIRECTORY": str(tmp_path / "objects"),
    }.items():
        monkeypatch.setenv(name, value)

    assert (await inspect_repository(repo)).path == repo
    assert (await run_git("ls-files", cwd=repo)).split() == [b"README.md", b"data/logo.bin", b"src/hello.py"]
    assert not trap.sprung.exists()


async def test_a_failing_command_says_why(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")

    with pytest.raises(GitError, match="git rev-parse failed: fatal: ") as caught:
        await run_git("rev-parse", "--verify", "nothing", cwd=repo)
    with pytest.raises(GitError):
        await run_git("rev-parse", cwd=tmp_path / "missing")

    assert caught.value.fields["status"] == 128


async def test_a_command_that_hangs_is_killed_at_its_deadline(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")

    with pytest.raises(CoderError):
        await run_git("-c", "alias.hang=!sleep 600", "hang", cwd=repo, timeout=0.3)


@pytest.mark.parametrize("ref", ["", "-x", "--output=x", "a\nb", "a\0b", "\x7f"])
def test_a_reference_that_could_be_an_option_is_refused(ref: str) -> None:
    with pytest.raises(CoderError):
        checked_ref(ref)
