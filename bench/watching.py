"""Viewers of a relay, as one native program: what they dial, what they say first, and what they saw."""

import json
import os
import socket
import subprocess
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from bench.native_programs import Programs
from bench.stage import AGENT, Stage
from coder.model.sessions import Session
from coder.protocol import SUBPROTOCOL, PromptFrame, Subscribe

PATIENCE = 120

Command = Sequence[str | os.PathLike[str]]


@dataclass(frozen=True)
class Door:
    """Where viewers dial; of several first messages each viewer says the next."""

    port: int
    path: str = "/"
    headers: str = ""
    hellos: tuple[str, ...] = ()


@dataclass(frozen=True)
class Together:
    """Delays of what was written while the events of all viewers were being written, and how long that was."""

    seconds: float
    p50_us: float
    p99_us: float


@dataclass(frozen=True)
class Seen:
    """What all viewers saw: every event, in order."""

    events: int
    messages: int
    wall_seconds: float
    p50_us: float
    p99_us: float
    unread_bytes: int
    """What waits for viewers that do not read."""
    together: Together


@dataclass
class Viewers:
    """Connected viewers; all but the stalled ones read."""

    reading: int
    events: int
    process: Process
    lines: BufferedByteReceiveStream

    async def send(self, prompts: Sequence[str]) -> None:
        """The first prompt through the first viewer, and so on."""
        assert self.process.stdin is not None
        await self.process.stdin.send("".join(f"{prompt}\n" for prompt in prompts).encode())

    async def seen(self) -> Seen:
        """Wait until every viewer that reads has its events.

        Raises:
            SystemExit: one has not seen every event, or not in order.
        """
        with anyio.fail_after(2 * PATIENCE):
            told = json.loads(await self.lines.receive_until(b"\n", 4096))
        if told["complete"] != self.reading or told["disordered"] or told["events"] != self.reading * self.events:
            raise SystemExit(f"viewers did not see every event in order: {told}")
        together = Together(told["together_s"], told["together_p50_us"], told["together_p99_us"])
        return Seen(
            told["events"], told["messages"], told["wall_s"], told["p50_us"], told["p99_us"], told["unread"], together
        )


@asynccontextmanager
async def open_viewers(
    programs: Programs, door: Door, count: int, events: int, *, prompts: int = 1, stalled: int = 0
) -> AsyncGenerator[Viewers]:
    """Connect so many viewers that expect so many events each; the last `stalled` of them never read.

    `prompts` is how many of them will be sent.
    """
    environment = {"VIEWERS_HEADERS": door.headers, "VIEWERS_PROMPTS": str(prompts), "VIEWERS_STALLED": str(stalled)}
    if door.hellos:
        environment["VIEWERS_HELLO"] = "\n".join(door.hellos)
    command = [programs.viewers, str(door.port), door.path, str(count), str(events), str(PATIENCE)]
    async with await anyio.open_process(command, env={**os.environ, **environment}, stderr=None) as process:
        assert process.stdout is not None
        lines = BufferedByteReceiveStream(process.stdout)
        with anyio.fail_after(PATIENCE):
            if await lines.receive_until(b"\n", 100) != b"ready":
                raise SystemExit("the viewers did not start")
        yield Viewers(count - stalled, events, process, lines)


async def host_door(stage: Stage, sessions: Sequence[Session]) -> Door:
    """Viewers of these sessions, from now on."""
    hellos: list[str] = []
    for session in sessions:
        last = (await stage.client.session(session.id)).last_seq
        hellos.append(Subscribe(session_id=session.id, after=last).model_dump_json())
    headers = f"Authorization: Bearer {stage.host.token}\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n"
    return Door(int(stage.host.url.rpartition(":")[2]), "/api/ws", headers, tuple(hellos))


def host_prompt(session: Session, wish: str) -> str:
    """A prompt to the native agent, as a viewer of the host sends it."""
    return PromptFrame(id=uuid.uuid4().hex, session_id=session.id, agent=AGENT, input=wish).model_dump_json()


def bare_prompt(wish: str) -> str:
    """The same as a relay hands it on to the agent."""
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "session/prompt", "params": {"text": wish}})


@asynccontextmanager
async def open_relay(command: Command, port: int) -> AsyncGenerator[Process]:
    """A relay as a process of its own, once it listens there."""
    async with await anyio.open_process(command, stdout=subprocess.DEVNULL, stderr=None) as relay:
        with anyio.fail_after(PATIENCE):
            while not _listens(port):
                if relay.returncode is not None:
                    raise SystemExit(f"{command[0]} ended with {relay.returncode}")
                await anyio.sleep(0.05)
        try:
            yield relay
        finally:
            relay.kill()


def free_port() -> int:
    """A port of the loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
