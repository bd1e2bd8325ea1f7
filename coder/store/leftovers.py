"""Ends what a dead host left behind in a database folder, and nothing else.

The pid file alone proves nothing, its number may belong to a foreign process by now: only a process that works inside
the folder is taken for its server.
"""

import logging
import os
import signal
import subprocess
from pathlib import Path

import anyio
from anyio import to_thread

from coder.errors import HostConfigError

log = logging.getLogger(__name__)


async def end_leftovers(data: Path, sockets: Path) -> None:
    """End every server process of a data folder and remove the marks that would keep a new one from starting.

    Raises:
        HostConfigError: one of them does not end.
    """
    for number, seconds in ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
        pids = await to_thread.run_sync(server_pids, data)
        if not pids:
            break
        postmaster = _postmaster(data)
        # A backend takes SIGINT for the cancel of its query.
        for pid in [postmaster] if number is signal.SIGINT and postmaster in pids else pids:
            _signal(pid, number)
        with anyio.move_on_after(seconds):
            await _wait_until_gone(data)
    else:
        if pids := await to_thread.run_sync(server_pids, data):
            raise HostConfigError(f"PostgreSQL processes {sorted(pids)} still use {data} and do not end")
    await to_thread.run_sync(_remove_marks, data, sockets)


def _remove_marks(data: Path, sockets: Path) -> None:
    for path in (data / "postmaster.pid", *sockets.glob(".s.PGSQL.*")):
        path.unlink(missing_ok=True)


async def _wait_until_gone(data: Path) -> None:
    # They are not our children: there is nothing to wait on but their disappearance.
    while await to_thread.run_sync(server_pids, data):  # noqa: ASYNC110
        await anyio.sleep(0.02)


def server_pids(data: Path) -> frozenset[int]:
    """The processes of a PostgreSQL server that work inside a data folder."""
    if not Path("/proc/self/cwd").exists():
        return _server_pids_by_ps(data)
    wanted = data.stat()
    return frozenset(int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _works_in(entry, wanted))


def _works_in(entry: Path, folder: os.stat_result) -> bool:
    try:
        return (entry / "comm").read_text().strip() == "postgres" and os.path.samestat((entry / "cwd").stat(), folder)
    except OSError:
        return False


def _server_pids_by_ps(data: Path) -> frozenset[int]:
    done = subprocess.run(["/bin/ps", "-axo", "pid=,command="], capture_output=True, text=True)
    lines = [line.strip().partition(" ") for line in done.stdout.splitlines()]
    return frozenset(int(pid) for pid, _, command in lines if "postgres" in command and f"-D {data}" in command)


def read_pid_file(data: Path) -> list[str]:
    """The lines of postmaster.pid; none where there is no such file."""
    try:
        return (data / "postmaster.pid").read_text(errors="replace").splitlines()
    except OSError:
        return []


def _postmaster(data: Path) -> int | None:
    lines = read_pid_file(data)
    return int(lines[0]) if lines and lines[0].strip().isdigit() else None


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        log.debug("process %d is gone already", pid)
