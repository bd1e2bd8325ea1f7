"""The place of one session at a server: requests and events that concern its worktree alone."""

import logging
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import anyio
from anyio.abc import TaskStatus

from coder.backends.held import Held
from coder.backends.opencode.http import Http
from coder.backends.opencode.server import Server
from coder.backends.wire import fields
from coder.errors import AgentDied, AgentError, AgentUnavailable

logger = logging.getLogger(__name__)

_OBITUARY = 1.0
"""Seconds to wait for the reason why a server does not answer any more."""
_VACATE = 3.0
"""Seconds that a shared server may take to end what runs in a worktree."""
_LOOK = 0.1


class Seat(Held):
    """Up while the server is; gone when the session has left it, or the server and all it started have ended.

    `end` says why from when `ending` is set.
    """

    def __init__(self, label: str, worktree: Path, lease: AbstractAsyncContextManager[Server]) -> None:
        super().__init__()
        self._label = label
        self.worktree = worktree
        self._lease = lease
        self._server: Server | None = None
        self._http: Http | None = None
        self.ending = anyio.Event()

    @property
    def http(self) -> Http:
        """Raises AgentError when the server never came up."""
        if self._http is None:
            raise self.end or AgentDied(f"{self._label} is not running")
        return self._http

    @property
    def is_shared(self) -> bool:
        """Whether other sessions may use the server too."""
        return self._server is not None and self._server.is_shared

    @property
    def port(self) -> int | None:
        return self._server.port if self._server else None

    async def obituary(self, error: AgentError) -> AgentError:
        """Why a request failed: the server's death, where it is dead or about to be found so."""
        if isinstance(error, AgentDied):
            with anyio.move_on_after(_OBITUARY):
                await self.ending.wait()
        return self.end or error

    async def resident_bytes(self) -> int:
        """How much memory the server and all it started hold now, whoever else uses it."""
        return await self._server.resident_bytes() if self._server else 0

    def server_age(self) -> float:
        """Seconds since the server came up, whoever it came up for."""
        return self._server.age() if self._server else 0.0

    @property
    def is_server_retired(self) -> bool:
        return self._server is not None and self._server.is_retired

    def retire_server(self) -> None:
        """Have the server take nobody new; it ends when the last one has left it."""
        if self._server:
            self._server.is_retired = True

    async def _hold(self, task_status: TaskStatus[None]) -> None:
        if not await anyio.Path(self.worktree).is_dir():
            raise AgentUnavailable(f"{self._label}: the worktree is gone: {self.worktree}")
        async with AsyncExitStack() as stack, self._lease as server:
            self._server = server
            self._http = await stack.enter_async_context(server.reach(self.worktree))
            try:
                with self._life:
                    self.is_up = True
                    task_status.started()
                    await server.ending.wait()
            finally:
                self.is_up = False
                with anyio.CancelScope(shield=True):
                    await self._leave(server, self._http)

    async def _leave(self, server: Server, http: Http) -> None:
        is_dead = server.ending.is_set()
        self.end = self.end or server.end or AgentDied(f"{self._label} was ended by the host")
        self.ending.set()
        if is_dead:
            await server.gone.wait()
        elif server.is_shared and not await self._vacate(http):
            logger.warning("shared server does not end what runs in a worktree", extra={"agent": self._label})
            words = "the server that the sessions of this project share was ended, because one of them hung in it"
            server.end = server.end or AgentDied(f"{self._label}: {words}")
            server.kill()

    async def _vacate(self, http: Http) -> bool:
        """Have the server end what runs for this session, and nothing else; whether it did."""
        with anyio.move_on_after(_VACATE):
            try:
                while busy := fields(await http.get("/session/status")):
                    for session in busy:
                        await http.post(f"/session/{session}/abort", {})
                    await anyio.sleep(_LOOK)
                # the last word: any other request would have the server load the worktree again
                await http.post("/instance/dispose", {})
            except AgentError as error:
                logger.info("not vacated: %s", error, extra={"agent": self._label})
                return False
            return True
        return False
