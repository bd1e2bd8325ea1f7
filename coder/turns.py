"""A turn: one task being carried out, from the lease of its agent to the recorded end."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio

from coder.backends.base import PromptContext, PromptInput, SessionOptions, TurnResult
from coder.checkpoints import Checkpoints
from coder.decisions import Decisions, Survey
from coder.errors import AuthRequired, CoderError, Conflict, DatabaseAway, WrongState
from coder.failpoints import failpoint
from coder.journal import Commit, Journal
from coder.logs import about
from coder.model.events import (
    AgentEvent,
    AgentStatusChanged,
    Error,
    ModeChanged,
    ModelChanged,
    TaskUpdated,
    Text,
    TurnEnded,
    TurnStarted,
    UserText,
)
from coder.model.permissions import PermissionOption, PermissionOutcome
from coder.model.sessions import AgentSessionStatus, Session
from coder.model.tasks import Fault, Task, TaskState
from coder.model.tool_calls import ToolCall
from coder.model.values import now
from coder.notes import tell
from coder.permissions import Permissions
from coder.pool import AgentPool, Lease
from coder.providers.probes import ways_to_sign_in
from coder.providers.providers import Providers
from coder.sessions import Sessions
from coder.store import agent_sessions, tasks
from coder.store.database import Store
from coder.tallies import TurnTally
from coder.worktrees.refusals import LeftOut

logger = logging.getLogger(__name__)

SUMMARY_CHARACTERS = 4000
RETRY_SECONDS = 1.0
SHOWN_FILES = 20


@dataclass
class Turn:
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
    was_sent: bool = False
    """The agent may have heard of it."""

    async def steer(self, input: PromptInput) -> bool:
        """Give it more input while its prompt is with the agent; whether the agent has taken it.

        Raises:
            AgentTimeout, AgentDied: it is not known whether it was taken.
        """
        lease = self.lease
        return lease is not None and await lease.backend.steer(lease.handle, input)

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


class Turns:
    """Carries turns out: what they need, and nothing about which one is next."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        pool: AgentPool,
        permissions: Permissions,
        decisions: Decisions,
        checkpoints: Checkpoints,
        sessions: Sessions,
        providers: Providers,
    ) -> None:
        self._store = store
        self._journal = journal
        self._pool = pool
        self._permissions = permissions
        self._decisions = decisions
        self._checkpoints = checkpoints
        self._sessions = sessions
        self._left_out: dict[str, tuple[LeftOut, ...]] = {}
        """What was last told of each session whose snapshots lack files."""
        self._providers = providers
        self.tally = TurnTally()

    async def carry_out(self, turn: Turn) -> None:
        """The whole turn. Whatever happens in it ends up in its record; nothing is raised."""
        with about(**_ids(turn.task)):
            await self._carry_out(turn)

    async def _carry_out(self, turn: Turn) -> None:
        task, begun = turn.task, now()
        self.tally.queued.note((begun - task.created_at).total_seconds())
        try:
            try:
                result = await self._result_of(turn)
            except DatabaseAway as error:
                logger.warning("a turn waits for the database: %s", error, extra=_ids(task))
                return await self._until_stored(lambda: self._give_back(turn))
            failpoint("turn.answered")
            await self._until_stored(lambda: self._permissions.cancel_open(task.id))
            await self._until_stored(lambda: self._finish(turn, result))
            self._count(turn, result, (now() - begun).total_seconds())
            failpoint("turn.ended")
            await self._decisions.auto_apply(task.session_id)
        except CoderError as error:
            logger.warning("a turn's end was not recorded: %s", error, extra=_ids(task))
        except Exception:
            logger.exception("a turn's end was not recorded", extra=_ids(task))
        finally:
            turn.done.set()

    def _count(self, turn: Turn, result: TurnResult, seconds: float) -> None:
        state, error = _end_state(turn, result)
        self.tally.ends[state, error.code if error else "none"] += 1
        self.tally.seconds.note(seconds)
        logger.info("turn %s after %.1f s", state, seconds, extra={"code": error.code} if error else None)

    async def record_left(self, task: Task) -> None:
        """After a crash: what the interrupted turn had changed by then is its agent's."""
        try:
            await self._sessions.restore(await self._sessions.get(task.session_id))
            async with self._decisions.survey(task.session_id) as survey:
                async with self._journal.commit(task.session_id) as commit:
                    await self._decisions.record(commit, survey, agent=task.agent, task_id=task.id)
                    await self._checkpoints.record(commit, survey, agent=task.agent, task_id=task.id)
        except (CoderError, OSError) as error:
            logger.warning("what an interrupted turn left is not recorded: %s", error, extra=_ids(task))

    async def _result_of(self, turn: Turn) -> TurnResult:
        """How it went.

        Raises:
            DatabaseAway: before anything was said to the agent.
        """
        agent = turn.task.agent
        try:
            return await self._with_login(agent, await self._run_turn(turn))
        except AuthRequired as error:
            advice = await self._providers.mark_signed_out(agent, ways_to_sign_in(error), of_prompt=False)
            fault = Fault(code=error.stable_code, message=str(error))
            return TurnResult(ok=False, error=_with_advice(fault, advice))
        except CoderError as error:
            if isinstance(error, DatabaseAway) and not turn.was_sent and not turn.cancel.is_set():
                raise
            return TurnResult(ok=False, error=Fault(code=error.stable_code, message=str(error)))
        except Exception as error:
            logger.exception("turn failed", extra=_ids(turn.task))
            return TurnResult(ok=False, error=Fault(code="internal", message=f"the host failed: {error}"))

    async def _with_login(self, agent: str, result: TurnResult) -> TurnResult:
        """Note what the turn tells of the agent's login; failing at that is no reason to lose how the turn went."""
        try:
            if result.error and result.auth_methods is not None:
                advice = await self._providers.mark_signed_out(agent, result.auth_methods, of_prompt=True)
                return replace(result, error=_with_advice(result.error, advice))
            if result.ok and result.stop_reason != "cancelled":
                await self._providers.mark_signed_in(agent)
        except DatabaseAway as error:
            logger.warning("whether %s is signed in was not noted: %s", agent, error)
        return result

    async def _give_back(self, turn: Turn) -> None:
        """Let the task wait again: the database went away before the agent heard of it."""
        task = turn.task
        async with self._journal.commit(task.session_id) as commit:
            waiting = await tasks.requeue(commit.connection, task.id, task.attempt, was_never_sent=True)
            if self._pool.is_warm(task.session_id, task.agent):
                await agent_sessions.set_status(commit.connection, task.session_id, task.agent, AgentSessionStatus.IDLE)
            commit.append(TaskUpdated(task=waiting), agent=task.agent, task_id=task.id)

    async def _run_turn(self, turn: Turn) -> TurnResult:
        task = turn.task
        session = await self._sessions.get(task.session_id)
        if await self._sessions.restore(session):
            await self._tell_restored(task)
        if not self._pool.is_warm(task.session_id, task.agent):
            async with self._journal.commit(task.session_id) as commit:
                turn.announce(commit)
            turn.is_announced = True
            failpoint("turn.announced")
        turn.task = task = await self._with_choices(task)
        result = TurnResult(ok=True, stop_reason="cancelled", reached_agent=False)
        with turn.starting:
            await self._decisions.record_hand_edits(task.session_id)
            async with self._pool.lease(session_options(session, task.agent, task)) as lease:
                failpoint("turn.leased")
                message_id = lease.backend.new_message_id()
                note = await self._mark_working(turn, lease, message_id)
                failpoint("turn.marked")
                with anyio.CancelScope(shield=True):
                    result = await self._prompt(turn, lease, note, message_id)
        if result.auth_methods is not None:
            # a process that runs may not notice that somebody signs in
            self._pool.renew(task.session_id, task.agent)
        return result

    async def _prompt(self, turn: Turn, lease: Lease, note: str | None, message_id: str | None) -> TurnResult:
        task = turn.task
        if turn.cancel.is_set():
            return TurnResult(ok=True, stop_reason="cancelled", reached_agent=False)

        async def emit(event: AgentEvent) -> None:
            turn.note(event)
            await self._journal.append(task.session_id, event, agent=task.agent, task_id=task.id)
            failpoint("turn.heard")

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
        words = task.input if note is None else f"{note}\n\n{task.input}"
        turn.lease = lease
        turn.was_sent = True
        try:
            result = await lease.backend.prompt(lease.handle, PromptInput(words, task.attachments, message_id), context)
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

    async def _mark_working(self, turn: Turn, lease: Lease, message_id: str | None) -> str | None:
        """The last step before the prompt may leave the host: from here on it is never sent again by itself.

        Returns what the agent is told in front of it. One of the agent's own commands goes alone.
        """
        task = turn.task
        note = None
        async with self._journal.commit(task.session_id) as commit:
            turn.announce(commit)
            if not task.input.startswith("/"):
                note = await tell(commit, task.session_id, task.agent)
            await tasks.mark_sent(
                commit.connection,
                task.id,
                task.attempt,
                seq=commit.last_seq,
                agent_session_id=lease.handle.agent_session_id,
                message_id=message_id,
            )
            await agent_sessions.set_status(commit.connection, task.session_id, task.agent, AgentSessionStatus.ACTIVE)
            status = AgentStatusChanged(agent=task.agent, status="working")
            commit.append(status, agent=task.agent, task_id=task.id)
        turn.is_announced = True
        return note

    async def _finish(self, turn: Turn, result: TurnResult) -> None:
        """One transaction: the turn's changes, the task's state, and the records of both."""
        task = turn.task
        state, error = _end_state(turn, result)
        try:
            async with self._survey_at_end(task) as found:
                await self._store_end(turn, result, state, error, found)
        except (DatabaseAway, WrongState):
            raise
        except Exception as fault:
            logger.exception("changes not recorded", extra=_ids(task))
            trouble = Error(code="snapshot_failed", message=f"the turn's changes could not be recorded: {fault}")
            await self._store_end(turn, result, state, error, None, trouble)

    @asynccontextmanager
    async def _survey_at_end(self, task: Task) -> AsyncGenerator[Survey]:
        """What the turn has changed. Where its folder was deleted under it and it wrote on, that comes first."""
        async with AsyncExitStack() as stack:
            try:
                found = await stack.enter_async_context(self._decisions.survey(task.session_id))
            except Conflict:
                if not await self._sessions.repair(await self._sessions.get(task.session_id)):
                    raise
                await self._tell_restored(task)
                found = await stack.enter_async_context(self._decisions.survey(task.session_id))
            yield found

    async def _tell_restored(self, task: Task) -> None:
        # their own working folder is the one that is gone
        await self._pool.close_session(task.session_id)
        told = Error(code="worktree_restored", message="the session's folder was gone: it is made again")
        await self._journal.append(task.session_id, told, agent=task.agent, task_id=task.id)

    async def _store_end(
        self,
        turn: Turn,
        result: TurnResult,
        state: TaskState,
        error: Fault | None,
        found: Survey | None,
        trouble: Error | None = None,
    ) -> None:
        task = turn.task
        async with self._journal.commit(task.session_id) as commit:
            turn.announce(commit)
            if found is not None:
                await self._decisions.record(commit, found, agent=task.agent, task_id=task.id)
                await self._checkpoints.record(commit, found, agent=task.agent, task_id=task.id)
                self._tell_left_out(commit, task, found.snapshot.left_out)
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
            failpoint("turn.recorded")

    def _tell_left_out(self, commit: Commit, task: Task, left_out: tuple[LeftOut, ...]) -> None:
        """Name the files that the turn's snapshot lacks, whenever they are others than at the last turn's end."""
        if left_out and left_out != self._left_out.get(task.session_id):
            shown = ", ".join(f"{each.path} ({each.reason})" for each in left_out[:SHOWN_FILES])
            more = f" and {len(left_out) - SHOWN_FILES} more" if len(left_out) > SHOWN_FILES else ""
            told = Error(code="files_left_out", message=f"not among the changes: {shown}{more}")
            commit.append(told, agent=task.agent, task_id=task.id)
        self._left_out.pop(task.session_id, None)
        if left_out:
            self._left_out[task.session_id] = left_out

    async def _until_stored(self, write: Callable[[], Awaitable[None]]) -> None:
        """Repeat while the database is away: an end that happened must not be forgotten."""
        is_in_doubt = False
        while True:
            try:
                return await write()
            except DatabaseAway as error:
                logger.warning("a turn's end waits for the database: %s", error)
                is_in_doubt = True
                await anyio.sleep(RETRY_SECONDS)
            except WrongState:
                if not is_in_doubt:
                    raise
                # The write before this one had happened, and only its answer was lost.
                return None


def _with_advice(fault: Fault, advice: str) -> Fault:
    return fault.model_copy(update={"message": f"{fault.message}; to sign in, {advice}"}) if advice else fault


def _ids(task: Task) -> dict[str, str]:
    return {"session": task.session_id, "agent": task.agent, "task": task.id}


def session_options(session: Session, agent: str, task: Task | None = None) -> SessionOptions:
    """What an agent is opened with in a session, for a task or ahead of one. Raises Conflict: it is not open yet."""
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


def _end_state(turn: Turn, result: TurnResult) -> tuple[TaskState, Fault | None]:
    if result.stop_reason == "cancelled" or (turn.cancel.is_set() and not result.ok):
        return TaskState.CANCELLED, None
    if result.ok:
        return TaskState.COMPLETED, None
    return TaskState.FAILED, result.error or Fault(code="agent_failed", message="the agent gave no reason")
