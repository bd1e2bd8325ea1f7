"""No child outlives the host, however the host ends."""

import os
import signal
import sys
from pathlib import Path

import anyio
import pytest

from coder.errors import HostConfigError
from coder.processes.child import ChildSpec
from coder.processes.environment import child_environment, find_program
from coder.processes.supervisor import open_supervisor
from tests.process.marks import QUICK, Mark, shell

_HOST = """
import os, sys
from pathlib import Path
import anyio
from coder.processes.child import ChildSpec
from coder.processes.supervisor import open_supervisor

async def main():
    home, run, program = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    environment = {"PATH": os.environ["PATH"], "TEST_MARK": sys.argv[4]}
    async with open_supervisor(home, run) as supervisor:
        spec = ChildSpec(("sh", "-c", program), home, environment)
        async with supervisor.open_child(spec), supervisor.open_child(spec):
            print("up", flush=True)
            await anyio.sleep_forever()

anyio.run(main)
"""
_TREE = "trap '' TERM; setsid sleep 600 & sleep 600"
"""Three processes that do not care for their input or SIGTERM."""


async def _start_host(home: Path, run: str, mark: Mark) -> anyio.abc.Process:
    argv = [sys.executable, "-c", _HOST, str(home), run, _TREE, mark.value]
    host = await anyio.open_process(argv, cwd=Path(__file__).parents[2], stderr=None)
    assert host.stdout is not None
    with anyio.fail_after(20):
        await host.stdout.receive()
    await mark.wait_for(6)
    return host


