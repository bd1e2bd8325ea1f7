"""The only opener of files that an agent or a tree names: nothing here leaves the folder it was opened for.

Names are resolved from a descriptor of the root, by `openat2(2)` where the kernel has it and component by component
otherwise, so neither `..`, links, devices nor a race can lead outside. Calls block: run them in a thread.
"""

import ctypes
import errno
import os
import secrets
import stat
import sys
from collections.abc import Collection, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from coder.errors import CoderError, InvalidInput, NotFound, PathEscape, TooLarge, Unavailable

READ_LIMIT = 16 * 1024 * 1024
"""Bytes of the largest file that is read for an agent."""

STATE_LIMIT = 256 * 1024 * 1024
"""Bytes of the largest file that is compared whole."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LINK_LIMIT = 40

_NOT_ABOUT_THE_PATH = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)

_OPENAT2 = 437
_NO_MAGIC_LINKS = 0x02
_BENEATH = 0x08

Kind = Literal["file", "link", "folder", "other"]


@dataclass(frozen=True)
class FileState:
    """What is at a path. `content` is a file's bytes or a link's target.

    `stamp` changes with every write to it; that of a folder only when it is another one, whatever is put into it.
    """

    kind: Kind
    content: bytes
    mode: int
    stamp: tuple[int, ...]


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class WorktreeRoot:
    """A folder whose files are reached by names from outside. Made by `open_root`.

    Paths are relative to it, or absolute and inside it. Every method raises `PathEscape` for a path that leads out,
    `InvalidInput` for one that cannot be a path, `NotFound` where nothing is there.
    """

    def __init__(self, fd: int, path: Path, *, use_openat2: bool) -> None:
        self.path = path
        self._fd = fd
        self._prefixes = {os.fspath(path), os.path.realpath(path)}
        self._libc = ctypes.CDLL(None, use_errno=True) if use_openat2 and sys.platform == "linux" else None

    def read_bytes(self, path: str, *, size_limit: int = READ_LIMIT) -> bytes:
        """The content of a regular file. Links are followed as long as they stay inside."""
        fd = self._open_file(path)
        try:
            state = os.fstat(fd)
            if not stat.S_ISREG(state.st_mode):
                raise InvalidInput(f"not a regular file: {path}", path=path)
            if state.st_size > size_limit:
                raise TooLarge(f"file is over {size_limit} bytes: {path}", path=path, limit=size_limit)
            content = _read_all(fd, size_limit + 1)
        finally:
            os.close(fd)
        if len(content) > size_limit:
            raise TooLarge(f"file is over {size_limit} bytes: {path}", path=path, limit=size_limit)
        return content

    def read_text(self, path: str, line: int | None = None, limit: int | None = None) -> str:
        """The file's text from `line` (1-based) on, at most `limit` lines; line ends are kept as they are."""
        text = self.read_bytes(path).decode(errors="replace")
        if line is None and limit is None:
            return text
        lines = text.split("\n")
        lines = [each + "\n" for each in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
        first = max((line or 1) - 1, 0)
        return "".join(lines[first : None if limit is None else first + max(limit, 0)])

    def write_text(self, path: str, text: str) -> None:
        """Replace or create a file for an agent; missing folders are made, the mode is kept. `.git` is refused."""
        self.write_bytes(path, text.encode(errors="replace"))

    def write_bytes(self, path: str, content: bytes, *, mode: int | None = None) -> None:
        """As `write_text`; `mode` sets the permissions instead of keeping them."""
        with self._place(path, follow=True, make=True) as (folder, name):
            existing = _lstat(folder, name)
            if existing is not None and not stat.S_ISREG(existing.st_mode):
                raise InvalidInput(f"not a regular file: {path}", path=path)
            kept = stat.S_IMODE(existing.st_mode) if existing else None
            bits = mode if mode is not None else kept
            temporary = _write_temporary(folder, content, bits, _temporary_name())
            _move_in(folder, temporary, name)

    def state(self, path: str) -> FileState | None:
        """What is at `path` itself, no link followed anywhere; None where nothing is."""
        try:
            with self._place(path, follow=False, make=False) as (folder, name):
                return _state(folder, name)
        except (NotFound, InvalidInput) as error:
            return _nothing_at(error)

    def list_folder(self, path: str) -> list[str]:
        """The names in a folder, `.` for the root, no link followed anywhere."""
        if not self._parts(path, may_be_root=True):
            return sorted(os.listdir(self._fd))  # noqa: PTH208
        with self._place(path, follow=False, make=False) as (folder, name):
            fd = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            try:
                return sorted(os.listdir(fd))  # noqa: PTH208
            finally:
                os.close(fd)

    def prepare(
        self,
        path: str,
        content: bytes,
        *,
        is_link: bool,
        is_executable: bool,
        mode: int | None,
        token: str,
        cleared: Collection[str] = (),
    ) -> str:
        """Write what shall be at `path` into the nearest folder that is there; returns where, for `move_in`.

        `mode` are the permissions to keep, None for new ones. The name begins with `.coder-<token>-`.
        Of the paths in `cleared`, which will be gone by then, none is taken for a folder to write in.
        """
        parts = self._parts(path)[:-1]
        depths = [depth for depth in range(len(parts)) if "/".join(parts[: depth + 1]) in cleared]
        parts = parts[: min(depths, default=len(parts))]
        while True:
            try:
                with self._folder(parts, path, follow=False) as folder:
                    if is_link:
                        name = _temporary_name(token)
                        os.symlink(content, os.fsencode(name), dir_fd=folder)
                    else:
                        name = _write_temporary(
                            folder, content, mode, _temporary_name(token), is_executable=is_executable
                        )
                    return "/".join((*parts, name))
            except PathEscape:
                raise
            except (NotFound, InvalidInput):
                if not parts:
                    raise
                parts = parts[:-1]

    def move_in(self, prepared: str, path: str) -> None:
        """Put what was prepared in its place, in one step; missing folders are made, empty ones give way."""
        with (
            self._place(prepared, follow=False, make=False) as (source, name),
            self._place(path, follow=False, make=True) as (target, final),
        ):
            try:
                os.rename(name, final, src_dir_fd=source, dst_dir_fd=target)
            except IsADirectoryError:
                _remove_folders(target, final)
                os.rename(name, final, src_dir_fd=source, dst_dir_fd=target)

    def remove(self, path: str) -> None:
        """Delete the file or link at `path` itself, and the folders that this empties."""
        with self._place(path, follow=False, make=False) as (folder, name):
            try:
                os.unlink(name, dir_fd=folder)
            except FileNotFoundError as error:
                raise NotFound(f"no such file: {path}", path=path) from error
        parts = self._parts(path)[:-1]
        # a folder that holds something else, or cannot be removed, stays
        with suppress(OSError, CoderError):
            while parts:
                with self._place("/".join(parts), follow=False, make=False) as (folder, name):
                    os.rmdir(name, dir_fd=folder)
                parts = parts[:-1]

    def stamp(self, path: str) -> tuple[int, ...] | None:
        """The `stamp` of what is at `path` itself now."""
        try:
            with self._place(path, follow=False, make=False) as (folder, name):
                found = _lstat(folder, name)
                return _stamp(found) if found else None
        except (NotFound, InvalidInput) as error:
            return _nothing_at(error)

    def resolve_folder(self, path: str) -> Path:
        """The real path of a folder inside the root, to start a program in."""
        parts = self._parts(path, may_be_root=True)
        with self._folder(parts, path, follow=True) as fd:
            known = os.fstat(fd)
        real = Path(os.path.realpath(self.path), *parts).resolve()
        found = real.stat()
        if (found.st_dev, found.st_ino) != (known.st_dev, known.st_ino):
            raise PathEscape(path)
        return real

    def _parts(self, path: str, *, may_be_root: bool = False) -> list[str]:
        """The components below the root. `..` stays: only the walk knows where it leads."""
        if not path or "\0" in path:
            raise InvalidInput("a path must not be empty or hold NUL", path=path)
        inside = path
        if path.startswith("/"):
            prefixes = (prefix for prefix in self._prefixes if path == prefix or path.startswith(f"{prefix}/"))
            prefix = max(prefixes, key=len, default=None)
            if prefix is None:
                raise PathEscape(path)
            inside = path[len(prefix) :]
        parts = [part for part in inside.split("/") if part not in ("", ".")]
        if not parts and not may_be_root:
            raise InvalidInput(f"not a file name: {path}", path=path)
        return parts

    def _open_file(self, path: str) -> int:
        name = "/".join(self._parts(path))
        with _spoken(path):
            fd = self._openat2(name, _READ, _BENEATH | _NO_MAGIC_LINKS)
            if fd is not None:
                return fd
            with self._place(path, follow=True, make=False, for_writing=False) as (folder, final):
                return os.open(final, _READ | os.O_NOFOLLOW, dir_fd=folder)

    @contextmanager
    def _place(
        self, path: str, *, follow: bool, make: bool, for_writing: bool = True
    ) -> Generator[tuple[int, str], None, None]:
        """The folder that holds `path` and the name in it; the name is no link where links are followed."""
        parts = self._parts(path)
        with _spoken(path):
            walk = _Walk(self._fd, path, follow=follow, make=make, guards_git=for_writing)
            try:
                name = walk.go(parts, final=True)
                yield walk.folder, name
            finally:
                walk.close()

    @contextmanager
    def _folder(self, parts: list[str], path: str, *, follow: bool) -> Generator[int, None, None]:
        with _spoken(path):
            walk = _Walk(self._fd, path, follow=follow, make=False, guards_git=False)
            try:
                walk.go(parts, final=False)
                yield walk.folder
            finally:
                walk.close()

    def _openat2(self, name: str, flags: int, resolve: int) -> int | None:
        """A descriptor, or None where the kernel cannot say."""
        if self._libc is None:
            return None
        how = _OpenHow(flags, 0, resolve)
        size = ctypes.sizeof(how)
        while True:
            fd = self._libc.syscall(_OPENAT2, self._fd, os.fsencode(name), ctypes.byref(how), size)
            if fd >= 0:
                return fd
            number = ctypes.get_errno()
            if number in (errno.ENOSYS, errno.EPERM, errno.EINVAL):
                return None
            if number not in (errno.EAGAIN, errno.EINTR):
                raise OSError(number, os.strerror(number))


class _Walk:
    """Goes down component by component, holding a descriptor of every folder: `..` goes back, never looks up."""

    def __init__(self, root: int, path: str, *, follow: bool, make: bool, guards_git: bool) -> None:
        self._path = path
        self._follow = follow
        self._make = make
        self._guards_git = guards_git
        self._root = root
        self._opened: list[int] = []
        self._links = 0

    @property
    def folder(self) -> int:
        return self._opened[-1] if self._opened else self._root

    def close(self) -> None:
        while self._opened:
            os.close(self._opened.pop())

    def go(self, parts: list[str], *, final: bool) -> str:
        """Enter all folders of `parts`; with `final` all but the last, which is returned as a name."""
        waiting = list(reversed(parts))
        while waiting:
            part = waiting.pop()
            if part == "..":
                self._leave()
                continue
            self._guard(part)
            is_last = final and not waiting
            target = self._link_target(part) if self._follow or not is_last else None
            if target is not None:
                waiting.extend(reversed(self._followed(part, target)))
            elif is_last:
                return part
            else:
                self._enter(part)
        if final:
            raise InvalidInput(f"not a file name: {self._path}", path=self._path)
        return ""

    def _leave(self) -> None:
        if not self._opened:
            raise PathEscape(self._path)
        os.close(self._opened.pop())

    def _guard(self, part: str) -> None:
        if self._guards_git and part.casefold() == ".git":
            raise InvalidInput(f"the repository's own files are not written: {self._path}", path=self._path)

    def _link_target(self, part: str) -> str | None:
        state = _lstat(self.folder, part)
        if state is None or not stat.S_ISLNK(state.st_mode):
            return None
        return os.readlink(part, dir_fd=self.folder)

    def _followed(self, part: str, target: str) -> list[str]:
        self._links += 1
        if not self._follow or target.startswith("/"):
            raise PathEscape(self._path)
        if self._links > _LINK_LIMIT:
            raise InvalidInput(f"too many links: {self._path}", path=self._path, link=part)
        return [each for each in target.split("/") if each not in ("", ".")]

    def _enter(self, part: str) -> None:
        try:
            fd = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=self.folder)
        except FileNotFoundError:
            if not self._make:
                raise
            with suppress(FileExistsError):
                os.mkdir(part, 0o777, dir_fd=self.folder)
            fd = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=self.folder)
        self._opened.append(fd)


