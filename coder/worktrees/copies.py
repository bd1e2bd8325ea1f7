"""Ignored files that a new worktree needs as well, copied from the project's checkout and from nowhere else."""

import os
import posixpath
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coder.errors import CoderError, InvalidInput, TooLarge
from coder.worktrees.git import run_git, run_in_thread
from coder.worktrees.names import shown_name
from coder.worktrees.paths import FileState, WorktreeRoot, open_root
from coder.worktrees.shadow import Shadow

FILE_LIMIT = 64 * 1024 * 1024
TOTAL_LIMIT = 512 * 1024 * 1024
"""Bytes of one file, and of all together."""
COUNT_LIMIT = 10_000


@dataclass(frozen=True)
class Copies:
    """`left_out` says of each file that was not copied why."""

    copied: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]


async def copy_ignored(checkout: Path, shadow: Shadow, patterns: Sequence[str]) -> Copies:
    """Copy what the gitignore patterns match: files that git ignores in the worktree and that are not there yet.

    Nothing tracked is matched, no link is followed out of the checkout or into `.git`, nothing is written over.

    Raises:
        TooLarge: too many files, or too much; nothing was copied.
    """
    listed = await run_git(
        *("ls-files", "--others", "--ignored", "--exclude-from=/dev/stdin", "-z"),
        cwd=checkout,
        input="".join(f"{pattern}\n" for pattern in patterns).encode(),
    )
    names = [os.fsdecode(name) for name in listed.split(b"\0") if name]
    if len(names) > COUNT_LIMIT:
        raise TooLarge(f"the patterns match {len(names)} files; at most {COUNT_LIMIT} are copied", limit=COUNT_LIMIT)
    wanted, left_out = await run_in_thread(lambda: _wanted(checkout, shadow.worktree, names))
    ignored = await _ignored(shadow, list(wanted))
    left_out += [(name, "git does not ignore it here") for name in wanted if name not in ignored]
    chosen = {name: source for name, source in wanted.items() if name in ignored}
    copied, failed = await run_in_thread(lambda: _copy(checkout, shadow.worktree, chosen))
    return Copies(tuple(copied), tuple((shown_name(os.fsencode(name)), why) for name, why in [*left_out, *failed]))


async def _ignored(shadow: Shadow, names: Sequence[str]) -> frozenset[str]:
    """Those that no snapshot of the worktree will ever show."""
    if not names:
        return frozenset()
    input = b"".join(os.fsencode(name) + b"\0" for name in names)
    output = await shadow.git("check-ignore", "-z", "--stdin", input=input, accepted=(0, 1))
    return frozenset(os.fsdecode(name) for name in output.split(b"\0") if name)


def _wanted(checkout: Path, worktree: Path, names: Sequence[str]) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Each name that may be copied with the file that its content is in; and the others with the reason."""
    wanted: dict[str, str] = {}
    left_out: list[tuple[str, str]] = []
    total = 0
    with open_root(checkout) as source, open_root(worktree) as target:
        for name in names:
            try:
                if target.stamp(name) is not None:
                    left_out.append((name, "it is there already"))
                    continue
                real, size = _source(source, name)
            except CoderError as error:
                left_out.append((name, str(error)))
                continue
            total += size
            wanted[name] = real
    if total > TOTAL_LIMIT:
        raise TooLarge(f"the patterns match {total} bytes; at most {TOTAL_LIMIT} are copied", limit=TOTAL_LIMIT)
    return wanted, left_out


def _source(root: WorktreeRoot, name: str) -> tuple[str, int]:
    """The regular file that `name` is, or is one link away from, inside the root; and its size."""
    if name.endswith("/"):
        raise InvalidInput("it is a repository of its own")
    found = _stat(root, name)
    if stat.S_ISLNK(found[1]):
        link = _state(root, name).content
        target = posixpath.join(posixpath.dirname(name), os.fsdecode(link))
        name = posixpath.normpath(target)
        if target.startswith("/") or any(part.casefold() == ".git" for part in name.split("/")):
            raise InvalidInput("it is a link to a place that is not copied from")
        found = _stat(root, name)
    size, mode = found
    if not stat.S_ISREG(mode):
        raise InvalidInput("it is not a regular file")
    if size > FILE_LIMIT:
        raise TooLarge(f"it is over {FILE_LIMIT} bytes")
    return name, size


def _stat(root: WorktreeRoot, name: str) -> tuple[int, int]:
    stamp = root.stamp(name)
    if stamp is None:
        raise InvalidInput("it is gone")
    return stamp[1], stamp[4]


def _state(root: WorktreeRoot, name: str) -> FileState:
    state = root.state(name)
    if state is None:
        raise InvalidInput("it is gone")
    return state


def _copy(checkout: Path, worktree: Path, wanted: dict[str, str]) -> tuple[list[str], list[tuple[str, str]]]:
    copied: list[str] = []
    left_out: list[tuple[str, str]] = []
    with open_root(checkout) as source, open_root(worktree) as target:
        for name, real in wanted.items():
            try:
                state = _state(source, real)
                if state.kind != "file":
                    raise InvalidInput("it is not a regular file any more")
                _put(target, name, state)
                copied.append(shown_name(os.fsencode(name)))
            except CoderError as error:
                left_out.append((name, str(error)))
    return copied, left_out


def _put(target: WorktreeRoot, name: str, state: FileState) -> None:
    mode = state.mode & 0o777
    is_executable = bool(mode & 0o100)
    prepared = target.prepare(name, state.content, is_link=False, is_executable=is_executable, mode=mode, token="copy")
    try:
        target.move_in(prepared, name)
    except CoderError:
        target.remove(prepared)
        raise
