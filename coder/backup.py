"""A backup: the database as of one moment, and of each session what its repository would not have elsewhere.

The database is read first, then the files: what it names is there. It can be taken beside a running host; a turn that
runs meanwhile is in it as a killed host would have left it.
"""

import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import anyio
from asyncpg import Connection

from coder import __version__
from coder.errors import CoderError, Conflict, HostConfigError
from coder.homes import join_database, shadow_path
from coder.model.backups import Backup, Parcel
from coder.model.sessions import Session, SessionState, Worktree
from coder.model.values import now
from coder.settings import Settings
from coder.store import projects, session_worktrees, sessions, tasks
from coder.store.copies import names_in_rows, open_alone, open_snapshot, write_tables
from coder.store.database import prepare_connection
from coder.worktrees import tree
from coder.worktrees.parcels import pack

SETTINGS = ("config.toml",)
_SQLITE = b"SQLite format 3\0"
_CACHES = frozenset({"cache", ".cache", ".npm", "node_modules", "empty"})


async def write_backup(settings: Settings, target: Path) -> Backup:
    """Write everything that the host of these settings keeps into a new file that only its owner can read.

    The access token is left out: the next host makes one of its own.

    Raises:
        Conflict: `file_exists`, nothing is written over. HostConfigError, DatabaseAway: the database cannot be read.
    """
    with _folder_beside(target) as folder:
        async with join_database(settings) as (url, is_used):
            if not is_used:
                async with open_alone(url):
                    pass  # an earlier version may have left it: what is read is of today's schema
            written = await _collect(settings, url, folder)
        await anyio.to_thread.run_sync(lambda: _keep_files(settings, folder))
        (folder / "backup.json").write_text(written.model_dump_json(indent=1))
        await anyio.to_thread.run_sync(lambda: _write_archive(folder, target))
    return written


async def _collect(settings: Settings, url: str, folder: Path) -> Backup:
    async with open_snapshot(url) as connection:
        await prepare_connection(connection)
        spares = {spare.id for spare in await sessions.list_spares(connection)}
        opened = [session for session in await sessions.all_sessions(connection) if session.id not in spares]
        (folder / "tables").mkdir()
        tables = await write_tables(connection, folder / "tables")
        running = {task.session_id for task in await tasks.running_of_other_runs(connection, "")}
        packing = _Packing(settings, url, connection, folder, running)
        for session in opened:
            await packing.take(session)
    return Backup(
        version=__version__,
        made_at=now(),
        home=str(settings.home),
        tables=tables,
        parcels=packing.parcels,
        was_running=tuple(sorted(running)),
        warnings=tuple(packing.warnings),
    )


class _Packing:
    """What is in the backup so far."""

    def __init__(self, settings: Settings, url: str, connection: Connection, folder: Path, running: set[str]) -> None:
        self._settings = settings
        self._url = url
        self._connection = connection
        self._folder = folder
        self._running = running
        self.parcels: dict[str, Parcel] = {}
        self.warnings: list[str] = []

    async def take(self, session: Session) -> None:
        """Pack a session that is open; what cannot be packed is a warning."""
        if session.state is not SessionState.OPEN or session.worktree_path is None:
            return
        worktree = await session_worktrees.get(self._connection, session.id)
        folder = self._folder / "sessions" / session.id
        folder.mkdir(parents=True)
        try:
            parcel = await self._pack(session, worktree, folder)
        except (CoderError, OSError) as error:
            self.warnings.append(f"{session.name} ({session.id}) is without its files: {error}")
            return
        self.parcels[session.id] = parcel
        self.warnings += [f"{session.name} ({session.id}) is without {name}" for name in parcel.left_out]

    async def _pack(self, session: Session, worktree: Worktree, folder: Path) -> Parcel:
        project = await projects.get(self._connection, session.project_id)
        shadow = await tree.open_shadow(
            shadow_path(self._settings.home, session.id),
            Path(project.repo_path),
            worktree.worktree_path,
            worktree.base_tree,
        )
        names = await names_in_rows(self._connection, session.id)
        stored = worktree.last_tree or worktree.base_tree
        if not worktree.worktree_path.is_dir():
            return await pack(shadow, worktree.branch, names, folder, tree=stored)
        parcel = await pack(shadow, worktree.branch, names, folder)
        if session.id not in self._running and await self._has_moved(session):
            # files of a turn that the rows know nothing of would pass for somebody's own
            self.warnings.append(f"{session.name} ({session.id}) went on meanwhile: it is as it was before that")
            parcel = await pack(shadow, worktree.branch, names, folder, tree=stored)
        return parcel

    async def _has_moved(self, session: Session) -> bool:
        async with open_snapshot(self._url) as connection:
            await prepare_connection(connection)
            return (await sessions.get(connection, session.id)).last_seq != session.last_seq


def _copy_file(source: Path, target: Path) -> None:
    if source.is_symlink() or not source.is_file() or source.name.endswith(("-wal", "-shm")):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as file:
        is_database = file.read(len(_SQLITE)) == _SQLITE
    if not is_database:
        shutil.copyfile(source, target)
        return
    # its owner may be writing it
    with (
        closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as live,
        closing(sqlite3.connect(target)) as copy,
    ):
        live.backup(copy)


def _keep_files(settings: Settings, folder: Path) -> None:
    """Settings, and conversations that agents keep below the home; what they fetch or link again is left out."""
    agents = settings.home / "agents"
    for path, folders, names in os.walk(agents):
        folders[:] = [name for name in folders if name not in _CACHES]
        for name in names:
            _copy_file(Path(path, name), folder / "agents" / Path(path).relative_to(agents) / name)
    for name in SETTINGS:
        _copy_file(settings.home / name, folder / "settings" / name)
    _copy_file(settings.resolved_providers_path, folder / "settings" / "coder-providers.json")


@contextmanager
def _folder_beside(target: Path) -> Generator[Path]:
    """A private folder on the file system that the backup goes to."""
    if target.exists():
        raise _exists(target)
    try:
        made = tempfile.TemporaryDirectory(dir=target.parent, prefix=".coder-backup-")
    except OSError as error:
        raise HostConfigError(f"cannot write to {target.parent}: {error.strerror}") from error
    with made as folder:
        yield Path(folder)


def _write_archive(folder: Path, target: Path) -> None:
    """All of it or nothing: the file gets its name when it is whole and on the disk."""
    fd, draft = tempfile.mkstemp(dir=folder.parent, prefix=".coder-backup-")
    try:
        with os.fdopen(fd, "wb") as file:
            with tarfile.open(fileobj=file, mode="w:gz", compresslevel=3) as archive:
                for name in (
                    "backup.json",
                    *sorted(path.name for path in folder.iterdir() if path.name != "backup.json"),
                ):
                    archive.add(folder / name, name, filter=_nobodys)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, target)
    except FileExistsError as error:
        raise _exists(target) from error
    finally:
        Path(draft).unlink()


def _exists(target: Path) -> Conflict:
    return Conflict(f"{target} exists: a backup is never written over another file", code="file_exists")


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o700 if member.isdir() else 0o600
    return member
