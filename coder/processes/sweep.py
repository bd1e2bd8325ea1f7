"""Find and end processes by the tag in their environment, whatever group, session or parent they have now.

Only the standard library is imported: run as a script by an isolated interpreter, this file is the watchdog that
outlives the host. A tag is `<home>:<run>:<child>`; a prefix of it that ends before a colon stands for all below it.
Where there is no /proc nothing can be found, and callers are left with signalling process groups.
"""

import os
import signal
import sys
import time
from collections.abc import Collection
from typing import NamedTuple

VARIABLE = "CODER_CHILD"
_ENTRY = f"{VARIABLE}=".encode()
_PROC = "/proc"
_PAUSE = 0.05

HAS_PROC = os.path.exists("/proc/self/environ")  # noqa: PTH110 - runs before anything else in the watchdog


class Identity(NamedTuple):
    """A process for good: a number alone is given out again."""

    pid: int
    started: int


class _Row(NamedTuple):
    parent: int
    session: int
    started: int


def find_owned(tag: str, *, leader: int | None = None, known: Collection[Identity] = ()) -> frozenset[Identity]:
    """Every living process with `tag`, in the session of `leader` or `known`, and whatever descends from these.

    Zombies do not count; the caller and its ancestors never do.
    """
    rows = _rows()
    spared = _with_ancestors(rows, os.getpid())
    remembered = set(known)
    owned = {
        pid
        for pid, row in rows.items()
        if pid not in spared
        and (row.session == leader or Identity(pid, row.started) in remembered or _carries(pid, tag))
    }
    children: dict[int, list[int]] = {}
    for pid, row in rows.items():
        children.setdefault(row.parent, []).append(pid)
    waiting = list(owned)
    while waiting:
        for pid in children.get(waiting.pop(), ()):
            if pid not in owned and pid not in spared:
                owned.add(pid)
                waiting.append(pid)
    return frozenset(Identity(pid, rows[pid].started) for pid in owned)


def resident_bytes(tag: str) -> dict[str, int]:
    """How much memory everything below `tag` holds now, by the next part of its own tag, all from one look.

    What carries none counts for the leader of its session, else for what it descends from.
    """
    rows = _rows()
    begin = f"{tag}:"
    owners = {pid: found.removeprefix(begin).split(":")[0] for pid in rows if (found := _tag_of(pid)).startswith(begin)}
    sizes: dict[str, int] = {}
    for pid in rows:
        line = _with_ancestors(rows, pid)
        owner = next((owners[one] for one in (*line[:1], rows[pid].session, *line[1:]) if one in owners), None)
        if owner is not None:
            sizes[owner] = sizes.get(owner, 0) + _resident_pages(pid)
    page = os.sysconf("SC_PAGE_SIZE")
    return {owner: pages * page for owner, pages in sizes.items()}


def _resident_pages(pid: int) -> int:
    try:
        with open(f"{_PROC}/{pid}/statm") as file:  # noqa: PTH123 - as everywhere in the watchdog
            return int(file.read().split()[1])
    except (OSError, IndexError):
        return 0


def find_runs(home: str) -> frozenset[str]:
    """The runs of `home` that still have a living process."""
    prefix = f"{home}:"
    values = (_tag_of(pid) for pid in _rows())
    return frozenset(value.removeprefix(prefix).split(":")[0] for value in values if value.startswith(prefix))


def send(process: Identity, number: int) -> None:
    """Signal exactly this process; one that is gone or foreign by now is left alone."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):
        handle = None
    try:
        row = _row(process.pid)
        if row is None or row.started != process.started:
            return
        if handle is None:
            os.kill(process.pid, number)
        else:
            signal.pidfd_send_signal(handle, number)
    except (ProcessLookupError, PermissionError):
        return
    finally:
        if handle is not None:
            os.close(handle)


def end_tagged(tag: str, *, grace: float, limit: float, quiet: int = 1) -> frozenset[Identity]:
    """Ask with SIGTERM, insist with SIGKILL after `grace` seconds, until `quiet` looks in a row found nothing.

    Gives up after `limit` seconds; returns what is left then. Blocks: call it in a thread.
    """
    begun = time.monotonic()
    asked: set[Identity] = set()
    calm = 0
    while True:
        owned = find_owned(tag)
        calm = 0 if owned else calm + 1
        elapsed = time.monotonic() - begun
        if calm >= quiet or elapsed > limit:
            return owned
        for process in owned:
            if elapsed >= grace:
                send(process, signal.SIGKILL)
            elif process not in asked:
                ask(process)
        asked |= owned
        time.sleep(_PAUSE)


def ask(process: Identity) -> None:
    """SIGTERM, and SIGCONT so that a stopped process hears it."""
    send(process, signal.SIGTERM)
    send(process, signal.SIGCONT)


def _rows() -> dict[int, _Row]:
    if not HAS_PROC:
        return {}
    rows = ((int(name), _row(int(name))) for name in os.listdir(_PROC) if name.isdigit())  # noqa: PTH208
    return {pid: row for pid, row in rows if row is not None}


def _row(pid: int) -> _Row | None:
    try:
        with open(f"{_PROC}/{pid}/stat", "rb") as file:  # noqa: PTH123
            text = file.read()
    except OSError:
        return None
    # the name in parentheses may hold anything, parentheses too
    fields = text[text.rfind(b")") + 2 :].split()
    if len(fields) < 20 or fields[0] in (b"Z", b"X"):
        return None
    return _Row(parent=int(fields[1]), session=int(fields[3]), started=int(fields[19]))


def _tag_of(pid: int) -> str:
    try:
        with open(f"{_PROC}/{pid}/environ", "rb") as file:  # noqa: PTH123
            text = file.read()
    except OSError:
        return ""
    if _ENTRY not in text:
        return ""
    entries = [entry for entry in text.split(b"\0") if entry.startswith(_ENTRY)]
    return entries[0].removeprefix(_ENTRY).decode(errors="replace") if entries else ""


def _carries(pid: int, tag: str) -> bool:
    value = _tag_of(pid)
    return value == tag or value.startswith(f"{tag}:")


def _with_ancestors(rows: dict[int, _Row], pid: int) -> list[int]:
    """The process, its parent, and so on."""
    found: list[int] = []
    while pid in rows and pid not in found:
        found.append(pid)
        pid = rows[pid].parent
    return found


def watch(tag: str) -> None:
    """Wait on standard input: a byte is a farewell; end of file is the host's death, and everything tagged is ended."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if not os.read(0, 1):
        # three looks: a child that was between fork and exec when the host died carries no tag yet
        end_tagged(tag, grace=2.0, limit=60.0, quiet=3)


if __name__ == "__main__":
    watch(sys.argv[1])
