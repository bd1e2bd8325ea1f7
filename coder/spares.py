"""Spare sessions: what a new session costs, worktree and agent, is paid before somebody asks for one."""

import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

import anyio

from coder.errors import CoderError
from coder.model.sessions import Session
from coder.sessions import Sessions

logger = logging.getLogger(__name__)

Warm = Callable[[Session], Awaitable[None]]
"""Starts the agent in a session that will probably be asked for; does nothing where that is not worth it."""

BUSY = 10 * 60.0
"""Every session that was opened in so many last seconds makes one more likely."""
IN_USE = 60 * 60.0
"""So many seconds after an opening, spare sessions of the project follow its commits by themselves."""
SETTLED = 5 * 60.0
"""They are left alone for so many seconds first: each costs a setup and the start of an agent."""
FORGOTTEN = 3 * 24 * 3600.0
"""A project in which nobody has opened a session for so many seconds has no spare one: longer than a weekend."""
MOST = 4
"""In one project."""
CHECK = 60.0
"""Seconds between two looks at what is too many or too old."""


def sizes(openings: Mapping[str, Sequence[float]], at: float, limit: int) -> dict[str, int]:
    """How many sessions to have ready in each project; `openings` are the times, oldest first, of those opened there.

    As many as were opened in the last `BUSY` seconds, one at least, `MOST` at most; none after `FORGOTTEN` seconds
    without an opening. Together `limit`: each project's first before any second, and what was used last before others.
    """
    used = [project for project, times in openings.items() if times and at - times[-1] < FORGOTTEN]
    used.sort(key=lambda project: openings[project][-1], reverse=True)
    likely = {project: max(1, sum(at - time < BUSY for time in openings[project])) for project in used}
    places = [project for place in range(MOST) for project in used if place < likely[project]]
    return dict(Counter(places[:limit]))


class Spares:
    """Sessions ahead, `limit` of them at most, in the projects in which sessions were opened last.

    They are made `delay` seconds after an opening, so as not to be in the way of the first prompt. `clock` tells the
    seconds since 1970.
    """

    def __init__(
        self, sessions: Sessions, warm: Warm, *, limit: int, delay: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._sessions = sessions
        self._warm = warm
        self._limit = limit
        self._delay = delay
        self._clock = clock
        self._openings: dict[str, deque[float]] = {}
        self._wanted: dict[str, None] = {}
        self._news = anyio.Event()

    def want(self, project_id: str) -> None:
        """Somebody opened a session there: the next one is likely."""
        if self._limit:
            self._openings.setdefault(project_id, deque(maxlen=MOST)).append(self._clock())
            self._wanted[project_id] = None
            self._news.set()

    async def run(self) -> None:
        """Make spares, and drop what is too much, for ever. What cannot be made is not tried again before the next
        opening there.
        """
        await self._guarded(self._recall)
        await self.check()
        while self._limit:
            with anyio.move_on_after(CHECK):
                await self._news.wait()
            if self._news.is_set():
                await anyio.sleep(self._delay)
            self._news = anyio.Event()
            await self.check()

    async def check(self) -> None:
        """Drop what is too much, replace what is stale where sessions are being opened, and make what was wanted since
        the last check.
        """
        wanted, self._wanted = self._wanted, {}
        await self._guarded(self._shrink)
        for project_id, times in list(self._openings.items()):
            if project_id in wanted:
                await self._guarded(partial(self._provide, project_id), project_id)
            elif self._clock() - times[-1] < IN_USE:
                await self._guarded(partial(self._renew, project_id), project_id)

    async def drop(self, project_id: str) -> None:
        """Nobody will ask for one in this project."""
        self._wanted.pop(project_id, None)
        self._openings.pop(project_id, None)
        for spare in await self._present(project_id):
            await self._sessions.drop_spare(spare.id)

    async def _guarded(self, work: Callable[[], Awaitable[None]], project_id: str | None = None) -> None:
        try:
            await work()
        except (CoderError, OSError) as error:
            logger.info("no spare session: %s", error, extra={"project": project_id})
        except Exception:
            logger.exception("no spare session", extra={"project": project_id})

    async def _recall(self) -> None:
        """What was opened before this host started."""
        if self._limit:
            since = datetime.fromtimestamp(self._clock() - FORGOTTEN, UTC)
            for project_id, times in (await self._sessions.openings_since(since)).items():
                known = self._openings.get(project_id, ())
                self._openings[project_id] = deque([*times, *known], maxlen=MOST)

    async def _present(self, project_id: str) -> list[Session]:
        return [spare for spare in await self._sessions.spares() if spare.project_id == project_id]

    def _sizes(self) -> dict[str, int]:
        return sizes(self._openings, self._clock(), self._limit)

    async def _shrink(self) -> None:
        left = Counter(self._sizes())
        # the newest stay
        for spare in await self._sessions.spares():
            left[spare.project_id] -= 1
            if left[spare.project_id] < 0:
                await self._sessions.drop_spare(spare.id)

    async def _renew(self, project_id: str) -> None:
        for spare in await self._present(project_id):
            is_settled = self._clock() - spare.created_at.timestamp() >= SETTLED
            if is_settled and not await self._sessions.is_fresh(spare):
                await self._provide(project_id)
                return

    async def _provide(self, project_id: str) -> None:
        ready: list[Session] = []
        for spare in await self._present(project_id):
            if await self._sessions.is_fresh(spare):
                ready.append(spare)
            else:
                await self._sessions.drop_spare(spare.id)
        while len(ready) < self._sizes().get(project_id, 0):
            ready.append(await self._sessions.open_spare(project_id))
        for spare in ready:
            await self._warm(spare)
