"""Compaction of journals: once a turn has ended and its session is quiet, pieces of one text become one record."""

import logging

import anyio

from coder.errors import Unavailable
from coder.failpoints import failpoint
from coder.journal import Journal
from coder.store import compaction
from coder.store.database import Store

logger = logging.getLogger(__name__)

QUIET_SECONDS = 10.0


class Compaction:
    """Runs beside the journal, never on the way of a record: what it does changes nothing that a reader is told."""

    def __init__(self, store: Store, journal: Journal, quiet: float = QUIET_SECONDS) -> None:
        self._store = store
        self._journal = journal
        self._quiet = quiet
        self._seen: dict[str, int] = {}
        """Up to where each session's journal was looked at in this run."""

    async def run(self) -> None:
        """Go through what earlier runs left, then through each session that has become quiet, until it is cancelled."""
        is_caught_up = False
        while True:
            stored = self._journal.stored
            try:
                is_caught_up = is_caught_up or await self._catch_up()
                is_waiting = await self._compact_quiet_ones()
            except Unavailable as error:
                logger.debug("compaction waits: %s", error)
                is_waiting = True
            except Exception:
                logger.exception("a journal is not compacted and is tried again")
                is_waiting = True
            if not is_waiting:
                await stored.wait()
            await anyio.sleep(self._quiet)

    async def compact(self, session_id: str) -> bool:
        """Merge what there is to merge, a stretch at a time. False: a turn runs, or the session is gone."""
        while True:
            async with self._store.connection() as connection:
                stretch = await compaction.next_stretch(connection, session_id)
            if stretch is None:
                return True
            async with self._store.transaction() as connection:
                if not await compaction.merge(connection, stretch):
                    return False
                failpoint("journal.merged")
            logger.debug("text merged", extra={"session": session_id, "seq": stretch.last})

    async def _catch_up(self) -> bool:
        async with self._store.connection() as connection:
            behind = await compaction.sessions_behind(connection)
        for session_id in behind:
            await self.compact(session_id)
        return True

    async def _compact_quiet_ones(self) -> bool:
        """Whether some session is not quiet yet."""
        is_waiting = False
        for session_id, (seq, stored_at) in self._journal.standing().items():
            if self._seen.get(session_id) == seq:
                continue
            if anyio.current_time() - stored_at >= self._quiet and await self.compact(session_id):
                self._seen[session_id] = seq
            else:
                is_waiting = True
        return is_waiting
