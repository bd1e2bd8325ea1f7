"""Worktrees of a project's repository: which repositories serve, how they are made and removed."""

import shutil
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from coder.errors import GitError, InvalidInput, UnsavedWork, UnusableRepository
from coder.testing.repositories import commit_files, git, make_repository, write_files
from coder.worktrees.worktree import (
    add_worktree,
    has_unsaved_commits,
    has_unsaved_work,
    inspect_repository,
    list_worktrees,
    prune,
    remove_worktree,
    restore_worktree,
)

BRANCH = "coder/0123456789"


@pytest.mark.scenario("worktrees: A usable repository")
async def test_a_repository_is_found_from_any_folder_in_it(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo", branch="trunk")

    found = await inspect_repository(repo / "src")

    assert (found.path, found.default_branch) == (repo, "trunk")
    assert found.head == git(repo, "rev-parse", "HEAD")


async def test_a_repository_with_a_detached_head_works(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    git(repo, "checkout", "--quiet", "--detach")

    assert (await inspect_repository(repo)).default_branch is None
    await add_worktree(repo, tmp_path / "wt", BRANCH, None)
    assert (tmp_path / "wt" / "README.md").exists()


def make_bare(path: Path) -> Path:
    path.mkdir()
    git(path, "init", "--quiet", "--bare")
    return path


def make_plain_folder(path: Path) -> Path:
    path.mkdir()
    return path


def make_file(path: Path) -> Path:
    path.write_text("x")
    return path


def make_broken(path: Path) -> Path:
    make_repository(path)
    (path / ".git" / "HEAD").write_text("nonsense")
    return path


def make_relative(path: Path) -> Path:
    return Path("relative") / path.name


def make_nothing(path: Path) -> Path:
    return path


def make_bare_inside(path: Path) -> Path:
    return make_bare(path) / "objects"


def make_git_folder(path: Path) -> Path:
    return make_repository(path) / ".git"


def make_empty(path: Path) -> Path:
    return make_repository(path, {})


@pytest.mark.scenario("worktrees: An unusable repository")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (make_relative, "not absolute"),
        (make_nothing, "not a directory"),
        (make_file, "not a directory"),
        (make_plain_folder, "not a git repository"),
        (make_broken, "not a git repository"),
        (make_bare, "bare repository"),
        (make_bare_inside, "bare repository"),
        (make_git_folder, "bare repository"),
        (make_empty, "no commits yet"),
    ],
)
async def test_an_unusable_repository_is_refused_by_name(
    tmp_path: Path, make: Callable[[Path], Path], words: str
) -> None:
    with pytest.raises(UnusableRepository, match=words):
        await inspect_repository(make(tmp_path / "place"))


