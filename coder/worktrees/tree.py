"""The content of a worktree as git trees: taken, compared, shown, and written back to a checkout."""

import hashlib
import itertools
import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import anyio

from coder.errors import GitError
from coder.model.changes import FileDifference, Hunk, Operation
from coder.worktrees.checkout import Move, overwrite, write_back
from coder.worktrees.git import hold_folder, run_in_thread
from coder.worktrees.names import shown_name, stored_name
from coder.worktrees.shadow import Shadow, create_shadow, settle

FILE_LIMIT = 256 * 1024 * 1024
"""Bytes of the largest file that is taken into a snapshot; a larger one stays as it was last seen, or unseen."""

_ATTEMPTS = 3
_OPERATIONS: Mapping[str, Operation] = {"A": "create", "M": "edit", "T": "edit", "D": "delete", "R": "rename"}
_EMPTY_BLOBS = {
    40: "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
    64: "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813",
}
_HUNK = re.compile(r"^@@ -\d+(?:,\d+)? \+\d+(?:,\d+)? @@")


async def open_shadow(git_dir: Path, repo: Path, worktree: Path, base_tree: str) -> Shadow:
    """Open the git directory that the host keeps for a worktree; it is made when the worktree is fresh.

    Raises:
        GitError: `base_tree` is not there; the directory has been lost.
    """
    shadow = Shadow(git_dir, repo, worktree)
    if not await anyio.Path(git_dir / "HEAD").is_file():
        await create_shadow(shadow)
    await shadow.git("cat-file", "-e", f"{base_tree}^{{tree}}")
    return shadow


@dataclass(frozen=True)
class LeftOut:
    """A file that a snapshot does not hold as it is now; `path` as `shown_name` has it."""

    path: str
    reason: str


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
        # nobody else is at it: a lock that is there is a dead run's
        await run_in_thread(lambda: (shadow.git_dir / "index.lock").unlink(missing_ok=True))
        await settle(shadow)
        left_out = await _update_index(shadow)
        return Snapshot((await shadow.git("write-tree")).decode().strip(), left_out)


async def differences(shadow: Shadow, base_tree: str, new_tree: str) -> list[FileDifference]:
    """What differs from one tree to the other, one entry per file, renames found by content."""
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


async def unified_diff(shadow: Shadow, difference: FileDifference) -> str:
    """Git's unified diff of one file with three lines of context; without hunks for a binary file."""
    header = _header(difference)
    base, new = difference.base_blob, difference.new_blob
    if difference.is_binary or base == new:
        return header
    empty = _EMPTY_BLOBS[len(base or new or "")]
    options = ("--no-ext-diff", "--no-textconv", "--no-color", "--unified=3", "--text")
    output = await shadow.git("diff", *options, base or empty, new or empty)
    start = re.search(rb"^@@ ", output, re.MULTILINE)
    body = output[start.start() :].decode(errors="replace") if start else ""
    return header + _file_names(difference) + body if body else header


def split_hunks(diff: str) -> tuple[Hunk, ...]:
    """The hunks of a unified diff. A hunk's id depends on its lines, not on where it stands."""
    lines = diff.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    starts = [number for number, line in enumerate(lines) if _HUNK.match(line)]
    seen: dict[str, int] = {}
    hunks: list[Hunk] = []
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        body = tuple(lines[start + 1 : end])
        digest = hashlib.sha256("\n".join(body).encode()).hexdigest()[:16]
        seen[digest] = seen.get(digest, 0) + 1
        id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
        hunks.append(Hunk(id=id, header=lines[start], lines=body))
    return tuple(hunks)


async def restore_base(shadow: Shadow, differences: Sequence[FileDifference]) -> None:
    """Give the worktree's files their base content back, whatever they hold now.

    Raises:
        MergeConflict: a folder with other files is where a file has to be; nothing was written.
    """
    await overwrite(shadow, shadow.worktree, [Move.backward(each) for each in differences])


async def apply_to_checkout(shadow: Shadow, checkout: Path, differences: Sequence[FileDifference]) -> None:
    """Carry the changes into another checkout of the repository, merging with what was done there.

    Its `.git`, and with it the index, is not touched.

    Raises:
        MergeConflict: some file does not fit; `conflicts` in `fields` has each with the sides. Nothing was written.
    """
    await write_back(shadow, checkout, [Move.forward(each) for each in differences])


async def revert_in_checkout(shadow: Shadow, checkout: Path, differences: Sequence[FileDifference]) -> None:
    """Take applied changes out of the checkout again, by the rules of `apply_to_checkout`.

    Raises:
        MergeConflict: some file does not fit; `conflicts` in `fields` has each with the sides. Nothing was written.
    """
    await write_back(shadow, checkout, [Move.backward(each) for each in differences])


async def replace_in_tree(
    shadow: Shadow, tree: str, differences: Sequence[FileDifference], side: Literal["new", "base"]
) -> str:
    """`tree` with the files of `differences` moved to one of their sides."""
    index = shadow.git_dir / f"index.{os.urandom(8).hex()}"
    entries = b"".join(_index_entries(differences, side, len(tree)))
    try:
        await shadow.git("read-tree", tree, index=index)
        await shadow.git("update-index", "--replace", "-z", "--index-info", index=index, input=entries)
        return (await shadow.git("write-tree", index=index)).decode().strip()
    finally:
        index.unlink(missing_ok=True)


