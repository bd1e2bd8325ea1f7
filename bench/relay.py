"""From an agent's output to viewers: events per second, CPU per event, and the delay added, beside other relays.

All relays read the same agent and serve the same viewers. The C relay frames lines and does nothing else, the npm
bridge prints each of them besides, the naive one decodes, numbers and encodes; the host parses, translates, numbers,
stores and offers for resumption. Every viewer must see every event, in order.
"""

import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import anyio

from bench.native_programs import Programs
from bench.peer_programs import find_peer
from bench.rows import Row, at_least, at_most, median
from bench.stage import AGENT, Stage, cpu_seconds, open_stage
from bench.watching import Command, Door, bare_prompt, free_port, host_door, host_prompt, open_relay, open_viewers

SIZE = 200
ROUNDS = 5
BURSTS = {1: 40_000, 10: 10_000, 100: 4_000}
PACED_EVENTS, PACED_RATE = 2_000, 1_000
CPU_TARGETS = {1: 10.0, 10: 12.0, 100: 10.0}
HOST, LIMIT, NAIVE, BRIDGE = "host", "C relay", "naive relay", "stdio-to-ws"


@dataclass(frozen=True)
class Load:
    """What the agent is asked for, and how many watch."""

    viewers: int
    events: int
    wish: str


@dataclass(frozen=True)
class Run:
    """One turn, seen by all viewers."""

    cpu_per_event: float
    events_per_second: float
    p50: float


Relays = dict[str, Callable[[Load], Awaitable[Run]]]
Runs = dict[str, list[Run]]


async def measure(programs: Programs, work: Path) -> list[Row]:
    """All rows; the relays take turns."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="coder-bench-") as folder:
        async with open_stage(Path(folder), programs.agent) as stage:
            relays = _relays(stage, programs, find_peer(work, BRIDGE, "node_modules", ".bin", BRIDGE))
            for viewers, events in BURSTS.items():
                names = relays if viewers == 1 else (HOST, LIMIT)
                load = Load(viewers, events, f"burst {events} {SIZE}")
                rows += _burst_rows(viewers, await _take_turns({name: relays[name] for name in names}, load))
            load = Load(1, PACED_EVENTS, f"paced {PACED_EVENTS} {SIZE} {PACED_RATE}")
            rows += _paced_rows(await _take_turns(relays, load))
    return rows


def _relays(stage: Stage, programs: Programs, bridge: Path | None) -> Relays:
    def through(command: Callable[[int], Command]) -> Callable[[Load], Awaitable[Run]]:
        return lambda load: _run_relay(command, programs, load)

    relays: Relays = {
        LIMIT: through(lambda port: [programs.relay, str(port), programs.agent]),
        HOST: lambda load: _run_host(stage, programs, load),
        NAIVE: through(lambda port: naive_relay(port, programs)),
    }
    if bridge is not None:
        relays[BRIDGE] = through(lambda port: [bridge, "--quiet", "--port", str(port), f"'{programs.agent}'"])
    return relays


def naive_relay(port: int, programs: Programs) -> Command:
    """`naive.py` with an agent for each viewer."""
    return [sys.executable, "-m", "bench.naive", str(port), programs.agent]


async def _take_turns(relays: Relays, load: Load) -> Runs:
    runs: Runs = {name: [] for name in relays}
    for _ in range(ROUNDS):
        for name, run in relays.items():
            runs[name].append(await run(load))
    return runs


def _burst_rows(viewers: int, runs: Runs) -> list[Row]:
    label = f"{viewers} viewer{'s' if viewers > 1 else ''}"
    cpu = {name: median([run.cpu_per_event * 1e6 for run in of]) for name, of in runs.items()}
    speed = {name: median([run.events_per_second for run in of]) for name, of in runs.items()}
    name, metric = "relay-burst", f"host CPU per event, {label}"
    rows = [at_most(name, metric, "us", cpu[HOST], (LIMIT, cpu[LIMIT]), CPU_TARGETS[viewers])]
    if NAIVE in runs:
        rows.append(at_most(name, metric, "us", cpu[HOST], (NAIVE, cpu[NAIVE])))
    rows.append(at_least(name, f"events/s, {label}", "1/s", speed[HOST], (LIMIT, speed[LIMIT])))
    if BRIDGE in runs:
        rows.append(at_least(name, f"events/s, {label}", "1/s", speed[HOST], (BRIDGE, speed[BRIDGE]), 10.0))
    return rows


def _paced_rows(runs: Runs) -> list[Row]:
    label = f"at {PACED_RATE} events/s, 1 viewer"
    delay = {name: median([run.p50 for run in of]) for name, of in runs.items()}
    cpu = {name: median([run.cpu_per_event * 1e6 for run in of]) for name, of in runs.items()}
    rows = [at_most("relay-paced", f"delay p50 {label}", "us", delay[HOST], (LIMIT, delay[LIMIT]), 3.5)]
    if BRIDGE in runs:
        rows.append(at_most("relay-paced", f"delay p50 {label}", "us", delay[HOST], (BRIDGE, delay[BRIDGE])))
    rows.append(at_most("relay-paced", f"host CPU per event {label}", "us", cpu[HOST], (NAIVE, cpu[NAIVE]), 0.6))
    return rows


async def _run_host(stage: Stage, programs: Programs, load: Load) -> Run:
    session = await stage.open_session(AGENT)
    door, prompt = await host_door(stage, [session]), host_prompt(session, load.wish)
    run = await _watch(programs, door, load, prompt, stage.host.pid)
    await stage.client.close_session(session.id, force=True)
    return run


async def _run_relay(command: Callable[[int], Command], programs: Programs, load: Load) -> Run:
    port = free_port()
    async with open_relay(command(port), port) as relay:
        return await _watch(programs, Door(port), load, bare_prompt(load.wish), relay.pid)


async def _watch(programs: Programs, door: Door, load: Load, prompt: str, pid: int) -> Run:
    async with open_viewers(programs, door, load.viewers, load.events) as viewers:
        before = cpu_seconds(pid)
        await viewers.send([prompt])
        seen = await viewers.seen()
        # The journal's last batch is written a moment after it was shown, and is part of the price.
        await anyio.sleep(0.3)
        spent = cpu_seconds(pid) - before
    return Run(spent / load.events, load.events / seen.wall_seconds, seen.p50_us)
