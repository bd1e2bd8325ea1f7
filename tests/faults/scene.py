"""A host in which something is about to go wrong: sessions, viewers, and at the end three ledgers that must agree."""

import gc
import os
import signal
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from coder.client import Client
from coder.model.events import Record
from coder.model.sessions import Session
from coder.model.tasks import ENDED, Task
from coder.protocol import Prompt
from coder.testing.harness import LiveHost, open_live_host
from coder.testing.ledgers import (
    Book,
    Verdict,
    Viewer,
    compare,
    connections_to,
    litter,
    processes_of,
    read_book,
    until_gone,
    write_catalogue,
)
from coder.testing.repositories import make_repository

AGREED = Verdict()
QUICK: dict[str, Any] = {"cancel_timeout": 1.0, "shutdown_grace": 2.0, "compact_after": 0.2}


@dataclass
class Scene:
    """One host with sessions. `expected` is the verdict that the fault allows."""

    home: Path
    database_url: str
    live: LiveHost
    client: Client
    repository: Path
    sessions: list[Session]
    viewers: list[Viewer] = field(default_factory=list[Viewer])
    expected: Verdict = AGREED
    may_be_unheard: int = 0
    """Pieces that an agent may have sent without living to note it: one for each that was killed."""
    last_words: int = 0
    """Pieces that an agent may say when its turn has ended: one for each that is woken only to be told to go."""

    @property
    def session(self) -> Session:
        return self.sessions[0]

    @property
    def worktree(self) -> Path:
        return Path(self.session.worktree_path or "")

    async def submit(self, text: str, session: Session | None = None, key: str | None = None) -> Task:
        return await self.client.prompt((session or self.session).id, Prompt(agent="demo", input=text), key=key)

    async def ended(self, task: Task, seconds: float = 30) -> Task:
        with anyio.fail_after(seconds):
            while (found := await self.live.host.dispatcher.get(task.id)).state not in ENDED:
                await anyio.sleep(0.02)
        return found

    async def prompt(self, text: str, session: Session | None = None) -> Task:
        return await self.ended(await self.submit(text, session))

    async def saw(self, wanted: str, session: Session | None = None) -> Record:
        """The first record of a session with an answer that holds `wanted`, or that is of that type."""
        viewer = next(one for one in self.viewers if one.session_id == (session or self.session).id)
        with anyio.fail_after(30):
            while True:
                for record in viewer.records:
                    event = record.event
                    if event.type == wanted or (event.type == "text" and wanted in event.text):
                        return record
                await anyio.sleep(0.02)

    def agents(self) -> list[int]:
        """The demo agents that are alive."""
        return [pid for pid in processes_of(self.home) if b"coder.testing.agent" in command_of(pid)]

    def signal_agent(self, number: signal.Signals) -> None:
        (pid,) = self.agents()
        os.kill(pid, number)

    async def settle(self) -> None:
        """Wait until nothing runs, everything is stored and all viewers have it."""
        with anyio.fail_after(60):
            while self.live.host.dispatcher.running or await self._waiting():
                await anyio.sleep(0.05)
        await self.live.host.journal.flush_all()
        book = await read_book(self.database_url)
        for viewer in self.viewers:
            await viewer.reached(book.last_seqs[viewer.session_id])

    async def _waiting(self) -> bool:
        return any(task.state not in ENDED for task in (await self.client.tasks(limit=500)).items)


@asynccontextmanager
async def open_scene(
    folder: Path,
    database_url: str,
    *,
    host_url: str | None = None,
    sessions: int = 1,
    viewers: int = 2,
    agent: dict[str, str] | None = None,
    **settings: Any,
) -> AsyncGenerator[Scene]:
    """Leaving settles everything, closes the host, and compares; `host_url` is where the host finds its database."""
    home = folder / "home"
    write_catalogue(home, **(agent or {}))
    files_before = open_files()
    repository = make_repository(folder / "repository")
    limits = QUICK | settings
    async with open_live_host(home, host_url or database_url, **limits) as live, live.client() as client:
        project = await client.register_project(str(repository))
        opened = [await client.open_session(project.id) for _ in range(sessions)]
        scene = Scene(home, database_url, live, client, repository, opened)
        async with anyio.create_task_group() as group:
            for session in opened:
                for _ in range(viewers):
                    scene.viewers.append(viewer := Viewer(session.id))
                    group.start_soon(viewer.follow, client)
            yield scene
            await scene.settle()
            group.cancel_scope.cancel()
    await agree(scene, files_before)


async def agree(scene: Scene, files_before: Collection[str]) -> None:
    """The ledgers agree as far as the fault allows, and nothing is left of the host that was closed."""
    book = await read_book(scene.database_url)
    for viewer in scene.viewers:
        # Agents that end with the host are told of after the viewers have gone.
        missing = [one for one in book.records[viewer.session_id] if one.seq > viewer.seq]
        assert {one.event.type for one in missing} <= {"agent_status"}, missing
        viewer.records += missing
    verdict = compare(book, scene.home, scene.viewers)
    assert len(verdict.unheard) <= scene.may_be_unheard, verdict
    late = verdict.lost if len(verdict.lost) <= scene.last_words else ()
    before = [later for token in late for later in _later(book, token)]
    assert not before, f"{late} came before {before}"
    lost = tuple(token for token in verdict.lost if token not in late)
    assert Verdict(lost, verdict.doubled, verdict.moved, (), verdict.faults) == scene.expected
    await until_gone(scene.home)
    assert await connections_to(scene.database_url) == 0
    assert litter(scene.home, [scene.repository], book) == []
    gc.collect()
    files = open_files()
    assert len(files) <= len(files_before), [path for path in files if path not in files_before]


def _later(book: Book, token: str) -> list[str]:
    """What is stored of the same answer that comes after a piece of it."""
    name, _, number = token.partition(".")
    stored = [other.partition(".") for id in book.records for other in book.tokens(id)]
    return [f"{other}.{later}" for other, _, later in stored if other == name and int(later) > int(number)]


def open_files() -> list[str]:
    """What this process has open, apart from what the loop and the test run own."""
    found: list[str] = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        found.append(target)
    return found


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
