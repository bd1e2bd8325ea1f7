"""What a warm agent is worth: prompt to the first thing it says, beside its cold start and beside a bare pipe.

The real opencode comes last, through its server and over ACP, beside its one-shot form.
"""

import tempfile
import time
from pathlib import Path

from anyio import to_thread

from bench.acpx import measure_acpx
from bench.native_programs import Programs
from bench.opencode import measure_opencode
from bench.rows import Row, at_most, median
from bench.stage import AGENT, Stage, open_stage
from bench.turns import first_text
from coder.testing.raw_client import open_raw_client

COLD_ROUNDS, WARM_ROUNDS = 8, 40
ADDED_TARGET = 3.0


async def measure(programs: Programs, work: Path) -> list[Row]:
    """Times are medians in milliseconds, at a viewer that is subscribed already."""
    with tempfile.TemporaryDirectory(prefix="coder-bench-") as folder:
        async with open_stage(Path(folder), programs.agent) as stage:
            cold, warm = await _demo(stage)
            ours = await _native(stage)
            through_acpx = await measure_acpx(stage, programs, work)
        bare = await to_thread.run_sync(_bare_pipe, programs, Path(folder))
    return [
        at_most("warm", "prompt to first text, demo agent", "ms", warm, ("its first prompt, cold", cold)),
        at_most("warm", "prompt to first text, native agent", "ms", ours, ("bare pipe", bare)),
        Row(
            "warm", "added to a bare pipe, native agent", "ms", ours - bare, target=ADDED_TARGET, met=ours - bare <= 3.0
        ),
        *through_acpx,
        *await measure_opencode(),
    ]


async def _demo(stage: Stage) -> tuple[float, float]:
    cold: list[float] = []
    warm: list[float] = []
    for _ in range(COLD_ROUNDS):
        session = await stage.open_session()
        cold.append(await first_text(stage.client, session.id, "demo", "say hello"))
        warm.append(await first_text(stage.client, session.id, "demo", "say hello"))
        await stage.client.close_session(session.id, force=True)
    return median(cold), median(warm)


async def _native(stage: Stage) -> float:
    session = await stage.open_session(AGENT)
    return median([await first_text(stage.client, session.id, AGENT, "burst 1 200") for _ in range(WARM_ROUNDS)])


def _bare_pipe(programs: Programs, folder: Path) -> float:
    times: list[float] = []
    with open_raw_client([str(programs.agent)], {}) as client:
        session = client.open_session(folder)
        for _ in range(WARM_ROUNDS):
            begun = time.perf_counter()
            client.prompt(session, "burst 1 200")
            times.append((time.perf_counter() - begun) * 1000)
    return median(times)
