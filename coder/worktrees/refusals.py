"""What a snapshot cannot hold, found by looking at the files: by name and with the reason."""

import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from coder.worktrees.names import shown_name

FILE_LIMIT = 256 * 1024 * 1024
"""Bytes of the largest file that is taken into a snapshot; a larger one stays as it was last seen, or unseen."""

SPECIAL = "not a regular file"
UNREADABLE = "not readable"
NESTED = "a repository of its own"
REFUSED_NAME = "git refuses the name"
REMOVED_SUBMODULE = "a submodule that was removed"

# names that some system would take for .git, or for a link in place of .gitmodules
_RESERVED = re.compile(rb"(?:^|/)(?:\.git|git~1)[ .]*(?:$|[/\\:])", re.IGNORECASE)
_RESERVED_LINK = re.compile(rb"(?:^|/)(?:\.gitmodules|gitmod~[1-4]|gi7eba~[0-9])[ .]*(?:$|:)", re.IGNORECASE)


@dataclass(frozen=True, order=True)
class LeftOut:
    """A file that a snapshot does not hold as it is now; `path` as `shown_name` has it."""

    path: str
    reason: str


def left_out(name: bytes, reason: str) -> LeftOut:
    """Of a name as git lists it."""
    return LeftOut(shown_name(name.rstrip(b"/")), reason)


def refusal(worktree: Path, name: bytes) -> str | None:
    """Why a file that git lists is not taken into a snapshot; None where it can be."""
    # git lists a nested repository as a folder, with a slash
    if name.endswith(b"/"):
        return NESTED
    if _RESERVED.search(name):
        return REFUSED_NAME
    path = os.path.join(os.fsencode(worktree), name)  # noqa: PTH118
    try:
        state = os.lstat(path)
    except OSError:
        return None
    if stat.S_ISLNK(state.st_mode):
        return REFUSED_NAME if _RESERVED_LINK.search(name) else None
    if not stat.S_ISREG(state.st_mode):
        return SPECIAL
    if state.st_size > FILE_LIMIT:
        return f"over {FILE_LIMIT // 1024**2} MiB"
    return None if os.access(path, os.R_OK) else UNREADABLE


def unlisted(worktree: Path, names: Iterable[bytes], memory: Path) -> list[LeftOut]:
    """Pipes, sockets, devices and closed folders, which git does not list: at the top, beside `names`, and where some
    were the last time, which is kept in the file `memory`.

    Only where something has changed is looked: to look everywhere would cost as much as the repository is large.
    """
    root = os.fsencode(worktree)
    known = memory.read_bytes().split(b"\0") if memory.exists() else [b""]
    folders = {b"", *known, *(name.rpartition(b"/")[0] for name in names if not name.endswith(b"/"))}
    found = {folder: _look(root, folder) for folder in sorted(folders)}
    kept = [folder for folder, entries in found.items() if entries and folder]
    if b"\0".join(kept) != b"\0".join(known):
        memory.write_bytes(b"\0".join(kept))
    return [each for entries in found.values() for each in entries]


def _look(root: bytes, folder: bytes) -> list[LeftOut]:
    place = os.path.join(root, folder) if folder else root  # noqa: PTH118
    if os.path.islink(place):  # noqa: PTH114
        return []
    try:
        with os.scandir(place) as entries:
            reasons = [(entry.name, _entry_reason(entry)) for entry in entries]
    except OSError:
        return []
    prefix = folder + b"/" if folder else b""
    return [left_out(prefix + name, reason) for name, reason in reasons if reason is not None]


def _entry_reason(entry: os.DirEntry[bytes]) -> str | None:
    if entry.is_symlink() or entry.is_file(follow_symlinks=False):
        return None
    if not entry.is_dir(follow_symlinks=False):
        return SPECIAL
    return None if os.access(entry.path, os.R_OK | os.X_OK) else UNREADABLE
