"""Processes of one test, known by a variable in their environment; found without the code under test."""

import os
import secrets
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from coder.processes.child import Child, ChildSpec, StopTimes
from coder.processes.supervisor import open_supervisor

QUICK = StopTimes(polite=0.3, terminate=0.3, kill=3)


class Mark:
    """A variable that all children of a test carry."""

    def __init__(self) -> None:
        self.value = secrets.token_hex(8)
        self.environment = {"PATH": os.environ["PATH"], "TEST_MARK": self.value}

    def living(self) -> list[int]:
        """Who carries the mark; a zombie has no environment."""
        entry = f"TEST_MARK={self.value}".encode()
        return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and entry in _environ(path)]

    async def wait_for(self, count: int) -> list[int]:
        """Wait until exactly so many are alive."""
        with anyio.fail_after(20):
            while len(found := self.living()) != count:
                await anyio.sleep(0.02)
        return found


def shell(mark: Mark, script: str, folder: Path, *, stop: StopTimes = QUICK) -> ChildSpec:
    return ChildSpec(("sh", "-c", script), folder, mark.environment, stop=stop)


def python(mark: Mark, script: str, folder: Path, *, write_timeout: float = 30) -> ChildSpec:
    argv = (sys.executable, "-I", "-S", "-c", script)
    return ChildSpec(argv, folder, mark.environment, stop=QUICK, write_timeout=write_timeout)


@asynccontextmanager
async def running(spec: ChildSpec, home: Path) -> AsyncGenerator[Child]:
    """A child under a supervisor of its own; no test may hang."""
    with anyio.fail_after(30):
        async with open_supervisor(home, "run1") as supervisor, supervisor.open_child(spec) as child:
            yield child


async def drain(child: Child) -> list[bytes]:
    lines: list[bytes] = []
    while True:
        try:
            lines += await child.receive_lines()
        except anyio.EndOfStream:
            return lines


def _environ(path: Path) -> bytes:
    try:
        return (path / "environ").read_bytes()
    except OSError:
        return b""
