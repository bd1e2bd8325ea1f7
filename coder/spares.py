"""Spare sessions: what a new session costs, worktree and agent, is paid before somebody asks for one."""

import logging
from collections.abc import Awaitable, Callable

import anyio

from coder.errors import CoderError
from coder.model.sessions import Session
from coder.sessions import Sessions

logger = logging.getLogger(__name__)

Warm = Callable[[Session], Awaitable[None]]
"""Starts the agent in a session that will probably be asked for; does nothing where that is not worth it."""


class Spares:
    """One session ahead in each of the `limit` projects in which sessions were opened last.

    `delay` seconds after an opening, so as not to be in the way of the first prompt.
    """

    def __init__(self, sessions: Sessions, warm: Warm, *, limit: int, delay: float) -> None:
        self._sessions = sessions
        self._warm = warm
        self._limit = limit
        self._delay = delay
        self._wanted: dict[str, None] = {}
        self._news = anyio.Event()

    def want(self, project_id: str) -> None:
        """Somebody opened a session there: the next one is likely."""
        if self._limit:
            self._wanted[project_id] = None
            self._news.set()

    async def run(self) -> None:
        """Make spares for ever. What cannot be made is not tried again before the next opening there."""
        while True:
            await self._news.wait()
            await anyio.sleep(self._delay)
            self._news = anyio.Event()
            wanted, self._wanted = list(self._wanted), {}
            for project_id in wanted:
                try:
                    await self._provide(project_id)
                except (CoderError, OSError) as error:
                    logger.info("no spare session: %s", error, extra={"project": project_id})
                except Exception:
                    logger.exception("no spare session", extra={"project": project_id})

    async def drop(self, project_id: str) -> None:
        """Nobody will ask for one in this project."""
        self._wanted.pop(project_id, None)
        for spare in await self._sessions.spares():
            if spare.project_id == project_id:
                await self._sessions.drop_spare(spare.id)

    async def _provide(self, project_id: str) -> None:
        spares = await self._sessions.spares()
        present = next((spare for spare in spares if spare.project_id == project_id), None)
        if present is not None and not await self._sessions.is_fresh(present):
            await self._sessions.drop_spare(present.id)
            present = None
        others = [spare for spare in spares if spare.project_id != project_id]
        for spare in others[self._limit - 1 :]:
            await self._sessions.drop_spare(spare.id)
        await self._warm(present or await self._sessions.open_spare(project_id))
