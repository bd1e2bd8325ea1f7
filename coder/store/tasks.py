"""Tasks: accepted, claimed by one, ended once."""

from collections.abc import Collection

from asyncpg import Connection, ForeignKeyViolationError, Record

from coder.errors import InvalidInput, TooMany
from coder.model.sessions import SessionState
from coder.model.tasks import ENDED, TRANSITIONS, Fault, Task, TaskState, Usage
from coder.model.values import Value
from coder.protocol import Page
from coder.store import sessions
from coder.store.cursors import check_limit, decode_cursor, page_of
from coder.store.rows import found, wrong_state
from coder.store.statements import sql


async def insert(
    c: Connection, task: Task, *, idempotency_key: str | None = None, max_waiting: int | None = None
) -> Task:
    """Accept a task; whoever listens on `tasks_new` hears of it at commit.

    A key that this session used before gives the task it stands for: its id differs from `task.id`, and the caller
    compares the rest.

    Raises:
        NotFound: the session is gone. WrongState: it is not open. InvalidInput: the parent task is not there.
        TooMany: `max_waiting` wait in the session already.
    """
    try:
        row = await c.fetchrow(sql("insert_task"), *_columns(task), idempotency_key, task.created_at, max_waiting)
    except ForeignKeyViolationError as error:
        raise InvalidInput(f"no such parent task: {task.parent_task_id}", field="parent_task_id") from error
    if row is None and idempotency_key is not None:
        row = await c.fetchrow(sql("find_task_by_key"), task.session_id, idempotency_key)
    if row is None:
        session = await sessions.get(c, task.session_id)
        if session.state is SessionState.OPEN:
            raise TooMany(f"{max_waiting} prompts wait in this session already", code="queue_full")
        raise wrong_state("session", session.id, session.state, ["open"])
    return _read(row)


async def get(c: Connection, id: str) -> Task:
    """One task; NotFound."""
    return _read(found(await c.fetchrow(sql("get_task"), id), "task", id))


async def list_page(
    c: Connection,
    *,
    session_id: str | None = None,
    states: Collection[TaskState] | None = None,
    after: str | None = None,
    limit: int = 100,
) -> Page[Task]:
    """A page, newest first; `after` is the cursor of the page before."""
    key = decode_cursor("tasks", after, int)
    wanted = None if states is None else [str(state) for state in states]
    check_limit(limit)
    if session_id is not None:
        rows = await c.fetch(sql("list_tasks_of_session"), session_id, wanted, key, limit + 1)
    else:
        is_open = states is not None and not ENDED & set(states)
        rows = await c.fetch(sql("list_open_tasks" if is_open else "list_tasks"), wanted, key, limit + 1)
    return page_of("tasks", rows, limit, _read, "ordinal")


async def claim(c: Connection, owner: str, limit: int = 1) -> tuple[Task, ...]:
    """Take the oldest pending tasks of open sessions that have nothing running, at most one of each session.

    No two claimers get the same task, and the tasks of one session are given out in the order they were accepted.
    """
    rows = await c.fetch(sql("claim_task"), owner, limit)
    return tuple(_read(row) for row in sorted(rows, key=lambda row: row["place"]))


async def last_agent(c: Connection, project_id: str) -> str | None:
    """The agent that was prompted last in a project."""
    return await c.fetchval(sql("last_agent"), project_id)


async def mark_sent(
    c: Connection, id: str, attempt: int, *, seq: int, agent_session_id: str | None, message_id: str | None
) -> Task:
    """Say, just before the prompt is written to the agent, that from here on it may have been seen.

    `seq` is the journal's newest number; the others are the agent's names of the conversation and of the prompt in it.

    Raises:
        NotFound. WrongState: this attempt is not running any more.
    """
    row = await c.fetchrow(sql("mark_task_sent"), id, attempt, seq, agent_session_id, message_id)
    return await _moved(c, row, id, [TaskState.RUNNING])


async def finish(
    c: Connection,
    id: str,
    attempt: int,
    state: TaskState,
    *,
    error: Fault | None = None,
    stop_reason: str | None = None,
    output_summary: str | None = None,
    usage: Usage | None = None,
) -> Task:
    """End a running task, as the attempt that runs it.

    Raises:
        NotFound. WrongState: it is not running, or another attempt has it.
    """
    if state is TaskState.PENDING or state not in TRANSITIONS[TaskState.RUNNING]:
        raise ValueError(f"a running task does not end as {state}")
    row = await c.fetchrow(
        sql("finish_task"), id, attempt, str(state), _dumped(error), stop_reason, output_summary, _dumped(usage)
    )
    return await _moved(c, row, id, [TaskState.RUNNING])


