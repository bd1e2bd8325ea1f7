"""A running agent program and the peer that talks to it, held by one task from its start to its end."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager

import anyio
from anyio.abc import TaskGroup, TaskStatus

from coder.backends.acp.feed import Feed
from coder.backends.acp.peer import OnRequest, Peer, Wire
from coder.backends.held import Held
from coder.errors import AgentDied, AgentError, CoderError
from coder.processes.child import Child, ChildSpec
from coder.processes.supervisor import Supervisor

logger = logging.getLogger(__name__)

_OBITUARY = 1.0
"""Seconds to wait for the exit code of an agent whose output has ended."""

OpenClient = Callable[[TaskGroup], AbstractContextManager[OnRequest]]
"""What answers the agent's requests while it runs; tasks in the group end with the agent."""


class Connection(Held):
    """Up while the agent runs; gone when it and all it started have ended."""

    def __init__(self, label: str, spec: ChildSpec, supervisor: Supervisor, feed: Feed, client: OpenClient) -> None:
        super().__init__()
        self._label = label
        self._spec = spec
        self._supervisor = supervisor
        self._feed = feed
        self._open_client = client
        self._peer: Peer | None = None
        self._child: Child | None = None

    @property
    def peer(self) -> Peer:
        """Raises AgentError when the agent never came up."""
        if self._peer is None:
            raise self.end or AgentDied(f"{self._label} is not running")
        return self._peer

    async def resident_bytes(self) -> int:
        """How much memory the agent and all it started hold now."""
        return await self._child.resident_bytes() if self._child and self.is_up else 0

    async def _hold(self, task_status: TaskStatus[None]) -> None:
        async with self._supervisor.open_child(self._spec) as child:
            self._child = child
            try:
                with self._life:
                    await self._serve(child, task_status)
            finally:
                self.is_up = False
                with anyio.CancelScope(shield=True):
                    await self._bury(child)

    async def _serve(self, child: Child, task_status: TaskStatus[None]) -> None:
        try:
            async with anyio.create_task_group() as group:
                with self._open_client(group) as on_request:
                    wire = Wire(child.receive_lines, child.send)
                    self._peer = Peer(
                        wire,
                        on_notification=self._feed.take_notification,
                        on_request=on_request,
                        on_pause=self._feed.settle,
                    )
                    self.is_up = True
                    task_status.started()
                    await self._run(self._peer)
                group.cancel_scope.cancel()
        except Exception as error:
            if not self.is_up:
                raise
            logger.exception("agent's messages could not be handled", extra={"agent": self._label})
            self.end = self.end or AgentError(f"{self._label}: its messages could not be handled: {error}")

    async def _run(self, peer: Peer) -> None:
        try:
            await peer.run()
        except CoderError as error:
            self.end = self._obituary(error)

    async def _bury(self, child: Child) -> None:
        """Say why the agent is gone to all who wait for it; then end it and what it started."""
        if self._life.cancel_called:
            self.end = self.end or AgentDied(f"{self._label} was ended by the host")
        elif self.end is None:
            with anyio.move_on_after(_OBITUARY):
                await child.wait()
            self.end = self._obituary(child.death())
        if self._peer:
            self._peer.fail(self.end)
        await child.stop()

    def _obituary(self, error: CoderError) -> AgentError:
        words = f"{self._label}: {error}"
        stderr = error.fields.get("stderr")
        if isinstance(stderr, str) and (lines := stderr.strip().splitlines()):
            words = f"{words}: {lines[-1].strip()[:500]}"
        kind = type(error) if isinstance(error, AgentError) else AgentError
        return kind(words, code=error.stable_code)
