"""Hand edits: what people change in a session's worktree between turns, recorded as theirs before an agent is at it."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio

from coder.decisions import Decisions
from coder.journal import Journal
from coder.model.changes import USER

logger = logging.getLogger(__name__)

FRESH_SECONDS = 0.5
"""A look that was begun so long ago says nothing any more."""


@dataclass
class _Look:
    begun: float
    done: anyio.Event = field(default_factory=anyio.Event)
    has_failed: bool = False


class HandEdits:
    """Looks begin while a prompt is still being accepted, so that its turn does not wait for the whole of one."""

    def __init__(self, journal: Journal, decisions: Decisions, clock: Callable[[], float] = time.monotonic) -> None:
        self._journal = journal
        self._decisions = decisions
        self._clock = clock
        self._ahead: dict[str, _Look] = {}

    async def look_ahead(self, session_id: str) -> None:
        """Begin before the turn that will ask for it. Never raises: a turn looks for itself where this fails."""
        present = self._ahead.get(session_id)
        if present is not None and not present.done.is_set():
            return
        look = self._ahead[session_id] = _Look(self._clock())
        try:
            await self._record(session_id)
        except Exception as error:
            logger.info("not looked ahead: %s", error, extra={"session": session_id})
            look.has_failed = True
        finally:
            look.done.set()

    async def settle(self, session_id: str) -> None:
        """Return when everything edited up to the call's prompt is recorded. Raises CoderError: it cannot be."""
        look = self._ahead.pop(session_id, None)
        if look is not None and self._clock() - look.begun < FRESH_SECONDS:
            await look.done.wait()
            if not look.has_failed:
                return
        await self._record(session_id)

    async def _record(self, session_id: str) -> None:
        async with self._decisions.survey(session_id) as survey:
            if survey.has_news:
                async with self._journal.commit(session_id) as commit:
                    await self._decisions.record(commit, survey, agent=USER, task_id=None)
