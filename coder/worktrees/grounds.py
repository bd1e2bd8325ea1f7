"""What of a repository the agent of a session needs for its work, and no more: to edit, and to commit on its branch.

Only what the project says of itself is believed: whoever writes to a worktree can point its `.git` anywhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from coder.worktrees.git import run_git, run_in_thread

_CHAIN = 5
"""Repositories that may borrow objects from one another."""


@dataclass(frozen=True)
class Ground:
    """Folders and files by what may be done with them.

    `locked` lies in `write` and is only read; `hidden` lies in `read` and concerns other worktrees.
    """

    worktree: Path
    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    locked: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()


async def find_ground(repo: Path, worktree: Path, branch: str) -> Ground:
    """The ground of the session whose worktree this is. Makes the branch's reflog where it is missing.

    Raises:
        GitError: the repository cannot be used.
    """
    output = await run_git("rev-parse", "--path-format=absolute", "--git-common-dir", cwd=repo)
    common = Path(output.decode(errors="surrogateescape").strip("\n"))
    return await run_in_thread(lambda: _ground(common, worktree, branch))


def _ground(common: Path, worktree: Path, branch: str) -> Ground:
    own = _own_folder(common, worktree)
    objects, ref = common / "objects", common / "refs" / "heads" / branch
    ref.parent.mkdir(parents=True, exist_ok=True)
    log = common / "logs" / "refs" / "heads" / branch
    # appended to in place, so that its folder need not be written; without it git would want to make it
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch()
    locked = [worktree / ".git", objects / "pack", objects / "info", *_neighbours(ref)]
    write = [worktree, objects, ref.parent, log, common / "lfs"]
    if own is not None:
        write.append(own)
        # what would let git run something else, or somewhere else
        (own / "config.worktree").touch()
        locked += [own / name for name in ("commondir", "gitdir", "config.worktree")]
    read = (common, *_borrowed(objects, _CHAIN))
    return Ground(worktree, read, tuple(write), tuple(locked), (common / "worktrees",))


def _own_folder(common: Path, worktree: Path) -> Path | None:
    """The repository's folder for this worktree, by what the repository says, not the worktree."""
    wanted = (worktree / ".git").parent.resolve()
    for pointer in (common / "worktrees").glob("*/gitdir"):
        text = pointer.read_text(errors="surrogateescape").strip("\n")
        if Path(pointer.parent, text).parent.resolve() == wanted:
            return pointer.parent
    return None


def _neighbours(ref: Path) -> Iterator[Path]:
    """Branches of others in the same folder."""
    return (path for path in ref.parent.iterdir() if path != ref and not path.name.endswith(".lock"))


def _borrowed(objects: Path, depth: int) -> Iterator[Path]:
    try:
        lines = (objects / "info" / "alternates").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return
    for line in lines if depth else ():
        if line and not line.startswith("#"):
            lent = Path(objects, line)
            yield lent
            yield from _borrowed(lent, depth - 1)
