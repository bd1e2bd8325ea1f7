"""What `lstat` says of a worktree: the folders and files that are there, and what of it can be believed later.

A file that is written gets a new change time, which nobody can set back. That of a file which was written shortly
before it was looked at says nothing: a later write can fall on the same tick of the clock.
"""

import os
import stat
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

RACY_NS = 1_500_000_000
"""The coarsest clock of a filesystem in `STAMPED`, one second, and the kernel's own tick."""

STEP_NS = 50_000_000
"""A wall clock that is set back by less is one that was read at another moment."""

STAMPED = frozenset({"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"})
"""Filesystems that stamp every write by this machine's clock, and have no other writers."""

Stamp = tuple[int, int, int, int, int]
"""Mode, bytes, modified, changed, inode; times in nanoseconds."""

RULES = b".gitignore"
_RULES_READ = 4096


class Unclear(Exception):
    """Something is there of which a look cannot tell what git would make of it."""


class TooMany(Exception):
    """More entries than the limit; `folders` are those that were seen, the outermost first."""

    def __init__(self, folders: Iterable[bytes]) -> None:
        super().__init__("too many files")
        self.folders = tuple(folders)


@dataclass(frozen=True)
class Moment:
    """When a look began, by the wall clock in nanoseconds: `skew` is how far that is from the one that never goes back.

    What was written since `racy` may be written again without any other time.
    """

    racy: int
    skew: int

    def is_racy(self, stamp: Stamp) -> bool:
        return stamp[3] >= self.racy

    def is_set_back(self, since: Self) -> bool:
        """Whether the clock was set back after `since`: times can then come again."""
        return self.skew < since.skew - STEP_NS


@dataclass(frozen=True)
class Folder:
    """A folder that was read, and the names in it; files are links too."""

    stamp: Stamp
    files: tuple[bytes, ...]
    folders: tuple[bytes, ...]


@dataclass(frozen=True)
class Look:
    """By name from the root, which is empty. Folders of `closed` were not entered, of them the mode counts alone."""

    moment: Moment
    folders: Mapping[bytes, Folder]
    files: Mapping[bytes, Stamp]
    closed: Mapping[bytes, int]

    def without(self, skipped: Collection[bytes]) -> "Look":
        """As it were with these names skipped; those of folders end with a slash."""

        def is_kept(name: bytes) -> bool:
            return not any(folder in skipped for folder in _above(name))

        folders = {name: folder for name, folder in self.folders.items() if is_kept(name + b"/")}
        closed = {name: mode for name, mode in self.closed.items() if is_kept(name)}
        closed |= {
            name: folder.stamp[0] for name, folder in self.folders.items() if name + b"/" in skipped and is_kept(name)
        }
        files = {
            name: stamp
            for name, stamp in self.files.items()
            if is_kept(name) and (name not in skipped or is_rule(name))
        }
        return replace(self, folders=folders, files=files, closed=closed)


def take_look(
    worktree: Path, moment: Moment, *, before: Look | None = None, skipped: Collection[bytes] = (), limit: int
) -> Look:
    """What is in the worktree. Folders that `before` vouches for are not read again. Blocks.

    Files in `skipped` are not looked at and folders in it, whose names end with a slash, not entered.

    Raises:
        Unclear: a nested repository, a file that is no file, another filesystem, something not to be read.
        TooMany: more than `limit` files and folders.
    """
    try:
        return _Walk(os.fsencode(worktree), moment, before, skipped, limit).look()
    except OSError as error:
        raise Unclear(str(error)) from error


def is_rule(name: bytes) -> bool:
    """Whether a file decides what is ignored."""
    # where case does not count git finds it under any spelling
    return name[-len(RULES) :].lower() == RULES and name[-len(RULES) - 1 : -len(RULES)] in (b"", b"/")


