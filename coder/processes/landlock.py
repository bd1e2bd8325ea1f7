"""A program that confines itself with Landlock and becomes the program that it is told to start.

Landlock lets anyone talk to any socket in the file system, the database's and Docker's among them. So a seccomp filter
goes with it that lets no socket of that kind be made (pairs of them may), and capabilities are given up.

Only the standard library is imported: an isolated interpreter runs this file, `landlock.py [KIND PATH]… -- PROGRAM
[ARGUMENT]…`, where KIND is read, write, list or use. Whatever goes wrong ends it with status 126.
"""

import ctypes
import errno
import os
import stat
import sys

LEAST_ABI = 3
"""Older kernels (before Linux 6.2) let a file anywhere be cut short."""

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _DROP_CAPABILITY = 38, 22, 24
_FILTER = 2
_CAPABILITIES = 64
_CAPABILITIES_VERSION = 0x20080522
_FAILED = 126

_PROCESSORS = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""What the kernel calls each, and its number for making a socket."""
_OTHER_TABLE = 0x40000000
_IO_URING_SETUP = 425
_UNIX = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_REFER, _TRUNCATE, _IOCTL = 1 << 13, 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_SCOPED = 1 | 2
"""No abstract sockets of others (ABI 6) and no signals to others (ABI 6)."""


class _Ruleset(ctypes.Structure):
    _fields_ = [("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32)]


class _Step(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("k", ctypes.c_uint32)]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("steps", ctypes.POINTER(_Step))]


def _call(*arguments: object) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    result = int(library.syscall(*arguments))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def find_abi() -> int:
    """The version of Landlock that the kernel has; 0 where there is none."""
    if sys.platform != "linux":
        return 0
    try:
        return _call(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    except OSError:
        return 0


def confine(rules: "list[tuple[str, str]]") -> None:
    """Confine this process and all it starts, for ever. `rules` are kinds and paths; `use` is for devices.

    Raises:
        OSError: the kernel refuses.
    """
    abi = find_abi()
    if os.uname().machine not in _PROCESSORS:
        raise OSError(errno.ENOSYS, f"the system calls of {os.uname().machine} are not known")
    if abi < LEAST_ABI:
        raise OSError(errno.ENOSYS, f"Landlock has version {abi}, at least {LEAST_ABI} is needed")
    every = (1 << (16 if abi >= 5 else 15)) - 1
    attributes = _Ruleset(every, 0, _SCOPED if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _call(_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), 0)
    rights = {"read": _READ, "write": every & ~_IOCTL, "list": _READ_DIR, "use": every & (_OF_FILES | _READ_DIR)}
    for kind, path in rules:
        _allow(ruleset, path, rights[kind])
    _give_up_capabilities()
    _control(_NO_NEW_PRIVILEGES, 1, 0)
    _refuse_sockets()
    _call(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _control(*arguments: object) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(*arguments, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _give_up_capabilities() -> None:
    library = ctypes.CDLL(None, use_errno=True)
    for capability in range(_CAPABILITIES):
        # those that the kernel does not know, and those that are not ours, are no loss
        library.prctl(_DROP_CAPABILITY, capability, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0)
    if library.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)())) != 0:
        raise OSError(ctypes.get_errno(), "capabilities cannot be given up")


def _refuse_sockets() -> None:
    """No unix sockets, nor the ways around: another system call table, or work handed to the kernel."""
    processor, socket = _PROCESSORS[os.uname().machine]
    load, equal, least, end = 0x20, 0x15, 0x35, 0x06
    allow, refuse, unknown = 0x7FFF0000, 0x00050000 | errno.EACCES, 0x00050000 | errno.ENOSYS
    steps = (
        (load, 0, 0, 4),
        (equal, 0, 7, processor),
        (load, 0, 0, 0),
        (least, 5, 0, _OTHER_TABLE),
        (equal, 4, 0, _IO_URING_SETUP),
        (equal, 0, 4, socket),
        (load, 0, 0, 16),
        (equal, 0, 2, _UNIX),
        (end, 0, 0, refuse),
        (end, 0, 0, unknown),
        (end, 0, 0, allow),
    )
    program = _Program(len(steps), (_Step * len(steps))(*steps))
    _control(_SET_SECCOMP, _FILTER, ctypes.byref(program))


def _allow(ruleset: int, path: str, allowed: int) -> None:
    try:
        folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(folder).st_mode):
            allowed &= _OF_FILES
        rule = _Beneath(allowed, folder)
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(folder)


def main(*words: str) -> None:
    """Become the program, confined; never returns."""
    end = next(place for place in range(0, len(words), 2) if words[place] == "--")
    program = words[end + 1]
    try:
        confine(list(zip(words[0:end:2], words[1:end:2], strict=True)))
        os.execv(program, words[end + 1 :])
    except OSError as error:
        sys.stderr.write(f"cannot start {program} under Landlock: {error.strerror}\n")
        sys.exit(_FAILED)


if __name__ == "__main__":
    main(*sys.argv[1:])
