"""Steering: a prompt that waits is put into the running turn of its agent.

It is blocked while it is with the agent, so that nothing it may have said is said again, whatever happens. What became
of it and the database did not hear of is written once the database is back.
"""

import logging
from collections.abc import Callable
from typing import Literal

from coder.backends.base import PromptInput
from coder.errors import CoderError, DatabaseAway, WrongState
from coder.journal import Commit, Journal
from coder.model.events import TurnEnded
from coder.model.tasks import Fault, Task, TaskState
from coder.store import tasks
from coder.store.database import Store
from coder.turns import Turn

logger = logging.getLogger(__name__)

Outcome = Literal["waits", "taken"] | Fault
"""The agent has not heard of it, has taken it, or may have heard of it."""


class Steering:
    """`wake` is called when a prompt waits for its turn again."""

    def __init__(self, store: Store, journal: Journal, wake: Callable[[], None]) -> None:
        self._store = store
        self._journal = journal
        self._wake = wake
        self._unwritten: dict[str, tuple[Task, Outcome]] = {}

    async def join(self, task: Task, turn: Turn) -> Task:
        """Put the prompt into the turn; where that takes nothing, it waits on.

        Raises:
            DatabaseAway: what became of it is written later. WrongState: it does not wait any more.
        """
        outcome: Outcome = "waits"
        try:
            async with self._store.transaction() as connection:
                task = await tasks.block(connection, task.id)
            outcome = await _offer(task, turn)
            return await self._write(task, outcome)
        except DatabaseAway:
            self._unwritten[task.id] = task, outcome
            raise

    async def settle(self) -> None:
        """Write what could not be written. Raises DatabaseAway: it still cannot."""
        for task, outcome in list(self._unwritten.values()):
            try:
                await self._write(task, outcome)
            except DatabaseAway:
                raise
            except CoderError as error:
                logger.warning("what became of a prompt is not written: %s", error, extra={"task": task.id})
            del self._unwritten[task.id]

    async def _write(self, task: Task, outcome: Outcome) -> Task:
        if outcome == "waits":
            task = await self._unblock(task)
            self._wake()
            return task
        async with self._journal.commit(task.session_id) as commit:
            try:
                if isinstance(outcome, Fault):
                    return await fail_in(commit, task, outcome)
                return await cancel_in(commit, task, "steered")
            except WrongState:
                # cancelled in this very moment, or written before without an answer: what was said stays said
                return await tasks.get(commit.connection, task.id)

    async def _unblock(self, task: Task) -> Task:
        async with self._store.transaction() as connection:
            try:
                return await tasks.unblock(connection, task.id)
            except WrongState:
                return await tasks.get(connection, task.id)


async def _offer(task: Task, turn: Turn) -> Outcome:
    try:
        is_taken = await turn.steer(PromptInput(task.input, task.attachments))
    except CoderError as error:
        return Fault(code=error.stable_code, message=str(error))
    return "taken" if is_taken else "waits"


async def cancel_in(commit: Commit, task: Task, reason: str = "cancelled") -> Task:
    """End a task that waits, and record that it ended. Raises WrongState: it does not wait."""
    cancelled = await tasks.cancel_pending(commit.connection, task.id, reason)
    ended = TurnEnded(task_id=task.id, state=TaskState.CANCELLED, stop_reason=reason)
    commit.append(ended, agent=task.agent, task_id=task.id)
    return cancelled


async def fail_in(commit: Commit, task: Task, error: Fault) -> Task:
    """End a task that waits and can never run, and record why. Raises WrongState: it does not wait."""
    failed = await tasks.fail_waiting(commit.connection, task.id, error)
    commit.append(TurnEnded(task_id=task.id, state=TaskState.FAILED, error=error), agent=task.agent, task_id=task.id)
    return failed
