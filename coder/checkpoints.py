"""Checkpoints: the worktree's files at a turn's end, and the way back to them."""

from coder.changes import Changes
from coder.conversations import Conversations
from coder.decisions import Decisions, Survey
from coder.errors import Conflict
from coder.failpoints import failpoint
from coder.journal import Commit, Journal
from coder.model.changes import USER
from coder.model.checkpoints import Checkpoint, CheckpointDetail, CheckpointKind
from coder.model.events import CheckpointRecorded
from coder.model.values import new_id, now
from coder.plans import Plans, new_decision
from coder.protocol import Page
from coder.store import checkpoints, decisions, sessions
from coder.store.database import Store
from coder.workspaces import Workspaces
from coder.worktrees import tree
from coder.worktrees.moves import Move


class Checkpoints:
    """The points of a session's worktree that it can be brought back to."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        workspaces: Workspaces,
        plans: Plans,
        changes: Changes,
        decisions: Decisions,
        conversations: Conversations,
    ) -> None:
        self._store = store
        self._journal = journal
        self._workspaces = workspaces
        self._plans = plans
        self._changes = changes
        self._decisions = decisions
        self._conversations = conversations

    async def record(self, commit: Commit, survey: Survey, *, agent: str, task_id: str) -> None:
        """Keep what a turn left."""
        await keep_checkpoint(
            commit, survey.held.session_id, "turn", survey.snapshot.tree, agent=agent, task_id=task_id
        )

    async def list(self, session_id: str, cursor: str | None, limit: int) -> Page[Checkpoint]:
        """Checkpoints of a session, newest first. Raises NotFound."""
        async with self._store.connection() as connection:
            await sessions.get(connection, session_id)
            return await checkpoints.list_page(connection, session_id, after=cursor, limit=limit)

    async def get(self, id: str) -> CheckpointDetail:
        """The checkpoint with what a restore would change now. Raises NotFound."""
        async with self._store.connection() as connection:
            checkpoint = await checkpoints.get(connection, id)
            points = await self._conversations.to_rewind(connection, id)
        async with self._plans.hold(checkpoint.session_id) as held:
            present = await tree.take_snapshot(held.shadow)
            found = await tree.differences(held.shadow, present.tree, checkpoint.tree)
        return CheckpointDetail(**dict(checkpoint), differences=tuple(found), conversations=tuple(points))

    async def restore(self, id: str, *, by: str, reason: str | None = None) -> Checkpoint:
        """Bring the worktree's files back, and the agents' conversations where they can; ignored files are not touched.

        Returns what undoes it.

        Raises:
            NotFound: no such checkpoint.
            Conflict: a turn is running, a decision waits for its end, or everything is as it was already.
            MergeConflict: files changed at this very moment; nothing was written.
        """
        async with self._store.connection() as connection:
            checkpoint = await checkpoints.get(connection, id)
        session_id = checkpoint.session_id
        async with self._plans.hold(session_id) as held:
            await self._refuse_during_turn(session_id)
            present = await tree.take_snapshot(held.shadow)
            found = await tree.differences(held.shadow, present.tree, checkpoint.tree)
            async with self._store.connection() as connection:
                points = await self._conversations.to_rewind(connection, id)
            if not found and not points:
                raise Conflict("everything is as it was at this checkpoint", code="nothing_to_restore")
            decision = new_decision("restore", session_id, (), by, reason, checkpoint_id=id)
            moves = [Move.forward(each) for each in found]
            async with self._plans.written(held, decision, held.worktree.worktree_path, moves) as end:
                taken = await tree.take_snapshot(held.shadow)
                left = await tree.differences(held.shadow, held.worktree.base_tree, taken.tree)
                async with self._journal.commit(session_id) as commit:
                    await end(commit)
                    saved = await keep_checkpoint(commit, session_id, "restore", present.tree)
                    await self._changes.record(commit, session_id, left, agent=USER)
                    await self._changes.move_trees(commit, held, new=taken.tree)
                    await self._conversations.rewind(commit.connection, session_id, points)
                    failpoint("decision.recorded")
            await self._conversations.close(session_id, points)
        return saved

    async def _refuse_during_turn(self, session_id: str) -> None:
        if await self._decisions.is_turn_running(session_id):
            raise Conflict("a turn is running in this session; restore when it has ended", code="turn_running")
        async with self._store.connection() as connection:
            if await decisions.list_open(connection, session_id):
                raise Conflict("a decision waits for the end of a turn", code="decision_queued")


async def keep_checkpoint(
    commit: Commit,
    session_id: str,
    kind: CheckpointKind,
    tree: str,
    *,
    agent: str | None = None,
    task_id: str | None = None,
) -> Checkpoint:
    """A checkpoint of a tree, told as of the commit's newest record."""
    checkpoint = Checkpoint(
        id=new_id("cpt"),
        session_id=session_id,
        task_id=task_id,
        agent=agent,
        kind=kind,
        tree=tree,
        seq=commit.last_seq,
        created_at=now(),
    )
    await checkpoints.insert(commit.connection, checkpoint)
    commit.append(CheckpointRecorded(checkpoint=checkpoint), agent=agent, task_id=task_id)
    return checkpoint
