"""A session's private checkout: made from a project's repository on a branch of its own, removed, listed."""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio

from coder.errors import GitError, InvalidInput, UnsavedWork, UnusableRepository
from coder.worktrees.git import checked_ref, hold_folder, run_git, run_in_thread

_OBJECTS = re.compile(rb"(/[^\n]+)\n([0-9a-f]{40,64})\n([0-9a-f]{40,64})\n")


@dataclass(frozen=True)
class Repository:
    """A repository a session can be opened on. `default_branch` is None when its HEAD is detached."""

    path: Path
    default_branch: str | None
    head: str


@dataclass(frozen=True)
class AddedWorktree:
    """`commit` is what the worktree starts from, `tree` that commit's tree."""

    commit: str
    tree: str


@dataclass(frozen=True)
class ListedWorktree:
    """As git lists it; `branch` is None when detached, `is_prunable` says that its folder is gone."""

    path: Path
    head: str | None
    branch: str | None
    is_prunable: bool


async def inspect_repository(path: Path) -> Repository:
    """The repository that `path` is in.

    Raises:
        UnusableRepository: the message names why: not absolute, no folder, no repository, bare, without commits.
    """
    if not path.is_absolute():
        raise UnusableRepository(f"the path is not absolute: {path}", path=str(path))
    if not await anyio.Path(path).is_dir():
        raise UnusableRepository(f"not a directory: {path}", path=str(path))
    try:
        root = _text(await run_git("rev-parse", "--show-toplevel", cwd=path))
    except GitError as error:
        raise _unusable(path, str(error.fields.get("stderr") or error)) from error
    head = await _resolve(Path(root), "HEAD")
    if head is None:
        raise UnusableRepository(f"the repository has no commits yet: {root}", path=root)
    branch = _text(await run_git("symbolic-ref", "--quiet", "--short", "HEAD", cwd=Path(root), accepted=(0, 1)))
    return Repository(Path(root), branch or None, head)


async def add_worktree(repo: Path, path: Path, branch: str, base_ref: str | None) -> AddedWorktree:
    """Check out `base_ref`, or the repository's HEAD, into `path` on the new `branch`; no hook and no filter of the
    repository's own runs. Leaves nothing behind when it fails.

    Raises:
        InvalidInput: `base_ref` names no commit. GitError: the branch or the folder exists, the disk is full, ….
    """
    checked_ref(branch)
    common, commit, tree = await _starting_point(repo, checked_ref(base_ref or "HEAD"))
    async with hold_folder(common):
        if await _resolve(repo, f"refs/heads/{branch}") is not None:
            raise GitError(f"branch {branch} already exists", branch=branch)
        is_done = False
        try:
            await _add(repo, path, "--no-track", "-b", branch, os.fspath(path), commit)
            is_done = True
        finally:
            if not is_done:
                with anyio.CancelScope(shield=True):
                    await _drop(repo, path, branch)
    return AddedWorktree(commit, tree)


async def remove_worktree(repo: Path, path: Path, branch: str, *, force: bool, keep_branch: bool = False) -> None:
    """Delete the worktree and, unless it is kept, its branch; what is gone already is no error.

    Raises:
        UnsavedWork: it holds work that nobody has saved, and `force` is False.
    """
    if not force and await has_unsaved_work(repo, path, branch, keep_branch=keep_branch):
        raise UnsavedWork("the worktree holds uncommitted changes or commits that are on no other branch")
    async with hold_folder(await _common_folder(repo)):
        await _drop(repo, path, branch, keep_branch=keep_branch)


async def list_worktrees(repo: Path) -> list[ListedWorktree]:
    """All worktrees of the repository, the main one first."""
    output = await run_git("worktree", "list", "--porcelain", "-z", cwd=repo)
    return [_listed(entry) for entry in output.decode(errors="surrogateescape").split("\0\0") if entry]


