"""Projects: registered git repositories."""

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
from anyio import to_thread

from coder.errors import UnusableRepository
from coder.model.sessions import Project
from coder.model.values import new_id, now
from coder.protocol import NewProject, Page
from coder.store import projects
from coder.store.database import Store
from coder.worktrees.worktree import inspect_repository


class Projects:
    """What agents keep for all sessions of a project lies in `agents_folder`, under its id.

    `drop_spares` closes the sessions of a project that nobody has asked for.
    """

    def __init__(self, store: Store, agents_folder: Path, drop_spares: Callable[[str], Awaitable[None]]) -> None:
        self._store = store
        self._agents_folder = agents_folder
        self._drop_spares = drop_spares

    async def register(self, body: NewProject) -> Project:
        """Register the repository that holds `repo_path`.

        Raises:
            Conflict: `project_exists`, it is registered; `project_id` says as what.
            UnusableRepository: not absolute, not a repository, bare, or without a commit; the message says which.
        """
        path = Path(await anyio.Path(body.repo_path).expanduser())
        if not path.is_absolute():
            raise UnusableRepository(f"repo_path must be absolute: {body.repo_path}")
        repository = await inspect_repository(path)
        project = Project(
            id=new_id("prj"),
            name=body.name or repository.path.name,
            repo_path=str(repository.path),
            default_branch=repository.default_branch,
            created_at=now(),
        )
        async with self._store.transaction() as connection:
            return await projects.insert(connection, project)

    async def get(self, id: str) -> Project:
        """Raises NotFound."""
        async with self._store.connection() as connection:
            return await projects.get(connection, id)

    async def list(self, cursor: str | None, limit: int) -> Page[Project]:
        async with self._store.connection() as connection:
            return await projects.list_page(connection, after=cursor, limit=limit)

    async def rename(self, id: str, name: str) -> Project:
        """Raises NotFound."""
        async with self._store.transaction() as connection:
            return await projects.rename(connection, id, name)

    async def remove(self, id: str) -> None:
        """Forget the project and delete what agents keep for it; its repository is not touched.

        Raises:
            Conflict: sessions are open in it.
        """
        await self._drop_spares(id)
        async with self._store.transaction() as connection:
            await projects.delete(connection, id)
        await to_thread.run_sync(lambda: shutil.rmtree(self._agents_folder / id, ignore_errors=True))
