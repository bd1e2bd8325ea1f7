"""A host process that is killed or stopped, and what the next one finds."""

import signal
from pathlib import Path

import anyio
import pytest

from coder.client import Client
from coder.host import open_host
from coder.model.events import Record
from coder.model.sessions import Session
from coder.model.tasks import Task, TaskState
from coder.model.values import new_id, now
from coder.protocol import Prompt
from coder.store import tasks
from coder.store.database import open_store
from coder.testing.host_process import open_host_process
from coder.testing.repositories import make_repository
from coder.testing.rooms import Room, open_room, room_settings


async def open_session(client: Client, repository: Path) -> Session:
    project = await client.register_project(str(make_repository(repository)))
    return await client.open_session(project.id)


def waiting_task(session: Session) -> Task:
    """A task as it is accepted."""
    return Task(
        id=new_id("tsk"),
        session_id=session.id,
        agent="demo",
        input="say hello",
        state=TaskState.PENDING,
        created_at=now(),
    )


async def wait_for(client: Client, session: Session, type: str) -> None:
    with anyio.fail_after(30):
        async with client.events(session.id, 0) as stream:
            async for item in stream:
                if isinstance(item, Record) and item.event.type == type:
                    return


async def until_gone(home: Path) -> None:
    """Wait until no process is left that was started for this home."""
    with anyio.fail_after(12):
        while any(_works_for(process, home) for process in Path("/proc").glob("[0-9]*")):
            await anyio.sleep(0.05)


def _works_for(process: Path, home: Path) -> bool:
    try:
        folder = (process / "cwd").readlink()
    except OSError:
        return False
    return folder.is_relative_to(home / "worktrees")


@pytest.mark.scenario("dispatch: a killed host leaves no turn running")
async def test_after_sigkill_the_turn_is_interrupted_and_no_agent_is_left(tmp_path: Path, database_url: str) -> None:
    home = tmp_path / "home"
    flags = ("--database-url", database_url)
    async with open_host_process(home, *flags) as host, host.client() as client:
        session = await open_session(client, tmp_path / "repository")
        await client.wait_for_task((await client.prompt(session.id, Prompt(agent="demo", input="counter"))).id)
        task = await client.prompt(
            session.id, Prompt(agent="demo", input="fork 600; write half.txt done; say begun; hang")
        )
        waiting = await client.prompt(session.id, Prompt(agent="demo", input="counter"))
        await wait_for(client, session, "tool_call")
        await host.end(signal.SIGKILL)
        await until_gone(home)
    async with open_host_process(home, *flags) as host, host.client() as client:
        interrupted = await client.task(task.id)
        assert interrupted.state is TaskState.FAILED
        assert interrupted.error is not None
        assert interrupted.error.code == "interrupted"
        assert (await client.wait_for_task(waiting.id)).state is TaskState.COMPLETED
        records = await client.records(session.id, limit=500)
        assert [record.seq for record in records] == list(range(1, len(records) + 1))
        ends = [record.event for record in records if record.event.type == "turn_ended"]
        assert [end.state for end in ends if end.type == "turn_ended"] == ["completed", "failed", "completed"]
        said = "".join(record.event.text for record in records if record.event.type == "text")
        assert "3" in said, "the conversation was resumed for the prompt that had waited"
        assert {change.file_path for change in (await client.changes(session.id)).items} == {"half.txt"}
    await until_gone(home)


@pytest.mark.scenario("setup: SIGTERM ends the host in order")
async def test_sigterm_ends_with_status_0_and_leaves_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with open_host_process(home) as host, host.client() as client:
        session = await open_session(client, tmp_path / "repository")
        task = await client.prompt(session.id, Prompt(agent="demo", input="say begun; sleep 300; write late.txt x"))
        await wait_for(client, session, "text")
        assert await host.end() == 0
    await until_gone(home)
    async with open_host_process(home) as host, host.client() as client:
        assert (await client.task(task.id)).state is TaskState.COMPLETED


@pytest.mark.scenario("sessions: a worktree that was deleted is made again")
async def test_a_deleted_worktree_is_checked_out_again(tmp_path: Path, database_url: str) -> None:
    home, flags = tmp_path / "home", ("--database-url", database_url)
    async with open_host_process(home, *flags) as host, host.client() as client:
        session = await open_session(client, tmp_path / "repository")
    assert session.worktree_path is not None
    Path(session.worktree_path).rename(tmp_path / "elsewhere")
    async with open_host_process(home, *flags) as host, host.client() as client:
        task = await client.prompt(session.id, Prompt(agent="demo", input="write back.txt x"))
        assert (await client.wait_for_task(task.id)).state is TaskState.COMPLETED
        assert (Path(session.worktree_path) / "README.md").exists()


@pytest.mark.scenario("store: A dead run's tasks get a state")
@pytest.mark.scenario("dispatch: a prompt that was joining a turn when its host died is not said again")
async def test_tasks_of_a_dead_host_fail_end_or_wait_again(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        more = [await room.host.sessions.open(room.session.project_id, None, None) for _ in range(3)]
        opened = [room.session, *more]
    async with open_store(database_url, run_id="dead") as store, store.connection() as connection:
        sent, unsent, unwanted, joining = [await tasks.insert(connection, waiting_task(one)) for one in opened]
        for _ in range(3):
            assert await tasks.claim(connection, "dead")
        await tasks.mark_sent(connection, sent.id, 1, seq=1, agent_session_id=None, message_id=None)
        await tasks.request_cancel(connection, unwanted.id)
        await tasks.block(connection, joining.id)
    async with open_host(room_settings(tmp_path / "home", database_url), "token") as host:
        found = [await host.dispatcher.get(task.id) for task in (sent, joining, unwanted)]
        assert [task.state for task in found] == [TaskState.FAILED, TaskState.FAILED, TaskState.CANCELLED]
        assert [task.error and task.error.code for task in found] == ["interrupted", "interrupted", None]
        again = await Room(host, room.repository, opened[1]).ended(unsent)
        assert (again.state, again.attempt) == (TaskState.COMPLETED, 2)


@pytest.mark.scenario("store: A dead run's tasks get a state")
async def test_a_host_that_looks_for_tasks_of_dead_ones_leaves_its_own_running(
    tmp_path: Path, database_url: str
) -> None:
    async with open_room(tmp_path, database_url) as room:
        mine = await room.submit("say begun; listen")
        await room.saw("text")
        await room.host.dispatcher.reconcile()
        assert (await room.host.dispatcher.get(mine.id)).state is TaskState.RUNNING
        await room.submit("say more", when="steer")
        assert (await room.ended(mine)).state is TaskState.COMPLETED
