"""Writing on the disk what a decision says, so that a crash leaves all of it or nothing.

What is about to be written is kept as the decision's plan first. A plan that was cut off is taken back: at once, by
whoever holds the workspace next, or when the host starts. See `checkout.take_back` for why that is always right.
"""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from coder.errors import CoderError
from coder.failpoints import failpoint
from coder.journal import Commit
from coder.model.changes import Target
from coder.model.decisions import BranchMove, Decision, DecisionState, Pick, Plan, Verb
from coder.model.tasks import Fault
from coder.model.values import new_id, now
from coder.store import decisions
from coder.store.database import Store
from coder.workspaces import Workspace, Workspaces
from coder.worktrees.branch import move_branch, take_branch_back
from coder.worktrees.checkout import take_back, write_back
from coder.worktrees.moves import Move

logger = logging.getLogger(__name__)

INTERRUPTED = Fault(code="interrupted", message="the host stopped in the middle; what it had written was taken back")

End = Callable[[Commit], Awaitable[None]]
"""Marks a decision as done, in the commit that records what it did."""


class Plans:
    """Holds workspaces with nothing half-written in them."""

    def __init__(self, store: Store, workspaces: Workspaces) -> None:
        self._store = store
        self._workspaces = workspaces
        self._settled: set[str] = set()
        """Sessions in which nothing is underway that nobody is at: not those that a dead host may have left, nor those
        with a plan whose end could not be stored."""

    @asynccontextmanager
    async def hold(self, session_id: str) -> AsyncGenerator[Workspace]:
        """The session's workspace, for one at a time. Raises NotFound."""
        async with self._workspaces.hold(session_id) as held:
            if session_id not in self._settled:
                await self._take_back_all(held)
            yield held

    @asynccontextmanager
    async def written(
        self,
        held: Workspace,
        decision: Decision,
        place: Path,
        moves: Sequence[Move],
        branch: BranchMove | None = None,
    ) -> AsyncGenerator[End]:
        """The moves made below `place`, then the branch moved; taken back unless what is given is awaited in a commit
        inside.

        Raises:
            MergeConflict: some file does not fit. Conflict: as `move_branch`. In both of them nothing stays written.
        """
        plan: Plan | None = None

        async def keep(made: Plan) -> None:
            nonlocal plan
            plan = made.model_copy(update={"branch": branch})
            async with self._store.transaction() as connection:
                await decisions.insert(connection, decision, plan)
            failpoint("decision.underway")

        async def end(commit: Commit) -> None:
            if plan is None:
                await decisions.insert_done(commit.connection, decision)
            else:
                underway = (DecisionState.UNDERWAY,)
                await decisions.end(commit.connection, decision.id, underway, DecisionState.DONE)

        try:
            written = await write_back(held.shadow, place, moves, before_write=keep)
            if branch is not None:
                if written is None:
                    await keep(Plan(root=str(place), token="none"))
                await move_branch(held.shadow, branch)
            failpoint("decision.written")
            yield end
            failpoint("decision.committed")
        except BaseException as error:
            if plan is not None:
                await self.take_back(held, _fault_of(error))
            raise

    async def write_queued(self, held: Workspace, decision: Decision, moves: Sequence[Move]) -> None:
        """Make the moves of a queued decision in the worktree; it is underway from then on.

        Raises:
            MergeConflict: some file does not fit; nothing was written.
        """

        async def keep(plan: Plan) -> None:
            async with self._store.transaction() as connection:
                await decisions.start(connection, decision.id, plan)
            failpoint("decision.underway")

        place = held.worktree.worktree_path
        if await write_back(held.shadow, place, moves, before_write=keep) is None:
            # gone already: nothing to write, and nothing to take back
            await keep(Plan(root=str(place), token="none"))
        failpoint("decision.written")

    async def take_back(self, held: Workspace, why: Fault = INTERRUPTED) -> None:
        """Undo what is underway in the workspace; where that cannot be now, whoever holds it next does."""
        with anyio.CancelScope(shield=True):
            try:
                await self._take_back_all(held, why)
            except (CoderError, OSError) as error:
                self.doubt(held.session_id)
                logger.warning("a plan is not taken back yet: %s", error, extra={"session": held.session_id})

    def doubt(self, session_id: str) -> None:
        """Something may be underway that nobody is at."""
        self._settled.discard(session_id)

    async def _take_back_all(self, held: Workspace, why: Fault = INTERRUPTED) -> None:
        async with self._store.connection() as connection:
            left = await decisions.list_open(connection, held.session_id)
        for each in reversed(left):
            if each.plan is not None and each.decision.state is DecisionState.UNDERWAY:
                await self._take_back(held, each.decision, each.plan, why)
        self._settled.add(held.session_id)

    async def _take_back(self, held: Workspace, decision: Decision, plan: Plan, why: Fault) -> None:
        ids = {"session": held.session_id, "decision": decision.id}
        if plan.branch is not None and not await take_branch_back(held.shadow, plan.branch):
            logger.warning("moved since, left alone: %s", plan.branch.ref, extra=ids)
        if await anyio.Path(plan.root).is_dir():
            left_alone = await take_back(held.shadow, plan)
            if left_alone:
                logger.warning("edited since, left alone: %s", ", ".join(left_alone), extra=ids)
        async with self._store.transaction() as connection:
            if decision.was_queued:
                await decisions.requeue(connection, decision.id)
            else:
                underway = (DecisionState.UNDERWAY,)
                await decisions.end(connection, decision.id, underway, DecisionState.REFUSED, error=why)
        logger.warning("a decision that was cut off is taken back", extra=ids)


def _fault_of(error: BaseException) -> Fault:
    return Fault(code=error.stable_code, message=str(error)) if isinstance(error, CoderError) else INTERRUPTED


def new_decision(
    verb: Verb,
    session_id: str,
    picks: Sequence[Pick],
    by: str,
    reason: str | None = None,
    target: Target = "checkout",
    checkpoint_id: str | None = None,
) -> Decision:
    """A decision that is about to be carried out."""
    return Decision(
        id=new_id("dec"),
        session_id=session_id,
        verb=verb,
        target=target,
        picks=tuple(picks),
        by=by,
        reason=reason,
        checkpoint_id=checkpoint_id,
        state=DecisionState.UNDERWAY,
        created_at=now(),
    )
