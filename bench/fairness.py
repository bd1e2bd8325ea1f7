"""What others notice while one agent says as much as it can: HTTP requests, and another session at a steady pace."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import anyio

from bench.native_programs import Programs
from bench.rows import Row, at_most, median, quantile
from bench.stage import AGENT, Stage, open_stage
from bench.watching import Viewers, host_door, host_prompt, open_viewers
from coder.model.sessions import Session

ROUNDS = 5
FLOOD, SIZE = 400_000, 200
EVENTS, RATE = 100, 50
PAUSE = 0.005
BEGUN = 10
"""Records after which the flood is there."""


@dataclass(frozen=True)
class Noticed:
    """Milliseconds."""

    requests: list[float]
    delay_p99: float


async def measure(programs: Programs, work: Path) -> list[Row]:
    """With the flood and without it, in turns; every viewer must see every event in order, the flood's too."""
    calm: list[Noticed] = []
    flooded: list[Noticed] = []
    with tempfile.TemporaryDirectory(prefix="coder-bench-") as name:
        async with open_stage(Path(name), programs.agent) as stage:
            loud, other = await stage.open_session(AGENT), await stage.open_session(AGENT)
            for _ in range(ROUNDS):
                calm.append(await _notice(stage, programs, other))
                flooded.append(await _notice_flooded(stage, programs, loud, other))
    requests = [quantile([time for one in side for time in one.requests], 0.99) for side in (flooded, calm)]
    delays = [median([one.delay_p99 for one in side]) for side in (flooded, calm)]
    flood = "while another agent floods"
    return [
        at_most("fairness", f"HTTP p99 {flood}", "ms", requests[0], ("without the flood", requests[1])),
        at_most("fairness", f"delay p99 at {RATE} events/s {flood}", "ms", delays[0], ("without the flood", delays[1])),
    ]


async def _notice_flooded(stage: Stage, programs: Programs, loud: Session, other: Session) -> Noticed:
    """The same within a flood: one that ended too early does not count, and a larger one follows."""
    size = FLOOD
    while True:
        within: Noticed | None = None
        door, after = await host_door(stage, [loud]), (await stage.client.session(loud.id)).last_seq
        async with open_viewers(programs, door, 1, size) as viewers, anyio.create_task_group() as group:
            await viewers.send([host_prompt(loud, f"burst {size} {SIZE}")])
            is_over = anyio.Event()
            group.start_soon(_see_all, viewers, is_over)
            while (await stage.client.session(loud.id)).last_seq < after + BEGUN and not is_over.is_set():  # noqa: ASYNC110 - ends with the flood
                await anyio.sleep(PAUSE)
            noticed = await _notice(stage, programs, other)
            within = None if is_over.is_set() else noticed
        await stage.until_idle(loud)
        if within is not None:
            return within
        size *= 2


async def _see_all(viewers: Viewers, is_over: anyio.Event) -> None:
    await viewers.seen()
    is_over.set()


async def _notice(stage: Stage, programs: Programs, other: Session) -> Noticed:
    requests: list[float] = []
    delay_p99 = 0.0
    async with open_viewers(programs, await host_door(stage, [other]), 1, EVENTS) as viewers:
        async with anyio.create_task_group() as group:
            group.start_soon(_ask, stage, other, requests)
            await viewers.send([host_prompt(other, f"paced {EVENTS} {SIZE} {RATE}")])
            delay_p99 = (await viewers.seen()).p99_us / 1000
            group.cancel_scope.cancel()
    await stage.until_idle(other)
    return Noticed(requests, delay_p99)


async def _ask(stage: Stage, session: Session, times: list[float]) -> None:
    while True:
        begun = time.perf_counter()
        await stage.client.session(session.id)
        times.append((time.perf_counter() - begun) * 1000)
        await anyio.sleep(PAUSE)
