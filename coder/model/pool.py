"""What the pool holds and how often it served, for people to see. Times are seconds, counts since the host started."""

from coder.model.values import Value


class PoolShare(Value):
    """One provider's agents."""

    warm: int = 0
    leased: int = 0
    """Of the warm ones, those at work."""
    turns: int = 0
    hit_rate: float | None = None
    """The part of these turns that found their agent warm; None before the first."""
    warm_wait_seconds: float | None = None
    """How long a turn waited for an agent that was warm: the median of the last hundred."""
    cold_wait_seconds: float | None = None
    """How long for one that was not."""
    resident_bytes: int | None = None
    """Memory that they and all they started held at the last look; None before the first."""


class PoolTotals(Value):
    """All agents together. `limit` is how many are kept warm, `memory_budget_bytes` how much they may hold together."""

    warm: int
    limit: int
    resident_bytes: int
    memory_budget_bytes: int


class SpareTotals(Value):
    """Sessions that were opened, and what part of them had been made ahead."""

    openings: int
    stale: int
    """Openings that found only spare sessions which start elsewhere."""
    hit_rate: float | None
    """None before the first."""
    hit_seconds: float | None
    """How long an opening took that was given a spare session: the median of the last hundred."""
    miss_seconds: float | None
    """How long one that was not."""