async def prune(repo: Path) -> None:
    """Forget worktrees whose folders are gone."""
    async with hold_folder(await _common_folder(repo)):
        await run_git("worktree", "prune", cwd=repo)


def is_worktree(path: Path) -> bool:
    """Whether the folder is there and belongs to a repository. Blocks."""
    return path.is_dir() and os.path.lexists(path / ".git")


async def restore_worktree(repo: Path, path: Path, branch: str) -> None:
    """Check `branch` out into `path` again after the folder was lost; what was not committed is gone.

    Somebody may have written on there and made a plain folder: what is in it stays as it is.

    Raises:
        GitError: the branch is gone as well, or something else is at `path`.
    """
    async with hold_folder(await _common_folder(repo)):
        await run_git("worktree", "prune", cwd=repo)
        if await anyio.Path(path).is_dir():
            await _adopt(repo, path, checked_ref(branch))
        else:
            await _add(repo, path, "--force", os.fspath(path), checked_ref(branch))


async def has_unsaved_work(repo: Path, path: Path, branch: str, *, keep_branch: bool = False) -> bool:
    """Whether the worktree differs from its HEAD, or `has_unsaved_commits`."""
    if await anyio.Path(path).is_dir() and await _has_changes(path):
        return True
    return await has_unsaved_commits(repo, path, branch, keep_branch=keep_branch)


async def has_unsaved_commits(repo: Path, path: Path, branch: str, *, keep_branch: bool = False) -> bool:
    """Whether the branch or the worktree's HEAD has commits that no other branch, tag or remote branch has.

    What is on a branch that is kept is saved.
    """
    heads = set[str | None]() if keep_branch else {await _resolve(repo, f"refs/heads/{branch}")}
    if await anyio.Path(path).is_dir():
        heads.add(await _resolve(path, "HEAD"))
    commits = sorted(head for head in heads if head is not None)
    if not commits:
        return False
    others = ("--not", *(() if keep_branch else (f"--exclude={branch}",)), "--branches", "--tags", "--remotes")
    return bool(await run_git("rev-list", "--max-count=1", *commits, *others, cwd=repo))


async def _has_changes(path: Path) -> bool:
    arguments = ("status", "--porcelain", "-z", "--untracked-files=normal", "--ignore-submodules=all", "--no-renames")
    return bool(await run_git(*arguments, cwd=path, config=await without_filters(path)))


async def _add(repo: Path, path: Path, *args: str) -> None:
    await run_in_thread(lambda: path.parent.mkdir(parents=True, exist_ok=True))
    await run_git("worktree", "add", "--quiet", *args, cwd=repo, config=await without_filters(repo))


async def _adopt(repo: Path, path: Path, branch: str) -> None:
    """Make a plain folder the worktree of `branch`: files of the branch that are missing in it come back."""
    beside = path.parent / f".{path.name}"
    if await anyio.Path(path).is_symlink():
        raise GitError(f"a link is in the place of the worktree: {path}")
    await run_in_thread(lambda: shutil.rmtree(beside, ignore_errors=True))
    try:
        # git makes worktrees in empty folders only; it is told afterwards where this one really is
        await _add(repo, beside / path.name, "--force", "--no-checkout", os.fspath(beside / path.name), branch)
        await run_in_thread(lambda: (beside / path.name / ".git").replace(path / ".git"))
        await run_git("worktree", "repair", os.fspath(path), cwd=repo)
    except OSError as error:
        raise GitError(f"the folder cannot be made a worktree again: {error.strerror}") from error
    finally:
        await run_in_thread(lambda: shutil.rmtree(beside, ignore_errors=True))
    await run_git("read-tree", "HEAD", cwd=path)
    # it names the files that are there already and leaves them alone
    config = await without_filters(path)
    await run_git("checkout-index", "--all", "--quiet", cwd=path, config=config, accepted=(0, 1, 128))


