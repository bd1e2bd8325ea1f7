"""Random faults over several sessions of a real host: `python -m coder.testing.chaos --seed N --minutes M`.

One seed draws the same faults in the same order over the same prompts. Prints, as JSON, how many faults of which kind,
and what was lost, doubled, stuck or left behind. Exit status 1 where that is anything.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio
import asyncpg

from coder.client import Client
from coder.errors import CoderError, Conflict
from coder.model.tasks import ENDED
from coder.protocol import Prompt
from coder.store.embedded import open_embedded
from coder.testing.host_process import HostProcess, open_host_process
from coder.testing.ledgers import (
    Book,
    Viewer,
    compare,
    connections_to,
    litter,
    numbered,
    processes_of,
    read_book,
    until_gone,
    write_catalogue,
)
from coder.testing.relay import Relay, open_relay
from coder.testing.repositories import make_repository

TURNS = (
    ("plain", 8),
    ("writing", 4),
    ("talkative", 2),
    ("asking", 1),
    ("dying", 2),
    ("forking", 1),
    ("deaf", 1),
    ("garbled", 2),
    ("half", 1),
)


FOUND = ("lost", "doubled", "moved", "wrong", "orphans", "leaks")
"""What a run may not find any of."""


@dataclass
class Tally:
    """What was done to the host, and how its prompts were answered."""

    faults: Counter[str] = field(default_factory=Counter[str])
    prompts: int = 0
    unknown: int = 0
    recovery_seconds: list[float] = field(default_factory=list[float])


class Chaos:
    """One run. The random source decides everything that is not the machine's own timing."""

    def __init__(self, folder: Path, database_url: str, relay: Relay, postmaster: Callable[[], int], seed: int) -> None:
        self.home = folder / "home"
        self.repository = make_repository(folder / "repository")
        self.tally = Tally()
        self._database_url = database_url
        self._relay = relay
        self._postmaster = postmaster
        self._seed = seed
        self._step = 0
        self._chance = random.Random(seed)
        self._port = _free_port()
        self._log = folder / "host.log"
        self._stack = AsyncExitStack()
        self._host: HostProcess | None = None
        self.sessions: list[str] = []
        self.viewers: list[Viewer] = []
        self._accepted: dict[str, str] = {}

    def draw(self) -> None:
        """The next step's own random source: what a step draws does not depend on how long others took."""
        self._step += 1
        self._chance = random.Random(f"{self._seed}/{self._step}")

    # The host

    async def open_host(self) -> None:
        """Start it, and take the time until it answers."""
        begun = time.monotonic()
        environment = {
            "CODER_CANCEL_TIMEOUT": "1",
            "CODER_SHUTDOWN_GRACE": "1",
            "CODER_PERMISSION_TIMEOUT": "3",
            "CODER_COMPACT_AFTER": "0.5",
        }
        log = self._stack.enter_context(self._log.open("ab"))
        flags = ("--database-url", self._relay.url, "--port", str(self._port))
        self._host = await self._stack.enter_async_context(
            open_host_process(self.home, *flags, environment=environment, log=log)
        )
        self.tally.recovery_seconds.append(time.monotonic() - begun)

    async def close_host(self, number: signal.Signals) -> None:
        """End it and wait until nothing of it is left."""
        assert self._host is not None
        self._relay.hide_nothing()
        with suppress(ProcessLookupError):
            await self._host.end(number)
        await self._stack.aclose()
        await until_gone(self.home)

    def client(self) -> Client:
        assert self._host is not None
        return Client(self._host.url, self._host.token, timeout=20)

    # The work

    async def open_sessions(self, count: int) -> None:
        async with self.client() as client:
            project = await client.register_project(str(self.repository))
            self.sessions = [(await client.open_session(project.id)).id for _ in range(count)]

    async def send(self, session_id: str, number: int) -> None:
        """One prompt with a key of its own; sent again until it is known to be accepted."""
        self.draw()
        name = f"p{number}"
        text = self._words(name)
        self.tally.prompts += 1
        with anyio.fail_after(120):
            while True:
                try:
                    async with self.client() as client:
                        task = await client.prompt(session_id, Prompt(agent="demo", input=text), key=name)
                    self._accepted[name] = task.id
                    return
                except Conflict:
                    raise
                except CoderError:
                    self.tally.unknown += 1
                    await anyio.sleep(0.2)

    def _words(self, name: str) -> str:
        kinds = [kind for kind, weight in TURNS for _ in range(weight)]
        some = numbered(name, self._chance.randint(3, 15), pause_ms=self._chance.choice((0, 5, 20)))
        match self._chance.choice(kinds):
            case "writing":
                return f"write {name}.txt x; {some}; write shared.txt {name}"
            case "talkative":
                return f"{some}; flood stdout 3000; flood stderr 300000"
            case "asking":
                return f"{some}; ask"
            case "dying":
                return f"{some}; die 3"
            case "forking":
                return f"fork 600; {some}; die"
            case "deaf":
                return f"ignore cancel; ignore eof; ignore term; {some}"
            case "garbled":
                return f"garbage; {some}; unknown; badorder"
            case "half":
                return f"{some}; half"
            case _:
                return some

    # The faults

    async def harm(self) -> None:
        """One fault, drawn."""
        self.draw()
        faults: list[tuple[int, str, Callable[[], Awaitable[None]]]] = [
            (8, "agent killed", lambda: self._signal_agent(signal.SIGKILL)),
            (4, "agent stopped and its turn cancelled", self._stop_agent),
            (4, "turn cancelled", self._cancel_some),
            (4, "commit unheard", self._hide_commit),
            (3, "database connections ended", self._end_connections),
            (3, "database silent for a moment", self._silence),
            (3, "database connections cut", self._cut),
            (2, "database killed", self._kill_database),
            (2, "host killed", lambda: self._restart(signal.SIGKILL)),
            (1, "host told to stop", lambda: self._restart(signal.SIGTERM)),
            (1, "worktree deleted", self._delete_worktree),
        ]
        _, name, act = self._chance.choices(faults, [weight for weight, _, _ in faults])[0]
        self.tally.faults[name] += 1
        await act()

    async def _signal_agent(self, number: signal.Signals) -> None:
        agents = sorted(processes_of(self.home))
        if agents:
            with suppress(ProcessLookupError):
                os.kill(self._chance.choice(agents), number)

    async def _stop_agent(self) -> None:
        await self._signal_agent(signal.SIGSTOP)
        await self._cancel_some()

    async def _cancel_some(self) -> None:
        session_id = self._chance.choice(self.sessions)
        with suppress(CoderError):
            async with self.client() as client:
                running = [task for task in (await client.tasks(session_id)).items if task.state == "running"]
                for task in running:
                    await client.cancel_task(task.id)

    async def _hide_commit(self) -> None:
        self._relay.hide_commit(self._chance.randint(0, 3))

    async def _end_connections(self) -> None:
        connection = await asyncpg.connect(self._database_url)
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        await connection.close()

    async def _silence(self) -> None:
        self._relay.go_deaf()
        await anyio.sleep(self._chance.uniform(0.5, 4))
        self._relay.hear_again()

    async def _cut(self) -> None:
        await self._relay.cut()
        await anyio.sleep(self._chance.uniform(0.1, 1))
        self._relay.restore()

    async def _kill_database(self) -> None:
        with suppress(ProcessLookupError, OSError, ValueError):
            os.kill(self._postmaster(), signal.SIGQUIT)
        with anyio.fail_after(30):
            while True:
                with suppress(OSError, asyncpg.PostgresError):
                    return await (await asyncpg.connect(self._database_url)).close()
                await anyio.sleep(0.1)

    async def _restart(self, number: signal.Signals) -> None:
        await self.close_host(number)
        await self.open_host()

    async def _delete_worktree(self) -> None:
        """Of a session whose agent is not at it: one that writes on makes a folder that is no worktree."""
        session_id = self._chance.choice(self.sessions)
        path: str | None = None
        with suppress(CoderError):
            async with self.client() as client:
                if all(task.state in ENDED for task in (await client.tasks(session_id)).items):
                    path = (await client.session(session_id)).worktree_path
        if path is not None:
            await anyio.to_thread.run_sync(partial(shutil.rmtree, path, ignore_errors=True))

    # The end

    async def settle(self) -> None:
        """Let everything end, and start the host once more, as a person would."""
        with anyio.move_on_after(180):
            while True:
                with suppress(CoderError):
                    async with self.client() as client:
                        if all(task.state in ENDED for task in (await client.tasks(limit=500)).items):
                            break
                await anyio.sleep(0.3)
        # A worktree that was deleted comes back with the next prompt, at the latest with the next start.
        await self._restart(signal.SIGTERM)
        book = await read_book(self._database_url)
        with anyio.move_on_after(60):
            for viewer in self.viewers:
                await viewer.reached(book.last_seqs[viewer.session_id])

    def missing(self, book: Book) -> list[str]:
        """Accepted prompts that the database does not have."""
        there = {task.id for task in book.tasks if task.key}
        return [name for name, id in self._accepted.items() if id not in there]

    def cut_off(self, book: Book, lost: Sequence[str]) -> list[str]:
        """Those of the lost pieces whose turn was cancelled, or cut off with its host: its last moment may lack."""
        ends = {task.key: (task.state, task.error) for task in book.tasks}
        may_lack = {("failed", "interrupted"), ("cancelled", None)}
        return [token for token in lost if ends.get(token.partition(".")[0]) in may_lack]