async def requeue(c: Connection, id: str, attempt: int, *, was_never_sent: bool = False) -> Task:
    """Put a claimed task back where its prompt provably never left the host; `was_never_sent` says that it knows so.

    Raises:
        NotFound. WrongState: it is not running, another attempt has it, or the prompt was sent.
    """
    return await _moved(c, await c.fetchrow(sql("requeue_task"), id, attempt, was_never_sent), id, [TaskState.RUNNING])


async def cancel_pending(c: Connection, id: str, stop_reason: str = "cancelled") -> Task:
    """End a task that waits; NotFound, WrongState."""
    return await _moved(c, await c.fetchrow(sql("cancel_pending_task"), id, stop_reason), id, _WAITING)


async def request_cancel(c: Connection, id: str) -> Task:
    """Record that the running turn shall end; NotFound, WrongState."""
    return await _moved(c, await c.fetchrow(sql("request_task_cancel"), id), id, [TaskState.RUNNING])


async def fail_waiting(c: Connection, id: str, error: Fault) -> Task:
    """End a task that waits and can never run; NotFound, WrongState."""
    return await _moved(c, await c.fetchrow(sql("fail_waiting_task"), id, _dumped(error)), id, _WAITING)


async def edit(c: Connection, id: str, input: str) -> Task:
    """Say it differently while it waits; NotFound, WrongState."""
    return await _moved(c, await c.fetchrow(sql("edit_waiting_task"), id, input), id, _WAITING)


async def place(c: Connection, id: str, before: str | None) -> Task:
    """Give a pending task its turn right before another pending one of its session, or after all of them.

    Raises:
        NotFound. WrongState: it does not wait. InvalidInput: `before` is no pending task of its session.
    """
    row = await c.fetchrow(sql("place_task"), id, before)
    if row is None and before is not None and (await get(c, id)).state is TaskState.PENDING:
        raise InvalidInput(f"no waiting task of this session: {before}", field="before")
    return await _moved(c, row, id, [TaskState.PENDING])


async def first_waiting(c: Connection, session_id: str) -> Task | None:
    """Whose turn is next in a session."""
    row = await c.fetchrow(sql("first_waiting_task"), session_id)
    return _read(row) if row else None


async def block(c: Connection, id: str) -> Task:
    """Hold a pending task back; NotFound, WrongState."""
    return await _moved(c, await c.fetchrow(sql("block_task"), id), id, [TaskState.PENDING])


async def unblock(c: Connection, id: str) -> Task:
    """Let a blocked task wait for its turn again; NotFound, WrongState."""
    return await _moved(c, await c.fetchrow(sql("unblock_task"), id), id, [TaskState.BLOCKED])


async def running_of_other_runs(c: Connection, run_id: str) -> tuple[Task, ...]:
    """What other runs left running, in the order it was accepted."""
    return tuple(_read(row) for row in await c.fetch(sql("running_tasks_of_other_runs"), run_id))


async def unsent_of_run(c: Connection, run_id: str) -> tuple[Task, ...]:
    """What a run has claimed and said to no agent yet, in the order it was accepted."""
    return tuple(_read(row) for row in await c.fetch(sql("unsent_tasks_of_run"), run_id))


_WAITING = (TaskState.PENDING, TaskState.BLOCKED)


async def _moved(c: Connection, row: Record | None, id: str, wanted: Collection[TaskState]) -> Task:
    if row is None:
        task = await get(c, id)
        if task.state in wanted:
            raise wrong_state(
                "task", id, f"{task.state} in attempt {task.attempt}", ["this attempt, before its prompt"]
            )
        raise wrong_state("task", id, task.state, wanted)
    return _read(row)


def _columns(task: Task) -> tuple[object, ...]:
    return (
        task.id,
        task.session_id,
        task.parent_task_id,
        task.agent,
        task.model,
        task.mode_id,
        task.thinking_option_id,
        task.feature_values,
        [attachment.model_dump(mode="json") for attachment in task.attachments],
        task.input,
        str(task.state),
    )


def _dumped(value: Value | None) -> object:
    return None if value is None else value.model_dump(mode="json")


def _read(row: Record) -> Task:
    return Task.model_validate(dict(row))
