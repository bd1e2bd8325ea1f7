"""Viewers that do not read, vanish and come back, and say everything twice."""

import functools
from pathlib import Path

import anyio
import pytest

from coder.api.stream import StreamLimits
from coder.model.tasks import Task, TaskState
from coder.testing.ledgers import Viewer, numbered
from tests.api.test_stream import deaf_viewer, greet
from tests.faults.scene import Scene, open_scene


@pytest.mark.scenario("faults: Viewers that do not read")
async def test_deaf_viewers_are_let_go_and_the_others_get_everything(tmp_path: Path, database_url: str) -> None:
    limits = StreamLimits(send_deadline=0.5)
    async with open_scene(tmp_path, database_url, stream_limits=limits) as scene:
        deaf = [deaf_viewer(scene.live) for _ in range(5)]
        for one in deaf:
            await anyio.to_thread.run_sync(functools.partial(greet, one, scene.live, scene.session.id))
        noisy = "; ".join(["longline 300000"] * 30)
        assert (await scene.prompt(f"{numbered('a', 3)}; {noisy}; {numbered('b', 20)}")).state is TaskState.COMPLETED
        await scene.settle()
        for one in deaf:
            one.close()


@pytest.mark.scenario("faults: Viewers that vanish and come back")
async def test_viewers_that_come_and_go_miss_nothing(tmp_path: Path, database_url: str) -> None:
    async with open_scene(tmp_path, database_url, viewers=1) as scene:
        fickle = [Viewer(scene.session.id) for _ in range(4)]
        task = await scene.submit(numbered("a", 60, pause_ms=20))
        async with anyio.create_task_group() as group:
            for number, viewer in enumerate(fickle):
                group.start_soon(come_and_go, scene, viewer, 0.05 + number / 30, task)
        scene.viewers += fickle


async def come_and_go(scene: Scene, viewer: Viewer, seconds: float, task: Task) -> None:
    """Watch for a moment at a time until the turn has ended and all of it is seen."""
    while True:
        with anyio.move_on_after(seconds):
            await viewer.follow(scene.client)
        ended = await scene.live.host.dispatcher.get(task.id)
        last = (await scene.client.session(scene.session.id)).last_seq
        if ended.state is TaskState.COMPLETED and viewer.seq >= last:
            return


@pytest.mark.scenario("faults: The same prompt from many hands")
async def test_the_same_prompt_sent_by_many_at_once_is_one_turn(tmp_path: Path, database_url: str) -> None:
    async with open_scene(tmp_path, database_url) as scene:
        tasks: list[Task] = []

        async def send() -> None:
            tasks.append(await scene.submit(numbered("a", 5), key="once"))

        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(send)
        assert len({task.id for task in tasks}) == 1
        assert (await scene.ended(tasks[0])).state is TaskState.COMPLETED
