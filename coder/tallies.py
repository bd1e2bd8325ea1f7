"""What is counted as it happens: plain numbers, without locks or labels to look up. Read when somebody asks."""

import math
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
RECENT = 100
"""A median is of so many figures, the last ones."""


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

    @property
    def count(self) -> int:
        return sum(self._counts)

    @staticmethod
    def together(spreads: Iterable["Spread"]) -> "Spread":
        """The figures of all of them, which have the usual bounds."""
        whole = Spread()
        for spread in spreads:
            whole._counts = [one + other for one, other in zip(whole._counts, spread._counts, strict=True)]
            whole.sum += spread.sum
        return whole


class Waits(Spread):
    """A spread that knows the median of its newest figures: bounds are too coarse for what takes microseconds."""

    __slots__ = ("_recent",)

    def __init__(self) -> None:
        super().__init__()
        self._recent: deque[float] = deque(maxlen=RECENT)

    def note(self, figure: float) -> None:
        super().note(figure)
        self._recent.append(max(figure, 0.0))

    @staticmethod
    def median(*waits: "Waits") -> float | None:
        """Of the last `RECENT` figures of each; None where there is none."""
        figures = [figure for each in waits for figure in each._recent]
        return median(figures) if figures else None


@dataclass
class LeaseTally:
    """Leases that found their agent open, or not, and how long each waited for it."""

    warm: Waits = field(default_factory=Waits)
    cold: Waits = field(default_factory=Waits)


@dataclass
class PoolTally:
    leases: dict[str, LeaseTally] = field(default_factory=dict[str, LeaseTally])
    """By agent."""
    fresh_starts: Spread = field(default_factory=Spread)
    resumed_starts: Spread = field(default_factory=Spread)
    failed_starts: int = 0
    crashed: int = 0
    evicted: Counter[str] = field(default_factory=Counter[str])
    """By reason: idle, count, memory, outgrown."""
    restarts: int = 0
    """Starts of an agent that had died before."""


@dataclass
class OpeningTally:
    """Sessions that somebody opened: a spare one was taken, there were only others that start elsewhere, or none."""

    hit: Waits = field(default_factory=Waits)
    stale: Waits = field(default_factory=Waits)
    miss: Waits = field(default_factory=Waits)


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
