"""What the children of a run hold, looked at for all of them at once: one look goes through every process there is."""

import time
from collections.abc import Callable

import anyio

from coder.processes import sweep

_FRESH = 1.0
"""Seconds for which a look serves whoever asks."""


class Census:
    """The memory of everything below `tag`."""

    def __init__(
        self, tag: str, threads: anyio.CapacityLimiter, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tag = tag
        self._threads = threads
        self._clock = clock
        self._looking = anyio.Lock()
        self._looked_at = -_FRESH
        self._sizes: dict[str, int] = {}

    async def resident_bytes(self, child: str) -> int:
        """How much memory the child with this tag and everything it started hold; 0 where that cannot be told."""
        number = child.removeprefix(f"{self._tag}:")
        async with self._looking:
            if number not in self._sizes or self._clock() - self._looked_at >= _FRESH:
                self._sizes = await anyio.to_thread.run_sync(sweep.resident_bytes, self._tag, limiter=self._threads)
                self._looked_at = self._clock()
            return self._sizes.get(number, 0)