async def _update_index(shadow: Shadow) -> tuple[LeftOut, ...]:
    for _ in range(_ATTEMPTS - 1):
        try:
            return await _store_files(shadow)
        except GitError:
            # a file that changed or went away in between
            continue
    return await _store_files(shadow)


async def _store_files(shadow: Shadow) -> tuple[LeftOut, ...]:
    changed, others = await _listings(shadow)
    pairs = list(zip(changed[::2], changed[1::2], strict=True))
    await shadow.forget([name for status, name in pairs if status == b"D"])
    names = [name for status, name in pairs if status != b"D"] + others
    refusals = await run_in_thread(lambda: [(name, _refusal(shadow.worktree, name)) for name in names])
    storable = [name for name, reason in refusals if reason is None]
    if storable:
        entries = b"".join(name + b"\0" for name in storable)
        await shadow.git("update-index", "--add", "--remove", "--replace", "-z", "--stdin", input=entries)
    return tuple(LeftOut(shown_name(name.rstrip(b"/")), reason) for name, reason in refusals if reason is not None)


async def _listings(shadow: Shadow) -> tuple[list[bytes], list[bytes]]:
    """Known files that differ, with a status letter before each, and unknown ones that are not ignored."""
    found: dict[str, list[bytes]] = {}
    failures: list[GitError] = []

    async def ask(*args: str) -> None:
        try:
            found[args[0]] = (await shadow.git(*args, "-z")).split(b"\0")[:-1]
        except GitError as error:
            failures.append(error)

    # two walks over the files that do not need each other
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, "diff-files", "--name-status")
        tasks.start_soon(ask, "ls-files", "--others", "--exclude-standard")
    if failures:
        raise failures[0]
    return found["diff-files"], found["ls-files"]


def _refusal(worktree: Path, name: bytes) -> str | None:
    """Why a file is not taken into a snapshot; None where it can be."""
    # git lists a nested repository as a folder, with a slash
    if name.endswith(b"/"):
        return "a repository of its own"
    path = os.path.join(os.fsencode(worktree), name)  # noqa: PTH118
    try:
        state = os.lstat(path)
    except OSError:
        return None
    if stat.S_ISLNK(state.st_mode):
        return None
    if not stat.S_ISREG(state.st_mode):
        return "not a regular file"
    if state.st_size > FILE_LIMIT:
        return f"over {FILE_LIMIT // 1024**2} MiB"
    return None if os.access(path, os.R_OK) else "not readable"


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


def _header(difference: FileDifference) -> str:
    old, new = difference.old_path or difference.file_path, difference.file_path
    base_mode, new_mode = difference.base_mode, difference.new_mode
    lines = [f"diff --git {_prefixed('a/', old)} {_prefixed('b/', new)}"]
    if base_mode is None:
        lines.append(f"new file mode {new_mode}")
    elif new_mode is None:
        lines.append(f"deleted file mode {base_mode}")
    elif base_mode != new_mode:
        lines += [f"old mode {base_mode}", f"new mode {new_mode}"]
    if old != new:
        lines += [f"rename from {old}", f"rename to {new}"]
    if difference.base_blob != difference.new_blob:
        zero = "0" * len(difference.base_blob or difference.new_blob or "")
        kept_mode = f" {new_mode}" if base_mode == new_mode else ""
        lines.append(f"index {difference.base_blob or zero}..{difference.new_blob or zero}{kept_mode}")
    if difference.is_binary:
        lines.append("Binary files differ")
    return "\n".join(lines) + "\n"


def _file_names(difference: FileDifference) -> str:
    base = _prefixed("a/", difference.old_path or difference.file_path) if difference.base_blob else "/dev/null"
    new = _prefixed("b/", difference.file_path) if difference.new_blob else "/dev/null"
    return f"--- {base}\n+++ {new}\n"


def _prefixed(prefix: str, name: str) -> str:
    return f'"{prefix}{name[1:]}' if name.startswith('"') else prefix + name


def _index_entries(
    differences: Sequence[FileDifference], side: Literal["new", "base"], id_length: int
) -> Iterable[bytes]:
    """Removals before additions: a file may stand where another's folder was."""
    wanted: dict[str, tuple[str, str]] = {}
    for each in differences:
        base = (each.old_path or each.file_path, each.base_mode, each.base_blob)
        new = (each.file_path, each.new_mode, each.new_blob)
        path, mode, blob = new if side == "new" else base
        if mode is not None and blob is not None:
            wanted[path] = (mode, blob)
    paths = {path for each in differences for path in (each.file_path, each.old_path) if path is not None}
    for path in sorted(paths - wanted.keys()):
        yield b"0 " + b"0" * id_length + b"\t" + os.fsencode(stored_name(path)) + b"\0"
    for path, (mode, blob) in sorted(wanted.items()):
        yield f"{mode} {blob}\t".encode() + os.fsencode(stored_name(path)) + b"\0"