async def run(seed: int, minutes: float, sessions: int, folder: Path) -> dict[str, object]:
    """A whole run; what it found."""
    database = folder / "database"

    def postmaster() -> int:
        (file,) = database.glob("pg*/postmaster.pid")
        return int(file.read_text().split()[0])

    write_catalogue(folder / "home")
    async with open_embedded(database) as url, open_relay(url) as relay:
        chaos = Chaos(folder, url, relay, postmaster, seed)
        await chaos.open_host()
        await chaos.open_sessions(sessions)
        async with chaos.client() as client, anyio.create_task_group() as group:
            for session_id in chaos.sessions:
                chaos.viewers.append(viewer := Viewer(session_id))
                group.start_soon(viewer.follow, client)
            await _make_trouble(chaos, random.Random(seed), minutes)
            await chaos.settle()
            group.cancel_scope.cancel()
        await chaos.close_host(signal.SIGTERM)
        return await _report(chaos, url, seed, minutes)


async def _make_trouble(chaos: Chaos, pace: random.Random, minutes: float) -> None:
    ends = time.monotonic() + minutes * 60
    number = 0
    while time.monotonic() < ends:
        for session_id in chaos.sessions:
            if pace.random() < 0.7:
                number += 1
                await chaos.send(session_id, number)
        for _ in range(pace.randint(1, 3)):
            await anyio.sleep(pace.uniform(0.05, 0.6))
            await chaos.harm()


