"""What is remembered of worktrees beside their last snapshots, in memory and of no more files than a limit."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from coder.model.changes import FileDifference
from coder.worktrees.looks import RACY_NS, Look, Moment
from coder.worktrees.objects import Content

FILE_LIMIT = 2_000
"""Files and folders of a worktree above which git is faster."""

TOTAL_LIMIT = 20_000
"""Of all worktrees that are remembered together, about 1 KiB each."""

_DIFFERENCES, _ROWS = 64, 200
LONG_REST, SHORT_REST = 30, 3
"""Snapshots that go by until a worktree is looked at again that was too large, or that nothing certain came out of."""


@dataclass(frozen=True)
class Fingerprint:
    """A look at a worktree, and the tree that git made of it after that.

    `content` is what the tree holds, `deciders` what else decides about it. Nothing was left out of the snapshot.
    """

    look: Look
    ignored: frozenset[bytes]
    deciders: tuple[bytes | None, ...]
    tree: bytes
    content: Content

    @property
    def size(self) -> int:
        return len(self.look.files) + len(self.look.folders) + len(self.ignored)


@dataclass
class _Hint:
    """Of a worktree that there is no fingerprint of: what need not be entered, if git still says so."""

    ignored: frozenset[bytes] = frozenset()
    rest: int = 0

    @property
    def size(self) -> int:
        return len(self.ignored)


class Fingerprints:
    """Of all worktrees of a host, by the folders of their shadows; those used last are kept."""

    def __init__(
        self,
        wall: Callable[[], int] = time.time_ns,
        steady: Callable[[], int] = time.monotonic_ns,
        *,
        racy_ns: int = RACY_NS,
        file_limit: int = FILE_LIMIT,
        total_limit: int = TOTAL_LIMIT,
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._racy_ns = racy_ns
        self.file_limit = file_limit
        self._total_limit = total_limit
        self._total = 0
        self._known: OrderedDict[Path, Fingerprint | _Hint] = OrderedDict()
        self._differences: OrderedDict[tuple[str, str], Sequence[FileDifference]] = OrderedDict()

    def moment(self) -> Moment:
        wall = self._wall()
        return Moment(wall - self._racy_ns, wall - self._steady())

    def find(self, git_dir: Path) -> Fingerprint | None:
        found = self._known.get(git_dir)
        return found if isinstance(found, Fingerprint) else None

    def hint(self, git_dir: Path) -> frozenset[bytes]:
        """Folders, with a slash, that were ignored the last time anybody asked; this may have changed."""
        found = self._known.get(git_dir)
        return frozenset(name for name in found.ignored if name.endswith(b"/")) if found else frozenset()

    def is_resting(self, git_dir: Path) -> bool:
        """Whether the worktree need not be looked at yet. Counts the calls."""
        found = self._known.get(git_dir)
        if not isinstance(found, _Hint) or not found.rest:
            return False
        found.rest -= 1
        return True

    def keep(self, git_dir: Path, fingerprint: Fingerprint) -> None:
        self._put(git_dir, fingerprint)

    def drop(self, git_dir: Path, *, ignored: frozenset[bytes] = frozenset(), rest: int = 0) -> None:
        """Forget all but a hint for the next look, which is not taken before so many snapshots."""
        self._put(git_dir, _Hint(ignored, rest))

    def differences(self, base: str, new: str) -> Sequence[FileDifference] | None:
        """What was found between two trees, which never changes."""
        return self._differences.get((base, new))

    def keep_differences(self, base: str, new: str, found: Sequence[FileDifference]) -> None:
        if len(found) <= _ROWS:
            self._differences[base, new] = found
            self._differences.move_to_end((base, new))
        while len(self._differences) > _DIFFERENCES:
            self._differences.popitem(last=False)

    def _put(self, git_dir: Path, record: Fingerprint | _Hint) -> None:
        self._total += _weight(record) - _weight(self._known.get(git_dir))
        self._known[git_dir] = record
        self._known.move_to_end(git_dir)
        while self._total > self._total_limit:
            _, oldest = self._known.popitem(last=False)
            self._total -= _weight(oldest)


def _weight(record: Fingerprint | _Hint | None) -> int:
    # one of nothing counts too, or there would be no end of them
    return 0 if record is None else record.size + 10
