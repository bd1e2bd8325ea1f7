"""From an agent's output to viewers: events per second, CPU per event, and the delay added, beside a relay in C.

Both relays read the same agent and serve the same viewers. The C relay frames lines and does nothing else; the host
parses, translates, numbers, stores and offers for resumption. Every viewer must see every event, in order.
"""

import json
import os
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from bench.native_programs import Programs
from bench.rows import Row, at_least, at_most, median
from bench.stage import AGENT, Stage, cpu_seconds, open_stage
from coder.protocol import SUBPROTOCOL, PromptFrame, Subscribe

SIZE = 200
ROUNDS = 5
BURSTS = {1: 40_000, 10: 10_000}
PACED_EVENTS, PACED_RATE = 2_000, 1_000
TARGETS = {1: 10.0, 10: 12.0}
PATIENCE = 60


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
    last = (await stage.client.session(session.id)).last_seq
    headers = f"Authorization: Bearer {stage.host.token}\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n"
    hello = Subscribe(session_id=session.id, after=last).model_dump_json()
    prompt = PromptFrame(id="bench", session_id=session.id, agent=AGENT, input=wish).model_dump_json()
    port = int(stage.host.url.rpartition(":")[2])
    environment = {"VIEWERS_HEADERS": headers, "VIEWERS_HELLO": hello}
    run = await _watch(programs, port, "/api/ws", viewers, events, environment, prompt, stage.host.pid)
    await stage.client.close_session(session.id, force=True)
    return run


async def _run_limit(programs: Programs, viewers: int, events: int, wish: str) -> Run:
    with anyio.fail_after(PATIENCE):
        port = _free_port()
        async with await anyio.open_process([programs.relay, str(port), programs.agent], stderr=None) as relay:
            await _until_ready(relay)
            prompt = {"jsonrpc": "2.0", "id": 1, "method": "session/prompt", "params": {"text": wish}}
            run = await _watch(programs, port, "/", viewers, events, {}, json.dumps(prompt), relay.pid)
            relay.kill()
            return run


async def _watch(
    programs: Programs,
    port: int,
    path: str,
    viewers: int,
    events: int,
    environment: Mapping[str, str],
    prompt: str,
    pid: int,
) -> Run:
    command = [programs.viewers, str(port), path, str(viewers), str(events), str(PATIENCE)]
    async with await anyio.open_process(command, env={**os.environ, **environment}, stderr=None) as watching:
        lines = await _until_ready(watching)
        before = cpu_seconds(pid)
        assert watching.stdin is not None
        await watching.stdin.send(prompt.encode() + b"\n")
        seen = json.loads(await lines.receive_until(b"\n", 4096))
        # The journal's last batch is written a moment after it was shown, and is part of the price.
        await anyio.sleep(0.3)
        spent = cpu_seconds(pid) - before
    if seen["complete"] != viewers or seen["disordered"] or seen["events"] != viewers * events:
        raise SystemExit(f"relay: viewers did not see every event in order: {seen}")
    return Run(spent / events, events / seen["wall_s"], seen["p50_us"])


async def _until_ready(process: Process) -> BufferedByteReceiveStream:
    assert process.stdout is not None
    lines = BufferedByteReceiveStream(process.stdout)
    if await lines.receive_until(b"\n", 100) != b"ready":
        raise SystemExit("relay: a native program did not start")
    return lines


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
