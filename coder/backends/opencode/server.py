"""One running `opencode serve`: on the loopback, behind a password, held by one task from its start to its end."""

import logging
import re
import secrets
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup, TaskStatus

from coder.backends.held import Held
from coder.backends.opencode.home import PASSWORD, Home
from coder.backends.opencode.http import HEARTBEAT_SECONDS, Http
from coder.backends.turn import AgentLimits
from coder.backends.wire import fields, text
from coder.errors import AgentDied, AgentError, AgentTimeout, AgentUnavailable, CoderError
from coder.processes.child import Child, ChildSpec
from coder.processes.confinement import Confinement
from coder.processes.supervisor import Supervisor

logger = logging.getLogger(__name__)

TESTED_VERSION = "1.18.33"
ARGUMENTS = ("serve", "--hostname", "127.0.0.1", "--port", "0", "--print-logs", "--log-level", "ERROR")
_LISTENING = re.compile(rb"listening on (http://127\.0\.0\.1:\d+)")
_OBITUARY = 1.0
"""Seconds to wait for the exit code of a server that does not answer any more."""
_FAREWELL = 1.2
"""Seconds that turns may take to end when the server is told to stop."""
_LOOK = 0.05


class ServerUnavailable(AgentUnavailable):
    """There is no server to be had; the same program may do as an ACP agent."""


class Server(Held):
    """Up when it answers, and only to us; gone when it and all it started have ended.

    `end` says why from when `ending` is set. Without a `worktree` it is shared by those of one project.
    """

    def __init__(
        self,
        label: str,
        command: tuple[str, ...],
        env: Mapping[str, str],
        home: Home,
        worktree: Path | None,
        *,
        supervisor: Supervisor,
        limits: AgentLimits,
        confinement: Confinement | None = None,
    ) -> None:
        super().__init__()
        self._label = label
        self._command = command
        self._env = env
        self._home = home
        self._worktree = worktree
        self._supervisor = supervisor
        self._limits = limits
        self._confinement = confinement
        self._address: tuple[str, str] | None = None
        self._http: Http | None = None
        self.port: int | None = None
        self.version: str | None = None
        self._child: Child | None = None
        self.ending = anyio.Event()

    @property
    def http(self) -> Http:
        """Raises AgentError when the server never came up."""
        if self._http is None:
            raise self.end or AgentDied(f"{self._label} is not running")
        return self._http

    @property
    def is_shared(self) -> bool:
        return self._worktree is None

    def reach(self, worktree: Path) -> Http:
        """Requests that concern a worktree; for as long as the server is up. Raises AgentDied when it never was."""
        if self._address is None:
            raise self.end or AgentDied(f"{self._label} is not running")
        url, password = self._address
        silence = min(2.5 * HEARTBEAT_SECONDS, self._limits.inactivity)
        return Http(url, password, worktree, timeout=self._limits.request, silence=silence)

    async def open(self, group: TaskGroup) -> None:
        """Start the server.

        Raises:
            ServerUnavailable: it does not start, is not healthy, or does not demand its password.
            AgentUnavailable: the program is missing.
        """
        try:
            await super().open(group)
        except AgentUnavailable:
            raise
        except AgentError as error:
            raise ServerUnavailable(f"{self._label} server: {error}", stderr=error.fields.get("stderr")) from error

    async def resident_bytes(self) -> int:
        """How much memory the server and all it started hold now."""
        return await self._child.resident_bytes() if self._child and self.is_up else 0

    async def _hold(self, task_status: TaskStatus[None]) -> None:
        password = secrets.token_urlsafe(32)
        await to_thread.run_sync(self._home.prepare, self._env, TESTED_VERSION)
        spec = ChildSpec(
            (*self._command, *ARGUMENTS),
            self._home.cwd,
            {**self._home.environment(self._env, self._worktree), PASSWORD: password},
            write_timeout=self._limits.write,
            confinement=self._confinement,
        )
        spec = replace(spec, stop=replace(spec.stop, polite=2 * _FAREWELL))
        async with AsyncExitStack() as stack, self._supervisor.open_child(spec) as child:
            self._child = child
            try:
                with self._life:
                    self._address = await self._find(child), password
                    self._http = http = await stack.enter_async_context(self.reach(self._worktree or self._home.cwd))
                    await self._check_health(http)
                    self.is_up = True
                    task_status.started()
                    await self._drain(child)
                    await child.wait()
            finally:
                self.is_up = False
                with anyio.CancelScope(shield=True):
                    await self._bury(child)

    async def _find(self, child: Child) -> str:
        limits = self._limits
        try:
            with anyio.fail_after(limits.initialize):
                url = await self._read_address(child)
        except TimeoutError as error:
            raise AgentTimeout(f"did not begin to listen within {limits.initialize:g} s") from error
        except anyio.EndOfStream as error:
            await child.wait()
            raise self._death(child) from error
        await self._prove_closed(url)
        self.port = int(url.rpartition(":")[2])
        return url

    async def _read_address(self, child: Child) -> str:
        while True:
            for line in await child.receive_lines():
                if found := _LISTENING.search(line):
                    return found[1].decode()

    async def _prove_closed(self, url: str) -> None:
        async with Http(url, None, self._home.cwd, timeout=self._limits.request, silence=1) as stranger:
            if (status := await stranger.status("/global/health")) != 401:
                raise ServerUnavailable(f"{self._label} server answers strangers ({status}): it must not be used")

    async def _check_health(self, http: Http) -> None:
        health = fields(await http.get("/global/health"))
        self.version = text(health.get("version"))
        if health.get("healthy") is not True:
            raise ServerUnavailable(f"{self._label} server says it is not healthy")
        if self.version != TESTED_VERSION:
            logger.info("server of another version: %s", self.version, extra={"agent": self._label})

    async def _drain(self, child: Child) -> None:
        with suppress(anyio.EndOfStream):
            while True:
                await child.receive_lines()

    async def _bury(self, child: Child) -> None:
        """Say why the server is gone; then end it and what it started."""
        if self._life.cancel_called:
            self.end = self.end or AgentDied(f"{self._label} was ended by the host")
        elif self.end is None:
            with anyio.move_on_after(_OBITUARY):
                await child.wait()
            self.end = self._death(child)
        self.ending.set()

        async def say_goodbye() -> None:
            if self._http is not None:
                with anyio.move_on_after(_FAREWELL):
                    await self._dispose(self._http)
            # a server has no other way to be asked
            await child.ask()

        await child.stop(say_goodbye)

    async def _dispose(self, http: Http) -> None:
        """Let turns end: only then are their tools ended by the server itself."""
        try:
            # those who shared a server have left it, each with what it had running
            is_busy = not self.is_shared and bool(fields(await http.get("/session/status")))
            await http.post("/global/dispose", {})
            while is_busy:
                await anyio.sleep(_LOOK)
                is_busy = bool(fields(await http.get("/session/status")))
        except CoderError as error:
            logger.debug("server not disposed: %s", error)

    def _death(self, child: Child) -> AgentError:
        error = child.death()
        stderr = str(error.fields.get("stderr") or "").strip().splitlines()
        words = f"{self._label}: {error}"
        if stderr:
            words = f"{words}: {stderr[-1].strip()[:500]}"
        return AgentDied(words, returncode=child.returncode, stderr=error.fields.get("stderr"))
