"""Seeing a child process end, without a thread and without asking again and again."""

import asyncio
import os
import subprocess
from collections.abc import Callable

import anyio

_POLL = 0.05
_UNKNOWN = 255
"""What is told when somebody else has reaped the child."""


class ExitWatch:
    """Sees the end of one child through a pidfd, and leaves the zombie until `close`.

    As long as it is not reaped its number, and with it the number of its group and session, belongs to nobody else.
    Where there is no pidfd the child is looked at every 50 ms.
    """

    def __init__(self, process: subprocess.Popen[bytes], on_exit: Callable[[], None]) -> None:
        self._process = process
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._ended = anyio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self.returncode: int | None = None
        self._pidfd = _open_pidfd(process.pid)
        if self._pidfd is None:
            self._poll()
        else:
            self._loop.add_reader(self._pidfd, self._look)

    async def wait(self) -> int:
        """The exit status; negative is the number of the signal that ended it."""
        while self.returncode is None:
            await self._ended.wait()
        return self.returncode

    def close(self) -> None:
        """Reap the child if it has ended and stop looking."""
        self._forget()
        if self._timer is not None:
            self._timer.cancel()
        self._process.poll()

    def _look(self) -> None:
        returncode = _peek(self._process)
        if returncode is None:
            return
        self.returncode = returncode
        self._forget()
        self._ended.set()
        self._on_exit()

    def _poll(self) -> None:
        self._look()
        if self.returncode is None:
            self._timer = self._loop.call_later(_POLL, self._poll)

    def _forget(self) -> None:
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None


def _open_pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _peek(process: subprocess.Popen[bytes]) -> int | None:
    if not hasattr(os, "waitid"):
        return process.poll()
    try:
        result = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return _UNKNOWN
    if result is None:
        return None
    return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status
