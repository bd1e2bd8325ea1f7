"""Agents that die, stop, flood and talk nonsense in the middle of a turn: what is kept, what is told, what is left."""

import re
import signal
import time
from pathlib import Path

import anyio
import pytest

from coder.model.tasks import TaskState
from coder.testing.ledgers import numbered
from tests.faults.scene import open_scene


async def test_a_turn_without_any_fault_agrees_in_all_three_ledgers(tmp_path: Path, database_url: str) -> None:
    async with open_scene(tmp_path, database_url, sessions=2) as scene:
        for session in scene.sessions:
            assert (await scene.prompt(numbered("a", 20), session)).state is TaskState.COMPLETED


@pytest.mark.scenario("faults: A killed agent")
async def test_an_agent_that_is_killed_in_a_turn_keeps_what_it_said(tmp_path: Path, database_url: str) -> None:
    async with open_scene(tmp_path, database_url) as scene:
        task = await scene.submit(numbered("a", 100, pause_ms=20))
        await scene.saw("<a.5>")
        scene.signal_agent(signal.SIGKILL)
        scene.may_be_unheard = 1
        begun = time.monotonic()
        failed = await scene.ended(task)
        assert time.monotonic() - begun < 5
        assert (failed.state, failed.error and failed.error.code) == (TaskState.FAILED, "agent_died")
        assert (await scene.prompt(numbered("b", 3))).state is TaskState.COMPLETED


@pytest.mark.scenario("faults: A stopped agent")
async def test_an_agent_that_is_stopped_can_be_cancelled_and_is_gone(tmp_path: Path, database_url: str) -> None:
    async with open_scene(tmp_path, database_url) as scene:
        task = await scene.submit(numbered("a", 100, pause_ms=20))
        await scene.saw("<a.5>")
        (stopped,) = scene.agents()
        scene.signal_agent(signal.SIGSTOP)
        scene.may_be_unheard = scene.last_words = 1
        begun = time.monotonic()
        await scene.client.cancel_task(task.id)
        assert (await scene.ended(task)).state is TaskState.CANCELLED
        assert time.monotonic() - begun < 12
        with anyio.fail_after(12):
            while stopped in scene.agents():
                await anyio.sleep(0.05)
        assert (await scene.prompt(numbered("b", 3))).state is TaskState.COMPLETED


@pytest.mark.scenario("faults: An agent that ignores everything")
async def test_an_agent_that_is_deaf_to_all_is_killed_with_what_it_started(tmp_path: Path, database_url: str) -> None:
    async with open_scene(tmp_path, database_url) as scene:
        deaf = "ignore cancel; ignore term; ignore eof; fork 600"
        task = await scene.submit(f"{deaf}; {numbered('a', 3)}; hang")
        await scene.saw("<a.2>")
        begun = time.monotonic()
        await scene.client.cancel_task(task.id)
        assert (await scene.ended(task)).state is TaskState.CANCELLED
        assert time.monotonic() - begun < 14


@pytest.mark.scenario("faults: A flooding agent")
async def test_a_flood_of_one_agent_leaves_the_others_their_turns(tmp_path: Path, database_url: str) -> None:
    async with open_scene(tmp_path, database_url, sessions=2) as scene:
        flood = await scene.submit(f"{numbered('a', 2)}; flood stdout 20000; flood stderr 5000000; say <a.end>")
        await scene.saw("turn_started")
        assert (await scene.prompt(numbered("b", 20), scene.sessions[1])).state is TaskState.COMPLETED
        assert (await scene.ended(flood)).state is TaskState.COMPLETED
        await scene.saw("<a.end>")
        said = "".join(one.event.text for one in scene.viewers[0].records if one.event.type == "text")
        assert [int(number) for number in re.findall(r"flood (\d+) ", said)] == list(range(20000))


@pytest.mark.scenario("faults: A message over every limit")
async def test_a_line_over_the_limit_ends_the_turn_in_words(tmp_path: Path, database_url: str) -> None:
    async with open_scene(tmp_path, database_url) as scene:
        failed = await scene.prompt(f"{numbered('a', 3)}; longline 50000000")
        assert (failed.state, failed.error and failed.error.code) == (TaskState.FAILED, "line_too_long")
        assert (await scene.prompt(numbered("b", 3))).state is TaskState.COMPLETED


@pytest.mark.scenario("faults: Half a message")
@pytest.mark.parametrize("code", [0, 1])
async def test_an_agent_that_leaves_in_the_middle_of_a_message_fails_its_turn(
    tmp_path: Path, database_url: str, code: int
) -> None:
    async with open_scene(tmp_path, database_url) as scene:
        failed = await scene.prompt(f"{numbered('a', 3)}; half {code}")
        assert (failed.state, failed.error and failed.error.code) == (TaskState.FAILED, "agent_died")
        assert failed.error is not None
        assert str(code) in failed.error.message


@pytest.mark.scenario("faults: Nonsense on the wire")
async def test_ids_and_lines_that_mean_nothing_do_not_disturb_the_turn(tmp_path: Path, database_url: str) -> None:
    async with open_scene(tmp_path, database_url) as scene:
        nonsense = "garbage; badorder; unknown; unknownrequest"
        done = await scene.prompt(f"{numbered('a', 3)}; {nonsense}; {numbered('b', 3)}; garbage")
        assert done.state is TaskState.COMPLETED


@pytest.mark.scenario("faults: An agent that never answers")
@pytest.mark.parametrize("place", ["initialize", "session"])
async def test_an_agent_that_never_answers_fails_its_turn_at_the_deadline(
    tmp_path: Path, database_url: str, place: str
) -> None:
    faulty = {"DEMO_FAULT_AT": f"{place}:hang"}
    async with open_scene(
        tmp_path, database_url, agent=faulty, initialize_timeout=1.5, session_start_timeout=1.5
    ) as scene:
        failed = await scene.prompt("say hello")
        assert (failed.state, failed.error and failed.error.code) == (TaskState.FAILED, "agent_timeout")
        await scene.live.host.pool.close_all()
        assert scene.agents() == []


@pytest.mark.scenario("faults: Children that outlive their agent")
async def test_what_an_agent_started_is_gone_after_it_died(tmp_path: Path, database_url: str) -> None:
    async with open_scene(tmp_path, database_url) as scene:
        failed = await scene.prompt(f"fork 600; fork 600; {numbered('a', 2)}; die 3")
        assert (failed.state, failed.error and failed.error.code) == (TaskState.FAILED, "agent_died")


@pytest.mark.scenario("faults: An agent that closes its output")
async def test_an_agent_that_closes_its_output_and_lives_is_ended(tmp_path: Path, database_url: str) -> None:
    async with open_scene(tmp_path, database_url) as scene:
        begun = time.monotonic()
        failed = await scene.prompt(f"{numbered('a', 3)}; mute")
        assert failed.state is TaskState.FAILED
        assert time.monotonic() - begun < 20
        assert (await scene.prompt(numbered("b", 3))).state is TaskState.COMPLETED
