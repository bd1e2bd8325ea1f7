"""A session's worktree and the host's git directory beside it, made together."""

from dataclasses import dataclass
from pathlib import Path

from coder.model.sessions import Worktree
from coder.worktrees.git import run_at_once
from coder.worktrees.shadow import Shadow, lay_out, remember_tree, seed
from coder.worktrees.tree import snapshot
from coder.worktrees.worktree import AddedWorktree, add_worktree


@dataclass(frozen=True)
class OpenedWorktree:
    """`commit` is what the worktree starts from, `base_tree` the snapshot of its files."""

    commit: str
    base_tree: str
    shadow: Shadow

    def worktree(self, session_id: str, branch: str) -> Worktree:
        """The row of a session that begins here."""
        return Worktree(
            session_id=session_id,
            worktree_path=self.shadow.worktree,
            branch=branch,
            base_commit=self.commit,
            base_tree=self.base_tree,
            last_tree=self.base_tree,
        )


async def open_worktree(repo: Path, path: Path, branch: str, base_ref: str | None, git_dir: Path) -> OpenedWorktree:
    """A fresh worktree at `base_ref` on the new `branch`, and its shadow in `git_dir`, which a failure leaves behind.

    Raises:
        InvalidInput: `base_ref` names no commit. GitError: the branch or the folder exists, the disk is full, ….
    """
    shadow = Shadow(git_dir, repo, path)
    added: list[AddedWorktree] = []

    async def add() -> None:
        added.append(await add_worktree(repo, path, branch, base_ref))

    await run_at_once(add, lambda: lay_out(shadow))
    if await seed(shadow):
        # the files are those of the commit, byte for byte: nobody has been at them yet
        await remember_tree(shadow, added[0].tree)
        return OpenedWorktree(added[0].commit, added[0].tree, shadow)
    return OpenedWorktree(added[0].commit, await snapshot(shadow), shadow)
