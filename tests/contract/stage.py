"""A stage for a backend under test: a supervisor, a worktree, and a record of all that is emitted and asked."""

import os
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from coder.backends.acp.backend import open_acp_backend
from coder.backends.base import (
    AgentBackend,
    AgentSessionHandle,
    Ask,
    Emit,
    PromptContext,
    PromptInput,
    SessionOptions,
    TurnResult,
)
from coder.backends.fallback import open_with_fallback
from coder.backends.opencode.backend import OpencodeBackend, open_opencode_backend
from coder.backends.opencode.server import ServerUnavailable
from coder.backends.opencode.servers import Servers, open_servers
from coder.backends.turn import AgentLimits
from coder.model.events import AgentEvent, Reasoning, Text, ToolCallStarted, ToolCallUpdated
from coder.model.permissions import PermissionOption, PermissionOutcome, PermissionStatus
from coder.model.providers import Provider
from coder.model.tasks import Attachment
from coder.model.tool_calls import ToolCall
from coder.processes.supervisor import Supervisor, open_supervisor

CHECKOUT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0
LIMITS = AgentLimits(initialize=20, session_start=20, first_update=20, inactivity=20, cancel=5, request=10)
PYTHON = (sys.executable, "-m")


@dataclass
class Stage:
    """What a backend lives in, and what came out of it."""

    supervisor: Supervisor
    worktree: Path
    environment: dict[str, str]
    events: list[AgentEvent] = field(default_factory=list[AgentEvent])
    outside: list[AgentEvent] = field(default_factory=list[AgentEvent])
    everything: list[AgentEvent] = field(default_factory=list[AgentEvent])
    """What came in turns, between them, and what a test adds, in order."""
    asked: list[tuple[ToolCall, tuple[PermissionOption, ...]]] = field(
        default_factory=list[tuple[ToolCall, tuple[PermissionOption, ...]]]
    )
    _news: anyio.Event = field(default_factory=anyio.Event)

    async def emit(self, event: AgentEvent) -> None:
        self.events.append(event)
        self.add(event)

    async def emit_outside(self, event: AgentEvent) -> None:
        self.outside.append(event)
        self.add(event)

    def add(self, event: AgentEvent) -> None:
        self.everything.append(event)
        self._tell()

    async def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Wait for something that an event brings about."""
        with anyio.fail_after(PATIENCE):
            while not is_so():
                await self._news.wait()

    def answering(self, *kinds: str) -> Ask:
        """Answers request after request with the first option of these kinds."""
        wanted = iter(kinds)

        async def ask(call: ToolCall, options: tuple[PermissionOption, ...]) -> PermissionOutcome:
            self.asked.append((call, options))
            self._tell()
            kind = next(wanted)
            chosen = next(option for option in options if option.kind == kind)
            return PermissionOutcome(status=PermissionStatus.SELECTED, option_id=chosen.id)

        return ask

    async def never_answer(self, call: ToolCall, options: tuple[PermissionOption, ...]) -> PermissionOutcome:
        """Nobody is there."""
        self.asked.append((call, options))
        self._tell()
        await anyio.sleep_forever()
        raise AssertionError

    def options(self, **more: str | None) -> SessionOptions:
        return SessionOptions(
            session_id="ses_1",
            agent="demo",
            worktree_path=self.worktree,
            project_id="prj_1",
            model=more.get("model"),
            mode_id=more.get("mode_id"),
            thinking_option_id=more.get("thinking_option_id"),
            resume_token=more.get("resume_token"),
        )

    async def prompt(
        self,
        backend: AgentBackend,
        handle: AgentSessionHandle,
        text: str,
        *,
        attachments: tuple[Attachment, ...] = (),
        ask: Ask | None = None,
        cancel: anyio.Event | None = None,
        emit: Emit | None = None,
        meanwhile: Callable[[], Coroutine[None, None, None]] | None = None,
        **choices: str,
    ) -> TurnResult:
        """One turn, whose events come to `events`."""
        context = PromptContext(emit or self.emit, ask or self.answering(), cancel or anyio.Event(), **choices)
        result: TurnResult | None = None
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                if meanwhile:
                    group.start_soon(meanwhile)
                result = await backend.prompt(handle, PromptInput(text, attachments), context)
        assert result is not None
        return result

    @property
    def said(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Text))

    @property
    def thought(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Reasoning))

    @property
    def calls(self) -> dict[str, ToolCall]:
        """Every tool call as it stands."""
        return {
            event.tool_call.id: event.tool_call
            for event in self.events
            if isinstance(event, ToolCallStarted | ToolCallUpdated)
        }

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()


OpenBackend = Callable[[Stage, Mapping[str, str], AgentLimits], AbstractAsyncContextManager[AgentBackend]]
"""(stage, variables for the agent, deadlines) -> a backend whose agent understands the verbs of the scripted agent."""


def open_demo(
    stage: Stage,
    env: Mapping[str, str] | None = None,
    limits: AgentLimits = LIMITS,
    *,
    offers: bool = False,
    command: tuple[str, ...] = (*PYTHON, "coder.testing.agent"),
):
    """The ACP backend over the scripted agent, or over another program."""
    provider = Provider(id="demo", label="Demo", command=command, offer_fs=offers, offer_terminal=offers)
    return open_acp_backend(
        provider,
        command,
        {**stage.environment, **(env or {})},
        supervisor=stage.supervisor,
        emit=stage.emit_outside,
        limits=limits,
    )


@asynccontextmanager
async def open_demo_server(
    stage: Stage, env: Mapping[str, str] | None = None, limits: AgentLimits = LIMITS
) -> AsyncGenerator[OpencodeBackend]:
    """The opencode backend over the scripted agent, which is dressed up as a server."""
    async with (
        open_servers(stage.supervisor, limits, stage.worktree.parent / "agents") as servers,
        join_demo_server(stage, servers, env, limits) as backend,
    ):
        yield backend


def join_demo_server(
    stage: Stage,
    servers: Servers,
    env: Mapping[str, str] | None = None,
    limits: AgentLimits = LIMITS,
    *,
    is_shared: bool = False,
):
    """The same, with servers that others may use too."""
    command = (*PYTHON, "coder.testing.opencode_server")
    return open_opencode_backend(
        Provider(id="demo", label="Demo", command=command, transport="opencode", share_server=is_shared),
        command,
        {**stage.environment, **(env or {})},
        servers=servers,
        emit=stage.emit_outside,
        limits=limits,
    )


def open_demo_fallback(stage: Stage, env: Mapping[str, str] | None = None, limits: AgentLimits = LIMITS):
    """The scripted agent over ACP, because its server does not start."""
    server = open_demo_server(stage, {"DEMO_FAULT_AT": "start:die"}, limits)
    return open_with_fallback(
        "demo", server, lambda _: open_demo(stage, env, limits), stage.emit_outside, ServerUnavailable
    )


def open_demo_v2(stage: Stage, env: Mapping[str, str] | None = None, limits: AgentLimits = LIMITS):
    """The ACP backend over the scripted agent, in version 2 of the protocol."""
    return open_demo(stage, {**(env or {}), "DEMO_PROTOCOL": "2"}, limits)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended but was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@asynccontextmanager
async def open_stage(folder: Path) -> AsyncGenerator[Stage]:
    """A supervisor with its watchdog, an empty worktree, an environment of its own."""
    worktree = folder / "worktree"
    worktree.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        "PYTHONPATH": str(CHECKOUT),
    }
    async with open_supervisor(folder / "home", "run-1") as supervisor:
        yield Stage(supervisor, worktree, environment)
