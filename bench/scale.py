"""How many sessions one host process carries: delay and CPU as they grow in number, and what an idle one costs."""

import json
import os
import tempfile
from pathlib import Path

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

from bench.native_programs import Programs
from bench.rows import Row
from bench.stage import AGENT, Stage, cpu_seconds, open_stage, resident_kib
from coder.model.sessions import Session
from coder.protocol import SUBPROTOCOL, PromptFrame, Subscribe

COUNTS = (1, 50, 100, 200)
RATE, SECONDS, SIZE = 50, 5, 200
TARGET_P99, TARGET_COUNT = 50.0, 200
IDLE = 100
ROOM = {"AGENT_POOL_MAX_LIVE": "300", "CODER_MAX_SESSIONS": "1000", "CODER_SPAWN_LIMIT": "4"}


async def measure(programs: Programs, work: Path) -> list[Row]:
    """Every viewer must see every event of its session in order."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="coder-bench-") as name:
        async with open_stage(Path(name), programs.agent, environment=ROOM) as stage:
            rows += await _idle(stage)
            opened: list[Session] = []
            for count in COUNTS:
                opened += [await stage.open_session(AGENT) for _ in range(count - len(opened))]
                rows += await _stream(stage, programs, opened)
    return rows


async def _idle(stage: Stage) -> list[Row]:
    before = resident_kib(stage.host.pid)
    sessions = [await stage.open_session() for _ in range(IDLE)]
    after = resident_kib(stage.host.pid)
    for session in sessions:
        await stage.client.close_session(session.id, force=True)
    each = (after - before) / IDLE
    return [Row("memory", "host, per idle session", "KiB", each, target=1024.0, met=each <= 1024.0)]


async def _stream(stage: Stage, programs: Programs, sessions: list[Session]) -> list[Row]:
    """All sessions at once, a viewer each."""
    events = RATE * SECONDS
    hello: list[str] = []
    prompts: list[str] = []
    for session in sessions:
        last = (await stage.client.session(session.id)).last_seq
        hello.append(Subscribe(session_id=session.id, after=last).model_dump_json())
        wish = f"paced {events} {SIZE} {RATE}"
        prompts.append(
            PromptFrame(id=f"bench-{len(sessions)}", session_id=session.id, agent=AGENT, input=wish).model_dump_json()
        )
    environment = {
        "VIEWERS_HEADERS": f"Authorization: Bearer {stage.host.token}\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n",
        "VIEWERS_HELLO": "\n".join(hello),
        "VIEWERS_PROMPTS": str(len(prompts)),
    }
    port = stage.host.url.rpartition(":")[2]
    command = [programs.viewers, port, "/api/ws", str(len(sessions)), str(events), "120"]
    async with await anyio.open_process(command, env={**os.environ, **environment}, stderr=None) as watching:
        assert watching.stdin is not None
        assert watching.stdout is not None
        lines = BufferedByteReceiveStream(watching.stdout)
        await lines.receive_until(b"\n", 100)
        before = cpu_seconds(stage.host.pid)
        await watching.stdin.send("".join(f"{prompt}\n" for prompt in prompts).encode())
        seen = json.loads(await lines.receive_until(b"\n", 4096))
        share = (cpu_seconds(stage.host.pid) - before) / seen["wall_s"]
    if seen["complete"] != len(sessions) or seen["disordered"] or seen["events"] != len(sessions) * events:
        raise SystemExit(f"scale: viewers did not see every event in order: {seen}")
    label = f"{len(sessions)} sessions of {RATE} events/s"
    p99 = seen["p99_us"] / 1000
    target = TARGET_P99 if len(sessions) == TARGET_COUNT else None
    return [
        Row("sessions", f"delay p99, {label}", "ms", p99, target=target, met=None if target is None else p99 <= target),
        Row("sessions", f"delay p50, {label}", "ms", seen["p50_us"] / 1000),
        Row("sessions", f"host CPU, {label}", "% of a core", share * 100),
    ]
