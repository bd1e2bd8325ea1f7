"""The dispatcher: claim a task, run its turn, finish it. Woken by LISTEN, with a slow poll as the safety net."""

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import anyio
from anyio.abc import TaskGroup

from coder.backends.base import PromptContext, PromptInput, SessionOptions, TurnResult
from coder.changes import Changes
from coder.errors import CoderError, Conflict, IdempotencyMismatch, InvalidInput, Unavailable, WrongState
from coder.journal import Commit, Journal
from coder.model.changes import FileDifference
from coder.model.events import (
    AgentEvent,
    AgentStatusChanged,
    Error,
    ModeChanged,
    ModelChanged,
    TaskQueued,
    TaskUpdated,
    Text,
    TurnEnded,
    TurnStarted,
    UserText,
)
from coder.model.permissions import PermissionOption, PermissionOutcome
from coder.model.sessions import AgentSession, AgentSessionStatus, Session
from coder.model.tasks import ENDED, Fault, Task, TaskState
from coder.model.tool_calls import ToolCall
from coder.model.values import new_id, now
from coder.permissions import Permissions
from coder.pool import AgentPool, Lease
from coder.protocol import NewTask, Page, TaskPatch
from coder.providers.providers import Providers
from coder.sessions import Sessions
from coder.store import agent_sessions, tasks
from coder.store.database import Store

logger = logging.getLogger(__name__)

POLL_SECONDS = 2.0
SUMMARY_CHARACTERS = 4000
RETRY_SECONDS = 1.0
RACE_SECONDS = 0.02
WAITING = frozenset({TaskState.PENDING, TaskState.BLOCKED})
INTERRUPTED = Fault(
    code="interrupted", message="the host stopped while this turn was running; send the prompt again to retry"
)


@dataclass
class _Turn:
    """A running turn: `cancel` ends it politely, `starting` covers the time until its prompt is sent."""

    task: Task
    cancel: anyio.Event = field(default_factory=anyio.Event)
    starting: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    done: anyio.Event = field(default_factory=anyio.Event)
    lease: Lease | None = None
    steered: dict[str, str] = field(default_factory=dict[str, str])
    """The inputs that became part of this turn, by their keys."""
    model: str | None = None
    mode_id: str | None = None
    summary: str = ""
    is_announced: bool = False

    def note(self, event: AgentEvent) -> None:
        """Keep what the turn's end is recorded with."""
        match event:
            case Text() if len(self.summary) < SUMMARY_CHARACTERS:
                self.summary += event.text
            case ModelChanged():
                self.model = event.model_id
            case ModeChanged():
                self.mode_id = event.mode_id
            case _:
                pass

    def announce(self, commit: Commit) -> None:
        """Record the turn's start and its prompt, once."""
        if not self.is_announced:
            commit.append(TurnStarted(task_id=self.task.id), agent=self.task.agent, task_id=self.task.id)
            commit.append(UserText(text=self.task.input), agent=self.task.agent, task_id=self.task.id)