def _watchdogs(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in children if b"sweep.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]


async def _watchdog(parent: int, *, after: int | None = None) -> int:
    """The one watchdog there is, once it is there: a command line shows a moment after the start."""
    with anyio.fail_after(10):
        while (found := _watchdogs(parent)) in ([], [after]):
            await anyio.sleep(0.02)
    (pid,) = found
    return pid


@pytest.mark.scenario("processes: The host is killed")
async def test_nothing_is_left_running_after_the_host_was_killed(tmp_path: Path) -> None:
    mark = Mark()
    async with await _start_host(tmp_path, "run1", mark) as host:
        host.kill()
        await host.wait()

    assert await mark.wait_for(0) == []


@pytest.mark.scenario("processes: Host and watchdog are killed")
async def test_the_next_start_sweeps_what_a_killed_host_and_watchdog_left(tmp_path: Path) -> None:
    mark = Mark()
    async with await _start_host(tmp_path, "run1", mark) as host:
        watchdog = await _watchdog(host.pid)
        host.send_signal(signal.SIGSTOP)
        os.kill(watchdog, signal.SIGKILL)
        host.kill()
        await host.wait()
    assert len(mark.living()) == 6

    with anyio.fail_after(5):
        async with open_supervisor(tmp_path, "run2"):
            assert mark.living() == []
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.scenario("processes: Another living run")
async def test_the_sweep_spares_a_living_run_and_other_homes(tmp_path: Path) -> None:
    mark = Mark()
    async with open_supervisor(tmp_path, "run1") as first, first.open_child(shell(mark, "exec cat", tmp_path)) as child:
        await mark.wait_for(1)
        async with open_supervisor(tmp_path, "run2"):
            pass
        async with open_supervisor(tmp_path / "other", "run1"):
            pass
        assert child.returncode is None
        assert len(mark.living()) == 1


@pytest.mark.scenario("processes: The watchdog dies")
async def test_a_watchdog_that_dies_is_replaced(tmp_path: Path) -> None:
    async with open_supervisor(tmp_path, "run1"):
        first = await _watchdog(os.getpid())
        os.kill(first, signal.SIGKILL)
        await _watchdog(os.getpid(), after=first)

    assert _watchdogs(os.getpid()) == []


async def test_a_clean_end_leaves_no_watchdog_and_no_file(tmp_path: Path) -> None:
    async with open_supervisor(tmp_path, "run1"):
        await _watchdog(os.getpid())

    assert _watchdogs(os.getpid()) == []
    assert list((tmp_path / "runs").iterdir()) == []


async def test_the_same_run_cannot_go_on_twice(tmp_path: Path) -> None:
    async with open_supervisor(tmp_path, "run1"):
        with pytest.raises(HostConfigError, match="already going on"):
            async with open_supervisor(tmp_path, "run1"):
                pass


@pytest.mark.scenario("processes: Secrets of the host")
async def test_a_child_sees_the_allow_list_and_none_of_the_hosts_secrets(tmp_path: Path) -> None:
    inherited = {
        "PATH": os.environ["PATH"],
        "HOME": "/home/me",
        "LC_ALL": "C.UTF-8",
        "XDG_CONFIG_HOME": "/home/me/.config",
        "https_proxy": "http://proxy",
        "NODE_EXTRA_CA_CERTS": "/ca.pem",
        "CODER_DATABASE_URL": "postgres://secret",
        "CODER_HOME": "/state",
        "DATABASE_URL": "postgres://secret",
        "PGPASSWORD": "secret",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "MODEL_KEY": "wanted",
    }
    names = ("MODEL_KEY", "CODER_HOME", "PGPASSWORD", "NOT_SET")
    environment = child_environment(inherited, {"EXTRA": "1", "HOME": "/agent", "CODER_TOKEN": "secret"}, names)
    async with (
        open_supervisor(tmp_path, "run1") as supervisor,
        supervisor.open_child(ChildSpec(("env",), tmp_path, environment, stop=QUICK)) as child,
    ):
        await child.wait()
        seen = dict(line.decode().split("=", 1) for line in await child.receive_lines())

    tag = seen.pop("CODER_CHILD")
    assert tag.endswith(":run1:1")
    assert seen.pop("PWD", str(tmp_path)) == str(tmp_path)
    assert seen == {
        "PATH": os.environ["PATH"],
        "HOME": "/agent",
        "LC_ALL": "C.UTF-8",
        "XDG_CONFIG_HOME": "/home/me/.config",
        "https_proxy": "http://proxy",
        "NODE_EXTRA_CA_CERTS": "/ca.pem",
        "MODEL_KEY": "wanted",
        "EXTRA": "1",
    }


@pytest.mark.scenario("processes: A program in a relative folder")
async def test_programs_are_found_in_absolute_folders_only(tmp_path: Path) -> None:
    program = tmp_path / "agent"
    program.write_text("#!/bin/sh\n")
    assert find_program("agent", str(tmp_path)) is None
    program.chmod(0o755)

    assert find_program("agent", f"/nowhere:{tmp_path}") == str(program)
    assert find_program(str(program), None) == str(program)
    assert find_program("agent", f":.:{os.path.relpath(tmp_path)}") is None
    assert find_program("agent", None) is None
    assert find_program(str(tmp_path), None) is None


_HOLD = "import time; x = b'x' * (40 << 20); print('up', flush=True); time.sleep(600)"


@pytest.mark.scenario("processes: The memory of every child in one look")
async def test_a_child_s_memory_is_that_of_all_it_started_and_of_nobody_else(tmp_path: Path) -> None:
    program = f'hold="{_HOLD}"; env -i setsid {sys.executable} -c "$hold" & exec {sys.executable} -c "$hold"'
    environment = {"PATH": os.environ["PATH"]}
    large, small = (ChildSpec(("sh", "-c", line), tmp_path, environment) for line in (program, "echo up; read line"))
    async with open_supervisor(tmp_path, "run") as supervisor:
        async with supervisor.open_child(large) as one:
            lines = 0
            with anyio.fail_after(20):
                while lines < 2:
                    lines += len(await one.receive_lines())
            assert await one.resident_bytes() > 80 << 20
            async with supervisor.open_child(small) as other:
                await other.receive_lines()
                assert 0 < await other.resident_bytes() < 40 << 20
                assert await one.resident_bytes() > 80 << 20
        async with supervisor.open_child(small) as other:
            await other.receive_lines()
            assert await other.resident_bytes() > 0
            assert await one.resident_bytes() == 0
