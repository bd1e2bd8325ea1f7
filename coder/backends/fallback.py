"""Two ways to one agent: the better one first, and the other where the first cannot be had."""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal

import anyio
from anyio.abc import TaskGroup, TaskStatus

from coder.backends.base import (
    AgentBackend,
    AgentSessionHandle,
    Capabilities,
    Emit,
    PromptContext,
    PromptInput,
    SessionOptions,
    TurnResult,
)
from coder.backends.held import open_group
from coder.errors import AgentError, AgentUnavailable
from coder.model.events import AgentStatusChanged
from coder.model.sandboxes import SandboxKind
from coder.model.sessions import BackendKind

logger = logging.getLogger(__name__)

OpenSecond = Callable[[SessionOptions], AbstractAsyncContextManager[AgentBackend]]


class FallbackBackend:
    """An AgentBackend that is `first` until that cannot be started. Made by `open_with_fallback`."""

    def __init__(
        self,
        group: TaskGroup,
        agent: str,
        first: AgentBackend,
        second: OpenSecond,
        unavailable: type[AgentError],
        emit: Emit,
    ) -> None:
        self._group = group
        self._agent = agent
        self._backend = first
        self._second = second
        self._unavailable = unavailable
        self._emit = emit
        self._starting = anyio.Lock()
        self._has_fallen_back = False

    @property
    def kind(self) -> BackendKind:
        return self._backend.kind

    @property
    def sandbox(self) -> SandboxKind:
        return self._backend.sandbox

    @property
    def capabilities(self) -> Capabilities:
        return self._backend.capabilities

    async def ensure_session(self, options: SessionOptions) -> AgentSessionHandle:
        async with self._starting:
            try:
                return await self._backend.ensure_session(options)
            except self._unavailable as error:
                if self._has_fallen_back:
                    raise
                reason = str(error)
            self._has_fallen_back = True
            logger.warning("falling back: %s", reason, extra={"agent": self._agent, "session": options.session_id})
            words = f"falls back to ACP: {reason}"
            await self._emit(AgentStatusChanged(agent=self._agent, status="starting", message=words[:1000]))
            self._backend = await self._group.start(self._hold, options)
            return await self._backend.ensure_session(options)

    async def _hold(self, options: SessionOptions, *, task_status: TaskStatus[AgentBackend]) -> None:
        async with self._second(options) as backend:
            task_status.started(backend)
            await anyio.sleep_forever()

    def new_message_id(self) -> str | None:
        return self._backend.new_message_id()

    async def prompt(self, handle: AgentSessionHandle, input: PromptInput, context: PromptContext) -> TurnResult:
        return await self._backend.prompt(handle, input, context)

    async def steer(self, handle: AgentSessionHandle, input: PromptInput) -> bool:
        return await self._backend.steer(handle, input)

    async def close_session(self, handle: AgentSessionHandle) -> None:
        await self._backend.close_session(handle)

    async def dispose(self) -> None:
        await self._backend.dispose()

    async def resident_bytes(self) -> int:
        return await self._backend.resident_bytes()

    def age(self) -> float:
        return self._backend.age()

    @property
    def is_retired(self) -> bool:
        return self._backend.is_retired

    def retire(self) -> None:
        self._backend.retire()

    def health(self) -> Literal["up", "down"]:
        return self._backend.health()

    async def wait_closed(self) -> None:
        await self._backend.wait_closed()


@asynccontextmanager
async def open_with_fallback(
    agent: str,
    first: AbstractAsyncContextManager[AgentBackend],
    second: OpenSecond,
    emit: Emit,
    unavailable: type[AgentError] = AgentUnavailable,
) -> AsyncGenerator[FallbackBackend]:
    """A backend that says in its session when it is the second way, and why.

    `unavailable` is what the first raises when the other may do. `emit` takes events outside of turns.
    """
    async with first as chosen, open_group() as group:
        yield FallbackBackend(group, agent, chosen, second, unavailable, emit)
