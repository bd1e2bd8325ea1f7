"""Where sessions work, and what their changes are measured against."""

from asyncpg import Connection, Record

from coder.model.sessions import Project, Worktree
from coder.store.rows import found, wrong_state
from coder.store.statements import sql


async def insert(c: Connection, worktree: Worktree) -> Worktree:
    """Record the worktree of a session."""
    row = await c.fetchrow(
        sql("insert_worktree"),
        worktree.session_id,
        str(worktree.worktree_path),
        worktree.branch,
        worktree.base_commit,
        worktree.base_tree,
        worktree.last_tree,
    )
    return _read(found(row, "worktree", worktree.session_id))


async def get(c: Connection, session_id: str) -> Worktree:
    """The worktree of a session; NotFound."""
    return _read(found(await c.fetchrow(sql("get_worktree"), session_id), "worktree", session_id))


async def with_project(c: Connection, session_id: str) -> tuple[Worktree, Project]:
    """The worktree of a session, and the project it is of; NotFound."""
    row = found(await c.fetchrow(sql("get_worktree_and_project"), session_id), "worktree", session_id)
    return _read(row), Project.model_validate(row["project"])


async def move_trees(
    c: Connection,
    session_id: str,
    *,
    expected: str,
    base: str,
    committed: str | None,
    last: str | None = None,
    base_commit: str | None = None,
) -> Worktree:
    """Move the base from the tree the caller saw, with as much of it as is on the branch; None leaves the rest.

    Raises:
        NotFound. WrongState: somebody moved it in between.
    """
    row = await c.fetchrow(sql("move_worktree_trees"), session_id, expected, base, committed, last, base_commit)
    if row is None:
        worktree = await get(c, session_id)
        raise wrong_state("base tree of", session_id, worktree.base_tree, [expected])
    return _read(row)


async def keep_branch(c: Connection, session_id: str, *, keep: bool) -> None:
    """Say whether the branch outlives its session."""
    await c.execute(sql("keep_branch"), session_id, keep)


async def all_worktrees(c: Connection) -> tuple[Worktree, ...]:
    """Every worktree."""
    return tuple(_read(row) for row in await c.fetch(sql("all_worktrees")))


def _read(row: Record) -> Worktree:
    return Worktree.model_validate(dict(row))
