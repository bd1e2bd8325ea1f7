"""A repository, a worktree of it and the host's shadow of that worktree, as a session has them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from anyio.lowlevel import checkpoint

from coder.model.changes import FileDifference
from coder.testing.repositories import make_repository
from coder.worktrees import tree
from coder.worktrees.checkout import write_back
from coder.worktrees.fingerprints import Fingerprints
from coder.worktrees.moves import Move
from coder.worktrees.opening import open_worktree
from coder.worktrees.shadow import Shadow

RACY_NS = 20_000_000
"""More than two ticks of any kernel's clock, which the filesystems that tests run on have."""

BRANCH = "coder/0123456789"


@dataclass(frozen=True)
class Room:
    repo: Path
    worktree: Path
    shadow: Shadow
    base: str

    def without_memory(self) -> "Room":
        """Git looks at everything each time."""
        return replace(self, shadow=replace(self.shadow, fingerprints=None))

    async def differences(self) -> list[FileDifference]:
        """What the worktree holds now against the base."""
        return await tree.differences(self.shadow, self.base, await tree.snapshot(self.shadow))

    async def apply(self, differences: Sequence[FileDifference]) -> None:
        """Carry the differences into the checkout."""
        await write_back(self.shadow, self.repo, [Move.forward(each) for each in differences])

    async def revert(self, differences: Sequence[FileDifference]) -> None:
        """Take the differences out of the checkout."""
        await write_back(self.shadow, self.repo, [Move.backward(each) for each in differences])

    async def reject(self, differences: Sequence[FileDifference]) -> None:
        """Take the differences out of the worktree."""
        await write_back(self.shadow, self.worktree, [Move.backward(each) for each in differences])


async def open_room(
    folder: Path,
    files: dict[str, str | bytes],
    prepare: Callable[[Path], object] = lambda repo: None,
    *,
    fingerprints: Fingerprints | None = None,
) -> Room:
    """`prepare` may change the repository before the worktree is made. Snapshots are remembered as a host does it."""
    repo = make_repository(folder / "repo", files)
    prepare(repo)
    worktree = folder / "worktrees" / "session"
    opened = await open_worktree(repo, worktree, BRANCH, None, folder / "shadow.git")
    shadow = replace(opened.shadow, fingerprints=fingerprints or Fingerprints())
    return Room(repo, worktree, shadow, opened.base_tree)


async def pass_time(room: Room) -> None:
    """Until the filesystem's own clock says that what was written is old."""
    probe = room.repo / ".git" / "probe"
    probe.touch()
    begun = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns <= begun + 2 * RACY_NS:
        await checkpoint()
        probe.touch()
