"""Tasks: accepted once, claimed by one, ended once."""

from datetime import timedelta

import anyio
import pytest

from coder.errors import InvalidInput, NotFound, WrongState
from coder.model.sessions import SessionState
from coder.model.tasks import Fault, Task, TaskState, Usage
from coder.store import figures, sessions, tasks
from coder.store.database import open_store
from tests.postgres.samples import a_task, claim, connected_store, open_session, queue


@pytest.mark.scenario("store: The same key does not make two tasks")
async def test_a_key_that_was_used_gives_the_task_it_stands_for(database_url: str) -> None:
    async with connected_store(database_url) as (_, c):
        session = await open_session(c)
        first = await tasks.insert(c, a_task(session, "one"), idempotency_key="key")
        again = await tasks.insert(c, a_task(session, "two"), idempotency_key="key")
        assert (again.id, again.input) == (first.id, "one")
        other = await tasks.insert(c, a_task(await open_session(c), "three"), idempotency_key="key")
        assert other.id != first.id
        assert (await figures.read(c)).pending == 2


async def test_the_same_key_at_the_same_time_makes_one_task(database_url: str) -> None:
    async with open_store(database_url, run_id="run") as store:
        async with store.connection() as c:
            session = await open_session(c)
        stored: set[str] = set()

        async def insert() -> None:
            async with store.transaction() as c:
                stored.add((await tasks.insert(c, a_task(session), idempotency_key="key")).id)

        async with anyio.create_task_group() as group:
            for _ in range(6):
                group.start_soon(insert)
        assert len(stored) == 1


async def test_a_task_for_a_session_that_is_not_open_is_refused(database_url: str) -> None:
    async with connected_store(database_url) as (_, c):
        session = await open_session(c)
        with pytest.raises(InvalidInput, match="no such parent"):
            await tasks.insert(c, a_task(session).model_copy(update={"parent_task_id": "nothing"}))
        await sessions.move(c, session.id, {SessionState.OPEN}, SessionState.CLOSING)
        with pytest.raises(WrongState):
            await tasks.insert(c, a_task(session))
        await sessions.delete(c, session.id)
        with pytest.raises(NotFound):
            await tasks.insert(c, a_task(session))


@pytest.mark.scenario("store: One running turn per session, in the order of acceptance")
async def test_tasks_of_a_session_are_given_out_one_at_a_time_in_the_order_they_were_accepted(
    database_url: str,
) -> None:
    async with connected_store(database_url) as (_, c):
        session = await open_session(c)
        # The clock that stamped the second task was behind.
        first = await tasks.insert(c, a_task(session, "first"))
        late = a_task(session, "second").model_copy(update={"created_at": first.created_at - timedelta(hours=1)})
        await tasks.insert(c, late)
        running = await claim(c)
        assert (running.input, running.attempt, running.state) == ("first", 1, TaskState.RUNNING)
        assert running.started_at is not None
        assert not await tasks.claim(c, "run")
        await tasks.finish(c, running.id, running.attempt, TaskState.COMPLETED)
        assert (await claim(c)).input == "second"


@pytest.mark.scenario("store: Two claimers never get the same task")
async def test_many_claimers_share_the_work_without_overlap_and_in_order(database_url: str) -> None:
    async with open_store(database_url, run_id="run") as store:
        async with store.connection() as c:
            opened = [await open_session(c) for _ in range(4)]
            for n in range(5):
                for session in opened:
                    await queue(c, session, str(n))
        claimed: list[Task] = []

        async def work(owner: str) -> None:
            async with store.connection() as c:
                while (await figures.read(c)).pending:
                    for task in await tasks.claim(c, owner, 3):
                        claimed.append(task)
                        await tasks.finish(c, task.id, task.attempt, TaskState.COMPLETED)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                for n in range(4):
                    group.start_soon(work, f"claimer {n}")
        assert len({task.id for task in claimed}) == len(claimed) == 20
        for session in opened:
            assert [task.input for task in claimed if task.session_id == session.id] == ["0", "1", "2", "3", "4"]


