"""Slots: the places of the pool, one for each (session, agent) whose backend is open, opening or ending."""

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import anyio

from coder.backends.base import AgentBackend, AgentSessionHandle, SessionOptions
from coder.errors import CoderError
from coder.memory import Holding

DEATHS = 5
"""This many deaths in a row, or within CALM seconds, make a key fail fast until CALM seconds have passed."""
CALM = 60.0

Key = tuple[str, str]


@dataclass
class RestartBudget:
    """The deaths of one key."""

    times: deque[float] = field(default_factory=lambda: deque[float](maxlen=DEATHS))
    in_a_row: int = 0

    def died(self, at: float) -> None:
        self.times.append(at)
        self.in_a_row += 1

    def is_spent(self, at: float) -> bool:
        if not self.times or at - self.times[-1] >= CALM:
            self.times.clear()
            self.in_a_row = 0
            return False
        return self.in_a_row >= DEATHS or (len(self.times) == DEATHS and at - self.times[0] < CALM)


@dataclass
class Slot:
    """One key's backend, from the wish for it to its recorded end."""

    key: Key
    options: SessionOptions
    ready: anyio.Event = field(default_factory=anyio.Event)
    gone: anyio.Event = field(default_factory=anyio.Event)
    recorded: anyio.Event = field(default_factory=anyio.Event)
    """Gone, and nothing more is written about it."""
    retire: anyio.Event = field(default_factory=anyio.Event)
    starting: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    turn: anyio.Lock = field(default_factory=anyio.Lock)
    backend: AgentBackend | None = None
    handle: AgentSessionHandle | None = None
    error: CoderError | None = None
    leases: int = 0
    was_leased: bool = False
    last_used: float = 0.0
    resident_bytes: int | None = None
    """At the last look."""

    @property
    def is_warm(self) -> bool:
        return self.handle is not None and not self.gone.is_set()

    @property
    def is_idle(self) -> bool:
        """Warm, used by nobody, and to go on."""
        return self.is_warm and not self.leases and not self.retire.is_set()

    @property
    def can_resume(self) -> bool:
        return self.backend is not None and self.backend.capabilities.resume

    @property
    def forgets_nothing(self) -> bool:
        """Whether ending it costs nothing but the next start."""
        return self.can_resume or not self.was_leased

    @property
    def process(self) -> tuple[str, str | int]:
        """The same for all slots that one server carries out the turns of."""
        port = self.handle.server_port if self.handle else None
        return self.key[1], self.key[0] if port is None else port

    @property
    def is_retired(self) -> bool:
        return self.backend is not None and self.backend.is_retired

    def end(self) -> None:
        """Ask the slot's holder to dispose of the backend, also while it is still starting."""
        self.retire.set()
        self.starting.cancel()


def held_bytes(slots: Collection[Slot]) -> int | None:
    """What they hold, each process counted once; None where none of them was looked at."""
    held = {slot.process: slot.resident_bytes for slot in slots if slot.resident_bytes is not None}
    return sum(held.values()) if held or not slots else None


def holdings(slots: Iterable[Slot], spares: Collection[str]) -> list[Holding]:
    """Every agent that is to go on, and what it held at the last look. Nobody has asked for the sessions `spares`."""
    together: dict[tuple[str, str | int], list[Slot]] = {}
    for slot in slots:
        if not slot.retire.is_set():
            together.setdefault(slot.process, []).append(slot)
    return [
        Holding(
            keys=tuple(slot.key for slot in users),
            bytes=max(slot.resident_bytes or 0 for slot in users),
            may_rest=all(slot.is_idle and slot.forgets_nothing for slot in users),
            is_spare=all(slot.key[0] in spares for slot in users),
            last_used=max(slot.last_used for slot in users),
        )
        for users in together.values()
    ]
