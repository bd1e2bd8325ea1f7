"""Sessions: open one with its worktree, close it, and match rows with folders after a crash."""

import logging
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from coder.errors import CoderError, Conflict, GitError, NotFound, TooMany, UnsavedWork
from coder.journal import Journal
from coder.model.checkpoints import Checkpoint
from coder.model.events import CheckpointRecorded, SessionUpdated
from coder.model.pool import SpareTotals
from coder.model.sessions import AgentSession, Project, Session, SessionState
from coder.model.values import new_id, now, short_id
from coder.protocol import Page, SessionPatch
from coder.setups import Setups
from coder.space import Space
from coder.store import agent_sessions, checkpoints, projects, session_worktrees, sessions
from coder.store.database import Store
from coder.tallies import OpeningTally, Waits
from coder.worktrees import tree
from coder.worktrees.branch import find_tip
from coder.worktrees.git import run_in_thread
from coder.worktrees.opening import open_worktree
from coder.worktrees.worktree import (
    find_commit,
    has_unsaved_commits,
    is_worktree,
    remove_worktree,
    restore_worktree,
)

logger = logging.getLogger(__name__)

EndWork = Callable[[str], Awaitable[None]]
"""Ends what runs in a session: its turns, then its agents."""


class Sessions:
    """`folder` holds the worktrees, `shadow_path` says where a session's host-owned git directory is.

    What agents keep for a session lies in `agents_folder`, under its id. `was_opened` hears of every session that
    somebody opened.
    """

    def __init__(
        self,
        store: Store,
        journal: Journal,
        folder: Path,
        shadow_path: Callable[[str], Path],
        setups: Setups,
        *,
        end_work: EndWork,
        was_opened: Callable[[Session], None] = lambda _: None,
        agents_folder: Path | None = None,
        limit: int = 500,
        space: Space | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._journal = journal
        self._folder = folder
        self._shadow_path = shadow_path
        self._setups = setups
        self._end_work = end_work
        self._was_opened = was_opened
        self._agents_folder = agents_folder
        self._limit = limit
        self._spares_in_the_making: dict[str, anyio.Event] = {}
        self._space = space
        self._clock = clock
        self.tally = OpeningTally()

    async def open(self, project_id: str, name: str | None, base_ref: str | None) -> Session:
        """A new session, answered when its worktree is ready on branch `coder/<short id>`.

        Raises:
            NotFound: no such project. UnusableRepository: no worktree can be made from it.
            InvalidInput: `base_ref` names no commit. TooMany: there are `limit` sessions already.
            Unavailable: `disk_full`.
        """
        self._refuse_without_room()
        begun = self._clock()
        session, waits = await self._take_spare(project_id, name, base_ref)
        if session is None:
            session = await self._open(project_id, name, base_ref)
        waits.note(self._clock() - begun)
        self._was_opened(session)
        return session

    async def open_spare(self, project_id: str) -> Session:
        """A session that the next `open` in the project takes, as long as the commit it starts from is the same.

        Raises:
            NotFound, UnusableRepository: as `open`.
        """
        self._refuse_without_room()
        made = self._spares_in_the_making[project_id] = anyio.Event()
        try:
            return await self._open(project_id, None, None, is_spare=True)
        finally:
            made.set()
            del self._spares_in_the_making[project_id]

    def _refuse_without_room(self) -> None:
        if self._space is not None:
            self._space.refuse_without()

    async def spares(self) -> Sequence[Session]:
        """Sessions that nobody has asked for yet, newest first."""
        async with self._store.connection() as connection:
            return await sessions.list_spares(connection)

    async def openings_since(self, at: datetime) -> Mapping[str, Sequence[float]]:
        """When sessions were opened in each project, oldest first, in seconds since 1970, as far as rows still tell."""
        async with self._store.connection() as connection:
            found = await sessions.openings_since(connection, at)
        return {project_id: [time.timestamp() for time in times] for project_id, times in found.items()}

    def spare_totals(self) -> SpareTotals:
        """How often somebody who opened a session was given a spare one."""
        tally = self.tally
        openings = tally.hit.count + tally.stale.count + tally.miss.count
        return SpareTotals(
            openings=openings,
            stale=tally.stale.count,
            hit_rate=tally.hit.count / openings if openings else None,
            hit_seconds=Waits.median(tally.hit),
            miss_seconds=Waits.median(tally.stale, tally.miss),
        )

    async def is_fresh(self, spare: Session) -> bool:
        """Whether the project is still at the commit that the spare starts from, and its worktree is there."""
        async with self._store.connection() as connection:
            project = await projects.get(connection, spare.project_id)
        return await _starts_from(spare, await find_commit(Path(project.repo_path), None))

    async def drop_spare(self, id: str) -> None:
        """Close it, unless somebody has asked for it in this moment."""
        async with self._store.transaction() as connection:
            spare = await sessions.drop_spare(connection, id)
            project = spare and await projects.get(connection, spare.project_id)
        if project is not None:
            await self._end_work(id)
            await self._setups.end(id)
            await self._discard(id, project)

    async def get(self, id: str) -> Session:
        """Raises NotFound."""
        async with self._store.connection() as connection:
            return await sessions.get(connection, id)

    async def list(self, project_id: str | None, cursor: str | None, limit: int) -> Page[Session]:
        async with self._store.connection() as connection:
            return await sessions.list_page(connection, project_id=project_id, after=cursor, limit=limit)

    async def agent_sessions(self, id: str) -> tuple[AgentSession, ...]:
        """Raises NotFound."""
        async with self._store.connection() as connection:
            await sessions.get(connection, id)
            return await agent_sessions.list_by_session(connection, id)

    async def patch(self, id: str, patch: SessionPatch) -> Session:
        """Another name, or whether its changes are applied by themselves. Raises NotFound."""
        async with self._journal.commit(id) as commit:
            session = await sessions.patch(commit.connection, id, name=patch.name, auto_apply=patch.auto_apply)
            commit.append(SessionUpdated(session=session))
        return session

    async def close(self, id: str, *, force: bool, keep_branch: bool = False) -> None:
        """End the session's work, carry out its teardown, and remove its worktree and, unless it is kept, its branch.

        Raises:
            UnsavedWork: it holds changes or commits that exist nowhere else; `force` deletes them.
        """
        session = await self.get(id)
        async with self._store.connection() as connection:
            project = await projects.get(connection, session.project_id)
        if not force:
            await self._refuse_unsaved(session, project, keep_branch=keep_branch)
        async with self._store.transaction() as connection:
            await sessions.move(connection, id, {SessionState.OPEN, SessionState.CLOSING}, SessionState.CLOSING)
            await session_worktrees.keep_branch(connection, id, keep=keep_branch)
        await self._end_work(id)
        await self._setups.end(id)
        await self._discard(id, project)

    async def reconcile(self) -> None:
        """After a crash: drop what never opened, finish what was closing, put back worktrees that are gone."""
        async with self._store.connection() as connection:
            found = await sessions.all_sessions(connection)
            owners = {id: await projects.get(connection, id) for id in {session.project_id for session in found}}
        for session in found:
            try:
                if session.state is SessionState.OPEN:
                    await self.restore(session)
                else:
                    await self._discard(session.id, owners[session.project_id])
            except (CoderError, OSError) as error:
                logger.warning("session not reconciled: %s", error, extra={"session": session.id})

    async def restore(self, session: Session) -> bool:
        """Make the worktree again from its branch where its folder is gone, or is a worktree no more; whether so.

        Raises:
            GitError: it cannot be made.
        """
        if session.worktree_path is None or session.branch is None:
            return False
        if await run_in_thread(partial(is_worktree, Path(session.worktree_path))):
            return False
        async with self._store.connection() as connection:
            project = await projects.get(connection, session.project_id)
        await restore_worktree(Path(project.repo_path), Path(session.worktree_path), session.branch)
        logger.warning("worktree was gone and is made again from its branch", extra={"session": session.id})
        return True

    async def repair(self, session: Session) -> bool:
        """As `restore`, but only where the folder is there: somebody has written on in it. Whether so."""
        if session.worktree_path is None or not await anyio.Path(session.worktree_path).is_dir():
            return False
        return await self.restore(session)

    async def _take_spare(
        self, project_id: str, name: str | None, base_ref: str | None
    ) -> tuple[Session | None, Waits]:
        """The session that was made ahead, where one fits, and where to note how long the opening took."""
        taken, waits = await self._take_ready(project_id, name, base_ref)
        if taken is None and (made := self._spares_in_the_making.get(project_id)):
            await made.wait()
            return await self._take_ready(project_id, name, base_ref)
        return taken, waits

    async def _take_ready(
        self, project_id: str, name: str | None, base_ref: str | None
    ) -> tuple[Session | None, Waits]:
        spares = [spare for spare in await self.spares() if spare.project_id == project_id]
        if not spares:
            return None, self.tally.miss
        async with self._store.connection() as connection:
            project = await projects.get(connection, project_id)
            is_full = await sessions.count(connection) >= self._limit
        start = None if is_full else await find_commit(Path(project.repo_path), base_ref)
        waits = self.tally.stale
        # the oldest is the readiest: set up, its agent warm
        for spare in reversed(spares):
            if not await _starts_from(spare, start):
                continue
            # there was one, also where somebody else is faster
            waits = self.tally.miss
            async with self._journal.commit(spare.id) as commit:
                taken = await sessions.take_spare(
                    commit.connection, spare.id, name=name or spare.name, base_ref=base_ref, at=now()
                )
                if taken is not None:
                    commit.append(SessionUpdated(session=taken))
            if taken is not None:
                return taken, self.tally.hit
        return None, waits

    async def _open(
        self, project_id: str, name: str | None, base_ref: str | None, *, is_spare: bool = False
    ) -> Session:
        id = new_id("ses")
        async with self._store.transaction() as connection:
            project = await projects.get(connection, project_id)
            await sessions.insert(
                connection,
                id=id,
                project_id=project_id,
                name=name or f"Session {short_id(id)[:4]}",
                base_ref=base_ref,
                created_at=now(),
                is_spare=is_spare,
            )
            if await sessions.count(connection) > self._limit:
                raise TooMany(f"there are {self._limit} sessions already: close one first", code="too_many_sessions")
        try:
            await self._make_worktree(id, project, base_ref)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._discard(id, project)
            raise
        return await self.get(id)

    async def _make_worktree(self, id: str, project: Project, base_ref: str | None) -> None:
        branch = f"coder/{short_id(id)}"
        repo, path = Path(project.repo_path), self._folder / short_id(id)
        opened = await open_worktree(repo, path, branch, base_ref, self._shadow_path(id))
        worktree = opened.worktree(id, branch)
        setup = await self._setups.read(project, opened.commit, id)
        async with self._journal.commit(id) as commit:
            await session_worktrees.insert(commit.connection, worktree)
            if setup is not None:
                await self._setups.record(commit, project, setup)
            await sessions.move(commit.connection, id, {SessionState.OPENING}, SessionState.OPEN)
            commit.append(SessionUpdated(session=await sessions.get(commit.connection, id)))
            start = Checkpoint(
                id=new_id("cpt"),
                session_id=id,
                kind="opened",
                tree=opened.base_tree,
                seq=commit.last_seq,
                created_at=now(),
            )
            await checkpoints.insert(commit.connection, start)
            commit.append(CheckpointRecorded(checkpoint=start))
        self._setups.start(setup)

    async def _refuse_unsaved(self, session: Session, project: Project, *, keep_branch: bool) -> None:
        if session.state is not SessionState.OPEN or session.worktree_path is None or session.branch is None:
            return
        async with self._store.connection() as connection:
            worktree = await session_worktrees.get(connection, session.id)
        if not await anyio.Path(worktree.worktree_path).is_dir():
            return
        await self.repair(session)
        repo = Path(project.repo_path)
        shadow = await tree.open_shadow(self._shadow_path(session.id), repo, worktree.worktree_path, worktree.base_tree)
        content = await tree.snapshot(shadow)
        left = await tree.differences(shadow, worktree.base_tree, content)
        if left and keep_branch:
            committed = await find_tip(shadow, worktree.branch)
            open_paths = {each.file_path for each in await tree.differences(shadow, committed or content, content)}
            left = [each for each in left if committed is None or each.file_path in open_paths]
        if left:
            files = [difference.file_path for difference in left]
            raise UnsavedWork(f"{len(files)} changed files are not applied: {', '.join(files[:5])}", files=files[:100])
        if await has_unsaved_commits(repo, worktree.worktree_path, session.branch, keep_branch=keep_branch):
            raise UnsavedWork(f"branch {session.branch} has commits that no other branch has")

    async def _discard(self, id: str, project: Project) -> None:
        """Remove folder, branch, shadow and row; each step may have been done before."""
        repo, path = Path(project.repo_path), self._folder / short_id(id)
        try:
            if not await anyio.Path(repo).is_dir():
                # nothing of the repository is left that could know of the worktree
                await _delete_folder(path)
            else:
                keep = await self._is_branch_kept(id)
                await remove_worktree(repo, path, f"coder/{short_id(id)}", force=True, keep_branch=keep)
        except (GitError, OSError) as error:
            raise Conflict(f"the worktree could not be removed: {error}", code="worktree_stuck") from error
        await _delete_folder(self._shadow_path(id))
        if self._agents_folder is not None:
            await _delete_folder(self._agents_folder / id)
        self._journal.forget(id)
        async with self._store.transaction() as connection:
            await sessions.delete(connection, id)

    async def _is_branch_kept(self, id: str) -> bool:
        async with self._store.connection() as connection:
            try:
                return (await session_worktrees.get(connection, id)).keep_branch
            except NotFound:
                return False


async def _starts_from(spare: Session, commit: str | None) -> bool:
    """Whether a session that starts from this commit could be this one."""
    if spare.worktree_path is None or commit is None or spare.base_commit != commit:
        return False
    return await anyio.Path(spare.worktree_path).is_dir()


async def _delete_folder(path: Path) -> None:
    await anyio.to_thread.run_sync(lambda: shutil.rmtree(path, ignore_errors=True))
