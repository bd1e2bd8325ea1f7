"""The dispatcher: the queue of tasks, and which has its turn. Woken by LISTEN, with a slow poll as the safety net."""

import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from typing import Literal

import anyio
from anyio.abc import TaskGroup

from coder.backends.base import PromptInput
from coder.errors import (
    AuthRequired,
    Conflict,
    IdempotencyMismatch,
    InvalidInput,
    Unavailable,
    WrongState,
)
from coder.failpoints import failpoint
from coder.journal import Commit, Journal
from coder.model.events import (
    TaskQueued,
    TaskUpdated,
    TurnEnded,
)
from coder.model.providers import ProviderSnapshot
from coder.model.sessions import AgentSession
from coder.model.tasks import ENDED, Attachment, Fault, Task, TaskState
from coder.model.values import new_id, now
from coder.permissions import Permissions
from coder.pool import AgentPool
from coder.protocol import NewTask, Page, TaskPatch
from coder.providers.probes import ways_to_sign_in
from coder.providers.providers import Providers
from coder.sessions import Sessions
from coder.setups import Setups
from coder.space import Space
from coder.steering import Steering, cancel_in, fail_in
from coder.store import agent_sessions, tasks
from coder.store.database import Store
from coder.turns import Turn, Turns, session_options

logger = logging.getLogger(__name__)

POLL_SECONDS = 2.0
RACE_SECONDS = 0.02
AT_ONCE = 8
"""Tasks taken by one statement."""
WAITING = frozenset({TaskState.PENDING, TaskState.BLOCKED})
INTERRUPTED = Fault(
    code="interrupted", message="the host stopped while this turn was running; send the prompt again to retry"
)


