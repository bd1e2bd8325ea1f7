"""Whether the host works: what is wrong with it now, by name."""

import time
from collections.abc import Callable

from coder.dispatch import Dispatcher
from coder.journal import Journal
from coder.protocol import Trouble
from coder.space import Space
from coder.standstill import Standstill
from coder.store.database import Store

JOURNAL_SECONDS = 5.0
"""A record that was shown and is not stored after this is one too late."""
DISPATCH_SECONDS = 30.0
"""The dispatcher looks every two seconds; waiting for a slow database may take some more."""
STILL_SECONDS = 4.0
"""Shorter standstills are in the log and the figures; a busy machine has them."""
STILL_SHOWN = 30.0
"""How long a standstill of the loop is told of: while it lasts nobody can be answered."""


class Vitals:
    """Every trouble goes away by itself once its reason does."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        dispatcher: Dispatcher,
        standstill: Standstill,
        space: Space,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._journal = journal
        self._dispatcher = dispatcher
        self._clock = clock
        self.standstill = standstill
        self.space = space

    async def troubles(self) -> tuple[Trouble, ...]:
        """What is wrong, most serious first; empty when the host works."""
        found: list[Trouble] = []
        if not await self._store.is_up():
            found.append(Trouble(reason="database_away", message="the database does not answer"))
        looked = self._dispatcher.seconds_since_look()
        if looked is None:
            found.append(Trouble(reason="dispatcher_stopped", message="no prompt is begun any more"))
        elif looked > DISPATCH_SECONDS:
            words = f"prompts were last looked for {looked:.0f} s ago"
            found.append(Trouble(reason="dispatcher_stopped", message=words))
        if (lag := self._journal.lag_seconds()) > JOURNAL_SECONDS:
            words = f"what was shown {lag:.0f} s ago is not stored yet"
            found.append(Trouble(reason="journal_not_writing", message=words))
        ended = self.standstill.ended_at
        was_long = self.standstill.seconds >= STILL_SECONDS
        if ended is not None and was_long and (ago := self._clock() - ended) < STILL_SHOWN:
            words = f"the host stood still for {self.standstill.seconds:.1f} s, {ago:.0f} s ago"
            found.append(Trouble(reason="loop_stalled", message=words))
        if not self.space.has_room():
            found.append(Trouble(reason="disk_nearly_full", message=self.space.words()))
        return tuple(found)
