"""How long the host's loop stands still while it starts an agent's program, with a gigabyte in memory.

A fork copies the tables of all that memory and stops everything meanwhile; the host must not.
"""

import mmap
import os
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
from anyio import to_thread

from bench.native_programs import Programs
from bench.rows import Row, at_most, median
from bench.stage import resident_kib
from coder.processes.child import ChildSpec
from coder.processes.supervisor import Supervisor, open_supervisor

HELD, PAGE = 1 << 30, 4096
ROUNDS = 40
TARGET = 3.0


async def measure(programs: Programs, work: Path) -> list[Row]:
    """Medians; the host's way and `posix_spawn` take turns in one process. Every program must have ended well."""
    program = shutil.which("true")
    if program is None:
        raise SystemExit("spawn: there is no program `true`")
    ours: list[float] = []
    plain: list[float] = []
    with tempfile.TemporaryDirectory(prefix="coder-bench-") as name, _held_memory():
        spec = ChildSpec((program,), Path(name), dict(os.environ))
        async with open_supervisor(Path(name), "bench") as supervisor:
            for _ in range(ROUNDS):
                plain.append(await _spawn_plainly(program))
                ours.append(await _spawn_ours(supervisor, spec))
    reference = ("posix_spawn", median(plain))
    return [at_most("spawn", "loop stands still, 1 GiB resident", "ms", median(ours), reference, TARGET)]


@contextmanager
def _held_memory() -> Generator[None]:
    """Memory in small pages, as the heap of a host has them."""
    with mmap.mmap(-1, HELD, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        memory[::PAGE] = b"\1" * (HELD // PAGE)
        if resident_kib(os.getpid()) < HELD // 1024:
            raise SystemExit("spawn: the memory is not held")
        yield


async def _spawn_ours(supervisor: Supervisor, spec: ChildSpec) -> float:
    async with AsyncExitStack() as stack:
        async with _watched() as gaps:
            child = await stack.enter_async_context(supervisor.open_child(spec))
        _check(await child.wait())
    return max(gaps)


async def _spawn_plainly(program: str) -> float:
    async with _watched() as gaps:
        pid = os.posix_spawn(program, [program], os.environ)  # noqa: ASYNC221 - what it holds up is measured
    _, status = await to_thread.run_sync(os.waitpid, pid, 0)
    _check(os.waitstatus_to_exitcode(status))
    return max(gaps)


def _check(returncode: int) -> None:
    if returncode != 0:
        raise SystemExit(f"spawn: a program ended with {returncode}")


@asynccontextmanager
async def _watched() -> AsyncGenerator[list[float]]:
    """Milliseconds between one turn of the loop and the next, while the block runs."""
    gaps: list[float] = []

    async def look() -> None:
        last = time.perf_counter()
        while True:
            await anyio.lowlevel.checkpoint()
            seen = time.perf_counter()
            gaps.append((seen - last) * 1000)
            last = seen

    async with anyio.create_task_group() as group:
        group.start_soon(look)
        await anyio.sleep(0.002)
        gaps.clear()
        yield gaps
        # the turn that was held up comes to an end
        await anyio.sleep(0.002)
        group.cancel_scope.cancel()