class Dispatcher:
    """`mode` tells whether tasks are heard of by NOTIFY or only found by polling."""

    def __init__(
        self,
        group: TaskGroup,
        store: Store,
        journal: Journal,
        pool: AgentPool,
        permissions: Permissions,
        sessions: Sessions,
        turns: Turns,
        providers: Providers,
        setups: Setups,
        *,
        mode: Callable[[], Literal["notify", "polling"]],
        poll_seconds: float = POLL_SECONDS,
        max_queue: int = 100,
        space: Space | None = None,
    ) -> None:
        self._group = group
        self._store = store
        self._journal = journal
        self._pool = pool
        self._permissions = permissions
        self._sessions = sessions
        self._turns = turns
        self._providers = providers
        self._setups = setups
        self._mode = mode
        self._poll_seconds = poll_seconds
        self._max_queue = max_queue
        self._space = space
        self._looked_at: float | None = None
        self._work = anyio.Event()
        self._running: dict[str, Turn] = {}
        self._is_stopping = False
        self._steering = Steering(store, journal, self.wake)
        self._is_in_doubt = False
        """A claim was cut off: it may have happened."""

    @property
    def mode(self) -> Literal["notify", "polling"]:
        return self._mode()

    @property
    def running(self) -> int:
        """How many turns are running."""
        return len(self._running)

    def seconds_since_look(self) -> float | None:
        """Since it last looked for something to claim; None while it does not run."""
        return None if self._looked_at is None else time.monotonic() - self._looked_at

    def wake(self) -> None:
        """There may be something to claim."""
        self._work.set()

    async def submit(
        self,
        wish: NewTask,
        *,
        idempotency_key: str | None = None,
        within: Callable[[Commit, Task], Awaitable[None]] | None = None,
    ) -> Task:
        """Accept a prompt: the task is committed when this returns.

        The same key with the same body gives the same task again. A prompt that steers becomes part of the running
        turn: its task is the answer. `within` is called in the transaction that makes a task; nothing is accepted where
        it raises.

        Raises:
            NotFound: no such session or agent. AgentUnavailable: the agent is disabled or not installed.
            InvalidInput: the agent is known not to take an attachment. Unavailable: the host is shutting down, or
                `disk_full`.
            IdempotencyMismatch: the key came before with another body. TooMany: as many as may wait in a session do.
        """
        if self._is_stopping:
            raise Unavailable("the host is shutting down")
        if self._space is not None:
            self._space.refuse_without()
        self._providers.require_usable(wish.agent)
        await self._refuse_attachments(wish)
        if wish.when == "steer" and (steered := await self._steer(wish, idempotency_key)):
            return steered
        task = Task(
            **wish.model_dump(exclude={"type", "id"}), id=new_id("tsk"), state=TaskState.PENDING, created_at=now()
        )
        async with self._journal.commit(wish.session_id) as commit:
            stored = await tasks.insert(
                commit.connection, task, idempotency_key=idempotency_key, max_waiting=self._max_queue
            )
            if stored.id == task.id:
                if wish.when == "interrupt":
                    stored = await _placed_first(commit, stored)
                commit.append(TaskQueued(task=stored), agent=stored.agent, task_id=stored.id)
                if within is not None:
                    await within(commit, stored)
                failpoint("prompt.inserted")
        failpoint("prompt.committed")
        if _wish_of(stored) != _wish_of(task):
            raise IdempotencyMismatch("this key was used for another prompt", task_id=stored.id)
        if wish.when == "interrupt":
            await self._cancel_turns(wish.session_id)
        self.wake()  # the database tells of it too, a little later
        return stored

    async def edit(self, id: str, patch: TaskPatch) -> Task:
        """Say a waiting prompt differently, give it another place in the queue, or let it go now.

        Raises:
            NotFound: no such task. WrongState: it does not wait any more. InvalidInput: `before` does not wait here.
        """
        task = await self.get(id)
        async with self._journal.commit(task.session_id) as commit:
            if patch.input is not None:
                task = await tasks.edit(commit.connection, id, patch.input)
            if "before" in patch.model_fields_set:
                task = await tasks.place(commit.connection, id, patch.before)
            if patch.when == "interrupt":
                task = await _placed_first(commit, task)
            commit.append(TaskUpdated(task=task), agent=task.agent, task_id=id)
        if patch.when == "interrupt":
            await self._cancel_turns(task.session_id)
        if patch.when == "steer":
            with anyio.CancelScope(shield=True):
                task = await self._join(task)
        return task

    async def get(self, id: str) -> Task:
        """Raises NotFound."""
        async with self._store.connection() as connection:
            return await tasks.get(connection, id)

    async def list(
        self, session_id: str | None, states: Collection[TaskState], cursor: str | None, limit: int
    ) -> Page[Task]:
        async with self._store.connection() as connection:
            return await tasks.list_page(
                connection, session_id=session_id, states=states or None, after=cursor, limit=limit
            )

    async def cancel(self, id: str) -> Task:
        """Cancel a waiting task at once, a running one politely; a task that was cancelled before stays so.

        Raises:
            NotFound: no such task. Conflict: it ended another way.
        """
        task = await self.get(id)
        if task.state in WAITING:
            try:
                return await self._cancel_waiting(task)
            except WrongState:
                task = await self.get(id)
        if task.state is TaskState.RUNNING:
            async with self._store.transaction() as connection:
                task = await tasks.request_cancel(connection, id)
            await self._interrupt(id)
        elif task.state in ENDED and task.state is not TaskState.CANCELLED:
            raise Conflict(f"the task is {task.state} already", code="task_ended", state=task.state)
        return task

    async def end_session(self, session_id: str) -> None:
        """Cancel what waits and what runs in the session; return when its turns have ended and its agents are gone."""
        while left := await self._unended(session_id):
            for task in left:
                turn = self._running.get(task.id)
                if turn is not None:
                    await self._interrupt(task.id)
                    await turn.done.wait()
                elif task.state in WAITING:
                    with suppress(WrongState):
                        await self._cancel_waiting(task)
                else:
                    # claimed in this very moment: its turn is about to be known
                    await anyio.sleep(RACE_SECONDS)
        await self._pool.close_session(session_id)

    async def warm(self, session_id: str, agent: str) -> AgentSession:
        """Start the agent of a session before it is asked for anything.

        Raises:
            NotFound, AgentUnavailable, AgentError: as `submit` and the start itself. Conflict: `setup_not_finished`.
        """
        self._providers.require_usable(agent)
        options = session_options(await self._sessions.get(session_id), agent)
        await self._setups.refuse_while_held(session_id)
        try:
            return await self._pool.warm(options)
        except AuthRequired as error:
            await self._providers.mark_signed_out(agent, ways_to_sign_in(error), of_prompt=False)
            raise

    async def reconcile(self) -> None:
        """After a crash: what may have reached an agent ends as interrupted, the rest waits again or is cancelled."""
        async with self._store.connection() as connection:
            left = await tasks.running_of_other_runs(connection, self._store.run_id)
            await agent_sessions.reset_after_crash(connection)
        interrupted: list[Task] = []
        for task in left:
            async with self._journal.commit(task.session_id) as commit:
                try:
                    await tasks.requeue(commit.connection, task.id, task.attempt)
                    if task.cancel_requested:
                        await cancel_in(commit, task)
                except WrongState:
                    await tasks.finish(commit.connection, task.id, task.attempt, TaskState.FAILED, error=INTERRUPTED)
                    ended = TurnEnded(task_id=task.id, state=TaskState.FAILED, error=INTERRUPTED)
                    commit.append(ended, agent=task.agent, task_id=task.id)
                    interrupted.append(task)
        for task in interrupted:
            await self._turns.record_left(task)
        for task in await self._blocked():
            async with self._journal.commit(task.session_id) as commit:
                await fail_in(commit, task, INTERRUPTED)

    async def run(self) -> None:
        """Claim and start turns until stopped."""
        try:
            while not self._is_stopping:
                self._work = anyio.Event()
                self._looked_at = time.monotonic()
                try:
                    await self._claim_all()
                except Unavailable as error:
                    logger.warning("dispatch waits for the database: %s", error)
                except Exception:
                    logger.exception("claiming failed and is tried again")
                with anyio.move_on_after(self._poll_seconds):
                    await self._work.wait()
        finally:
            self._looked_at = None

    async def stop(self, grace: float) -> None:
        """Claim nothing more, give running turns `grace` seconds, then cancel them and wait for their ends."""
        self._is_stopping = True
        self.wake()
        with anyio.move_on_after(grace):
            await self._wait_for_turns()
        for id in list(self._running):
            await self._interrupt(id)
        await self._wait_for_turns()

    async def _wait_for_turns(self) -> None:
        for turn in list(self._running.values()):
            await turn.done.wait()

    async def _claim_all(self) -> None:
        await self._steering.settle()
        if self._is_in_doubt:
            await self._adopt()
        while not self._is_stopping and self._has_room():
            self._is_in_doubt = True
            async with self._store.connection() as connection:
                claimed = await tasks.claim(connection, self._store.run_id, AT_ONCE)
            self._is_in_doubt = False
            for task in claimed:
                self._begin(task)
            if len(claimed) < AT_ONCE:
                return

    def _has_room(self) -> bool:
        """What runs already needs what is left of the disk."""
        return self._space is None or self._space.has_room()

    async def _adopt(self) -> None:
        """Begin what was claimed by a commit that the host never heard of: nobody else would."""
        async with self._store.connection() as connection:
            claimed = await tasks.unsent_of_run(connection, self._store.run_id)
        for task in claimed:
            if task.id not in self._running:
                self._begin(task)
        self._is_in_doubt = False

    def _begin(self, task: Task) -> None:
        failpoint("turn.claimed")
        turn = self._running[task.id] = Turn(task)
        if task.cancel_requested:
            turn.cancel.set()
            turn.starting.cancel()
        self._group.start_soon(self._carry_out, turn)

    def _turns_of(self, session_id: str) -> Sequence[Turn]:
        return [turn for turn in self._running.values() if turn.task.session_id == session_id]

    async def _refuse_attachments(self, wish: NewTask) -> None:
        """What an agent is known not to take is refused; one that was never probed says so itself in its turn."""
        if not wish.attachments:
            return
        row = next((row for row in await self._providers.snapshot() if row.id == wish.agent), None)
        if row is None or row.status != "ready":
            return
        for attachment in wish.attachments:
            if refused := _refused_by(row, attachment):
                raise InvalidInput(f"{row.label} takes no {refused}: {attachment.name}", code="attachment_not_taken")

    async def _cancel_turns(self, session_id: str) -> None:
        for turn in self._turns_of(session_id):
            with suppress(Conflict):
                await self.cancel(turn.task.id)

    async def _steer(self, wish: NewTask, key: str | None) -> Task | None:
        """The running task that the prompt has become part of; None where it has to wait for its turn."""
        for turn in self._turns_of(wish.session_id):
            if turn.task.agent != wish.agent:
                continue
            if key is not None and turn.steered.get(key) == wish.input:
                return await self.get(turn.task.id)
            if await turn.steer(PromptInput(wish.input, wish.attachments)):
                if key is not None:
                    turn.steered[key] = wish.input
                return await self.get(turn.task.id)
        return None

    async def _join(self, task: Task) -> Task:
        """Put a prompt that waits into its agent's running turn; where there is none, it waits on."""
        turn = next((turn for turn in self._turns_of(task.session_id) if turn.task.agent == task.agent), None)
        if turn is None:
            return task
        return await self._steering.join(task, turn)

    async def _blocked(self) -> Sequence[Task]:
        """What a dead host was just putting into a turn."""
        async with self._store.connection() as connection:
            return (await tasks.list_page(connection, states={TaskState.BLOCKED}, limit=500)).items

    async def _unended(self, session_id: str) -> Sequence[Task]:
        async with self._store.connection() as connection:
            states = {*WAITING, TaskState.RUNNING}
            return (await tasks.list_page(connection, session_id=session_id, states=states, limit=500)).items

    async def _cancel_waiting(self, task: Task) -> Task:
        async with self._journal.commit(task.session_id) as commit:
            return await cancel_in(commit, task)

    async def _interrupt(self, id: str) -> None:
        if turn := self._running.get(id):
            turn.cancel.set()
            turn.starting.cancel()
            await self._permissions.cancel_open(id)

    async def _carry_out(self, turn: Turn) -> None:
        try:
            await self._turns.carry_out(turn)
        finally:
            # One that was given back may have been claimed again by now.
            if self._running.get(turn.task.id) is turn:
                del self._running[turn.task.id]
            self.wake()


async def _placed_first(commit: Commit, task: Task) -> Task:
    """The task that waits, before every other one of its session."""
    first = await tasks.first_waiting(commit.connection, task.session_id)
    if first is not None and first.id == task.id:
        return task
    return await tasks.place(commit.connection, task.id, first.id if first else None)


def _refused_by(row: ProviderSnapshot, attachment: Attachment) -> str | None:
    """The kind that the agent does not take; links and text are taken by every agent."""
    if attachment.data is None or row.accepts_files:
        return None
    match attachment.mime_type.partition("/")[0]:
        case "image" if not row.accepts_images:
            return "images"
        case "audio" if not row.accepts_audio:
            return "audio"
        case _:
            return None


def _wish_of(task: Task) -> dict[str, object]:
    """What was asked for, without what became of it."""
    return task.model_dump(include=set(NewTask.model_fields))