async def _report(chaos: Chaos, url: str, seed: int, minutes: float) -> dict[str, object]:
    book = await read_book(url)
    for viewer in chaos.viewers:
        rest = [record for record in book.records[viewer.session_id] if record.seq > viewer.seq]
        # Agents that end with the host are told of after the viewers have gone.
        if {record.event.type for record in rest} <= {"agent_status"}:
            viewer.records += rest
    verdict = compare(book, chaos.home, chaos.viewers)
    cut_off = chaos.cut_off(book, verdict.lost)
    lost = [token for token in verdict.lost if token not in set(cut_off)]
    orphans = processes_of(chaos.home)
    leaks = litter(chaos.home, [chaos.repository], book)
    if others := await connections_to(url):
        leaks.append(f"{others} connections to the database")
    return {
        "seed": seed,
        "minutes": minutes,
        "faults": chaos.tally.faults.total(),
        "kinds": dict(chaos.tally.faults.most_common()),
        "prompts": chaos.tally.prompts,
        "sent again": chaos.tally.unknown,
        "ends": dict(Counter(f"{task.state} {task.error or ''}".strip() for task in book.tasks)),
        "records": sum(book.last_seqs.values()),
        "longest start": round(max(chaos.tally.recovery_seconds), 1),
        "cut off with their turn": len(cut_off),
        "lost": [*chaos.missing(book), *lost],
        "doubled": list(verdict.doubled),
        "moved": list(verdict.moved),
        "wrong": list(verdict.faults),
        "orphans": orphans,
        "leaks": leaks,
    }


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos", description="Random faults over several sessions of a real host.")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--sessions", type=int, default=4)
    parser.add_argument("--keep", type=Path, help="a folder that stays, for looking into what went wrong")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="chaos-") as temporary:
        folder = arguments.keep or Path(temporary)
        found = asyncio.run(run(arguments.seed, arguments.minutes, arguments.sessions, folder))
    print(json.dumps(found, indent=2))
    return 1 if any(found[name] for name in FOUND) else 0


if __name__ == "__main__":
    sys.exit(main())
