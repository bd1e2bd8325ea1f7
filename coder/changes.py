"""Pending changes: record what differs from a session's base, and show it."""

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Protocol

from coder.errors import InvalidInput
from coder.journal import Commit
from coder.model.changes import USER, Change, ChangeDetail, ChangeLines, ChangeStatus, FileDifference
from coder.model.comments import Side
from coder.model.events import ChangeDecided, ChangeRecorded
from coder.model.values import new_id, now
from coder.protocol import Page
from coder.store import changes, session_worktrees, sessions
from coder.store.database import Store
from coder.workspaces import Workspace, Workspaces
from coder.worktrees.hunks import text_diff
from coder.worktrees.texts import shown_lines

LOOKUPS = 500
"""More new files than this are not looked up in the session's past."""


_SUBMODULE = "160000"


class Follow(Protocol):
    """Called in the commit of a decision with the trees that the session has from then on; None is as it was."""

    async def __call__(
        self, commit: Commit, workspace: Workspace, *, base: str | None = None, new: str | None = None
    ) -> None: ...


class Changes:
    """Files whose name fits one of `secret_patterns` are marked, and never applied by themselves."""

    def __init__(self, store: Store, workspaces: Workspaces, secret_patterns: Sequence[str], follow: Follow) -> None:
        self._store = store
        self._workspaces = workspaces
        self._secret_patterns = secret_patterns
        self._follow = follow

    async def record(
        self,
        commit: Commit,
        session_id: str,
        found: Sequence[FileDifference],
        *,
        agent: str,
        task_id: str | None = None,
        agents: Mapping[str, str] | None = None,
        narrowed: Mapping[str, str | None] | None = None,
    ) -> None:
        """Make the pending rows equal to what was found: keep the same, supersede the others, add the new.

        A row of a path in `narrowed` whose new side is now that blob is the rest of a decision: it keeps its id and its
        author. `agents` are authors by path where it is not `agent`.
        """
        rest, authors = narrowed or {}, agents or {}
        pending = {change.file_path: change for change in await changes.pending(commit.connection, session_id)}
        fresh = {each.file_path: each for each in found}
        for path, change in list(pending.items()):
            left = fresh.get(path)
            if left is not None and left.sides != change.sides and path in rest and rest[path] == left.new_blob:
                kept = await changes.narrow(commit.connection, change.id, left, change.contributors)
                commit.append(ChangeRecorded(change=kept), agent=kept.agent, task_id=task_id)
                del pending[path], fresh[path]
        stale = {path: each for path, each in pending.items() if path not in fresh or fresh[path].sides != each.sides}
        for change in await changes.supersede(commit.connection, session_id, list(stale)):
            commit.append(ChangeDecided(change=change), agent=change.agent, task_id=task_id)
        added = [
            self._new_change(session_id, task_id, authors.get(path, agent), each, stale.get(path))
            for path, each in fresh.items()
            if path not in pending or path in stale
        ]
        if agent == USER and len(added) <= LOOKUPS:
            added = [await self._with_author(commit, change) for change in added]
        await changes.insert_many(commit.connection, added)
        for change in added:
            commit.append(ChangeRecorded(change=change), agent=change.agent, task_id=change.task_id)

    async def move_trees(
        self,
        commit: Commit,
        held: Workspace,
        *,
        base: str | None = None,
        new: str | None = None,
        committed: str | None = None,
        base_commit: str | None = None,
    ) -> None:
        """The session's base, or its newest snapshot, is another tree from this commit on; after its rows are recorded.

        `committed` is as much of the base as is on the branch from then on, `base_commit` the commit that it begins at.

        Raises:
            WrongState: somebody has moved the base in between.
        """
        worktree = held.worktree
        await session_worktrees.move_trees(
            commit.connection,
            held.session_id,
            expected=worktree.base_tree,
            base=base or worktree.base_tree,
            committed=committed or worktree.committed_tree,
            last=new,
            base_commit=base_commit,
        )
        await self._follow(commit, held, base=base, new=new)

    async def get(self, id: str) -> ChangeDetail:
        """The change with its diff and hunks. Raises NotFound."""
        async with self._store.connection() as connection:
            change = await changes.get(connection, id)
        held = await self._workspaces.look(change.session_id)
        diff = await text_diff(held.shadow, change)
        hunks = tuple(hunk.shown for hunk in diff.hunks)
        return ChangeDetail(**dict(change), diff=diff.shown, hunks=hunks, omitted=diff.omitted)

    async def lines(self, id: str, side: Side, first: int, count: int) -> ChangeLines:
        """Lines of one side of a change, also those that its hunks leave out; fewer where it ends.

        Raises:
            NotFound. InvalidInput: `not_text`. TooLarge.
        """
        async with self._store.connection() as connection:
            change = await changes.get(connection, id)
        blob, mode = (change.base_blob, change.base_mode) if side == "base" else (change.new_blob, change.new_mode)
        if mode == _SUBMODULE:
            raise InvalidInput("a submodule is no text", code="not_text")
        if blob is None:
            return ChangeLines(side=side, blob=None, first=first, lines=(), total=0)
        held = await self._workspaces.look(change.session_id)
        found = await shown_lines(held.shadow, blob)
        lines = tuple(found[first - 1 : first - 1 + count])
        return ChangeLines(side=side, blob=blob, first=first, lines=lines, total=len(found))

    async def list(self, session_id: str, status: ChangeStatus | None, cursor: str | None, limit: int) -> Page[Change]:
        """Changes of a session, newest first. Raises NotFound."""
        async with self._store.connection() as connection:
            await sessions.get(connection, session_id)
            return await changes.list_page(connection, session_id, status=status, after=cursor, limit=limit)

    async def _with_author(self, commit: Commit, change: Change) -> Change:
        """What comes back by hand, or with a checkpoint, still belongs to whoever made it first."""
        same = await changes.find_same(commit.connection, change.session_id, change)
        if same is None:
            return change
        return change.model_copy(
            update={"agent": same.agent, "task_id": same.task_id, "contributors": same.contributors}
        )

    def _new_change(
        self, session_id: str, task_id: str | None, agent: str, difference: FileDifference, before: Change | None
    ) -> Change:
        earlier = before.authors if before is not None else ()
        return Change(
            **dict(difference),
            id=new_id("chg"),
            session_id=session_id,
            task_id=task_id,
            agent=agent,
            status=ChangeStatus.PENDING,
            created_at=now(),
            contributors=tuple(name for name in earlier if name != agent),
            is_secret=any(self._is_secret(path) for path in difference.paths),
        )

    def _is_secret(self, path: str) -> bool:
        name = path.rpartition("/")[2]
        return any(
            fnmatch.fnmatchcase(name.lower(), pattern.lower()) or fnmatch.fnmatchcase(path.lower(), pattern.lower())
            for pattern in self._secret_patterns
        )
