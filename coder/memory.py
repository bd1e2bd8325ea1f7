"""Memory: how much this machine has, and which agents rest when all of them hold too much."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Holding:
    """What one running agent holds with everything it started."""

    keys: tuple[tuple[str, str], ...]
    """(session, agent) of everybody who uses it."""
    bytes: int
    may_rest: bool
    """Nobody uses it at the moment, and it would forget nothing."""
    is_spare: bool
    """Nobody has asked for any of these sessions yet."""
    last_used: float


def to_rest(holdings: Sequence[Holding], budget: int) -> list[Holding]:
    """Those to end so that the others hold no more than `budget` bytes, as far as they may rest.

    Those of spare sessions go first, then the ones used longest ago.
    """
    excess = sum(holding.bytes for holding in holdings) - budget
    found: list[Holding] = []
    idle = [holding for holding in holdings if holding.may_rest and holding.bytes]
    for holding in sorted(idle, key=lambda holding: (not holding.is_spare, holding.last_used)):
        if excess <= 0:
            break
        found.append(holding)
        excess -= holding.bytes
    return found


def usable_bytes() -> int:
    """What the machine has, or less where the host's control group (a container, a unit) may use no more."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_group_limits()])


def _group_limits() -> list[int]:
    files = [_GROUPS / "memory/memory.limit_in_bytes"]
    try:
        own = next(line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        own = "/"
    folder = _GROUPS / own.strip("/")
    files += [group / "memory.max" for group in (folder, *folder.parents) if group.is_relative_to(_GROUPS)]
    return [limit for limit in map(_limit_in, files) if limit is not None]


def _limit_in(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
