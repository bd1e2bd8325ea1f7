"""What somebody has put into the worktree or the repository's configuration never runs when the host calls git."""

from collections.abc import Callable
from pathlib import Path

import pytest

from coder.errors import CoderError, GitError
from coder.testing.repositories import FILES, commit_files, git, make_repository, write_files
from coder.worktrees import tree
from coder.worktrees.git import checked_ref, run_git
from coder.worktrees.hunks import text_diff
from coder.worktrees.worktree import (
    add_worktree,
    has_unsaved_work,
    inspect_repository,
    list_worktrees,
    prune,
    remove_worktree,
    restore_worktree,
)
from tests.worktrees.room import BRANCH, Room, open_room


class Trap:
    """A program that leaves a file behind when it runs."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.sprung = folder / "sprung"
        self.program = folder / "trap"
        self.program.write_text(f'#!/bin/sh\necho "$0 $*" >> {self.sprung}\ncat 2>/dev/null\nexit 0\n')
        self.program.chmod(0o755)


def filters(room: Room, trap: Trap) -> None:
    for name in ("clean", "smudge"):
        git(room.worktree, "config", f"filter.evil.{name}", str(trap.program))
    write_files(room.worktree, {".gitattributes": "* filter=evil\n"})


def filter_process(room: Room, trap: Trap) -> None:
    git(room.worktree, "config", "filter.evil.process", str(trap.program))
    git(room.worktree, "config", "filter.evil.required", "true")
    write_files(room.worktree, {".gitattributes": "* filter=evil\n"})


def filters_by_include(room: Room, trap: Trap) -> None:
    write_files(room.repo, {".git/more": f'[filter "evil"]\n\tclean = {trap.program}\n\tsmudge = {trap.program}\n'})
    git(room.worktree, "config", "include.path", "more")
    write_files(room.worktree, {".gitattributes": "* filter=evil\n"})


def diff_drivers(room: Room, trap: Trap) -> None:
    for key in ("diff.evil.command", "diff.evil.textconv", "diff.external", "merge.evil.driver"):
        git(room.worktree, "config", key, str(trap.program))
    write_files(room.worktree, {".gitattributes": "* diff=evil merge=evil\n"})


def fsmonitor(room: Room, trap: Trap) -> None:
    git(room.worktree, "config", "core.fsmonitor", str(trap.program))


def hooks(room: Room, trap: Trap) -> None:
    for name in ("post-checkout", "post-index-change", "reference-transaction", "pre-auto-gc", "post-commit"):
        (room.repo / ".git" / "hooks").mkdir(exist_ok=True)
        (room.repo / ".git" / "hooks" / name).symlink_to(trap.program)
    git(room.worktree, "config", "core.hooksPath", str(room.repo / ".git" / "hooks"))


def programs(room: Room, trap: Trap) -> None:
    for key in ("core.pager", "core.editor", "core.sshCommand", "core.askPass", "gpg.program", "pager.diff"):
        git(room.worktree, "config", key, str(trap.program))
    git(room.worktree, "config", "commit.gpgSign", "true")
    git(room.worktree, "config", "alias.status", f"!{trap.program}")


def nested_repository(room: Room, trap: Trap) -> None:
    nested = make_repository(room.worktree / "nested", {**FILES, ".gitattributes": "* filter=evil\n"})
    for key in ("filter.evil.clean", "filter.evil.smudge", "core.fsmonitor"):
        git(nested, "config", key, str(trap.program))
    (nested / "README.md").write_text("changed\n")


def nested_bare_repository(room: Room, trap: Trap) -> None:
    git(room.worktree, "init", "--quiet", "--bare", "src/bare")
    git(room.worktree / "src" / "bare", "config", "core.fsmonitor", str(trap.program))


def worktree_configuration(room: Room, trap: Trap) -> None:
    git(room.worktree, "config", "extensions.worktreeConfig", "true")
    for key in ("filter.evil.clean", "filter.evil.smudge", "core.fsmonitor"):
        git(room.worktree, "config", "--worktree", key, str(trap.program))
    write_files(room.worktree, {".gitattributes": "* filter=evil\n"})


def swapped_git_file(room: Room, trap: Trap) -> None:
    other = make_repository(room.worktree.parent / "other")
    for key in ("filter.evil.clean", "filter.evil.smudge", "core.fsmonitor", "core.pager"):
        git(other, "config", key, str(trap.program))
    (room.worktree / ".git").write_text(f"gitdir: {other / '.git'}\n")
    write_files(room.worktree, {".gitattributes": "* filter=evil\n"})


def partial_clone(room: Room, trap: Trap) -> None:
    for key, value in {
        "remote.origin.url": f"ext::{trap.program}",
        "remote.origin.promisor": "true",
        "remote.origin.uploadpack": str(trap.program),
        "extensions.partialClone": "origin",
        "protocol.ext.allow": "always",
        "protocol.allow": "always",
    }.items():
        git(room.worktree, "config", key, value)


@pytest.mark.scenario("worktrees: Traps in the worktree and the repository")
@pytest.mark.parametrize(
    "lay",
    [
        filters,
        filter_process,
        filters_by_include,
        diff_drivers,
        fsmonitor,
        hooks,
        programs,
        nested_repository,
        nested_bare_repository,
        worktree_configuration,
        swapped_git_file,
        partial_clone,
    ],
    ids=lambda lay: lay.__name__,
)
async def test_no_trap_is_sprung_by_any_call_of_the_host(tmp_path: Path, lay: Callable[[Room, Trap], None]) -> None:
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
    await inspect_repository(room.worktree / "src")
    await list_worktrees(room.repo)
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
