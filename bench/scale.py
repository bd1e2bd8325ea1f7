"""How many sessions one host process carries: delay and CPU as they grow in number, beside a naive relay."""

import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from bench.native_programs import Programs
from bench.relay import naive_relay
from bench.rows import Row, at_least
from bench.stage import AGENT, Stage, cpu_seconds, open_stage
from bench.watching import Door, bare_prompt, free_port, host_door, host_prompt, open_relay, open_viewers
from coder.model.sessions import Session

COUNTS = (1, 50, 100, 200)
LADDER = (25, 35, 50, 70, 100, 140, 200, 280, 400, 560, 800)
RATE, SECONDS, SIZE = 50, 8, 200
EVENTS = RATE * SECONDS
TOGETHER = 2.0
"""Seconds of all sessions at once that a figure must rest on."""
TARGET_P99, TARGET_COUNT, TARGET_RATIO = 50.0, 200, 1.5
ROOM = {"AGENT_POOL_MAX_LIVE": "1000", "CODER_MAX_SESSIONS": "1000", "CODER_SPAWN_LIMIT": "4"}


@dataclass(frozen=True)
class Load:
    """Milliseconds while all sessions stream, and CPU as a share of a core."""

    p50: float
    p99: float
    cpu: float
    seconds: float

    @property
    def is_carried(self) -> bool:
        return self.seconds >= TOGETHER and self.p99 <= TARGET_P99


Stream = Callable[[int], Awaitable[Load]]


async def measure(programs: Programs, work: Path) -> list[Row]:
    """Every viewer must see every event of its session in order."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="coder-bench-") as name:
        async with open_stage(Path(name), programs.agent, environment=ROOM) as stage:
            opened: list[Session] = []
            known: dict[int, Load] = {}

            async def stream(count: int) -> Load:
                opened.extend([await stage.open_session(AGENT) for _ in range(count - len(opened))])
                return await _stream_host(stage, programs, opened[:count])

            for count in COUNTS:
                known[count] = await stream(count)
                rows += _rows(count, known[count])
            ours = await _most(stream, known)
        naive = await _most(lambda count: _stream_naive(programs, count), {})
    metric = f"sessions of {RATE} events/s with p99 up to {TARGET_P99:g} ms"
    return [
        *rows,
        at_least("sessions", metric, "sessions", ours, ("naive relay", naive), TARGET_RATIO),
        Row("sessions", metric, "sessions", ours, target=TARGET_COUNT, met=ours >= TARGET_COUNT),
    ]


def _rows(count: int, load: Load) -> list[Row]:
    label = f"{count} sessions of {RATE} events/s"
    target = TARGET_P99 if count == TARGET_COUNT else None
    met = None if target is None else load.is_carried
    return [
        Row("sessions", f"delay p99, {label}", "ms", load.p99, target=target, met=met),
        Row("sessions", f"delay p50, {label}", "ms", load.p50),
        Row("sessions", f"CPU, {label}", "% of a core", load.cpu * 100),
    ]


async def _most(stream: Stream, known: dict[int, Load]) -> int:
    """The highest rung that is carried where all above are not, by halving; 0 where even the lowest is not."""
    low, high = 0, len(LADDER)
    while low < high:
        middle = (low + high) // 2
        count = LADDER[middle]
        if count not in known:
            known[count] = await stream(count)
        if known[count].is_carried:
            low = middle + 1
        else:
            high = middle
    return LADDER[low - 1] if low else 0


async def _stream_host(stage: Stage, programs: Programs, sessions: list[Session]) -> Load:
    prompts = [host_prompt(session, f"paced {EVENTS} {SIZE} {RATE}") for session in sessions]
    return await _stream(programs, await host_door(stage, sessions), prompts, stage.host.pid)


async def _stream_naive(programs: Programs, count: int) -> Load:
    port = free_port()
    async with open_relay(naive_relay(port, programs), port) as relay:
        prompts = [bare_prompt(f"paced {EVENTS} {SIZE} {RATE}")] * count
        return await _stream(programs, Door(port), prompts, relay.pid)


async def _stream(programs: Programs, door: Door, prompts: list[str], pid: int) -> Load:
    """All sessions at once, a viewer each."""
    async with open_viewers(programs, door, len(prompts), EVENTS, prompts=len(prompts)) as viewers:
        before = cpu_seconds(pid)
        await viewers.send(prompts)
        seen = await viewers.seen()
        share = (cpu_seconds(pid) - before) / seen.wall_seconds
    return Load(seen.together.p50_us / 1000, seen.together.p99_us / 1000, share, seen.together.seconds)
