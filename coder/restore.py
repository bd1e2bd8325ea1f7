"""Putting a backup back: into an empty home, with an empty database, beside repositories that are there."""

import gzip
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Generator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
from asyncpg import Connection
from pydantic import ValidationError

from coder.errors import CoderError, Conflict, InvalidInput
from coder.homes import hold_home, open_database, shadow_path
from coder.model.backups import Backup
from coder.model.sessions import Worktree
from coder.model.values import short_id
from coder.settings import Settings
from coder.store import projects, session_worktrees, sessions
from coder.store.copies import is_empty, open_alone, read_tables
from coder.store.database import prepare_connection
from coder.store.statements import sql
from coder.worktrees.parcels import has_branch, missing, unpack
from coder.worktrees.shadow import Shadow
from coder.worktrees.worktree import inspect_repository, remove_worktree

_OWN_FOLDERS = ("worktrees", "shadows", "agents")


@dataclass(frozen=True)
class Restored:
    """What came of it: the backup's own words, and what stayed as it was here."""

    backup: Backup
    kept: tuple[str, ...]


async def restore_backup(settings: Settings, source: Path, moved: Mapping[Path, Path]) -> Restored:
    """Make of an empty home what the backup holds; `moved` says where repositories are now that are elsewhere.

    All or nothing: where something does not fit, the home is as it was before. Settings that are there stay.

    Raises:
        HostConfigError: `home_in_use`, `database_in_use`; `backup_too_new`; `backup_damaged`.
        Conflict: `not_empty`, something would be written over; `repository_missing`, it says which and why.
        InvalidInput: the file is no backup.
    """
    with hold_home(settings.home):
        if used := [name for name in _OWN_FOLDERS if _has_content(settings.home / name)]:
            raise Conflict(f"{settings.home / used[0]} is not empty: nothing is restored over it", code="not_empty")
        with _unpacked(source, settings.home) as folder:
            backup = _read(folder)
            async with AsyncExitStack() as undo:
                async with open_database(settings) as url, open_alone(url) as connection:
                    if not await is_empty(connection):
                        raise Conflict("the database is not empty: nothing is restored over it", code="not_empty")
                    await read_tables(connection, folder / "tables", backup.tables)
                    await prepare_connection(connection)
                    await _put_back(_Place(settings, connection, folder, backup, moved), undo)
                kept = await anyio.to_thread.run_sync(lambda: _restore_files(settings, folder))
                undo.pop_all()
            return Restored(backup, tuple(kept))


@dataclass(frozen=True)
class _Place:
    settings: Settings
    connection: Connection
    folder: Path
    backup: Backup
    moved: Mapping[Path, Path]

    def shadow(self, session_id: str, repo: Path) -> Shadow:
        home = self.settings.home
        return Shadow(shadow_path(home, session_id), repo, home / "worktrees" / short_id(session_id))


async def _put_back(place: _Place, undo: AsyncExitStack) -> None:
    repositories = await _repositories(place)
    worktrees = {id: await session_worktrees.get(place.connection, id) for id in place.backup.parcels}
    await _refuse_misfits(place, repositories, worktrees)
    for id, parcel in place.backup.parcels.items():
        shadow, branch = place.shadow(id, repositories[id]), worktrees[id].branch
        undo.push_async_callback(_take_back, shadow, branch, keep_branch=await has_branch(shadow.repo, branch))
        await unpack(shadow, branch, parcel, place.folder / "sessions" / id)
        await place.connection.execute(sql("move_session_worktree"), id, str(shadow.worktree))
    for spare in await sessions.list_spares(place.connection):
        await sessions.delete(place.connection, spare.id)
    # what a setup made is ignored by git, and so it is not there
    await place.connection.execute(sql("repeat_setups"))


async def _repositories(place: _Place) -> Mapping[str, Path]:
    """Where the repository of each session is now; the projects' rows follow."""
    found: dict[str, Path] = {}
    for session in await sessions.all_sessions(place.connection):
        project = await projects.get(place.connection, session.project_id)
        path = place.moved.get(Path(project.repo_path))
        if path is not None:
            await place.connection.execute(sql("move_project"), project.id, str(path))
        found[session.id] = path or Path(project.repo_path)
    return found


async def _refuse_misfits(place: _Place, repositories: Mapping[str, Path], worktrees: Mapping[str, Worktree]) -> None:
    faults: list[str] = []
    for id, parcel in place.backup.parcels.items():
        repo = repositories[id]
        try:
            await inspect_repository(repo)
            faults += [f"{repo}: {fault}" for fault in await missing(repo, worktrees[id].branch, parcel)]
        except CoderError as error:
            faults.append(f"{repo}: {error}")
    if faults:
        words = "; ".join(dict.fromkeys(faults))
        advice = "say where a repository is now with --repo OLD=NEW"
        raise Conflict(f"the sessions do not fit: {words}. Nothing was restored; {advice}", code="repository_missing")


async def _take_back(shadow: Shadow, branch: str, *, keep_branch: bool) -> None:
    with anyio.CancelScope(shield=True):
        await remove_worktree(shadow.repo, shadow.worktree, branch, force=True, keep_branch=keep_branch)
        await anyio.to_thread.run_sync(lambda: shutil.rmtree(shadow.git_dir, ignore_errors=True))


def _restore_files(settings: Settings, folder: Path) -> list[str]:
    """Put settings and agents' folders where they belong; what is there stays and is named."""
    kept: list[str] = []
    targets = {
        folder / "settings" / "config.toml": settings.home / "config.toml",
        folder / "settings" / "coder-providers.json": settings.resolved_providers_path,
    }
    for source, target in targets.items():
        if not source.exists():
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            kept.append(str(target))
            continue
        with os.fdopen(fd, "wb") as file:
            file.write(source.read_bytes())
    if (folder / "agents").is_dir():
        shutil.copytree(folder / "agents", settings.home / "agents", dirs_exist_ok=True)
        (settings.home / "agents").chmod(0o700)
    return kept


@contextmanager
def _unpacked(source: Path, home: Path) -> Generator[Path]:
    with tempfile.TemporaryDirectory(dir=home, prefix=".restore-") as folder:
        try:
            with gzip.open(source) as file:
                while file.read(1 << 20):
                    pass  # the checksum stands at the end, where reading the archive need not come to
            with tarfile.open(source, "r:gz") as archive:
                archive.extractall(folder, filter="data")
        except FileNotFoundError as error:
            raise InvalidInput(f"there is no file {source}") from error
        except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
            raise InvalidInput(f"{source} is no whole backup: {error}", code="backup_damaged") from error
        yield Path(folder)


def _read(folder: Path) -> Backup:
    try:
        return Backup.model_validate_json((folder / "backup.json").read_bytes())
    except (OSError, ValidationError) as error:
        raise InvalidInput("the file is no backup of coder, or of a newer version", code="backup_damaged") from error


def _has_content(path: Path) -> bool:
    return path.is_dir() and any(path.iterdir())