@contextmanager
def open_root(path: Path, *, use_openat2: bool = True) -> Generator[WorktreeRoot, None, None]:
    """Hold a folder open. `use_openat2=False` forces the way of kernels that lack it.

    Raises:
        NotFound: there is no such folder.
    """
    try:
        fd = os.open(path, _FOLDER)
    except OSError as error:
        raise NotFound(f"no such folder: {path}", path=os.fspath(path)) from error
    try:
        yield WorktreeRoot(fd, path, use_openat2=use_openat2)
    finally:
        os.close(fd)


@contextmanager
def _spoken(path: str) -> Generator[None, None, None]:
    """The system's errors in our words."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"no such file: {path}", path=path) from error
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise PathEscape(path) from error
        if error.errno in _NOT_ABOUT_THE_PATH:
            raise Unavailable(f"{os.strerror(error.errno).lower()}: {path}", path=path) from error
        raise InvalidInput(f"{os.strerror(error.errno or 0).lower()}: {path}", path=path) from error
    except ValueError as error:
        raise InvalidInput(f"not a path: {path!r}", path=path) from error


def _nothing_at(error: NotFound | InvalidInput) -> None:
    """Below a file there is nothing; any other error stands."""
    if not isinstance(error, NotFound) and not isinstance(error.__cause__, NotADirectoryError):
        raise error


def _lstat(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _stamp(found: os.stat_result) -> tuple[int, ...]:
    if stat.S_ISDIR(found.st_mode):
        return (found.st_ino, 0, 0, 0, found.st_mode)
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_mode)


def _state(folder: int, name: str) -> FileState | None:
    found = _lstat(folder, name)
    if found is None:
        return None
    stamp = _stamp(found)
    mode = stat.S_IMODE(found.st_mode)
    if stat.S_ISLNK(found.st_mode):
        return FileState("link", os.readlink(os.fsencode(name), dir_fd=folder), mode, stamp)
    if stat.S_ISDIR(found.st_mode):
        return FileState("folder", b"", mode, stamp)
    if not stat.S_ISREG(found.st_mode):
        return FileState("other", b"", mode, stamp)
    if found.st_size > STATE_LIMIT:
        raise TooLarge(f"file is over {STATE_LIMIT} bytes: {name}", limit=STATE_LIMIT)
    fd = os.open(name, _READ | os.O_NOFOLLOW, dir_fd=folder)
    try:
        return FileState("file", _read_all(fd, STATE_LIMIT), mode, stamp)
    finally:
        os.close(fd)


def _read_all(fd: int, limit: int) -> bytes:
    with os.fdopen(fd, "rb", closefd=False) as file:
        return file.read(limit)


def _temporary_name(token: str = "write") -> str:
    return f".coder-{token}-{secrets.token_hex(8)}"


def _write_temporary(
    folder: int, content: bytes, mode: int | None, name: str, *, is_executable: bool | None = None
) -> str:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, flags, 0o666, dir_fd=folder)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            bits = stat.S_IMODE(os.fstat(fd).st_mode) if mode is None else mode
            if is_executable is not None:
                bits = bits & ~0o111 | ((bits & 0o444) >> 2 if is_executable else 0)
            os.fchmod(fd, bits)
    except BaseException:
        os.unlink(name, dir_fd=folder)
        raise
    return name


def _remove_folders(folder: int, name: str) -> None:
    """A folder with nothing but folders in it; one that holds anything else stays."""
    for _, children, _, fd in os.fwalk(name, topdown=False, dir_fd=folder):
        for child in children:
            os.rmdir(child, dir_fd=fd)
    os.rmdir(name, dir_fd=folder)


def _move_in(folder: int, temporary: str, name: str) -> None:
    try:
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(temporary, dir_fd=folder)
        raise
