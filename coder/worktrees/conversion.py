"""Between what a commit holds and what lies on the disk: line ends, `$Id$` and the user's own filters.

The shadow's trees are *raw*: byte for byte what is on the disk, without submodules. A commit's tree is not. Where the
repository converts nothing the two are the same but for the submodules.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from coder.errors import Conflict
from coder.model.changes import FileDifference
from coder.worktrees.git import run_git, run_in_thread
from coder.worktrees.moves import Move, Side, replace_in_tree
from coder.worktrees.shadow import Shadow, has_conversion
from coder.worktrees.worktree import without_filters

_NO_WARNING = {"core.safecrlf": "false"}


async def raw_tree(shadow: Shadow, commit: str) -> str:
    """The tree of a fresh checkout of `commit`, as a snapshot would take it.

    It is kept: attributes and settings that come later do not make files differ that nobody has touched.
    """
    found = await shadow.git("rev-parse", "--verify", "--quiet", _kept(commit), accepted=(0, 1))
    if found:
        return found.decode().strip()
    if await has_conversion(shadow):
        raw = await _checked_out(shadow, commit)
    else:
        raw = await _without_submodules(shadow, f"{commit}^{{tree}}")
    await keep_raw(shadow, commit, raw)
    return raw


async def keep_raw(shadow: Shadow, commit: str, raw: str) -> None:
    """Remember what the files of a commit are on the disk."""
    await shadow.git("update-ref", _kept(commit), raw)


async def committed_tree(shadow: Shadow, commit: str, raw: str, differences: Sequence[FileDifference]) -> str:
    """The tree of `commit` with files of a raw tree put in, as git would store them.

    `differences` lead from the raw tree of `commit` to `raw`.
    """
    tree = (await shadow.git("rev-parse", "--verify", f"{commit}^{{tree}}")).decode().strip()
    wanted: dict[str, Side | None] = {}
    for move in map(Move.forward, differences):
        if move.vacated is not None:
            wanted.setdefault(move.vacated, None)
        if move.after is not None:
            wanted[move.after.path] = move.after
    if await has_conversion(shadow):
        wanted |= await _cleaned(shadow, commit, [side for side in wanted.values() if side])
    return await replace_in_tree(shadow, tree, wanted)


async def git_folder(shadow: Shadow) -> Path:
    """Where the repository keeps what it knows of the worktree, whatever the worktree's own `.git` says.

    Raises:
        Conflict: `worktree_gone`, the repository knows of no worktree there.
    """
    question = ("rev-parse", "--path-format=absolute", "--git-common-dir")
    common = Path(os.fsdecode((await run_git(*question, cwd=shadow.repo)).rstrip(b"\n")))

    def search() -> Path | None:
        wanted = os.path.realpath(shadow.worktree / ".git")
        for pointer in common.glob("worktrees/*/gitdir"):
            if os.path.realpath(os.fsdecode(pointer.read_bytes().rstrip(b"\n"))) == wanted:
                return pointer.parent
        return None

    if not await run_in_thread(shadow.worktree.is_dir) or (found := await run_in_thread(search)) is None:
        raise Conflict(f"the worktree is gone: {shadow.worktree}", code="worktree_gone", path=str(shadow.worktree))
    return found


def own_folders(folder: Path) -> dict[str, str]:
    """What makes git use a worktree's own folder, as `git_folder` found it.

    The folder the repository shares is named too: what the worktree's own says of that, an agent may have written.
    """
    return {"GIT_DIR": os.fspath(folder), "GIT_COMMON_DIR": os.fspath(folder.parent.parent)}


def _kept(commit: str) -> str:
    return f"refs/raw/{commit}"


async def _without_submodules(shadow: Shadow, tree: str) -> str:
    listing = await shadow.git("ls-tree", "-r", "-z", "--full-tree", tree)
    modules = [entry.partition(b"\t")[2] for entry in listing.split(b"\0") if entry.startswith(b"160000 ")]
    if not modules:
        return (await shadow.git("rev-parse", "--verify", tree)).decode().strip()
    with tempfile.TemporaryDirectory(prefix="coder-tree-") as name:
        index = Path(name, "index")
        await shadow.git("read-tree", tree, index=index)
        names = b"".join(module + b"\0" for module in modules)
        await shadow.git("update-index", "--force-remove", "-z", "--stdin", index=index, input=names)
        return (await shadow.git("write-tree", index=index)).decode().strip()


async def _checked_out(shadow: Shadow, commit: str) -> str:
    """Check a commit out into a folder of its own and take that as it is."""
    with tempfile.TemporaryDirectory(prefix="coder-checkout-") as name:
        files, index = Path(name, "files"), Path(name, "index")
        await run_in_thread(files.mkdir)
        places = await _places(shadow, files, index)
        config = await without_filters(files, places)
        await run_git("read-tree", f"{commit}^{{tree}}", cwd=files, env=places, config=config)
        await run_git("checkout-index", "--all", "--quiet", cwd=files, env=places, config=config)
        raw = Path(name, "raw")
        await shadow.git("add", "--all", "--force", ".", cwd=files, index=raw)
        return (await shadow.git("write-tree", index=raw)).decode().strip()


async def _cleaned(shadow: Shadow, commit: str, sides: Sequence[Side]) -> dict[str, Side]:
    """What `git add` makes of each file, by path."""
    plain = [side for side in sides if not side.is_link]
    contents = await shadow.read_blobs(side.blob for side in plain)
    with tempfile.TemporaryDirectory(prefix="coder-commit-") as name:
        files, index = Path(name, "files"), Path(name, "index")

        def write() -> None:
            files.mkdir()
            for side in plain:
                place = files / side.path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(contents[side.blob])

        await run_in_thread(write)
        places = await _places(shadow, files, index)
        config = await without_filters(files, places) | _NO_WARNING
        names = b"".join(os.fsencode(side.path) + b"\0" for side in plain)
        # its attributes count for files that are not here
        await run_git("read-tree", f"{commit}^{{tree}}", cwd=files, env=places, config=config)
        add = ("update-index", "--add", "--replace", "-z", "--stdin")
        await run_git(*add, cwd=files, env=places, config=config, input=names)
        listing = await run_git("ls-files", "--stage", "-z", cwd=files, env=places, config=config)
    found: dict[str, str] = {}
    for line in listing.split(b"\0")[:-1]:
        head, _, path = line.partition(b"\t")
        found[os.fsdecode(path)] = head.split(b" ")[1].decode()
    return {side.path: Side(side.path, side.mode, found[side.path]) for side in plain}


async def _places(shadow: Shadow, files: Path, index: Path) -> dict[str, str]:
    """The repository's configuration with files and an index of our own."""
    return {
        **own_folders(await git_folder(shadow)),
        "GIT_WORK_TREE": os.fspath(files),
        "GIT_INDEX_FILE": os.fspath(index),
    }
