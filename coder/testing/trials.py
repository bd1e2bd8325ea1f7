"""A real agent on trial: in a host of its own, with a session, offline on the scripted model server."""

import hashlib
import json
import os
import urllib.request
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import anyio
import orjson
from anyio import to_thread

from coder.host import LookForSandbox, open_host
from coder.model.events import (
    AgentEvent,
    PermissionRequested,
    Record,
    Text,
    ToolCallStarted,
    ToolCallUpdated,
    TurnEnded,
)
from coder.model.permissions import OptionKind
from coder.model.providers import ProviderSnapshot
from coder.model.sandboxes import SandboxMode
from coder.model.tasks import Task, TaskState
from coder.model.tool_calls import ToolCall
from coder.processes import sweep
from coder.processes.sandbox import find_sandbox
from coder.protocol import NewProject
from coder.settings import load_settings
from coder.testing.real_agents import RealAgent, real_agent
from coder.testing.repositories import FILES, make_repository
from coder.testing.rooms import Room
from coder.testing.wire import Fields, fields, items

PATIENCE = 90.0
"""Seconds for one turn, an agent's cold start included."""
SIGNED_OUT = "signed-out"
WRITTEN = "written by an agent\n"
SLEEP = ("sleep", "4321")
_LOOK = 0.1


@dataclass(frozen=True)
class Played:
    """A turn that has ended; `records` are the session's from its beginning."""

    task: Task
    records: Sequence[Record]

    @property
    def is_completed(self) -> bool:
        return self.task.state is TaskState.COMPLETED

    @property
    def own(self) -> list[Record]:
        """The turn's records."""
        return [record for record in self.records if record.task_id == self.task.id]

    @property
    def events(self) -> list[AgentEvent]:
        """What happened in the turn."""
        return [record.event for record in self.own]

    @property
    def all_events(self) -> list[AgentEvent]:
        """What has happened in the session up to its end."""
        return [record.event for record in self.records]

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Text))

    @property
    def requests(self) -> list[PermissionRequested]:
        return [event for event in self.events if isinstance(event, PermissionRequested)]

    @property
    def calls(self) -> dict[str, ToolCall]:
        """Each tool call as it was last seen."""
        seen = [event for event in self.events if isinstance(event, ToolCallStarted | ToolCallUpdated)]
        return {event.tool_call.id: event.tool_call for event in seen}

    @property
    def end(self) -> str:
        """How it ended, in words."""
        error = f": {self.task.error.message}" if self.task.error else ""
        return f"the turn ended {self.task.state}{error}"


React = Callable[[AgentEvent, Task], Awaitable[None]]
"""Does what a person would when the event comes."""