@pytest.mark.scenario("worktrees: A new worktree")
async def test_a_worktree_is_made_on_its_own_branch(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    first = git(repo, "rev-parse", "HEAD")
    commit_files(repo, {"later.txt": "later\n"})

    added = await add_worktree(repo, tmp_path / "deep" / "wt", BRANCH, first)

    assert added.commit == first
    assert added.tree == git(repo, "rev-parse", f"{first}^{{tree}}")
    assert git(tmp_path / "deep" / "wt", "symbolic-ref", "--short", "HEAD") == BRANCH
    assert not (tmp_path / "deep" / "wt" / "later.txt").exists()
    assert [each.branch for each in await list_worktrees(repo)] == ["main", BRANCH]


@pytest.mark.scenario("worktrees: A base that cannot be used")
@pytest.mark.parametrize("ref", ["nothing", "--output=owned", "-h", "HEAD\n", "", "a..b", "HEAD^{tree}", "\ud800"])
async def test_a_base_that_is_no_commit_is_refused_and_nothing_is_left(tmp_path: Path, ref: str) -> None:
    repo = make_repository(tmp_path / "repo")
    if not ref:
        assert (await add_worktree(repo, tmp_path / "wt", BRANCH, ref)).commit == git(repo, "rev-parse", "HEAD")
        return

    with pytest.raises(InvalidInput):
        await add_worktree(repo, tmp_path / "wt", BRANCH, ref)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["repo"]
    assert git(repo, "branch", "--format=%(refname:short)") == "main"


async def test_a_failed_worktree_leaves_neither_branch_nor_entry(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    write_files(tmp_path, {"wt/occupied": "x"})

    with pytest.raises(GitError):
        await add_worktree(repo, tmp_path / "wt", BRANCH, None)

    assert git(repo, "branch", "--format=%(refname:short)") == "main"
    assert len(await list_worktrees(repo)) == 1
    assert (tmp_path / "wt" / "occupied").read_text() == "x"


async def test_a_branch_that_exists_is_not_taken_over(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    git(repo, "branch", BRANCH)

    with pytest.raises(GitError, match="already exists"):
        await add_worktree(repo, tmp_path / "wt", BRANCH, None)

    assert BRANCH in git(repo, "branch", "--format=%(refname:short)")


@pytest.mark.scenario("worktrees: Many at the same time")
async def test_worktrees_are_made_and_removed_at_the_same_time(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")

    async def come_and_go(number: int) -> None:
        path, branch = tmp_path / f"wt{number}", f"coder/{number}"
        await add_worktree(repo, path, branch, None)
        if number % 2:
            await remove_worktree(repo, path, branch, force=False)

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(come_and_go, number)

    assert {each.branch for each in await list_worktrees(repo)} == {"main", *(f"coder/{n}" for n in (0, 2, 4, 6))}


def leave_a_file(worktree: Path) -> None:
    write_files(worktree, {"new.txt": "x"})


def leave_an_edit(worktree: Path) -> None:
    write_files(worktree, {"README.md": "x"})


def leave_a_commit(worktree: Path) -> None:
    commit_files(worktree, {"new.txt": "x"})


def leave_a_detached_commit(worktree: Path) -> None:
    git(worktree, "checkout", "--quiet", "--detach")
    commit_files(worktree, {"new.txt": "x"})


def leave_a_nested_repository(worktree: Path) -> None:
    make_repository(worktree / "nested")


@pytest.mark.scenario("worktrees: Unsaved work")
@pytest.mark.parametrize(
    "leave", [leave_a_file, leave_an_edit, leave_a_commit, leave_a_detached_commit, leave_a_nested_repository]
)
async def test_unsaved_work_is_not_deleted_without_force(tmp_path: Path, leave: Callable[[Path], None]) -> None:
    repo = make_repository(tmp_path / "repo")
    await add_worktree(repo, tmp_path / "wt", BRANCH, None)
    assert not await has_unsaved_work(repo, tmp_path / "wt", BRANCH)
    leave(tmp_path / "wt")

    with pytest.raises(UnsavedWork):
        await remove_worktree(repo, tmp_path / "wt", BRANCH, force=False)
    assert (tmp_path / "wt").is_dir()

    await remove_worktree(repo, tmp_path / "wt", BRANCH, force=True)
    assert not (tmp_path / "wt").exists()
    assert git(repo, "branch", "--format=%(refname:short)") == "main"


async def test_commits_that_another_branch_has_are_saved(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    await add_worktree(repo, tmp_path / "wt", BRANCH, None)
    commit_files(tmp_path / "wt", {"new.txt": "x"})
    assert await has_unsaved_commits(repo, tmp_path / "wt", BRANCH)
    git(repo, "merge", "--quiet", BRANCH)

    assert not await has_unsaved_commits(repo, tmp_path / "wt", BRANCH)
    await remove_worktree(repo, tmp_path / "wt", BRANCH, force=False)
    await remove_worktree(repo, tmp_path / "wt", BRANCH, force=False)


@pytest.mark.scenario("worktrees: A worktree's folder is lost")
async def test_a_lost_folder_is_listed_made_again_or_forgotten(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    for name in ("one", "two"):
        await add_worktree(repo, tmp_path / name, f"coder/{name}", None)
    commit_files(tmp_path / "one", {"kept.txt": "x"})
    shutil.rmtree(tmp_path / "one")
    shutil.rmtree(tmp_path / "two")
    assert [each.is_prunable for each in await list_worktrees(repo)] == [False, True, True]

    await restore_worktree(repo, tmp_path / "one", "coder/one")
    assert (tmp_path / "one" / "kept.txt").exists()
    await prune(repo)
    await remove_worktree(repo, tmp_path / "two", "coder/two", force=False)

    assert [each.branch for each in await list_worktrees(repo)] == ["main", "coder/one"]
