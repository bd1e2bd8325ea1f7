"""One supervised child: its pipes, its exit, and the ladder that ends it and everything it started."""

import fcntl
import logging
import os
import signal
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import anyio

from coder.errors import AgentDied, AgentUnavailable
from coder.processes import sweep
from coder.processes.census import Census
from coder.processes.confinement import Confinement
from coder.processes.environment import find_program
from coder.processes.exit import ExitWatch
from coder.processes.pipes import CHUNK, LineReader, PipeReader, PipeWriter, TailReader
from coder.processes.sandbox import confined

logger = logging.getLogger(__name__)

_LOOK = 0.03
"""Seconds between two looks for what is left of a tree."""


@dataclass(frozen=True)
class StopTimes:
    """Seconds each rung of the ladder may take; together the whole tree is gone within 12."""

    polite: float = 3.0
    terminate: float = 5.0
    kill: float = 3.0


@dataclass(frozen=True)
class ChildSpec:
    """What to start. `env` is the whole environment; a bare `argv[0]` is looked for in its PATH."""

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    line_limit: int = 16 * 1024 * 1024
    stderr_limit: int = 256 * 1024
    write_timeout: float = 30.0
    has_merged_stderr: bool = False
    """Send stderr the way of stdout, as a terminal does."""
    stop: StopTimes = StopTimes()
    confinement: Confinement | None = None
    """What it may see and change; None is all that the host may."""

    @property
    def has_guard(self) -> bool:
        """Whether the process that is started only watches over the program, and takes it along when it ends."""
        return self.confinement is not None and self.confinement.sandbox.kind == "bubblewrap"


