"""How many sessions one host process carries: delay and CPU as they grow in number, and what an idle one costs."""

import tempfile
from pathlib import Path

from bench.native_programs import Programs
from bench.rows import Row
from bench.stage import AGENT, Stage, cpu_seconds, open_stage
from bench.watching import host_door, host_prompt, open_viewers
from coder.model.sessions import Session

COUNTS = (1, 50, 100, 200)
RATE, SECONDS, SIZE = 50, 5, 200
TARGET_P99, TARGET_COUNT = 50.0, 200
ROOM = {"AGENT_POOL_MAX_LIVE": "300", "CODER_MAX_SESSIONS": "1000", "CODER_SPAWN_LIMIT": "4"}


async def measure(programs: Programs, work: Path) -> list[Row]:
    """Every viewer must see every event of its session in order."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="coder-bench-") as name:
        async with open_stage(Path(name), programs.agent, environment=ROOM) as stage:
            opened: list[Session] = []
            for count in COUNTS:
                opened += [await stage.open_session(AGENT) for _ in range(count - len(opened))]
                rows += await _stream(stage, programs, opened)
    return rows


async def _stream(stage: Stage, programs: Programs, sessions: list[Session]) -> list[Row]:
    """All sessions at once, a viewer each."""
    events = RATE * SECONDS
    door = await host_door(stage, sessions)
    prompts = [host_prompt(session, f"paced {events} {SIZE} {RATE}") for session in sessions]
    async with open_viewers(programs, door, len(sessions), events, prompts=len(prompts)) as viewers:
        before = cpu_seconds(stage.host.pid)
        await viewers.send(prompts)
        seen = await viewers.seen()
        share = (cpu_seconds(stage.host.pid) - before) / seen.wall_seconds
    label = f"{len(sessions)} sessions of {RATE} events/s"
    p99 = seen.p99_us / 1000
    target = TARGET_P99 if len(sessions) == TARGET_COUNT else None
    return [
        Row("sessions", f"delay p99, {label}", "ms", p99, target=target, met=None if target is None else p99 <= target),
        Row("sessions", f"delay p50, {label}", "ms", seen.p50_us / 1000),
        Row("sessions", f"host CPU, {label}", "% of a core", share * 100),
    ]
