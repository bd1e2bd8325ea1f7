"""Whether the event loop goes round: a beat on it, and a thread beside it that notices when the beat stays away."""

import logging
import sys
import threading
import time
import traceback
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from anyio import to_thread

logger = logging.getLogger(__name__)

STILL_SECONDS = 1.5
"""A beat that is later than this is a standstill: nobody was served meanwhile."""
BEAT_SECONDS = 0.25


class Standstill:
    """What is known of the loop's standstills. Times are of the monotonic clock."""

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        """How long the last one was."""
        self.ended_at: float | None = None
        self.lag = 0.0
        """How late the last beat was."""
        self.over = anyio.Event()
        """Set, and replaced, at the end of each."""
        self._beaten = time.monotonic()
        self._thread = threading.get_ident()

    async def beat(self) -> None:
        """Go round for ever."""
        while True:
            await anyio.sleep(BEAT_SECONDS)
            moment = time.monotonic()
            self.lag = max(0.0, moment - self._beaten - BEAT_SECONDS)
            self._beaten = moment
            if self.lag >= STILL_SECONDS:
                self.count += 1
                self.seconds, self.ended_at = self.lag, moment
                logger.error("the event loop goes on after %.1f s", self.lag)
                over, self.over = self.over, anyio.Event()
                over.set()

    def look(self, done: threading.Event) -> None:
        """Say at once where the loop stands still; runs in a thread of its own until `done`."""
        told: float | None = None
        while not done.wait(BEAT_SECONDS):
            beaten = self._beaten
            if beaten != told and time.monotonic() - beaten >= STILL_SECONDS:
                told = beaten
                frame = sys._current_frames().get(self._thread)  # pyright: ignore[reportPrivateUsage] - no other way
                where = "".join(traceback.format_stack(frame)) if frame else "unknown\n"
                logger.error("the event loop stands still for %.1f s, at:\n%s", time.monotonic() - beaten, where)


@asynccontextmanager
async def open_standstill() -> AsyncGenerator[Standstill]:
    """Watch this loop until the context is left."""
    watch, done = Standstill(), threading.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(watch.beat)
        group.start_soon(lambda: to_thread.run_sync(watch.look, done, limiter=anyio.CapacityLimiter(1)))
        try:
            yield watch
        finally:
            done.set()
            group.cancel_scope.cancel()