class Child:
    """A running program in its own session. Made by `Supervisor.open_child`."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        spec: ChildSpec,
        tag: str,
        threads: anyio.CapacityLimiter,
        census: Census,
    ) -> None:
        self.pid = process.pid
        self._spec = spec
        self._tag = tag
        self._threads = threads
        self._census = census
        self._stdin = PipeWriter(_taken(process.stdin), spec.write_timeout)
        self._stdout = PipeReader(_taken(process.stdout))
        self._lines = LineReader(self._stdout, spec.line_limit)
        self._stderr = TailReader(_taken(process.stderr), spec.stderr_limit) if process.stderr else None
        self._exit = ExitWatch(process, self._on_exit)
        self._stopped: anyio.Event | None = None

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative is the number of the signal that ended it."""
        code = self._exit.returncode
        # a guard says of a signal what a shell would
        return 128 - code if self._spec.has_guard and code is not None and code > 128 else code

    async def receive_lines(self) -> list[bytes]:
        """Every complete line that has arrived, at least one, without its newline. For one receiver.

        A child that nobody receives from is held up by its full pipe.

        Raises:
            anyio.EndOfStream: stdout is closed or the child has exited, and all was delivered.
            LineTooLong: the next line is over the limit; the child is of no use any more.
        """
        return await self._lines.receive_lines()

    async def receive(self) -> bytes:
        """All output that has arrived, at least one byte, not split; instead of `receive_lines`.

        Raises:
            anyio.EndOfStream: stdout is closed or the child has exited, and all was delivered.
        """
        return await self._stdout.receive()

    async def send(self, data: bytes) -> None:
        """Write all of `data`; calls from several tasks do not mix.

        Raises:
            AgentTimeout: the child did not read it within the deadline.
            AgentDied: the child has ended or closed its input.
        """
        try:
            await self._stdin.send(data)
        except AgentDied as error:
            raise self.death() from error

    async def close_stdin(self) -> None:
        """Let the child see the end of its input."""
        self._stdin.close()

    def stderr_tail(self) -> str:
        """The last of what the child wrote to stderr."""
        return self._stderr.text() if self._stderr else ""

    def death(self) -> AgentDied:
        """The error that says how the child ended, with the last of its stderr in `fields`."""
        words = "the agent does not read any more" if self.returncode is None else _describe(self.returncode)
        return AgentDied(words, returncode=self.returncode, stderr=self.stderr_tail()[-4096:])

    async def wait(self) -> int:
        """Wait for the child's own exit, whoever else holds its pipes; returns `returncode`."""
        await self._exit.wait()
        return _known(self.returncode)

    async def ask(self) -> None:
        """SIGTERM for the program, where it has no other way to be asked to end."""
        if self.returncode is not None:
            return
        if not self._spec.has_guard:
            os.kill(self.pid, signal.SIGTERM)
            return
        for process in await self._find(frozenset()):
            if process.pid != self.pid:
                sweep.ask(process)

    async def stop(self, polite: Callable[[], Awaitable[None]] | None = None) -> None:
        """End the child and everything it started: `polite` and end of input, then SIGTERM, then SIGKILL.

        Runs to its end once begun, cancelled or not; further calls wait for the first.
        """
        if self._stopped is not None:
            await self._stopped.wait()
            return
        self._stopped = anyio.Event()
        with anyio.CancelScope(shield=True):
            try:
                await self._descend(polite)
            finally:
                self._stopped.set()

    def close(self) -> None:
        """Give back the pipes and the process number."""
        self._stdin.close()
        self._stdout.close()
        if self._stderr:
            self._stderr.close()
        self._exit.close()

    def _on_exit(self) -> None:
        self._stdin.close()
        self._stdout.finish()

    async def _descend(self, polite: Callable[[], Awaitable[None]] | None) -> None:
        times = self._spec.stop
        # who is a descendant is seen only while the parents live
        known = await self._find(frozenset())
        await self._be_polite(polite, times.polite)
        known = await self._end(signal.SIGTERM, known, times.terminate)
        if known or self.returncode is None or not sweep.HAS_PROC:
            known = await self._end(signal.SIGKILL, known, times.kill)
        left = await self._find(known) if known else known
        if left or self.returncode is None:
            logger.error("child does not end", extra={"pid": self.pid, "left": sorted(p.pid for p in left)})

    async def _be_polite(self, polite: Callable[[], Awaitable[None]] | None, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            if polite is not None and self.returncode is None:
                with anyio.move_on_after(seconds / 2):
                    try:
                        await polite()
                    except Exception:
                        logger.warning("polite end failed", extra={"pid": self.pid}, exc_info=True)
            self._stdin.close()
            self._stdout.discard()
            await self._exit.wait()

    async def _end(
        self, number: signal.Signals, known: frozenset[sweep.Identity], seconds: float
    ) -> frozenset[sweep.Identity]:
        """Signal all that is left, newcomers too, until nothing is; returns what still lives after `seconds`."""
        asked: set[sweep.Identity] = set()
        self._signal_group(number)
        left = await self._find(known)
        is_calm = False
        with anyio.move_on_after(seconds):
            while not is_calm:
                for process in left:
                    if number is signal.SIGKILL:
                        sweep.send(process, number)
                    elif process not in asked and not (self._spec.has_guard and process.pid == self.pid):
                        sweep.ask(process)
                asked |= left
                with anyio.move_on_after(_LOOK):
                    await (anyio.sleep_forever() if self.returncode is not None else self._exit.wait())
                was_left, left = left, await self._find(known | left)
                # two looks: a program that was just being started shows its tag only after its exec
                is_calm = not (was_left or left) and self.returncode is not None
        return left

    async def resident_bytes(self) -> int:
        """How much memory the program and everything it started hold now; 0 where that cannot be told."""
        return await self._census.resident_bytes(self._tag)

    def _signal_group(self, number: signal.Signals) -> None:
        # where /proc is missing the group is all that can be reached: what left it is not found there
        with suppress(ProcessLookupError, PermissionError):
            if not sweep.HAS_PROC or number is signal.SIGKILL:
                os.killpg(self.pid, number)

    async def _find(self, known: frozenset[sweep.Identity]) -> frozenset[sweep.Identity]:
        def find() -> frozenset[sweep.Identity]:
            return sweep.find_owned(self._tag, leader=self.pid, known=known)

        return await anyio.to_thread.run_sync(find, limiter=self._threads)


@asynccontextmanager
async def run_child(spec: ChildSpec, tag: str, threads: anyio.CapacityLimiter, census: Census) -> AsyncGenerator[Child]:
    """Start a child that carries `tag`; leaving stops it and everything it started.

    Raises:
        AgentUnavailable: the program or the folder is missing, or the system refuses to start it.
    """
    child = Child(_spawn(spec, tag), spec, tag, threads, census)
    logger.debug("child started", extra={"pid": child.pid, "program": spec.argv[0]})
    try:
        yield child
    finally:
        with anyio.CancelScope(shield=True):
            await child.stop()
        child.close()
        logger.debug("child ended", extra={"pid": child.pid, "returncode": child.returncode})


def _spawn(spec: ChildSpec, tag: str) -> subprocess.Popen[bytes]:
    program = find_program(spec.argv[0], spec.env.get("PATH"))
    if program is None:
        raise AgentUnavailable(f"program not found: {spec.argv[0]}", program=spec.argv[0])
    if not spec.cwd.is_dir():
        raise AgentUnavailable(f"working directory does not exist: {spec.cwd}", program=spec.argv[0])
    argv, env = (program, *spec.argv[1:]), spec.env
    try:
        if spec.confinement is not None:
            argv, env = confined(spec.confinement, spec.cwd, argv), spec.confinement.environment(env)
        # no preexec_fn and close_fds only: anything more makes Python fork instead of vfork
        process = subprocess.Popen(
            argv,
            cwd=spec.cwd,
            env={**env, sweep.VARIABLE: tag},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if spec.has_merged_stderr else subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else error
        raise AgentUnavailable(f"cannot start {spec.argv[0]}: {words}", program=program) from error
    if process.stdout and hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):
            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, CHUNK)
    return process


def _known(returncode: int | None) -> int:
    assert returncode is not None
    return returncode


def _taken(pipe: IO[bytes] | None) -> int:
    assert pipe is not None
    fd = os.dup(pipe.fileno())
    pipe.close()
    return fd


def _describe(returncode: int) -> str:
    if returncode >= 0:
        return f"the agent ended with exit code {returncode}"
    try:
        return f"the agent was ended by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"the agent was ended by signal {-returncode}"
