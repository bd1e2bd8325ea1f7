"""One supervised child: what comes out of it, what goes in, how its end is seen."""

from pathlib import Path

import anyio
import pytest

from coder.errors import AgentDied, AgentTimeout, AgentUnavailable, LineTooLong
from coder.processes.child import ChildSpec
from tests.process.marks import QUICK, Mark, drain, python, running, shell


@pytest.mark.scenario("processes: A large line arrives whole")
async def test_a_line_of_five_megabytes_arrives_whole(tmp_path: Path) -> None:
    async with running(python(Mark(), "print('x' * 5_000_000); print('end')", tmp_path), tmp_path) as child:
        lines = await drain(child)

    assert [len(line) for line in lines] == [5_000_000, 3]


@pytest.mark.scenario("processes: The last line has no newline")
async def test_a_last_line_without_newline_is_delivered(tmp_path: Path) -> None:
    async with running(shell(Mark(), "printf 'one\\n\\ntwo'", tmp_path), tmp_path) as child:
        assert await drain(child) == [b"one", b"", b"two"]


@pytest.mark.scenario("processes: A line is over the limit")
async def test_a_line_over_the_limit_is_a_clear_fault_after_the_lines_before_it(tmp_path: Path) -> None:
    script = "import sys; print('short', flush=True); print('x' * 3_000_000)"
    spec = python(Mark(), script, tmp_path)
    limited = ChildSpec(spec.argv, spec.cwd, spec.env, line_limit=1_000_000, stop=QUICK)
    async with running(limited, tmp_path) as child:
        received = await child.receive_lines()
        with pytest.raises(LineTooLong) as caught:
            received += await child.receive_lines()
        with pytest.raises(LineTooLong):
            await child.receive_lines()

    assert received == [b"short"]
    assert caught.value.stable_code == "line_too_long"


async def test_a_short_line_over_a_tiny_limit_is_refused_and_the_ones_before_it_delivered(tmp_path: Path) -> None:
    spec = ChildSpec(("printf", "aa\\nbb\\ncccccc\\ndd\\n"), tmp_path, Mark().environment, line_limit=4, stop=QUICK)
    async with running(spec, tmp_path) as child:
        assert await child.receive_lines() == [b"aa", b"bb"]
        with pytest.raises(LineTooLong):
            await child.receive_lines()


@pytest.mark.scenario("processes: stderr is flooded")
async def test_a_flood_on_stderr_holds_nothing_up_and_its_tail_is_kept(tmp_path: Path) -> None:
    script = "import sys; sys.stderr.write('e' * 1_000_000 + 'last words'); print('done')"
    async with running(python(Mark(), script, tmp_path), tmp_path) as child:
        assert await drain(child) == [b"done"]
        await child.wait()
        tail = child.stderr_tail()

    assert tail.endswith("last words")
    assert len(tail) <= 256 * 1024
    assert child.stderr_tail() == tail


@pytest.mark.scenario("processes: Nobody receives")
async def test_a_child_that_nobody_receives_from_is_held_up_and_loses_nothing(tmp_path: Path) -> None:
    script = "import sys\nfor n in range(200_000): print(n, 'x' * 90)"
    async with running(python(Mark(), script, tmp_path), tmp_path) as child:
        written = await _stand_still(child.pid)
        lines = await drain(child)

    assert written < 4_000_000
    assert len(lines) == 200_000
    assert lines[-1].startswith(b"199999 ")


@pytest.mark.scenario("processes: Exit while a grandchild holds the pipe")
async def test_exit_is_seen_while_a_grandchild_holds_the_pipes(tmp_path: Path) -> None:
    async with running(shell(Mark(), "echo hello; sleep 60 & exit 7", tmp_path), tmp_path) as child:
        with anyio.fail_after(2):
            assert await child.wait() == 7
            assert await drain(child) == [b"hello"]


