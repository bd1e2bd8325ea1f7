"""The servers that run, each for those who live in its home: the first one in starts it, the last one out ends it.

A server that is retired takes nobody new: who comes then starts another one in the same home, and those who are left
go on beside it until they leave.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

import anyio
from anyio.abc import TaskGroup

from coder.backends.base import SessionOptions
from coder.backends.held import open_group
from coder.backends.opencode.home import Home, home_of
from coder.backends.opencode.server import Server
from coder.backends.turn import AgentLimits
from coder.model.providers import Provider
from coder.processes.confinement import Confinement
from coder.processes.supervisor import Supervisor


@dataclass
class _Running:
    server: Server
    users: int = 0


class Servers:
    """At most one server of a home takes sessions in. Made by `open_servers`."""

    def __init__(self, group: TaskGroup, supervisor: Supervisor, limits: AgentLimits, folder: Path) -> None:
        self._group = group
        self._supervisor = supervisor
        self._limits = limits
        self._folder = folder
        self._running: dict[Path, _Running] = {}
        self._doors: WeakValueDictionary[Path, anyio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def lease(
        self,
        provider: Provider,
        command: tuple[str, ...],
        env: Mapping[str, str],
        options: SessionOptions,
        confinement: Confinement | None = None,
    ) -> AsyncGenerator[Server]:
        """The server for a session: its own, or the one of its project where the provider's sessions share one.

        One that already runs was started with the command and variables of then.

        Raises:
            ServerUnavailable, AgentUnavailable: as `Server.open` does.
        """
        home = home_of(self._folder, provider, options)
        worktree = None if provider.share_server else options.worktree_path
        supervisor, limits = self._supervisor, self._limits
        server = Server(
            provider.label,
            command,
            env,
            home,
            worktree,
            supervisor=supervisor,
            limits=limits,
            confinement=confinement,
        )
        running = await self._join(home, server)
        try:
            yield running.server
        finally:
            with anyio.CancelScope(shield=True):
                await self._leave(home, running)

    async def _join(self, home: Home, fresh: Server) -> _Running:
        async with self._door(home):
            running = self._running.get(home.folder)
            if running is None or not running.server.is_up or running.server.is_retired:
                if running is not None and not running.server.is_up:
                    # it may still be writing, and what it started may be running
                    await running.server.gone.wait()
                await fresh.open(self._group)
                running = self._running[home.folder] = _Running(fresh)
            running.users += 1
            return running

    async def _leave(self, home: Home, running: _Running) -> None:
        running.users -= 1
        if running.users:
            return
        if not running.server.gone.is_set():
            async with self._door(home):
                if running.users:
                    return
                await running.server.close()
        if self._running.get(home.folder) is running:
            del self._running[home.folder]

    def _door(self, home: Home) -> anyio.Lock:
        """Held by who starts or ends the server of a home; it lasts as long as somebody waits at it."""
        return self._doors.setdefault(home.folder, anyio.Lock())


@asynccontextmanager
async def open_servers(supervisor: Supervisor, limits: AgentLimits, folder: Path) -> AsyncGenerator[Servers]:
    """No server yet; leaving ends those that are left. What they keep lies in `folder`, by session or project."""
    async with open_group() as group:
        yield Servers(group, supervisor, limits, folder)
