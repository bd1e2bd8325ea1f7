"""Back to empty: everything that the host has made is removed, and nothing else. Repositories are never deleted."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
from asyncpg import Connection

from coder.errors import CoderError, Conflict
from coder.homes import hold_home, open_database, shadow_path
from coder.model.decisions import BranchMove
from coder.model.sessions import Project, Session
from coder.settings import Settings
from coder.store import projects, session_worktrees, sessions
from coder.store.copies import empty_tables, open_alone
from coder.store.database import prepare_connection
from coder.worktrees import tree
from coder.worktrees.branch import Tip, move_branch, read_tip, write_commit
from coder.worktrees.shadow import Shadow
from coder.worktrees.worktree import has_unsaved_commits, remove_worktree

FOLDERS = ("worktrees", "shadows", "agents", "runs")
MESSAGE = "Work that was not committed when coder was reset"


@dataclass(frozen=True)
class Belonging:
    """What a session has in a repository: `files` that are not committed, and commits that no other branch has."""

    session: Session
    repo: Path
    shadow: Shadow
    branch: str
    tip: Tip | None
    content: str | None
    files: int
    has_commits: bool

    @property
    def has_work(self) -> bool:
        return self.files > 0 or self.has_commits


@dataclass(frozen=True)
class Inventory:
    """What a reset removes."""

    home: Path
    database: str
    projects: Sequence[Project]
    belongings: Sequence[Belonging]
    folders: Sequence[Path]


async def reset(settings: Settings, confirm: Callable[[Inventory], bool], *, keep_repos: bool) -> bool:
    """Empty the home and its database, once `confirm` agrees to what that means; whether it did.

    With `keep_repos` the branches of sessions with work of their own stay, and what was not committed is committed on
    them first; without it they go. The token and the settings stay in any case.

    Raises:
        HostConfigError: `home_in_use`, `database_in_use`: a host runs.
        Conflict: work cannot be kept (`identity_missing`, `git_underway`, …); nothing was removed.
    """
    with hold_home(settings.home):
        async with open_database(settings) as url, open_alone(url) as connection:
            await prepare_connection(connection)
            inventory = await _take_inventory(settings, connection)
            if not confirm(inventory):
                return False
            kept: set[str] = set()
            for belonging in inventory.belongings if keep_repos else ():
                if belonging.has_work:
                    await _keep(belonging)
                    kept.add(belonging.session.id)
            for belonging in inventory.belongings:
                await _remove(belonging, keep_branch=belonging.session.id in kept)
            await empty_tables(connection)
        folders = [*inventory.folders, *([] if settings.database_url else [settings.home / "database"])]
        await anyio.to_thread.run_sync(lambda: [shutil.rmtree(folder, ignore_errors=True) for folder in folders])
    return True


async def _take_inventory(settings: Settings, connection: Connection) -> Inventory:
    found: list[Project] = []
    cursor = None
    while True:
        page = await projects.list_page(connection, after=cursor, limit=500)
        found += page.items
        if (cursor := page.next) is None:
            break
    owners = {project.id: project for project in found}
    opened = [one for one in await sessions.all_sessions(connection) if one.worktree_path is not None]
    return Inventory(
        home=settings.home,
        database="the server of CODER_DATABASE_URL" if settings.database_url else str(settings.home / "database"),
        projects=found,
        belongings=[await _look(settings, connection, one, owners[one.project_id]) for one in opened],
        folders=[folder for name in FOLDERS if (folder := settings.home / name).is_dir()],
    )


async def _look(settings: Settings, connection: Connection, session: Session, project: Project) -> Belonging:
    worktree = await session_worktrees.get(connection, session.id)
    repo, path = Path(project.repo_path), worktree.worktree_path
    shadow = Shadow(shadow_path(settings.home, session.id), repo, path)
    tip, content, files, has_commits = None, None, 0, False
    if await anyio.Path(repo).is_dir():
        try:
            has_commits = await has_unsaved_commits(repo, path, worktree.branch)
        except CoderError as error:
            raise Conflict(f"{repo} cannot be read: {error}", code="repository_missing") from error
        if await anyio.Path(path).is_dir():
            shadow = await tree.open_shadow(shadow.git_dir, repo, path, worktree.base_tree)
            content = await tree.snapshot(shadow)
            try:
                tip = await read_tip(shadow, worktree.branch)
                files = len(await tree.differences(shadow, tip.raw, content))
            except Conflict:
                files = len(await tree.differences(shadow, worktree.base_tree, content))
    return Belonging(session, repo, shadow, worktree.branch, tip, content, files, has_commits)


async def _keep(belonging: Belonging) -> None:
    """Commit what is not committed on the session's branch."""
    if not belonging.files or belonging.content is None:
        return
    tip = belonging.tip or await read_tip(belonging.shadow, belonging.branch)
    commit = await write_commit(belonging.shadow, tip, belonging.content, MESSAGE)
    await move_branch(belonging.shadow, BranchMove(branch=belonging.branch, old=tip.commit, new=commit))


async def _remove(belonging: Belonging, *, keep_branch: bool) -> None:
    if await anyio.Path(belonging.repo).is_dir():
        path = belonging.shadow.worktree
        await remove_worktree(belonging.repo, path, belonging.branch, force=True, keep_branch=keep_branch)