async def test_output_left_in_the_pipe_at_the_exit_is_not_lost(tmp_path: Path) -> None:
    script = "import os, sys\nfor n in range(3000): print(n, 'x' * 60)\nsys.stdout.flush()\nif os.fork(): os._exit(0)\n"
    async with running(python(Mark(), script + "import time; time.sleep(60)", tmp_path), tmp_path) as child:
        assert len(await drain(child)) == 3000


@pytest.mark.scenario("processes: Writing to a dead child")
async def test_writing_to_a_dead_child_says_how_it_died(tmp_path: Path) -> None:
    async with running(shell(Mark(), "echo goodbye >&2; exit 3", tmp_path), tmp_path) as child:
        await child.wait()
        with pytest.raises(AgentDied, match="exit code 3") as caught:
            await child.send(b"hello\n")

    assert caught.value.fields["returncode"] == 3
    assert "goodbye" in str(caught.value.fields["stderr"])


async def test_a_child_that_dies_while_it_is_written_to_ends_the_write(tmp_path: Path) -> None:
    async with running(python(Mark(), "import time; time.sleep(0.2)", tmp_path), tmp_path) as child:
        with anyio.fail_after(5), pytest.raises(AgentDied):
            await child.send(b"x" * 1_000_000)


@pytest.mark.scenario("processes: A child that never reads")
async def test_a_child_that_never_reads_is_a_timeout(tmp_path: Path) -> None:
    spec = python(Mark(), "import time; time.sleep(60)", tmp_path, write_timeout=0.2)
    async with running(spec, tmp_path) as child:
        with pytest.raises(AgentTimeout):
            await child.send(b"x" * 1_000_000)
        with pytest.raises(AgentDied):
            await child.send(b"the message before was cut short\n")


async def test_messages_of_several_tasks_do_not_mix(tmp_path: Path) -> None:
    lines: list[bytes] = []
    async with running(ChildSpec(("cat",), tmp_path, Mark().environment, stop=QUICK), tmp_path) as child:
        async with anyio.create_task_group() as tasks:
            for letter in b"abcdefgh":
                tasks.start_soon(child.send, bytes([letter]) * 300_000 + b"\n")
            while len(lines) < 8:
                lines += await child.receive_lines()

    assert sorted(lines) == [bytes([letter]) * 300_000 for letter in b"abcdefgh"]


async def test_raw_output_with_stderr_merged_in_comes_as_it_was_written(tmp_path: Path) -> None:
    spec = ChildSpec(
        ("sh", "-c", "printf a; printf b >&2; printf c"), tmp_path, Mark().environment, has_merged_stderr=True
    )
    output = b""
    async with running(spec, tmp_path) as child:
        try:
            while True:
                output += await child.receive()
        except anyio.EndOfStream:
            pass

    assert output == b"abc"


@pytest.mark.scenario("processes: An unknown program")
@pytest.mark.parametrize("program", ["no-such-agent", "/no/such/agent", "./agent"])
async def test_an_unknown_program_is_named(tmp_path: Path, program: str) -> None:
    spec = ChildSpec((program,), tmp_path, Mark().environment)
    with pytest.raises(AgentUnavailable, match=f"program not found: {program}"):
        async with running(spec, tmp_path):
            pass


async def test_a_program_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    program = tmp_path / "agent"
    program.write_bytes(b"\x7fELF but not really")
    program.chmod(0o755)
    with pytest.raises(AgentUnavailable, match="cannot start"):
        async with running(ChildSpec((str(program),), tmp_path, Mark().environment), tmp_path):
            pass


async def test_a_missing_working_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(AgentUnavailable, match="working directory does not exist"):
        async with running(ChildSpec(("true",), tmp_path / "gone", Mark().environment), tmp_path):
            pass


async def _stand_still(pid: int) -> int:
    """Wait until a process writes no more; returns how much it has written."""
    before = -1
    while (written := _written(pid)) != before or not written:
        before = written
        await anyio.sleep(0.1)
    return written


def _written(pid: int) -> int:
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["wchar"])
