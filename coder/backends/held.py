"""What lives longer than the call that opens it: one task enters it, holds it and leaves it."""

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup, TaskStatus

from coder.errors import AgentError


class Held(ABC):
    """`is_up` while it can be used, `gone` is set when nothing of it is left; `end` says why, from before that."""

    def __init__(self) -> None:
        self.is_up = False
        self.end: AgentError | None = None
        self.gone = anyio.Event()
        self.is_retired = False
        """Whether it takes nobody new."""
        self._up_at: float | None = None
        self._life = anyio.CancelScope()

    async def open(self, group: TaskGroup) -> None:
        """Start it; it is up when this returns. Raises what keeps it from coming up, when nothing of it is left."""
        has_come_up = False
        try:
            await group.start(self._live)
            has_come_up, self._up_at = True, time.monotonic()
        finally:
            if not has_come_up:
                self.gone.set()

    def age(self) -> float:
        """Seconds since it came up; 0 where it never did."""
        return time.monotonic() - self._up_at if self._up_at is not None else 0.0

    def kill(self) -> None:
        """Begin to end it; `gone` follows within the deadlines of the ladder."""
        self._life.cancel()

    async def close(self) -> None:
        """End it and wait until it is gone."""
        self.kill()
        await self.gone.wait()

    @abstractmethod
    async def _hold(self, task_status: TaskStatus[None]) -> None:
        """Its whole life: report `started()`, be up within `_life`, clean up."""

    async def _live(self, *, task_status: TaskStatus[None]) -> None:
        try:
            await self._hold(task_status)
        finally:
            self.gone.set()


@asynccontextmanager
async def open_group() -> AsyncGenerator[TaskGroup]:
    """A task group that is cancelled at the end of the block, whose own error comes through as it is."""
    failure: Exception | None = None
    async with anyio.create_task_group() as group:
        try:
            yield group
        except Exception as error:
            failure = error  # raised below: the task group would wrap it
        finally:
            group.cancel_scope.cancel()
    if failure:
        raise failure
