"""Registered repositories."""

from asyncpg import Connection, Record

from coder.errors import Conflict
from coder.model.sessions import Project
from coder.protocol import Page
from coder.store.cursors import check_limit, decode_cursor, page_of
from coder.store.rows import found
from coder.store.statements import sql


async def insert(c: Connection, project: Project) -> Project:
    """Register a repository.

    Raises:
        Conflict: `project_exists`, its path is registered; `project_id` in the fields says as what.
    """
    row = await c.fetchrow(
        sql("insert_project"), project.id, project.name, project.repo_path, project.default_branch, project.created_at
    )
    if row is None:
        existing = await c.fetchrow(sql("find_project_by_path"), project.repo_path)
        raise Conflict(
            f"{project.repo_path} is registered already",
            code="project_exists",
            project_id=existing["id"] if existing else None,
        )
    return _read(row)


async def get(c: Connection, id: str) -> Project:
    """One project; NotFound."""
    return _read(found(await c.fetchrow(sql("get_project"), id), "project", id))


async def find_by_path(c: Connection, repo_path: str) -> Project | None:
    """The project of a repository, if it is registered."""
    row = await c.fetchrow(sql("find_project_by_path"), repo_path)
    return _read(row) if row else None


async def list_page(c: Connection, *, after: str | None = None, limit: int = 100) -> Page[Project]:
    """A page, newest first; `after` is the cursor of the page before."""
    key = decode_cursor("projects", after, str)
    rows = await c.fetch(sql("list_projects"), key, check_limit(limit) + 1)
    return page_of("projects", rows, limit, _read)


async def rename(c: Connection, id: str, name: str) -> Project:
    """Give it another name; NotFound."""
    return _read(found(await c.fetchrow(sql("rename_project"), id, name), "project", id))


async def delete(c: Connection, id: str) -> Project:
    """Forget a project.

    Raises:
        NotFound. Conflict: `project_in_use`, it still has sessions.
    """
    row = await c.fetchrow(sql("delete_project"), id)
    if row is None:
        await get(c, id)
        raise Conflict("the project still has sessions: close them first", code="project_in_use", project_id=id)
    return _read(row)


def _read(row: Record) -> Project:
    return Project.model_validate(dict(row))
