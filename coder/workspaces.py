"""A session's worktree with everything that is known of it, held by one at a time."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

import anyio

from coder.errors import Conflict
from coder.homes import shadow_path
from coder.model.sessions import Project, Worktree
from coder.store import session_worktrees
from coder.store.database import Store
from coder.worktrees import tree
from coder.worktrees.fingerprints import Fingerprints
from coder.worktrees.git import run_in_thread
from coder.worktrees.grounds import Ground, find_ground
from coder.worktrees.shadow import Shadow
from coder.worktrees.worktree import is_worktree


@dataclass(frozen=True)
class Workspace:
    """One session's worktree, the host's git directory beside it, and the project it belongs to."""

    session_id: str
    shadow: Shadow
    worktree: Worktree
    project: Project

    @property
    def checkout(self) -> Path:
        """The person's own checkout of the project."""
        return Path(self.project.repo_path)


class Workspaces:
    """Of all sessions of a host, whose home it is."""

    def __init__(self, store: Store, home: Path) -> None:
        self._store = store
        self._home = home
        self._fingerprints = Fingerprints()
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    def shadow_path(self, session_id: str) -> Path:
        return shadow_path(self._home, session_id)

    async def look(self, session_id: str) -> Workspace:
        """The workspace as it is now, for reading.

        Raises:
            NotFound: no such session, or it has no worktree.
            Conflict: `worktree_gone` or `repository_gone`, somebody has moved or removed its folder.
        """
        async with self._store.connection() as connection:
            worktree, project = await session_worktrees.with_project(connection, session_id)
        await run_in_thread(partial(_require, worktree.worktree_path, Path(project.repo_path)))
        shadow = await tree.open_shadow(
            self.shadow_path(session_id),
            Path(project.repo_path),
            worktree.worktree_path,
            worktree.base_tree,
            self._fingerprints,
        )
        return Workspace(session_id, shadow, worktree, project)

    async def ground(self, session_id: str) -> Ground:
        """What of the machine an agent of the session works on.

        Raises:
            NotFound: no such session, or it has no worktree. GitError: the repository cannot be used.
        """
        async with self._store.connection() as connection:
            worktree, project = await session_worktrees.with_project(connection, session_id)
        return await find_ground(Path(project.repo_path), worktree.worktree_path, worktree.branch)

    @asynccontextmanager
    async def hold(self, session_id: str) -> AsyncGenerator[Workspace]:
        """The workspace, while nobody else moves its base or writes its files on the host's behalf. Raises NotFound."""
        async with self._lock(session_id):
            yield await self.look(session_id)

    @asynccontextmanager
    async def hold_checkout(self, workspace: Workspace) -> AsyncGenerator[Path]:
        """The project's own checkout, for one writer at a time. Always taken after the session's workspace."""
        async with self._lock(workspace.project.id):
            yield workspace.checkout

    def _lock(self, name: str) -> anyio.Lock:
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = anyio.Lock()
        return lock


def _require(worktree: Path, repo: Path) -> None:
    if not is_worktree(worktree):
        raise Conflict(f"the worktree's folder is gone: {worktree}", code="worktree_gone")
    if not repo.is_dir():
        raise Conflict(f"the repository is not where it was: {repo}", code="repository_gone")
