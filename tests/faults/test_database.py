"""The database restarted, silent, cut off after a commit, its listener killed: in the middle of turns."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import anyio
import asyncpg
import pytest

from coder.errors import CoderError
from coder.model.tasks import Task, TaskState
from coder.protocol import Prompt, TaskPatch
from coder.store.embedded import open_embedded
from coder.testing.ledgers import numbered, read_book
from coder.testing.relay import open_relay
from tests.faults.scene import Scene, open_scene


async def accepted(scene: Scene, text: str, key: str) -> Task:
    """Send a prompt until it is answered, as a client that does not know whether it was heard."""
    with anyio.fail_after(60):
        while True:
            try:
                return await scene.client.prompt(scene.session.id, Prompt(agent="demo", input=text), key=key)
            except CoderError as error:
                if not error.retryable:
                    raise
                await anyio.sleep(0.1)


def postmaster(folder: Path) -> int:
    """The process of the embedded server of a folder."""
    (file,) = folder.glob("pg*/postmaster.pid")
    return int(file.read_text().split()[0])


@pytest.mark.scenario("faults: PostgreSQL restarted at once")
async def test_a_database_that_is_killed_in_a_turn_loses_and_doubles_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "database"
    async with open_embedded(folder, options={"fsync": "off"}) as url, open_scene(tmp_path, url) as scene:
        first = await scene.submit(numbered("a", 60, pause_ms=30))
        await scene.saw("<a.5>")
        # what `pg_ctl restart -m immediate` begins with; the host's own supervision does the rest
        os.kill(postmaster(folder), signal.SIGQUIT)
        second = await accepted(scene, numbered("b", 5), "b")
        assert (await accepted(scene, numbered("b", 5), "b")).id == second.id
        assert (await scene.ended(first)).state is TaskState.COMPLETED
        assert (await scene.ended(second)).state is TaskState.COMPLETED


@pytest.mark.scenario("faults: The listener killed")
async def test_a_prompt_is_begun_though_its_notification_was_lost(tmp_path: Path, database_url: str) -> None:
    async with open_scene(tmp_path, database_url) as scene:
        await scene.prompt(numbered("a", 3))
        other = await asyncpg.connect(database_url)
        ended = await other.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE 'coder listener%'"
        )
        await other.close()
        assert ended == 1
        begun = time.monotonic()
        task = await scene.submit(numbered("b", 3))
        assert (await scene.ended(task)).state is TaskState.COMPLETED
        assert time.monotonic() - begun < 10


@pytest.mark.scenario("faults: A connection that went silent")
async def test_a_database_behind_a_black_hole_is_noticed_and_nothing_is_lost(tmp_path: Path, database_url: str) -> None:
    async with open_relay(database_url) as relay:
        async with open_scene(tmp_path, database_url, host_url=relay.url) as scene:
            first = await scene.submit(numbered("a", 60, pause_ms=30))
            await scene.saw("<a.5>")
            relay.go_deaf()
            begun = time.monotonic()
            with pytest.raises(CoderError) as caught:
                await scene.submit(numbered("b", 3))
            assert caught.value.stable_code == "unavailable"
            assert time.monotonic() - begun < 16
            relay.hear_again()
            assert (await accepted(scene, numbered("c", 3), "c")).id
            assert (await scene.ended(first)).state is TaskState.COMPLETED


@pytest.mark.scenario("faults: A commit whose answer was lost")
@pytest.mark.parametrize("ahead", range(5))
async def test_a_commit_that_nobody_heard_of_happens_once(tmp_path: Path, database_url: str, ahead: int) -> None:
    async with open_relay(database_url) as relay:
        async with open_scene(tmp_path, database_url, host_url=relay.url) as scene:
            await scene.prompt(numbered("a", 3))
            relay.hide_commit(ahead)
            task = await accepted(scene, numbered("b", 30, pause_ms=10), "b")
            assert (await scene.ended(task)).state is TaskState.COMPLETED
            assert [one.key for one in (await read_book(database_url)).tasks].count("b") == 1


@pytest.mark.scenario("faults: A commit whose answer was lost")
async def test_a_claim_that_nobody_heard_of_is_begun_all_the_same(tmp_path: Path, database_url: str) -> None:
    async with open_relay(database_url) as relay:
        async with open_scene(tmp_path, database_url, host_url=relay.url) as scene:
            await scene.prompt(numbered("a", 3))
            # nothing else that a prompt makes the host ask names its run
            relay.hide_answer(scene.live.host.store.run_id.encode())
            assert (await scene.ended(await scene.submit(numbered("b", 3)))).state is TaskState.COMPLETED


@pytest.mark.scenario("faults: A commit whose answer was lost")
@pytest.mark.parametrize("ahead", [1, 2, 3])
async def test_a_prompt_that_joins_a_turn_unheard_does_not_stay_blocked(
    tmp_path: Path, database_url: str, ahead: int
) -> None:
    async with open_relay(database_url) as relay:
        async with open_scene(tmp_path, database_url, host_url=relay.url) as scene:
            running = await scene.submit("say <a.0>; listen; say <a.1>")
            await scene.saw("<a.0>")
            waiting = await scene.submit("say <b.0>")
            await scene.live.host.journal.flush_all()
            relay.hide_commit(ahead)
            with suppress(CoderError):
                await scene.client.edit_task(waiting.id, TaskPatch(when="steer"))
            with anyio.fail_after(20):
                while (found := await scene.live.host.dispatcher.get(waiting.id)).state is TaskState.BLOCKED:
                    await anyio.sleep(0.02)
            if found.state is TaskState.PENDING:
                await scene.client.cancel_task(running.id)
            assert (await scene.ended(waiting)).state in (TaskState.COMPLETED, TaskState.CANCELLED)
            await scene.settle()
            assert (await read_book(database_url)).tokens(scene.session.id).count("b.0") == 1


@pytest.mark.scenario("faults: A commit whose answer was lost")
async def test_a_task_that_is_given_back_unheard_and_claimed_at_once_is_carried_out_once(
    tmp_path: Path, database_url: str
) -> None:
    async with open_relay(database_url) as relay:
        async with open_scene(tmp_path, database_url, host_url=relay.url, sessions=2) as scene:
            for session in scene.sessions:
                await scene.prompt("say <a.0>", session)
            await scene.live.host.journal.flush_all()
            # the turn's own commit before its prompt is sent, and the one that gives the task back
            for ahead in (1, 2):
                relay.hide_commit(ahead, scene.session.id)
            task = await scene.submit("say <b.0>")
            other = await asyncpg.connect(database_url)
            given_back = "SELECT attempt > 1 OR attempt = 1 AND state = 'pending' FROM tasks WHERE id = $1"
            with anyio.fail_after(20):
                while not await other.fetchval(given_back, task.id):
                    await anyio.sleep(0.01)
            await other.close()
            # wakes the dispatcher while the turn that gave it back does not know so yet
            await scene.prompt("say <c.0>", scene.sessions[1])
            assert (await scene.ended(task)).state is TaskState.COMPLETED
