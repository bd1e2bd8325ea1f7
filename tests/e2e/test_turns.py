"""Turns from prompt to recorded end, on a real host with the scripted agent."""

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from coder.errors import AgentUnavailable, Conflict, IdempotencyMismatch, WrongState
from coder.host import open_host
from coder.model.events import AgentStatusChanged, Record
from coder.model.permissions import PermissionStatus
from coder.model.sessions import AgentSessionStatus, Session
from coder.model.tasks import Task, TaskState
from coder.model.values import new_id, now
from coder.protocol import NewTask
from coder.store import tasks
from coder.store.database import open_store
from coder.testing.rooms import Room, open_room, room_settings


@pytest.mark.scenario("dispatch: a prompt becomes a turn and its end is recorded")
async def test_a_prompt_runs_as_a_turn_and_its_end_is_recorded(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        task = await room.prompt("say hello; say there")
        assert (task.state, task.stop_reason, task.error) == (TaskState.COMPLETED, "end_turn", None)
        types = [
            event.type for event in await room.events() if event.type not in {"commands", "usage", "mode", "model"}
        ]
        assert types[:1] == ["session_updated"]
        assert [type for type in types if type.startswith(("task", "turn", "user"))] == [
            "task_queued",
            "turn_started",
            "user_text",
            "turn_ended",
        ]
        assert "hello" in await room.text_of(task)
        assert task.output_summary is not None
        assert "hello" in task.output_summary


@pytest.mark.scenario("pool: the second prompt finds the agent warm")
async def test_the_second_prompt_finds_the_same_process(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        first, second = await room.prompt("counter"), await room.prompt("counter")
        assert await room.text_of(first) != await room.text_of(second)
        starts = [e for e in await room.events() if e.type == "agent_status" and e.status == "starting"]
        assert len(starts) == 1
        assert room.host.pool.health().warm == 1


@pytest.mark.scenario("pool: a closed agent is recorded as closed")
async def test_an_agent_that_was_closed_is_recorded_as_closed(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("say hello")

        await room.host.pool.close(room.session.id, "demo")

        (row,) = await room.host.sessions.agent_sessions(room.session.id)
        assert row.status is AgentSessionStatus.CLOSED
        last = (await room.records())[-1].event
        assert (last.type, getattr(last, "status", None)) == ("agent_status", "cold")


@pytest.mark.scenario("dispatch: prompts of a session run one after the other")
async def test_a_second_prompt_waits_for_the_first(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        first = await room.submit("say one; sleep 300; say two")
        second = await room.submit("say three")
        await room.saw("turn_started")
        assert (await room.host.dispatcher.get(second.id)).state is TaskState.PENDING
        await room.ended(second)
        order = [(r.event.type, r.task_id) for r in await room.records() if r.event.type.startswith("turn_")]
        assert order == [
            ("turn_started", first.id),
            ("turn_ended", first.id),
            ("turn_started", second.id),
            ("turn_ended", second.id),
        ]


@pytest.mark.scenario("dispatch: the same key gives the same task")
async def test_a_repeated_key_gives_the_task_again_and_another_body_is_refused(
    tmp_path: Path, database_url: str
) -> None:
    async with open_room(tmp_path, database_url) as room:
        wish = NewTask(session_id=room.session.id, agent="demo", input="say hello")
        first = await room.host.dispatcher.submit(wish, idempotency_key="k")
        again = await room.host.dispatcher.submit(wish, idempotency_key="k")
        assert again.id == first.id
        with pytest.raises(IdempotencyMismatch):
            await room.host.dispatcher.submit(wish.model_copy(update={"input": "say bye"}), idempotency_key="k")
        await room.ended(first)


@pytest.mark.scenario("dispatch: an unknown or disabled agent is refused before anything is created")
async def test_an_agent_that_is_not_installed_is_refused_and_nothing_is_created(
    tmp_path: Path, database_url: str
) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.add_provider("ghost", ["no-such-program"])
        with pytest.raises(AgentUnavailable):
            await room.submit("say boo", agent="ghost")
        assert (await room.host.dispatcher.list(room.session.id, (), None, 10)).items == ()


@pytest.mark.scenario("dispatch: a running turn is cancelled politely")
async def test_a_running_turn_is_cancelled_and_the_agent_stays_warm(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        task = await room.submit("say begun; hang")
        await room.saw("text")
        await room.host.dispatcher.cancel(task.id)
        assert (await room.ended(task)).state is TaskState.CANCELLED
        assert (await room.prompt("counter")).state is TaskState.COMPLETED
        starts = [e for e in await room.events() if e.type == "agent_status" and e.status == "starting"]
        assert len(starts) == 1
        with pytest.raises(Conflict):
            await room.host.dispatcher.cancel((await room.prompt("say done")).id)


@pytest.mark.scenario("dispatch: a waiting prompt is cancelled at once")
async def test_a_waiting_prompt_is_cancelled_and_never_reaches_the_agent(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        first = await room.submit("say begun; hang")
        second = await room.submit("write never.txt x")
        await room.saw("text")
        cancelled = await room.host.dispatcher.cancel(second.id)
        assert cancelled.state is TaskState.CANCELLED
        await room.host.dispatcher.cancel(first.id)
        await room.ended(first)
        assert not (room.worktree / "never.txt").exists()


@pytest.mark.scenario("dispatch: an agent that ignores cancel is killed")
async def test_an_agent_that_ignores_cancel_is_killed_and_started_afresh(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url, cancel_timeout=0.3) as room:
        task = await room.submit("ignore cancel; say begun; hang")
        await room.saw("text")
        await room.host.dispatcher.cancel(task.id)
        assert (await room.ended(task)).state is TaskState.CANCELLED
        assert (await room.prompt("say alive")).state is TaskState.COMPLETED


@pytest.mark.scenario("dispatch: a dead agent ends its turn in words and is resumed by the next prompt")
async def test_a_dead_agent_fails_its_turn_and_the_next_prompt_resumes_the_conversation(
    tmp_path: Path, database_url: str
) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("counter")
        died = await room.prompt("say farewell; die 3")
        assert died.state is TaskState.FAILED
        assert died.error is not None
        assert died.error.code == "agent_died"
        assert "3" in died.error.message
        after = await room.prompt("counter")
        assert "3" in await room.text_of(after), "the conversation goes on at its third prompt"


@pytest.mark.scenario("pool: a provider that keeps dying fails fast")
async def test_after_five_deaths_the_agent_is_not_started_again(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        for _ in range(5):
            assert (await room.prompt("die")).state is TaskState.FAILED
        refused = await room.prompt("say hello")
        assert refused.error is not None
        assert refused.error.code == "agent_unhealthy"


@pytest.mark.scenario("permissions: a question is answered once with the agent's own option")
async def test_a_permission_is_asked_answered_once_and_obeyed(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        task = await room.submit("ask May I; write yes.txt sure")
        asked = (await room.saw("permission_requested")).event
        assert asked.type == "permission_requested"
        allow = next(option for option in asked.request.options if option.kind == "allow_once")
        answered = await room.host.permissions.answer(asked.request.id, allow.id, "test")
        assert answered.status is PermissionStatus.SELECTED
        with pytest.raises(WrongState):
            await room.host.permissions.answer(asked.request.id, allow.id, "test")
        await room.ended(task)
        assert (room.worktree / "yes.txt").exists()


@pytest.mark.scenario("permissions: cancelling the turn cancels its question")
async def test_cancelling_a_turn_cancels_its_open_question(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        task = await room.submit("ask May I; write no.txt x")
        asked = (await room.saw("permission_requested")).event
        assert asked.type == "permission_requested"
        await room.host.dispatcher.cancel(task.id)
        assert (await room.ended(task)).state is TaskState.CANCELLED
        assert (await room.host.permissions.get(asked.request.id)).status is PermissionStatus.CANCELLED
        assert not (room.worktree / "no.txt").exists()


@pytest.mark.scenario("permissions: a question nobody answers ends as cancelled for the agent")
async def test_a_question_nobody_answers_expires_and_the_turn_goes_on(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url, permission_timeout=0.2) as room:
        task = await room.prompt("ask May I; write no.txt x")
        assert task.state in {TaskState.COMPLETED, TaskState.CANCELLED}
        requests = (await room.host.permissions.list(room.session.id, None, None, 10)).items
        assert [request.status for request in requests] == [PermissionStatus.EXPIRED]
        assert not (room.worktree / "no.txt").exists()


@pytest.mark.scenario("pool: switching agents and back resumes each")
async def test_switching_to_another_agent_and_back_finds_both_where_they_were(
    tmp_path: Path, database_url: str
) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.add_provider("second", room.host.providers.get("demo").command)
        await room.prompt("counter")
        other = await room.prompt("counter", agent="second")
        back = await room.prompt("counter")
        assert "1" in await room.text_of(other)
        assert "2" in await room.text_of(back)
        await room.host.pool.close(room.session.id, "demo")
        resumed = await room.prompt("counter")
        assert "3" in await room.text_of(resumed)


@pytest.mark.scenario("pool: the least recently used idle agent makes room")
async def test_over_the_limit_the_least_recently_used_idle_agent_is_evicted(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url, pool_max_live=1) as room:
        await room.add_provider("second", room.host.providers.get("demo").command)
        await room.prompt("say one")
        await room.prompt("say two", agent="second")
        await room.seen(lambda r: r.event.type == "agent_status" and r.event.status == "cold" and r.agent == "demo")
        assert room.host.pool.health().size == 1


@pytest.mark.scenario("dispatch: stopping gives running turns their grace time")
async def test_stopping_waits_for_the_running_turn(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        task = await room.submit("say begun; sleep 300; write late.txt done")
        await room.saw("text")
        await room.host.drain()
        assert (await room.host.dispatcher.get(task.id)).state is TaskState.COMPLETED
        assert (room.worktree / "late.txt").exists()


@pytest.mark.scenario("dispatch: stopping cancels what outlasts its grace time")
async def test_stopping_cancels_a_turn_that_outlasts_the_grace_time(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url, shutdown_grace=0.2) as room:
        task = await room.submit("say begun; hang")
        await room.saw("text")
        with anyio.fail_after(15):
            await room.host.drain()
        assert (await room.host.dispatcher.get(task.id)).state is TaskState.CANCELLED


@pytest.mark.scenario("pool: one cold start serves every waiter")
async def test_one_cold_start_serves_everybody_who_waits(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(room.host.dispatcher.warm, room.session.id, "demo")
            await room.prompt("say hello")
        starts = [e for e in await room.events() if e.type == "agent_status" and e.status == "starting"]
        assert len(starts) == 1


@pytest.mark.scenario("pool: an idle agent is closed after its time")
async def test_an_idle_agent_is_closed_and_resumed_later(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url, pool_idle_ttl_ms=200) as room:
        await room.prompt("counter")
        await room.seen(lambda record: record.event.type == "agent_status" and record.event.status == "cold")
        assert room.host.pool.health().size == 0
        assert "2" in await room.text_of(await room.prompt("counter"))


@pytest.mark.parametrize("limit", ["pool_max_age_ms", "pool_max_memory_mb"])
@pytest.mark.scenario("pool: an agent that is too old or too large begins afresh")
async def test_an_agent_over_its_age_or_size_is_renewed_and_goes_on(
    tmp_path: Path, database_url: str, limit: str
) -> None:
    async with open_room(tmp_path, database_url, **{limit: 1}) as room:
        await room.prompt("counter")
        await room.host.pool.sweep()
        await room.seen(lambda record: record.event.type == "agent_status" and record.event.status == "cold")
        assert "2" in await room.text_of(await room.prompt("counter"))
        assert "waking" in [e.status for e in await room.events() if e.type == "agent_status"]


@pytest.mark.scenario("pool: an agent that would forget is kept longer, and what it forgot is told")
async def test_an_agent_that_cannot_resume_stays_four_times_as_long_and_says_that_it_forgot(
    tmp_path: Path, database_url: str
) -> None:
    limits = {"pool_idle_ttl_ms": 250, "pool_max_live": 1, "pool_max_age_ms": 250, "pool_max_memory_mb": 1}
    async with open_room(tmp_path, database_url, **limits) as room:
        command = room.host.providers.get("demo").command
        await room.add_provider("forgetful", command, {"DEMO_WITHOUT_RESUME": "1"})
        task = await room.prompt("counter", "forgetful")
        spoke = await room.seen(lambda record: record.event.type == "text" and record.task_id == task.id)
        await room.prompt("say hello")
        cold = await room.seen(_is_cold("forgetful"))
        assert (cold.at - spoke.at).total_seconds() >= 1
        assert "Prompt 1 of" in await room.text_of(await room.prompt("counter", "forgetful"))
        told = [e.message for e in await room.events() if e.type == "agent_status" and e.agent == "forgetful"]
        assert "its memory of the conversation is gone" in told


def _is_cold(agent: str) -> Callable[[Record], bool]:
    return lambda record: (
        isinstance(record.event, AgentStatusChanged) and (record.event.agent, record.event.status) == (agent, "cold")
    )


@pytest.mark.scenario("pool: a busy agent that is too old begins afresh after its turn")
async def test_an_agent_that_grows_too_old_in_its_turn_is_renewed_when_that_has_ended(
    tmp_path: Path, database_url: str
) -> None:
    async with open_room(tmp_path, database_url, pool_max_memory_mb=1) as room:
        await room.prompt("counter")
        task = await room.submit("say begun; sleep 60000")
        await room.seen(lambda record: record.event.type == "text" and record.task_id == task.id)
        await room.host.pool.sweep()
        assert room.host.pool.health().leased == 1
        await room.host.dispatcher.cancel(task.id)
        await room.seen(lambda record: record.event.type == "agent_status" and record.event.status == "cold")
        assert "3" in await room.text_of(await room.prompt("counter"))


@pytest.mark.scenario("dispatch: a task that was claimed but not sent waits again")
async def test_a_task_claimed_by_a_dead_host_before_its_prompt_was_sent_runs_once(
    tmp_path: Path, database_url: str
) -> None:
    async with open_room(tmp_path, database_url) as room:
        session = room.session.id
    wish = Task(
        id=new_id("tsk"), session_id=session, agent="demo", input="counter", state=TaskState.PENDING, created_at=now()
    )
    async with open_store(database_url, run_id="dead") as store, store.transaction() as connection:
        await tasks.insert(connection, wish)
        assert await tasks.claim(connection, "dead")
    async with open_host(room_settings(tmp_path / "home", database_url), "token") as host:
        room = Room(host, tmp_path / "repository", await host.sessions.get(session))
        done = await room.ended(wish)
        assert (done.state, done.attempt) == (TaskState.COMPLETED, 2)
        assert [r.event.type for r in await room.records()].count("turn_started") == 1


@pytest.mark.scenario("dispatch: a task cancelled before its prompt was sent does not come back")
async def test_a_task_cancelled_before_a_crash_and_never_sent_ends_as_cancelled(
    tmp_path: Path, database_url: str
) -> None:
    async with open_room(tmp_path, database_url) as room:
        session = room.session.id
    wish = Task(
        id=new_id("tsk"), session_id=session, agent="demo", input="counter", state=TaskState.PENDING, created_at=now()
    )
    async with open_store(database_url, run_id="dead") as store, store.transaction() as connection:
        await tasks.insert(connection, wish)
        assert await tasks.claim(connection, "dead")
        await tasks.request_cancel(connection, wish.id)
    async with open_host(room_settings(tmp_path / "home", database_url), "token") as host:
        room = Room(host, tmp_path / "repository", await host.sessions.get(session))
        ended = await room.ended(wish)
        assert (ended.state, ended.attempt) == (TaskState.CANCELLED, 1)
        assert [r.event.type for r in await room.records()].count("turn_started") == 0


@pytest.mark.scenario("sessions: sessions of one repository are opened at the same time")
async def test_sessions_of_one_repository_opened_at_once_have_their_own_worktrees(
    tmp_path: Path, database_url: str
) -> None:
    async with open_room(tmp_path, database_url) as room:
        opened: list[Session] = [room.session]

        async def open_one() -> None:
            opened.append(await room.host.sessions.open(room.session.project_id, None, None))

        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(open_one)
        assert len({session.worktree_path for session in opened}) == 5
        assert len({session.branch for session in opened}) == 5
        assert all(session.worktree_path and Path(session.worktree_path, "README.md").exists() for session in opened)
