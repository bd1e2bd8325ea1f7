"""From an agent's output to viewers: events per second, CPU per event, and the delay added, beside a relay in C.

Both relays read the same agent and serve the same viewers. The C relay frames lines and does nothing else; the host
parses, translates, numbers, stores and offers for resumption. Every viewer must see every event, in order.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import anyio

from bench.native_programs import Programs
from bench.rows import Row, at_least, at_most, median
from bench.stage import AGENT, Stage, cpu_seconds, open_stage
from bench.watching import Door, bare_prompt, free_port, host_door, host_prompt, open_relay, open_viewers

SIZE = 200
ROUNDS = 5
BURSTS = {1: 40_000, 10: 10_000}
PACED_EVENTS, PACED_RATE = 2_000, 1_000
TARGETS = {1: 10.0, 10: 12.0}


@dataclass(frozen=True)
class Run:
    """One turn, seen by all viewers."""

    cpu_per_event: float
    events_per_second: float
    p50: float


async def measure(programs: Programs, work: Path) -> list[Row]:
    """All rows; the C relay and the host take turns."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="coder-bench-") as folder:
        async with open_stage(Path(folder), programs.agent) as stage:
            for viewers, events in BURSTS.items():
                ours, limit = await _compare(stage, programs, viewers, events, f"burst {events} {SIZE}")
                label = f"{viewers} viewer{'s' if viewers > 1 else ''}"
                cpu = (median([run.cpu_per_event for run in side]) * 1e6 for side in (ours, limit))
                speed = (median([run.events_per_second for run in side]) for side in (ours, limit))
                ours_cpu, limit_cpu = cpu
                ours_speed, limit_speed = speed
                rows += [
                    at_most(
                        "relay-burst",
                        f"host CPU per event, {label}",
                        "us",
                        ours_cpu,
                        ("C relay", limit_cpu),
                        TARGETS[viewers],
                    ),
                    at_least("relay-burst", f"events/s, {label}", "1/s", ours_speed, ("C relay", limit_speed)),
                ]
            wish = f"paced {PACED_EVENTS} {SIZE} {PACED_RATE}"
            ours, limit = await _compare(stage, programs, 1, PACED_EVENTS, wish)
            delays = [median([run.p50 for run in side]) for side in (ours, limit)]
            metric = f"delay p50 at {PACED_RATE} events/s, 1 viewer"
            rows.append(at_most("relay-paced", metric, "us", delays[0], ("C relay", delays[1]), 3.5))
    return rows


async def _compare(
    stage: Stage, programs: Programs, viewers: int, events: int, wish: str
) -> tuple[list[Run], list[Run]]:
    ours: list[Run] = []
    limit: list[Run] = []
    for _ in range(ROUNDS):
        limit.append(await _run_limit(programs, viewers, events, wish))
        ours.append(await _run_host(stage, programs, viewers, events, wish))
    return ours, limit


async def _run_host(stage: Stage, programs: Programs, viewers: int, events: int, wish: str) -> Run:
    session = await stage.open_session(AGENT)
    door, prompt = await host_door(stage, [session]), host_prompt(session, wish)
    run = await _watch(programs, door, viewers, events, prompt, stage.host.pid)
    await stage.client.close_session(session.id, force=True)
    return run


async def _run_limit(programs: Programs, viewers: int, events: int, wish: str) -> Run:
    port = free_port()
    async with open_relay([programs.relay, str(port), programs.agent], port) as relay:
        return await _watch(programs, Door(port), viewers, events, bare_prompt(wish), relay.pid)


async def _watch(programs: Programs, door: Door, count: int, events: int, prompt: str, pid: int) -> Run:
    async with open_viewers(programs, door, count, events) as viewers:
        before = cpu_seconds(pid)
        await viewers.send([prompt])
        seen = await viewers.seen()
        # The journal's last batch is written a moment after it was shown, and is part of the price.
        await anyio.sleep(0.3)
        spent = cpu_seconds(pid) - before
    return Run(spent / events, events / seen.wall_seconds, seen.p50_us)