def filesystem(path: Path) -> str | None:
    """The kind of filesystem that `path` is on; None where the system does not tell."""
    place, found, longest = os.fsencode(os.path.realpath(path)) + b"/", None, -1
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return None
    for line in lines:
        head, _, tail = line.partition(b" - ")
        mount = head.split(b" ")[4].decode("unicode_escape").encode("latin-1").rstrip(b"/") + b"/"
        # a later one lies over an earlier one
        if place.startswith(mount) and len(mount) >= longest:
            found, longest = tail.split(b" ")[0].decode(), len(mount)
    return found


class _Walk:
    def __init__(
        self, root: bytes, moment: Moment, before: Look | None, skipped: Collection[bytes], limit: int
    ) -> None:
        self._root = root + b"/"
        self._device = os.lstat(self._root).st_dev
        self._before = before
        self._skipped = skipped
        self._limit = limit
        self._moment = moment
        self._folders: dict[bytes, Folder] = {}
        self._files: dict[bytes, Stamp] = {}
        self._closed: dict[bytes, int] = {}

    def look(self) -> Look:
        waiting = deque([b""])
        while waiting:
            name = waiting.popleft()
            folder = self._folder(name)
            if folder is None:
                continue
            self._folders[name] = folder
            prefix = name + b"/" if name else b""
            self._take_files(prefix, folder.files)
            waiting.extend(prefix + child for child in folder.folders)
            if len(self._files) + len(self._folders) + len(waiting) > self._limit:
                raise TooMany([*self._folders, *waiting])
        return Look(self._moment, self._folders, self._files, self._closed)

    def _folder(self, name: bytes) -> Folder | None:
        found = os.lstat(self._root + name)
        if not stat.S_ISDIR(found.st_mode) or found.st_dev != self._device:
            raise Unclear("not a folder of this filesystem")
        if name + b"/" in self._skipped:
            self._closed[name] = found.st_mode
            return None
        stamp = _stamp(found)
        known = self._before.folders.get(name) if self._before else None
        if self._before and known and known.stamp == stamp and not self._before.moment.is_racy(stamp):
            return known
        return self._read(name, stamp)

    def _read(self, name: bytes, stamp: Stamp) -> Folder:
        files: list[bytes] = []
        folders: list[bytes] = []
        if not os.access(self._root + name, os.R_OK | os.X_OK):
            raise Unclear("a closed folder")
        with os.scandir(self._root + name) as entries:
            for entry in entries:
                if entry.name.lower() == b".git":
                    if name or entry.name != b".git":
                        raise Unclear("a repository of its own")
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
                    files.append(entry.name)
                else:
                    raise Unclear("not a file")
        if name and RULES in files and self._ignores_itself(name):
            # git enters nothing in it, and lists nothing but what it knows
            return Folder(stamp, (RULES,), ())
        return Folder(stamp, tuple(files), tuple(folders))

    def _ignores_itself(self, folder: bytes) -> bool:
        """Whether its own rules say that all of it is ignored, as caches and virtual environments do."""
        place = os.path.join(self._root, folder, RULES)  # noqa: PTH118
        with open(os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
            content = file.read(_RULES_READ)
        lines = content.split(b"\n") if len(content) < _RULES_READ else []
        return [line for line in lines if line and not line.startswith(b"#")] == [b"*"]

    def _take_files(self, prefix: bytes, names: tuple[bytes, ...]) -> None:
        # most of the time that a look takes goes here
        lstat, place, skipped, files, device = os.lstat, self._root + prefix, self._skipped, self._files, self._device
        for name in names:
            path = prefix + name
            if path in skipped and not is_rule(path):
                continue
            found = lstat(place + name)
            is_plain = stat.S_ISREG(found.st_mode) or (stat.S_ISLNK(found.st_mode) and not is_rule(path))
            if not is_plain or found.st_dev != device:
                # some versions of git follow a link to rules
                raise Unclear("not a file of this filesystem")
            files[path] = _stamp(found)


def _stamp(found: os.stat_result) -> Stamp:
    return (found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def _above(name: bytes) -> Iterable[bytes]:
    """The folders above a name, each with its slash; a name that ends with one is above itself."""
    position = name.find(b"/")
    while position >= 0:
        yield name[: position + 1]
        position = name.find(b"/", position + 1)
