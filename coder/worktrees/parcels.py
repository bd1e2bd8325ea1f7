"""A session's work as files that can be taken elsewhere: what its repository would not have there.

Objects go as packs. What is in commits that the repository keeps without the session is not taken along: the parcel
says which commits these are.
"""

import os
import shutil
from collections.abc import Collection
from pathlib import Path

from coder.errors import Conflict, GitError
from coder.model.backups import Parcel
from coder.worktrees.branch import find_commit
from coder.worktrees.git import run_git, run_in_thread
from coder.worktrees.shadow import Shadow, create_shadow
from coder.worktrees.tree import take_snapshot
from coder.worktrees.worktree import list_worktrees, restore_worktree

OBJECTS, BRANCH, SUBMODULES = "objects.pack", "branch.pack", "submodules"


async def pack(shadow: Shadow, branch: str, names: Collection[str], folder: Path, *, tree: str | None = None) -> Parcel:
    """Write into `folder` what the session has of its own: its files as they are, or `tree`, its branch, the objects
    called `names` and those of the shadow's refs. The worktree, the branch and the host's index stay as they are.

    Raises:
        GitError: something cannot be read.
    """
    taken = None if tree else await take_snapshot(shadow)
    content = tree or (taken.tree if taken else "")
    refs = dict(line.split(" ") for line in await _lines(shadow, "for-each-ref", "--format=%(refname) %(objectname)"))
    tip = await find_commit(shadow, f"refs/heads/{branch}")
    needs = await _needs(shadow.repo, tip) if tip else ()
    known = [f"^{commit}" for commit in needs]
    roots = await _present(shadow, {*names, *refs.values(), content})
    await _write_pack(shadow, [*roots, *known], folder / OBJECTS)
    if tip is not None and tip not in needs:
        await _write_pack(shadow, [tip, *known], folder / BRANCH)
    if (shadow.git_dir / SUBMODULES).exists():
        await run_in_thread(lambda: shutil.copyfile(shadow.git_dir / SUBMODULES, folder / SUBMODULES))
    left_out = tuple(f"{each.path} ({each.reason})" for each in taken.left_out) if taken else ()
    return Parcel(tree=content, tip=tip, needs=needs, refs=refs, left_out=left_out)


async def missing(repo: Path, branch: str, parcel: Parcel) -> list[str]:
    """Why the parcel does not fit into a repository, in words; empty when it does."""
    faults = [f"commit {commit} is not there" for commit in parcel.needs if not await _has_commit(repo, commit)]
    if await _stand(repo, branch) not in (None, parcel.tip):
        faults.append(f"the branch {branch} is there and stands elsewhere")
    for each in await list_worktrees(repo):
        if each.branch == branch and not each.is_prunable:
            faults.append(f"the branch {branch} is checked out in {each.path}")
    return faults


async def has_branch(repo: Path, branch: str) -> bool:
    """Whether the repository has a branch of that name."""
    return await _stand(repo, branch) is not None


async def unpack(shadow: Shadow, branch: str, parcel: Parcel, folder: Path) -> None:
    """Make worktree, branch and shadow of a session from what `pack` wrote.

    Raises:
        Conflict: `branch_missing`, there is nothing to make a worktree from. GitError: it does not fit (`missing`).
    """
    if parcel.tip is None:
        raise Conflict(f"the backup has no branch {branch}", code="branch_missing", branch=branch)
    await _take_pack(folder / BRANCH, shadow.repo, {})
    await run_git("update-ref", f"refs/heads/{branch}", parcel.tip, cwd=shadow.repo)
    await restore_worktree(shadow.repo, shadow.worktree, branch)
    await create_shadow(shadow)
    await _take_pack(folder / OBJECTS, shadow.git_dir, {"GIT_DIR": os.fspath(shadow.git_dir)})
    for name, object in parcel.refs.items():
        await shadow.git("update-ref", name, object)
    if (folder / SUBMODULES).exists():
        await run_in_thread(lambda: shutil.copyfile(folder / SUBMODULES, shadow.git_dir / SUBMODULES))
    # the folder holds the branch's commit: knowing that, git removes what the other tree lacks
    await take_snapshot(shadow)
    await shadow.git("read-tree", "--reset", "-u", parcel.tree)


async def _needs(repo: Path, tip: str) -> tuple[str, ...]:
    """The newest commits on the way from `tip` that other branches, tags or remote branches have."""
    others = ("--not", "--exclude=coder/*", "--branches", "--tags", "--remotes")
    listed = (await run_git("rev-list", "--boundary", tip, *others, cwd=repo)).decode().split()
    own = [line for line in listed if not line.startswith("-")]
    return tuple(line[1:] for line in listed if line.startswith("-")) if own else (tip,)


async def _present(shadow: Shadow, names: Collection[str]) -> list[str]:
    """Those of the names that are trees or files here; a decided change may be older than what is kept of it."""
    asked = "".join(f"{name}\n" for name in sorted(names)).encode()
    answer = (await shadow.git("cat-file", "--batch-check", input=asked)).decode().splitlines()
    words = [line.split(" ") for line in answer]
    return [word[0] for word in words if word[1] in ("tree", "blob")]


async def _write_pack(shadow: Shadow, revisions: Collection[str], path: Path) -> None:
    wanted = "".join(f"{revision}\n" for revision in revisions).encode()
    base = path.with_suffix("")
    name = (await shadow.git("pack-objects", "--revs", "--quiet", os.fspath(base), input=wanted)).decode().strip()

    def keep_pack() -> None:
        for made in list(base.parent.glob(f"{base.name}-{name}.*")):
            made.replace(path) if made.suffix == ".pack" else made.unlink()

    await run_in_thread(keep_pack)


async def _take_pack(path: Path, cwd: Path, env: dict[str, str]) -> None:
    if await run_in_thread(path.exists):
        content = await run_in_thread(path.read_bytes)
        await run_git("index-pack", "--stdin", cwd=cwd, env=env, input=content)


async def _stand(repo: Path, branch: str) -> str | None:
    question = ("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}")
    return (await run_git(*question, cwd=repo, accepted=(0, 1))).decode().strip() or None


async def _has_commit(repo: Path, commit: str) -> bool:
    try:
        await run_git("cat-file", "-e", f"{commit}^{{commit}}", cwd=repo)
    except GitError:
        return False
    return True


async def _lines(shadow: Shadow, *args: str) -> list[str]:
    return (await shadow.git(*args)).decode().splitlines()
