"""The ladder: whatever a child does and whatever it started, nothing is left."""

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from coder.processes.child import StopTimes
from coder.processes.supervisor import open_supervisor
from tests.process.marks import Mark, python, running, shell

_DEAF = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(600)"
_DETACHED = """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.write(1, b'up\\n')
        time.sleep(600)
    os._exit(0)
os.wait()
"""

_DIES_STARTING = """
import os, subprocess
subprocess.Popen(["sleep", "600"], start_new_session=True)
os._exit(9)
"""


@pytest.mark.scenario("processes: A child that obeys ends at once")
async def test_a_child_that_ends_with_its_input_is_not_signalled(tmp_path: Path) -> None:
    mark = Mark()
    async with running(shell(mark, "cat; exit 5", tmp_path, stop=StopTimes()), tmp_path) as child:
        with anyio.fail_after(2):
            await child.stop()

    assert child.returncode == 5


@pytest.mark.scenario("processes: A child that ignores everything")
async def test_a_child_that_ignores_end_of_input_and_sigterm_is_killed(tmp_path: Path) -> None:
    mark = Mark()
    async with running(python(mark, _DEAF, tmp_path), tmp_path) as child:
        await child.receive_lines()
        with anyio.fail_after(5):
            await child.stop()
        assert mark.living() == []

    assert child.returncode == -9


async def test_a_stopped_child_is_ended(tmp_path: Path) -> None:
    mark = Mark()
    async with running(shell(mark, "kill -STOP $$; sleep 60", tmp_path), tmp_path) as child:
        await mark.wait_for(1)
        with anyio.fail_after(5):
            await child.stop()

    assert child.returncode == -15
    assert mark.living() == []


@pytest.mark.scenario("processes: A grandchild in its own session")
async def test_a_deaf_grandchild_in_its_own_session_is_gone_after_the_stop(tmp_path: Path) -> None:
    mark = Mark()
    async with running(python(mark, _DETACHED + "time.sleep(600)", tmp_path), tmp_path) as child:
        await child.receive_lines()
        assert len(mark.living()) == 2
        await child.stop()
        assert mark.living() == []


async def test_a_descendant_that_dropped_its_tag_is_gone_after_the_stop(tmp_path: Path) -> None:
    mark = Mark()
    script = f"env -i TEST_MARK={mark.value} setsid sleep 600 & wait"
    async with running(shell(mark, script, tmp_path), tmp_path) as child:
        await mark.wait_for(2)
        await child.stop()
        assert mark.living() == []


@pytest.mark.scenario("processes: A wrapper dies before its program")
async def test_a_wrapper_that_dies_leaves_nothing(tmp_path: Path) -> None:
    mark = Mark()
    async with running(python(mark, _DETACHED + "os._exit(0)", tmp_path), tmp_path) as child:
        await child.wait()
        assert len(mark.living()) == 1

    assert mark.living() == []


@pytest.mark.scenario("processes: A program that was just being started")
async def test_what_a_child_was_starting_when_it_died_is_not_left(tmp_path: Path) -> None:
    mark = Mark()
    async with open_supervisor(tmp_path / "home", "run") as supervisor:
        for _ in range(30):
            async with supervisor.open_child(python(mark, _DIES_STARTING, tmp_path)) as child:
                await child.wait()
        assert mark.living() == []


async def test_a_group_that_outlives_its_leader_without_a_tag_leaves_nothing(tmp_path: Path) -> None:
    mark = Mark()
    script = f"env -i TEST_MARK={mark.value} sleep 600 & exit 0"
    async with running(shell(mark, script, tmp_path), tmp_path) as child:
        await child.wait()
        await mark.wait_for(1)

    assert mark.living() == []


async def test_a_child_that_floods_its_output_can_still_end_politely(tmp_path: Path) -> None:
    script = "import sys\nprint('x' * 3_000_000)\nsys.stdin.read()\nprint('y' * 3_000_000)\nsys.exit(4)"
    spec = replace(python(Mark(), script, tmp_path), stop=StopTimes())
    async with running(spec, tmp_path) as child:
        await child.stop()

    assert child.returncode == 4


@pytest.mark.scenario("processes: The polite word comes first")
async def test_the_polite_word_comes_before_the_end_of_input(tmp_path: Path) -> None:
    async with running(shell(Mark(), "read word; exit 6", tmp_path, stop=StopTimes()), tmp_path) as child:
        await child.stop(lambda: child.send(b"please\n"))

    assert child.returncode == 6


@pytest.mark.parametrize("fault", ["hangs", "raises"])
async def test_a_polite_word_that_fails_stops_nothing(tmp_path: Path, fault: str) -> None:
    async def polite() -> None:
        if fault == "raises":
            raise RuntimeError("no")
        await anyio.sleep_forever()

    async with running(shell(Mark(), "cat", tmp_path), tmp_path) as child:
        with anyio.fail_after(5):
            await child.stop(polite)

    assert child.returncode == 0


async def test_stopping_twice_and_at_the_same_time_is_one_stop(tmp_path: Path) -> None:
    mark = Mark()
    async with running(python(mark, _DEAF, tmp_path), tmp_path) as child:
        await child.receive_lines()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child.stop)
            tasks.start_soon(child.stop)
        assert mark.living() == []
        await child.stop()


@pytest.mark.scenario("processes: The owner is cancelled")
async def test_a_cancelled_owner_still_leaves_nothing(tmp_path: Path) -> None:
    mark = Mark()
    with anyio.CancelScope() as scope:
        async with running(python(mark, _DEAF, tmp_path), tmp_path) as child:
            await child.receive_lines()
            scope.cancel()
            await anyio.sleep_forever()

    assert mark.living() == []