class Dispatcher:
    """`mode` tells whether tasks are heard of by NOTIFY or only found by polling."""

    def __init__(
        self,
        group: TaskGroup,
        store: Store,
        journal: Journal,
        pool: AgentPool,
        permissions: Permissions,
        changes: Changes,
        sessions: Sessions,
        providers: Providers,
        *,
        mode: Callable[[], Literal["notify", "polling"]],
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._group = group
        self._store = store
        self._journal = journal
        self._pool = pool
        self._permissions = permissions
        self._changes = changes
        self._sessions = sessions
        self._providers = providers
        self._mode = mode
        self._poll_seconds = poll_seconds
        self._work = anyio.Event()
        self._turns: dict[str, _Turn] = {}
        self._is_stopping = False

    @property
    def mode(self) -> Literal["notify", "polling"]:
        return self._mode()

    @property
    def running(self) -> int:
        """How many turns are running."""
        return len(self._turns)

    def wake(self) -> None:
        """There may be something to claim."""
        self._work.set()

    async def submit(self, wish: NewTask, *, idempotency_key: str | None = None) -> Task:
        """Accept a prompt: the task is committed when this returns.

        The same key with the same body gives the same task again. A prompt that steers becomes part of the running
        turn: its task is the answer.

        Raises:
            NotFound: no such session or agent. AgentUnavailable: the agent is disabled or not installed.
            InvalidInput: the agent is known not to take an attachment. Unavailable: the host is shutting down.
            IdempotencyMismatch: the key came before with another body.
        """
        if self._is_stopping:
            raise Unavailable("the host is shutting down")
        self._providers.require_usable(wish.agent)
        await self._refuse_attachments(wish)
        await self._sessions.get(wish.session_id)
        if wish.when == "steer" and (steered := await self._steer(wish, idempotency_key)):
            return steered
        task = Task(
            **wish.model_dump(exclude={"type", "id"}), id=new_id("tsk"), state=TaskState.PENDING, created_at=now()
        )
        async with self._journal.commit(wish.session_id) as commit:
            stored = await tasks.insert(commit.connection, task, idempotency_key=idempotency_key)
            if stored.id == task.id:
                if wish.when == "interrupt" and (
                    first := await tasks.first_waiting(commit.connection, wish.session_id)
                ):
                    stored = await tasks.place(commit.connection, task.id, None if first.id == task.id else first.id)
                commit.append(TaskQueued(task=stored), agent=stored.agent, task_id=stored.id)
        if _wish_of(stored) != _wish_of(task):
            raise IdempotencyMismatch("this key was used for another prompt", task_id=stored.id)
        if wish.when == "interrupt":
            for turn in self._turns_of(wish.session_id):
                with suppress(Conflict):
                    await self.cancel(turn.task.id)
        return stored

    async def edit(self, id: str, patch: TaskPatch) -> Task:
        """Say a waiting prompt differently, or give it another place in the queue.

        Raises:
            NotFound: no such task. WrongState: it does not wait any more. InvalidInput: `before` does not wait here.
        """
        task = await self.get(id)
        async with self._journal.commit(task.session_id) as commit:
            if patch.input is not None:
                task = await tasks.edit(commit.connection, id, patch.input)
            if "before" in patch.model_fields_set:
                task = await tasks.place(commit.connection, id, patch.before)
            commit.append(TaskUpdated(task=task), agent=task.agent, task_id=id)
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
                turn = self._turns.get(task.id)
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
            NotFound, AgentUnavailable, AgentError: as `submit` and the start itself.
        """
        self._providers.require_usable(agent)
        return await self._pool.warm(_options(await self._sessions.get(session_id), agent))

    async def reconcile(self) -> None:
        """After a crash: turns that may have reached an agent end as interrupted, others wait again."""
        async with self._store.connection() as connection:
            left = await tasks.running_of_other_runs(connection, self._store.run_id)
            await agent_sessions.reset_after_crash(connection)
        for task in left:
            async with self._journal.commit(task.session_id) as commit:
                try:
                    await tasks.requeue(commit.connection, task.id, task.attempt)
                except WrongState:
                    await tasks.finish(commit.connection, task.id, task.attempt, TaskState.FAILED, error=INTERRUPTED)
                    ended = TurnEnded(task_id=task.id, state=TaskState.FAILED, error=INTERRUPTED)
                    commit.append(ended, agent=task.agent, task_id=task.id)

    async def run(self) -> None:
        """Claim and start turns until stopped."""
        while not self._is_stopping:
            self._work = anyio.Event()
            try:
                await self._claim_all()
            except Unavailable as error:
                logger.warning("dispatch waits for the database: %s", error)
            except Exception:
                logger.exception("claiming failed and is tried again")
            with anyio.move_on_after(self._poll_seconds):
                await self._work.wait()

    async def stop(self, grace: float) -> None:
        """Claim nothing more, give running turns `grace` seconds, then cancel them and wait for their ends."""
        self._is_stopping = True
        self.wake()
        with anyio.move_on_after(grace):
            await self._wait_for_turns()
        for id in list(self._turns):
            await self._interrupt(id)
        await self._wait_for_turns()

    async def _wait_for_turns(self) -> None:
        for turn in list(self._turns.values()):
            await turn.done.wait()

    async def _claim_all(self) -> None:
        while not self._is_stopping:
            async with self._store.transaction() as connection:
                task = await tasks.claim(connection, self._store.run_id)
            if task is None:
                return
            turn = self._turns[task.id] = _Turn(task)
            self._group.start_soon(self._carry_out, turn)

    def _turns_of(self, session_id: str) -> Sequence[_Turn]:
        return [turn for turn in self._turns.values() if turn.task.session_id == session_id]

    async def _refuse_attachments(self, wish: NewTask) -> None:
        if any(attachment.mime_type.startswith("image/") for attachment in wish.attachments):
            rows = {row.id: row for row in await self._providers.snapshot()}
            row = rows.get(wish.agent)
            if row is not None and row.status == "ready" and not row.accepts_images:
                raise InvalidInput(f"{row.label} takes no images", code="attachment_refused")

    async def _steer(self, wish: NewTask, key: str | None) -> Task | None:
        """The running task that the prompt has become part of; None where it has to wait for its turn."""
        for turn in self._turns_of(wish.session_id):
            if turn.task.agent != wish.agent or turn.lease is None:
                continue
            if key is not None and turn.steered.get(key) == wish.input:
                return await self.get(turn.task.id)
            if await turn.lease.backend.steer(turn.lease.handle, PromptInput(wish.input, wish.attachments)):
                if key is not None:
                    turn.steered[key] = wish.input
                async with self._journal.commit(wish.session_id) as commit:
                    commit.append(UserText(text=wish.input), agent=wish.agent, task_id=turn.task.id)
                return await self.get(turn.task.id)
        return None

    async def _unended(self, session_id: str) -> Sequence[Task]:
        async with self._store.connection() as connection:
            states = {*WAITING, TaskState.RUNNING}
            return (await tasks.list_page(connection, session_id=session_id, states=states, limit=500)).items

    async def _cancel_waiting(self, task: Task) -> Task:
        async with self._journal.commit(task.session_id) as commit:
            cancelled = await tasks.cancel_pending(commit.connection, task.id)
            ended = TurnEnded(task_id=task.id, state=TaskState.CANCELLED, stop_reason="cancelled")
            commit.append(ended, agent=task.agent, task_id=task.id)
        return cancelled

    async def _interrupt(self, id: str) -> None:
        if turn := self._turns.get(id):
            turn.cancel.set()
            turn.starting.cancel()
            await self._permissions.cancel_open(id)

    async def _carry_out(self, turn: _Turn) -> None:
        """One turn, from claim to its recorded end."""
        task = turn.task
        try:
            result = await self._result_of(turn)
            await self._until_stored(lambda: self._permissions.cancel_open(task.id))
            await self._until_stored(lambda: self._finish(turn, result))
        except CoderError as error:
            logger.warning("a turn's end was not recorded: %s", error, extra=_ids(task))
        except Exception:
            logger.exception("a turn's end was not recorded", extra=_ids(task))
        finally:
            del self._turns[task.id]
            turn.done.set()
            self.wake()

    async def _result_of(self, turn: _Turn) -> TurnResult:
        try:
            return await self._run_turn(turn)
        except CoderError as error:
            return TurnResult(ok=False, error=Fault(code=error.stable_code, message=str(error)))
        except Exception as error:
            logger.exception("turn failed", extra=_ids(turn.task))
            return TurnResult(ok=False, error=Fault(code="internal", message=f"the host failed: {error}"))

    async def _run_turn(self, turn: _Turn) -> TurnResult:
        task = turn.task
        if not self._pool.is_warm(task.session_id, task.agent):
            async with self._journal.commit(task.session_id) as commit:
                turn.announce(commit)
            turn.is_announced = True
        session = await self._sessions.get(task.session_id)
        turn.task = task = await self._with_choices(task)
        result = TurnResult(ok=True, stop_reason="cancelled", reached_agent=False)
        with turn.starting:
            async with self._pool.lease(_options(session, task.agent, task)) as lease:
                await self._mark_working(turn)
                with anyio.CancelScope(shield=True):
                    result = await self._prompt(turn, lease)
        return result

    async def _prompt(self, turn: _Turn, lease: Lease) -> TurnResult:
        task = turn.task
        if turn.cancel.is_set():
            return TurnResult(ok=True, stop_reason="cancelled", reached_agent=False)

        async def emit(event: AgentEvent) -> None:
            turn.note(event)
            await self._journal.append(task.session_id, event, agent=task.agent, task_id=task.id)

        async def ask(tool_call: ToolCall, options: tuple[PermissionOption, ...]) -> PermissionOutcome:
            return await self._permissions.ask(task.session_id, task.id, task.agent, tool_call, options)

        context = PromptContext(
            emit=emit,
            ask=ask,
            cancel=turn.cancel,
            model=task.model,
            mode_id=task.mode_id,
            thinking_option_id=task.thinking_option_id,
        )
        turn.lease = lease
        try:
            result = await lease.backend.prompt(lease.handle, PromptInput(task.input, task.attachments), context)
        finally:
            turn.lease = None
        if result.ok:
            self._pool.report_success(task.session_id, task.agent)
        return result

    async def _with_choices(self, task: Task) -> Task:
        """The task with what was chosen before wherever it chooses nothing itself."""
        async with self._store.connection() as connection:
            row = await agent_sessions.find(connection, task.session_id, task.agent)
        if row is None:
            return task
        return task.model_copy(
            update={
                "model": task.model or row.model,
                "mode_id": task.mode_id or row.mode_id,
                "thinking_option_id": task.thinking_option_id or row.thinking_option_id,
            }
        )

    async def _mark_working(self, turn: _Turn) -> None:
        """The last step before the prompt may leave the host: from here on it is never sent again by itself."""
        task = turn.task
        async with self._journal.commit(task.session_id) as commit:
            turn.announce(commit)
            await tasks.mark_sent(commit.connection, task.id, task.attempt)
            await agent_sessions.set_status(commit.connection, task.session_id, task.agent, AgentSessionStatus.ACTIVE)
            status = AgentStatusChanged(agent=task.agent, status="working")
            commit.append(status, agent=task.agent, task_id=task.id)
        turn.is_announced = True

    async def _finish(self, turn: _Turn, result: TurnResult) -> None:
        """One transaction: the turn's changes, the task's state, and the records of both."""
        task = turn.task
        state, error = _end_state(turn, result)
        try:
            async with self._changes.survey(task.session_id) as found:
                await self._store_end(turn, result, state, error, found)
        except Unavailable:
            raise
        except Exception as fault:
            logger.exception("changes not recorded", extra=_ids(task))
            trouble = Error(code="snapshot_failed", message=f"the turn's changes could not be recorded: {fault}")
            await self._store_end(turn, result, state, error, None, trouble)

    async def _store_end(
        self,
        turn: _Turn,
        result: TurnResult,
        state: TaskState,
        error: Fault | None,
        found: Sequence[FileDifference] | None,
        trouble: Error | None = None,
    ) -> None:
        task = turn.task
        async with self._journal.commit(task.session_id) as commit:
            turn.announce(commit)
            if found is not None:
                await self._changes.record(commit, task.session_id, task.id, task.agent, found)
            if trouble is not None:
                commit.append(trouble, agent=task.agent, task_id=task.id)
            await tasks.finish(
                commit.connection,
                task.id,
                task.attempt,
                state,
                error=error,
                stop_reason=result.stop_reason,
                output_summary=turn.summary[:SUMMARY_CHARACTERS] or None,
                usage=result.usage,
            )
            if result.reached_agent:
                await agent_sessions.remember_choices(
                    commit.connection,
                    task.session_id,
                    task.agent,
                    model=turn.model or task.model,
                    mode_id=turn.mode_id or task.mode_id,
                    thinking=task.thinking_option_id,
                )
            if result.reached_agent and self._pool.is_warm(task.session_id, task.agent):
                await agent_sessions.set_status(commit.connection, task.session_id, task.agent, AgentSessionStatus.IDLE)
                commit.append(AgentStatusChanged(agent=task.agent, status="idle"), agent=task.agent, task_id=task.id)
            ended = TurnEnded(
                task_id=task.id, state=state, stop_reason=result.stop_reason, error=error, usage=result.usage
            )
            commit.append(ended, agent=task.agent, task_id=task.id)

    async def _until_stored(self, write: Callable[[], Awaitable[None]]) -> None:
        """Repeat while the database is away: an end that happened must not be forgotten."""
        while True:
            try:
                return await write()
            except Unavailable as error:
                logger.warning("a turn's end waits for the database: %s", error)
                await anyio.sleep(RETRY_SECONDS)


def _ids(task: Task) -> dict[str, str]:
    return {"session": task.session_id, "agent": task.agent, "task": task.id}


def _wish_of(task: Task) -> dict[str, object]:
    """What was asked for, without what became of it."""
    return task.model_dump(include=set(NewTask.model_fields))


def _options(session: Session, agent: str, task: Task | None = None) -> SessionOptions:
    if session.worktree_path is None:
        raise Conflict("the session has no worktree yet", code="session_not_open")
    return SessionOptions(
        session_id=session.id,
        agent=agent,
        worktree_path=Path(session.worktree_path),
        project_id=session.project_id,
        model=task.model if task else None,
        mode_id=task.mode_id if task else None,
        thinking_option_id=task.thinking_option_id if task else None,
        feature_values=task.feature_values if task else {},
    )


def _end_state(turn: _Turn, result: TurnResult) -> tuple[TaskState, Fault | None]:
    if result.stop_reason == "cancelled" or (turn.cancel.is_set() and not result.ok):
        return TaskState.CANCELLED, None
    if result.ok:
        return TaskState.COMPLETED, None
    return TaskState.FAILED, result.error or Fault(code="agent_failed", message="the agent gave no reason")