@dataclass
class Trial:
    """An agent in an open host with two sessions; `offered` is what the host shows of it."""

    agent: RealAgent
    room: Room
    other: Room
    model_url: str
    tag: str
    offered: ProviderSnapshot | None = None
    allowed: Played | None = None
    """The turn in which the agent was allowed to write."""

    @property
    def rooms(self) -> tuple[Room, Room]:
        return self.room, self.other

    async def probe(self, provider: str) -> ProviderSnapshot:
        """What the host shows of the provider once it has asked the agent."""
        [row] = await self.room.host.providers.refresh([provider])
        with anyio.fail_after(PATIENCE):
            while row.status == "loading":
                await anyio.sleep(_LOOK)
                row = await self.row(provider)
        return row

    async def row(self, provider: str) -> ProviderSnapshot:
        """What the host shows of the provider now."""
        return next(row for row in await self.room.host.providers.snapshot() if row.id == provider)

    async def play(
        self,
        text: str,
        react: React | None = None,
        *,
        room: Room | None = None,
        agent: str | None = None,
        mode: str | None = None,
        model: str | None = None,
    ) -> Played:
        """A whole turn; questions are allowed unless `react` does otherwise."""
        room = room or self.room
        task = await room.submit(text, agent or self.agent.provider, mode_id=mode, model=model)
        return await self.see(task, react, room=room)

    async def play_asking(self, text: str, react: React | None = None) -> Played:
        """A turn in the mode in which the agent asks before it acts."""
        return await self.play(text, react, mode=self.agent.asking_mode)

    async def begin_sleep(self) -> Task:
        """Submit a prompt that makes the agent run a command that lasts."""
        call = json.dumps({"cmd": " ".join(SLEEP), "args": dict(self.agent.write_arguments)})
        text = f'[[bash {call}]] [[text {{"text":"Slept."}}]]'
        return await self.room.submit(text, self.agent.provider, mode_id=self.agent.asking_mode)

    async def see(self, task: Task, react: React | None = None, *, room: Room | None = None) -> Played:
        """The turn of an accepted prompt as a viewer sees it; an endless one is cancelled."""
        room = room or self.room
        try:
            with anyio.fail_after(PATIENCE):
                return await self._follow(room, task, react or self.answer("allow"))
        except TimeoutError:
            await room.host.dispatcher.cancel(task.id)
            raise TimeoutError(f"the turn did not end within {PATIENCE:g} s") from None

    async def _follow(self, room: Room, task: Task, react: React) -> Played:
        records: list[Record] = []
        async with room.host.journal.follow(room.session.id, 0) as follower:
            while True:
                for encoded in (await follower.receive()).encoded:
                    record = Record.model_validate(orjson.loads(encoded))
                    records.append(record)
                    if record.task_id == task.id and isinstance(record.event, TurnEnded):
                        return Played(await room.host.dispatcher.get(task.id), records)
                    if record.task_id == task.id:
                        await react(record.event, task)

    def answer(self, kind: Literal["allow", "reject"]) -> React:
        """Answer every question that way."""
        wanted: tuple[OptionKind, ...] = (
            ("allow_once", "allow_always") if kind == "allow" else ("reject_once", "reject_always")
        )

        async def react(event: AgentEvent, task: Task) -> None:
            if isinstance(event, PermissionRequested):
                options = {option.kind: option.id for option in event.request.options}
                chosen = next(options[kind] for kind in wanted if kind in options)
                await self.room.host.permissions.answer(event.request.id, chosen, "tester")

        return react

    def cancel_when(self, is_time: Callable[[AgentEvent], bool]) -> React:
        """Cancel the turn once; allow what is asked before."""
        allow, cancelled = self.answer("allow"), anyio.Event()

        async def react(event: AgentEvent, task: Task) -> None:
            if cancelled.is_set():
                return
            if is_time(event):
                cancelled.set()
                await self.room.host.dispatcher.cancel(task.id)
            else:
                await allow(event, task)

        return react

    def write_prompt(self, name: str) -> str:
        """Makes the agent write a file, by the tool for which it asks."""
        path, arguments = str(self.room.worktree / name), dict(self.agent.write_arguments)
        if self.agent.writes_by == "bash":
            call = json.dumps({"cmd": f"printf '{WRITTEN.strip()}\\n' > '{path}'", "args": arguments})
        else:
            call = json.dumps({"path": path, "content": WRITTEN})
        return f'[[{self.agent.writes_by} {call}]] [[text {{"text":"Written."}}]]'

    async def heard(self) -> Sequence[Fields]:
        """What the model server was sent, newest last: body and `path`. Requests that offer no tools are left out."""
        body = await to_thread.run_sync(_get, f"{self.model_url}/_requests")
        requests = [fields(request) for request in items(body.get("requests"))]
        bodies = [{**fields(request.get("body")), "path": request.get("path")} for request in requests]
        return [body for body in bodies if '"tools"' in json.dumps(body)]

    async def processes(self) -> frozenset[sweep.Identity]:
        """Everything the host has started that still lives, what the agent has started included."""
        return await to_thread.run_sync(sweep.find_owned, self.tag)

    async def wait_until_cold(self, room: Room) -> None:
        """Wait until the host has noticed that the room's agent is gone."""
        with anyio.fail_after(PATIENCE):
            while room.host.pool.is_warm(room.session.id, self.agent.provider):  # noqa: ASYNC110 - nothing to wait on
                await anyio.sleep(_LOOK)

    async def has_sleeper(self) -> bool:
        """Whether the command that lasts is running."""
        return any(_arguments(process.pid) == SLEEP for process in await self.processes())

    async def wait_for_sleeper(self, *, is_there: bool, seconds: float) -> bool:
        """Whether the command that lasts came to be there, or not there, in time."""
        with anyio.move_on_after(seconds):
            while await self.has_sleeper() is not is_there:  # noqa: ASYNC110 - processes tell nobody of their end
                await anyio.sleep(_LOOK)
            return True
        return False


@asynccontextmanager
async def open_trial(
    agent: RealAgent,
    folder: Path,
    database_url: str | None,
    model_url: str,
    *,
    sandbox: SandboxMode = "off",
    look_for_sandbox: LookForSandbox = find_sandbox,
) -> AsyncGenerator[Trial]:
    """A host with one session that knows the agent, and knows it once more as `signed-out`."""
    home = folder / "home"
    home.mkdir(parents=True)
    stranger = real_agent(agent.id, folder / "stranger-home", model_url, is_signed_in=False)
    agent.prepare()
    stranger.prepare()
    entries = {
        agent.provider: agent.provider_entry(),
        SIGNED_OUT: {**stranger.provider_entry(), "extends": agent.transport, "label": "Signed out"},
    }
    (home / "coder-providers.json").write_text(json.dumps({"providers": entries}))
    settings = load_settings(
        home=home,
        database_url=database_url,
        port="auto",
        providers_path=home / "coder-providers.json",
        shutdown_grace=1.0,
        sandbox=sandbox,
        spare_sessions=0,
    )
    async with open_host(settings, "token", look_for_sandbox=look_for_sandbox) as host:
        repository = make_repository(folder / "repository", {**FILES, ".gitignore": ".agentao/\nagentao.log\n"})
        project = await host.projects.register(NewProject(repo_path=str(repository)))
        room, other = [Room(host, repository, await host.sessions.open(project.id, None, None)) for _ in range(2)]
        home_id = hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:16]
        yield Trial(agent, room, other, model_url, f"{home_id}:{host.run_id}")


def _get(url: str) -> Fields:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return fields(orjson.loads(answer.read()))


def _arguments(pid: int) -> tuple[str, ...]:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(raw.decode(errors="replace").rstrip("\0").split("\0"))
