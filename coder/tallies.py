"""What is counted as it happens: plain numbers, without locks or labels to look up. Read when somebody asks."""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class Spread:
    """How often a figure fell between which bounds, and its sum. The last bound is infinite."""

    __slots__ = ("_bounds", "_counts", "sum")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def note(self, figure: float) -> None:
        """Count one figure; below 0 counts as 0: clocks differ."""
        self._counts[bisect_left(self._bounds, figure)] += 1
        self.sum += max(figure, 0.0)

    def cumulated(self) -> list[tuple[float, int]]:
        """For each bound, how many figures were not above it."""
        total = 0
        found: list[tuple[float, int]] = []
        for bound, count in zip((*self._bounds, math.inf), self._counts, strict=True):
            total += count
            found.append((bound, total))
        return found


@dataclass
class PoolTally:
    """`warm` and `cold` are leases that found their agent open, or not; the spreads say how long each waited for it."""

    warm: Spread = field(default_factory=Spread)
    cold: Spread = field(default_factory=Spread)
    fresh_starts: Spread = field(default_factory=Spread)
    resumed_starts: Spread = field(default_factory=Spread)
    failed_starts: int = 0
    crashed: int = 0
    restarts: int = 0
    """Starts of an agent that had died before."""


@dataclass
class TurnTally:
    """`ends` by state and code; the code is `none` where nothing went wrong."""

    ends: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    seconds: Spread = field(default_factory=Spread)
    queued: Spread = field(default_factory=Spread)
    """How long tasks waited for their turn."""


@dataclass
class JournalTally:
    records: int = 0
    batches: int = 0
    refused_batches: int = 0


@dataclass
class PermissionTally:
    outcomes: Counter[str] = field(default_factory=Counter[str])
    waits: Spread = field(default_factory=Spread)