async def _drop(repo: Path, path: Path, branch: str, *, keep_branch: bool = False) -> None:
    listed = {each.path for each in await list_worktrees(repo)}
    real = await run_in_thread(lambda: Path(os.path.realpath(path)))
    if {path, real} & listed:
        # twice: a locked worktree goes as well
        await run_git("worktree", "remove", "--force", "--force", os.fspath(path), cwd=repo, accepted=(0, 128))
    await run_git("worktree", "prune", cwd=repo)
    if not keep_branch and await _resolve(repo, f"refs/heads/{branch}") is not None:
        await run_git("branch", "--quiet", "-D", "--end-of-options", branch, cwd=repo)


async def without_filters(path: Path, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Settings that switch off the filter drivers that the repository itself defines; the user's own stay as they are.

    Anyone who can write to the worktree can write to the repository's configuration, and a filter is a command. `env`
    is that of the command which they are for: it decides which configuration counts.
    """
    question = ("config", "--null", "--show-scope", "--includes", "--get-regexp", r"^filter\..*\.")
    output = await run_git(*question, cwd=path, env=env, accepted=(0, 1))
    fields = output.decode(errors="replace").split("\0")
    entries = [(scope, *_key_and_value(entry)) for scope, entry in zip(fields[::2], fields[1::2], strict=False)]
    trusted = {key: value for scope, key, value in entries if scope in ("system", "global")}
    names = {key.rpartition(".")[0] for scope, key, _ in entries if scope not in ("system", "global", "command")}
    keys = {f"{name}.{part}" for name in names for part in ("clean", "smudge", "process", "required")}
    return {key: trusted.get(key, "false" if key.endswith(".required") else "") for key in sorted(keys)}


def _key_and_value(entry: str) -> tuple[str, str]:
    key, _, value = entry.partition("\n")
    return key, value


async def find_commit(repo: Path, ref: str | None) -> str | None:
    """The commit that a ref names, HEAD where none is given; None where it names none."""
    return await _resolve(repo, checked_ref(ref or "HEAD"))


async def _resolve(path: Path, ref: str) -> str | None:
    arguments = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    return _text(await run_git(*arguments, cwd=path, accepted=(0, 1, 128))) or None


async def _starting_point(repo: Path, ref: str) -> tuple[Path, str, str]:
    """The repository's own folder, the commit that `ref` names and its tree. Raises InvalidInput: it names none."""
    question = ("rev-parse", "--path-format=absolute", "--git-common-dir", f"{ref}^{{commit}}", f"{ref}^{{tree}}")
    found = _OBJECTS.fullmatch(await run_git(*question, cwd=repo, accepted=(0, 128)))
    if found is None:
        raise InvalidInput(f"no such commit: {ref}", ref=ref)
    return Path(_text(found[1])), found[2].decode(), found[3].decode()


async def _common_folder(repo: Path) -> Path:
    return Path(_text(await run_git("rev-parse", "--path-format=absolute", "--git-common-dir", cwd=repo)))


def _unusable(path: Path, stderr: str) -> UnusableRepository:
    if "bare repository" in stderr or "must be run in a work tree" in stderr:
        words = f"a bare repository has no working tree: {path}"
    elif "not a git repository" in stderr:
        words = f"not a git repository: {path}"
    else:
        words = f"git cannot use this repository: {re.sub(r'^fatal: ', '', stderr)}"
    return UnusableRepository(words, path=str(path), stderr=stderr)


def _listed(entry: str) -> ListedWorktree:
    lines = [line.partition(" ") for line in entry.strip("\0").split("\0")]
    fields = {key: value for key, _, value in lines}
    return ListedWorktree(
        path=Path(fields["worktree"]),
        head=fields.get("HEAD"),
        branch=fields["branch"].removeprefix("refs/heads/") if "branch" in fields else None,
        is_prunable="prunable" in fields,
    )


def _text(output: bytes) -> str:
    return output.decode(errors="surrogateescape").strip("\n")
