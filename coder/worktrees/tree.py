"""The content of a worktree as git trees: taken, compared, shown, and written back to a checkout."""

import itertools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from coder.errors import GitError
from coder.model.changes import FileDifference, Operation
from coder.worktrees.fingerprints import Fingerprints
from coder.worktrees.git import hold_folder, run_at_once, run_in_thread
from coder.worktrees.names import shown_name
from coder.worktrees.refusals import LeftOut, left_out, refusal, unlisted
from coder.worktrees.retakes import remember, retake, take_view
from coder.worktrees.shadow import Shadow, create_shadow, removed_submodules, settle, write_index_tree

_ATTEMPTS = 3
_REFUSED_FILES = 20
"""When git cannot take more files than these, something else is wrong."""
_OPERATIONS: Mapping[str, Operation] = {"A": "create", "M": "edit", "T": "edit", "D": "delete", "R": "rename"}


async def open_shadow(
    git_dir: Path, repo: Path, worktree: Path, base_tree: str, fingerprints: Fingerprints | None = None
) -> Shadow:
    """Open the git directory that the host keeps for a worktree; it is made when the worktree is fresh.

    Where there are `fingerprints`, snapshots are remembered in them.

    Raises:
        GitError: `base_tree` is not there; the directory has been lost.
    """
    shadow = Shadow(git_dir, repo, worktree, fingerprints)
    if not await run_in_thread((git_dir / "HEAD").is_file):
        await create_shadow(shadow)
        await shadow.git("cat-file", "-e", f"{base_tree}^{{tree}}")
    return shadow


@dataclass(frozen=True)
class Snapshot:
    """A worktree's content: its tree, and by name what could not be taken into it.

    Of a file in `left_out` the tree holds what was there when it was last taken, or nothing.
    """

    tree: str
    left_out: tuple[LeftOut, ...] = ()


async def snapshot(shadow: Shadow) -> str:
    """The tree of `take_snapshot`, for those who do not tell anybody what is missing in it."""
    return (await take_snapshot(shadow)).tree


async def take_snapshot(shadow: Shadow) -> Snapshot:
    """What is in the worktree now: new files that are not ignored, deletions, modes, links, binary.

    Nested repositories are named and not entered. The user's index, branch and files are not touched.
    """
    async with hold_folder(shadow.git_dir):
        view = await take_view(shadow)
        if view is not None and (retaken := await retake(shadow, view)) is not None:
            return Snapshot(retaken)
        # nobody else is at it: a lock that is there is a dead run's
        await run_in_thread(lambda: (shadow.git_dir / "index.lock").unlink(missing_ok=True))
        await settle(shadow)
        left_out = await _update_index(shadow)
        taken = Snapshot(await write_index_tree(shadow), left_out)
        if view is not None and not left_out:
            await remember(shadow, view, taken.tree)
        return taken


async def differences(shadow: Shadow, base_tree: str, new_tree: str) -> list[FileDifference]:
    """What differs from one tree to the other, one entry per file, renames found by content."""
    if base_tree == new_tree:
        return []
    known = shadow.fingerprints
    if known is not None and (found := known.differences(base_tree, new_tree)) is not None:
        return list(found)
    found = await _compare(shadow, base_tree, new_tree)
    if known is not None:
        known.keep_differences(base_tree, new_tree, tuple(found))
    return found


async def _compare(shadow: Shadow, base_tree: str, new_tree: str) -> list[FileDifference]:
    options = ("-r", "-z", "-M", "--raw", "--numstat", "--no-abbrev", "--no-ext-diff", "--no-textconv")
    fields = iter((await shadow.git("diff-tree", *options, base_tree, new_tree)).split(b"\0")[:-1])
    records: list[tuple[list[str], list[bytes]]] = []
    counts: list[tuple[bytes, bytes]] = []
    for head in fields:
        if head.startswith(b":"):
            words = head[1:].decode().split(" ")
            records.append((words, list(itertools.islice(fields, 2 if words[4].startswith("R") else 1))))
        else:
            added, deleted, path = head.split(b"\t", 2)
            counts.append((added, deleted))
            list(itertools.islice(fields, 0 if path else 2))
    return [_difference(words, paths, *count) for (words, paths), count in zip(records, counts, strict=True)]


async def _update_index(shadow: Shadow) -> tuple[LeftOut, ...]:
    for _ in range(_ATTEMPTS - 1):
        try:
            return await _store_files(shadow, _add)
        except GitError:
            # a file that changed or went away in between
            continue
    return await _store_files(shadow, _add_apart)


async def _store_files(
    shadow: Shadow, add: Callable[[Shadow, list[bytes]], Awaitable[list[LeftOut]]]
) -> tuple[LeftOut, ...]:
    changed, others = await _listings(shadow)
    pairs = list(zip(changed[::2], changed[1::2], strict=True))
    gone = [name for status, name in pairs if status == b"D"]
    names = [name for status, name in pairs if status != b"D"] + others

    def look() -> tuple[list[tuple[bytes, str | None]], list[LeftOut]]:
        reasons = [(name, refusal(shadow.worktree, name)) for name in names]
        return reasons, unlisted(shadow.worktree, names, shadow.git_dir / "unlisted") + removed_submodules(shadow)

    reasons, found = await run_in_thread(look)
    await shadow.forget(gone)
    storable = [name for name, reason in reasons if reason is None]
    failed = await add(shadow, storable) if storable else []
    refused = [left_out(name, reason) for name, reason in reasons if reason is not None]
    return tuple(sorted({*found, *failed, *refused}))


async def _add(shadow: Shadow, names: list[bytes]) -> list[LeftOut]:
    await shadow.learn(names)
    return []


async def _add_apart(shadow: Shadow, names: list[bytes]) -> list[LeftOut]:
    """Take all that git can take: what it fails with is halved until the files are found that it fails for."""
    failed: list[LeftOut] = []
    waiting = [names]
    while waiting:
        some = waiting.pop()
        try:
            await _add(shadow, some)
        except GitError as error:
            if len(some) > 1:
                waiting += [some[: len(some) // 2], some[len(some) // 2 :]]
                continue
            failed.append(left_out(some[0], str(error)))
            if len(failed) > _REFUSED_FILES:
                raise
    return failed


async def _listings(shadow: Shadow) -> tuple[list[bytes], list[bytes]]:
    """Known files that differ, with a status letter before each, and unknown ones that are not ignored."""

    async def ask(*args: str) -> list[bytes]:
        return (await shadow.git(*args, "-z")).split(b"\0")[:-1]

    # two walks over the files that do not need each other
    changed, others = await run_at_once(
        lambda: ask("diff-files", "--name-status"), lambda: ask("ls-files", "--others", "--exclude-standard")
    )
    return changed, others


def _difference(words: list[str], paths: list[bytes], added: bytes, deleted: bytes) -> FileDifference:
    base_mode, new_mode, base_blob, new_blob, status = words
    is_binary = added == b"-"
    return FileDifference(
        file_path=shown_name(paths[-1]),
        old_path=shown_name(paths[0]) if len(paths) == 2 else None,
        operation=_OPERATIONS[status[0]],
        base_blob=base_blob if base_blob.strip("0") else None,
        new_blob=new_blob if new_blob.strip("0") else None,
        base_mode=base_mode if base_mode.strip("0") else None,
        new_mode=new_mode if new_mode.strip("0") else None,
        is_binary=is_binary,
        added_lines=0 if is_binary else int(added),
        deleted_lines=0 if is_binary else int(deleted),
    )
