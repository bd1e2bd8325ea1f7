"""Terminals an agent runs through its client: commands in the worktree, their output kept up to a limit."""

import codecs
import itertools
import logging
import math
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio.abc import TaskGroup, TaskStatus

from coder.errors import AgentUnavailable
from coder.json_values import clean_text
from coder.model.tool_calls import TerminalOutput
from coder.processes.child import Child, ChildSpec, StopTimes
from coder.processes.confinement import Confinement
from coder.processes.supervisor import Supervisor

logger = logging.getLogger(__name__)

DEFAULT_OUTPUT = 1024 * 1024
MOST_OUTPUT = 8 * 1024 * 1024
"""Bytes of output a terminal keeps, whatever more the agent asks for."""
MOST_TERMINALS = 32
"""Terminals that may be open at once."""
_SHOW_EVERY = 0.25
"""Seconds between two looks that a viewer gets at a running terminal."""
_STOP = StopTimes(polite=0.0, terminate=2.0, kill=2.0)

OnNews = Callable[[TerminalOutput], Awaitable[None]]


@dataclass
class Terminal:
    """One command: running, or ended with its output kept until it is released."""

    id: str
    limit: int
    output: bytearray = field(default_factory=bytearray)
    is_truncated: bool = False
    returncode: int | None = None
    life: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ended: anyio.Event = field(default_factory=anyio.Event)

    def add(self, chunk: bytes) -> None:
        """Keep the last `limit` bytes, cut in front of a whole character."""
        self.output += chunk
        if len(self.output) <= self.limit:
            return
        self.is_truncated = True
        start = len(self.output) - self.limit
        while start < len(self.output) and 0x80 <= self.output[start] < 0xC0:
            start += 1
        del self.output[:start]

    def text(self) -> str:
        """The output so far; a character that has arrived in part waits for its rest."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        return clean_text(decoder.decode(bytes(self.output), final=self.ended.is_set()))

    @property
    def exit_code(self) -> int | None:
        return self.returncode if self.returncode is not None and self.returncode >= 0 else None

    @property
    def signal(self) -> str | None:
        if self.returncode is None or self.returncode >= 0:
            return None
        try:
            return signal.Signals(-self.returncode).name
        except ValueError:
            return str(-self.returncode)

    def snapshot(self) -> TerminalOutput:
        return TerminalOutput(
            terminal_id=self.id,
            output=self.text(),
            truncated=self.is_truncated,
            exit_code=self.exit_code,
            signal=self.signal,
        )


class Terminals:
    """The terminals of one agent. Their commands run in tasks of `group` and end with it, confined as the agent is."""

    def __init__(
        self,
        supervisor: Supervisor,
        group: TaskGroup,
        env: Mapping[str, str],
        on_news: OnNews,
        confinement: Confinement | None = None,
    ) -> None:
        self._confinement = confinement
        self._supervisor = supervisor
        self._group = group
        self._env = env
        self._on_news = on_news
        self._open: dict[str, Terminal] = {}
        self._numbers = itertools.count(1)

    async def create(self, argv: tuple[str, ...], cwd: Path, env: Mapping[str, str], limit: int | None) -> Terminal:
        """Start a command.

        Raises:
            AgentUnavailable: it cannot be started, or too many terminals are open.
        """
        if len(self._open) >= MOST_TERMINALS:
            raise AgentUnavailable(f"{MOST_TERMINALS} terminals are open already")
        bounded = DEFAULT_OUTPUT if limit is None else max(0, min(limit, MOST_OUTPUT))
        terminal = Terminal(f"term-{next(self._numbers)}", bounded)
        variables = {**self._env, **env}
        spec = ChildSpec(argv, cwd, variables, has_merged_stderr=True, stop=_STOP, confinement=self._confinement)
        await self._group.start(self._hold, terminal, spec)
        self._open[terminal.id] = terminal
        return terminal

    def get(self, id: str) -> Terminal | None:
        return self._open.get(id)

    async def kill(self, terminal: Terminal) -> None:
        """End the command and all it started; its output stays."""
        terminal.life.cancel()
        await terminal.ended.wait()

    async def release(self, terminal: Terminal) -> None:
        """End the command if it runs and forget the terminal."""
        self._open.pop(terminal.id, None)
        await self.kill(terminal)

    async def _hold(self, terminal: Terminal, spec: ChildSpec, *, task_status: TaskStatus[None]) -> None:
        async with self._supervisor.open_child(spec) as child:
            task_status.started()
            try:
                with terminal.life:
                    await child.close_stdin()
                    await self._read(terminal, child)
                    await child.wait()
            finally:
                with anyio.CancelScope(shield=True):
                    await child.stop()
                terminal.returncode = child.returncode
                terminal.ended.set()
            await self._on_news(terminal.snapshot())

    async def _read(self, terminal: Terminal, child: Child) -> None:
        has_news = False
        while True:
            chunk = b""
            with anyio.move_on_after(_SHOW_EVERY if has_news else math.inf):
                try:
                    chunk = await child.receive()
                except anyio.EndOfStream:
                    return
            if chunk:
                terminal.add(chunk)
                has_news = True
            elif has_news:
                await self._on_news(terminal.snapshot())
                has_news = False
