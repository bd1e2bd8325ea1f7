"""Every child is started here, and none outlives the host."""

import asyncio
import fcntl
import hashlib
import itertools
import logging
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import anyio

from coder.errors import HostConfigError
from coder.processes import sweep
from coder.processes.census import Census
from coder.processes.child import Child, ChildSpec, run_child
from coder.processes.exit import ExitWatch

logger = logging.getLogger(__name__)

_SWEEP_GRACE = 1.0
_SWEEP_LIMIT = 5.0
_FAREWELL_LIMIT = 2.0
_RESTART_PAUSE = 1.0


class Supervisor:
    """Starts children that carry this run's tag."""

    def __init__(self, tag: str) -> None:
        self._tag = tag
        self._numbers = itertools.count(1)
        self._threads = anyio.CapacityLimiter(2)
        self._census = Census(tag, self._threads)

    def open_child(self, spec: ChildSpec) -> AbstractAsyncContextManager[Child]:
        """Start a program; leaving the context stops it and everything it started.

        Raises:
            AgentUnavailable: the program or the folder is missing, or the system refuses to start it.
        """
        return run_child(spec, f"{self._tag}:{next(self._numbers)}", self._threads, self._census)


@asynccontextmanager
async def open_supervisor(home: Path, run_id: str) -> AsyncGenerator[Supervisor]:
    """End what dead runs of this home have left, then keep watch over this run.

    A watchdog process ends the run's children when the host dies, by whatever signal.

    Raises:
        HostConfigError: `home` cannot be written, or another process is running under this `run_id`.
    """
    home_id = await anyio.to_thread.run_sync(_id_of, home)
    tag = f"{home_id}:{run_id}"
    runs = home / "runs"
    with _hold_run(runs, run_id):
        await anyio.to_thread.run_sync(_sweep_dead_runs, home_id, runs, run_id)
        watchdog = Watchdog(tag)
        try:
            yield Supervisor(tag)
        finally:
            with anyio.CancelScope(shield=True):
                left = await anyio.to_thread.run_sync(_sweep, tag)
                await watchdog.dismiss(has_work=bool(left))


def find_leftovers(home: Path) -> list[int]:
    """Processes that dead runs of a home have left. Blocks."""
    home_id = _id_of(home)
    dead = [run for run in sweep.find_runs(home_id) if not _is_alive(home / "runs" / f"{run}.lock")]
    return sorted(process.pid for run in dead for process in sweep.find_owned(f"{home_id}:{run}"))


class Watchdog:
    """The process that outlives the host just long enough to end its children. It is replaced whenever it dies."""

    def __init__(self, tag: str) -> None:
        self._tag = tag
        self._loop = asyncio.get_running_loop()
        self._is_dismissed = False
        self._timer: asyncio.TimerHandle | None = None
        self._start()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def dismiss(self, *, has_work: bool) -> None:
        """Let it go. With `has_work` it goes on ending what is left, alone."""
        self._is_dismissed = True
        if self._timer is not None:
            self._timer.cancel()
        if not has_work:
            with suppress(OSError):
                os.write(self._pipe, b"\n")
        os.close(self._pipe)
        if has_work:
            logger.error("children left to the watchdog", extra={"pid": self.pid})
            return
        with anyio.move_on_after(_FAREWELL_LIMIT):
            await self._exit.wait()
        if self._exit.returncode is None:
            self._process.kill()
            await self._exit.wait()
        self._exit.close()

    def _start(self) -> None:
        self._timer = None
        end, pipe = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", sweep.__file__, self._tag],
                cwd="/",
                env={},
                stdin=end,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            os.close(pipe)
            raise
        finally:
            os.close(end)
        self._pipe = pipe
        self._exit = ExitWatch(self._process, self._on_exit)

    def _on_exit(self) -> None:
        if self._is_dismissed:
            return
        logger.error("watchdog died", extra={"pid": self.pid, "returncode": self._exit.returncode})
        self._exit.close()
        os.close(self._pipe)
        self._restart()

    def _restart(self) -> None:
        try:
            self._start()
        except OSError:
            logger.exception("watchdog cannot be started")
            self._timer = self._loop.call_later(_RESTART_PAUSE, self._restart)


def _id_of(home: Path) -> str:
    return hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:16]


@contextmanager
def _hold_run(runs: Path, run_id: str) -> Generator[None]:
    """A locked file says that this run lives; the system lets go of the lock when the host dies."""
    path = runs / f"{run_id}.lock"
    try:
        runs.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HostConfigError(f"cannot write to {runs}: {error.strerror}") from error
    try:
        if not _lock(fd):
            raise HostConfigError(f"run {run_id} is already going on in {runs.parent}")
        yield
        path.unlink(missing_ok=True)
    finally:
        os.close(fd)


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sweep_dead_runs(home_id: str, runs: Path, run_id: str) -> None:
    for run in sweep.find_runs(home_id) - {run_id}:
        if not _is_alive(runs / f"{run}.lock"):
            logger.warning("ending what a dead run has left", extra={"run": run})
            _sweep(f"{home_id}:{run}")
    for path in runs.glob("*.lock"):
        if path.stem != run_id and not _is_alive(path):
            path.unlink(missing_ok=True)


def _is_alive(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _lock(fd)
    finally:
        os.close(fd)


def _sweep(tag: str) -> frozenset[sweep.Identity]:
    left = sweep.end_tagged(tag, grace=_SWEEP_GRACE, limit=_SWEEP_LIMIT)
    if left:
        logger.error("processes do not end", extra={"pids": sorted(process.pid for process in left)})
    return left