async def test_a_claim_passes_over_sessions_that_are_busy_or_not_open(database_url: str) -> None:
    async with connected_store(database_url) as (_, c):
        busy, closing, free = [await open_session(c) for _ in range(3)]
        for session in (busy, busy, closing, free):
            await queue(c, session, session.id)
        await sessions.move(c, closing.id, {SessionState.OPEN}, SessionState.CLOSING)
        claimed = await tasks.claim(c, "run", 10)
        assert [task.session_id for task in claimed] == [busy.id, free.id]
        assert not await tasks.claim(c, "run", 10)


@pytest.mark.scenario("store: A task ends once, by the attempt that runs it")
async def test_an_old_attempt_cannot_end_a_task_and_no_task_ends_twice(database_url: str) -> None:
    async with connected_store(database_url) as (_, c):
        await queue(c, await open_session(c), "work")
        old = await claim(c)
        await tasks.requeue(c, old.id, old.attempt)
        new = await claim(c)
        assert new.attempt == 2
        with pytest.raises(WrongState):
            await tasks.finish(c, old.id, old.attempt, TaskState.COMPLETED)
        ended = await tasks.finish(
            c,
            new.id,
            new.attempt,
            TaskState.FAILED,
            error=Fault(code="agent_died", message="gone"),
            stop_reason="refusal",
            output_summary="half",
            usage=Usage(input_tokens=3),
        )
        assert ended == await tasks.get(c, new.id)
        assert (ended.error, ended.usage) == (Fault(code="agent_died", message="gone"), Usage(input_tokens=3))
        assert ended.ended_at is not None
        with pytest.raises(WrongState):
            await tasks.finish(c, new.id, new.attempt, TaskState.COMPLETED)
        with pytest.raises(NotFound):
            await tasks.finish(c, "nothing", 1, TaskState.COMPLETED)


async def test_a_task_whose_prompt_was_sent_does_not_go_back(database_url: str) -> None:
    async with connected_store(database_url) as (_, c):
        await queue(c, await open_session(c), "work")
        task = await claim(c, sent=True)
        with pytest.raises(WrongState):
            await tasks.requeue(c, task.id, task.attempt)


async def test_waiting_tasks_can_be_cancelled_failed_and_held_back(database_url: str) -> None:
    async with connected_store(database_url) as (_, c):
        first, second, third = await queue(c, await open_session(c), "1", "2", "3")
        assert (await tasks.block(c, first.id)).state is TaskState.BLOCKED
        assert (await claim(c)).id == second.id
        assert (await tasks.unblock(c, first.id)).state is TaskState.PENDING
        assert (await tasks.cancel_pending(c, first.id)).state is TaskState.CANCELLED
        failed = await tasks.fail_waiting(c, third.id, Fault(code="agent_unavailable", message="disabled"))
        assert failed.state is TaskState.FAILED
        assert (await tasks.request_cancel(c, second.id)).cancel_requested
        for move in (tasks.cancel_pending, tasks.block, tasks.request_cancel):
            with pytest.raises(WrongState):
                await move(c, first.id)


@pytest.mark.scenario("store: Lists come in pages")
async def test_pages_are_newest_first_complete_and_without_overlap(database_url: str) -> None:
    async with connected_store(database_url) as (_, c):
        session = await open_session(c)
        queued = await queue(c, session, *"abcde")
        await queue(c, await open_session(c), "foreign")
        seen: list[str] = []
        cursor: str | None = None
        for expected in (2, 2, 1):
            page = await tasks.list_page(c, session_id=session.id, after=cursor, limit=2)
            assert len(page.items) == expected
            seen += [task.id for task in page.items]
            cursor = page.next
        assert cursor is None
        assert seen == [task.id for task in reversed(queued)]
        assert (await tasks.list_page(c, states=[TaskState.RUNNING])).items == ()
        foreign = (await sessions.list_page(c, limit=1)).next
        for bad in ("garbage", "\ud800", "", foreign, "WyJ0YXNrcyIsOTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5XQ"):
            with pytest.raises(InvalidInput):
                await tasks.list_page(c, after=bad)
        for limit in (0, 501):
            with pytest.raises(InvalidInput):
                await tasks.list_page(c, limit=limit)
