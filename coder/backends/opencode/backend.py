"""A warm opencode server: one process, one conversation, one turn at a time."""

import logging
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from coder.backends.base import (
    AgentSessionHandle,
    Capabilities,
    Emit,
    PromptContext,
    PromptInput,
    SessionOptions,
    TurnResult,
)
from coder.backends.held import open_group
from coder.backends.opencode.exchange import Exchange
from coder.backends.opencode.feed import Feed
from coder.backends.opencode.http import Http
from coder.backends.opencode.offer import Offer, read_offer
from coder.backends.opencode.plugins import find_plugins
from coder.backends.opencode.progress import Progress, new_message_id
from coder.backends.opencode.prompt import prompt_parts, read_instructions
from coder.backends.opencode.seat import Seat
from coder.backends.opencode.servers import Servers
from coder.backends.opencode.translate import Translator
from coder.backends.turn import AgentLimits, Turn, fault_of
from coder.backends.wire import Fields, fields, text
from coder.errors import AgentDied, AgentError, AgentProtocolError, AgentUnavailable, CoderError, InvalidInput
from coder.model.events import AgentStatusChanged
from coder.model.providers import Provider
from coder.model.sandboxes import SandboxKind
from coder.model.sessions import BackendKind
from coder.processes.confinement import Confinement

logger = logging.getLogger(__name__)

ALLOW_PLUGINS = "OPENCODE_ALLOW_PROJECT_PLUGINS"
"""Set to 1 in the environment of a catalogue entry, plugins of repositories may run."""


class OpencodeBackend:
    """An AgentBackend over the HTTP server of opencode. Made by `open_opencode_backend`."""

    def __init__(
        self,
        provider: Provider,
        command: tuple[str, ...],
        env: Mapping[str, str],
        *,
        servers: Servers,
        emit: Emit,
        limits: AgentLimits,
        group: TaskGroup,
        confinement: Confinement | None = None,
    ) -> None:
        self._provider = provider
        self._command = command
        self._env = env
        self._servers = servers
        self._emit = emit
        self._limits = limits
        self._confinement = confinement
        self._group = group
        self._feed = Feed(provider.id, provider.label, emit)
        self._starting = anyio.Lock()
        self._seat: Seat | None = None
        self._disposed = anyio.Event()
        self._handle: AgentSessionHandle | None = None

    @property
    def kind(self) -> BackendKind:
        return "opencode_server"

    @property
    def sandbox(self) -> SandboxKind:
        return self._confinement.sandbox.kind if self._confinement else "none"

    @property
    def translator(self) -> Translator:
        """What the server has said of the conversation: offer, choices, usage."""
        return self._feed.translator

    @property
    def seat(self) -> Seat | None:
        """The session's place at a server, once it has one."""
        return self._seat

    @property
    def capabilities(self) -> Capabilities:
        offer, chosen = self.translator.offer, self.translator.chosen
        return Capabilities(
            resume=True,
            images=chosen.model in offer.image_models,
            modes=bool(offer.modes),
            models=bool(offer.models),
            commands=bool(offer.commands),
            usage=True,
        )

    def health(self) -> Literal["up", "down"]:
        return "up" if self._seat and self._seat.is_up else "down"

    async def resident_bytes(self) -> int:
        return await self._seat.resident_bytes() if self._seat else 0

    def age(self) -> float:
        return self._seat.server_age() if self._seat else 0.0

    @property
    def is_retired(self) -> bool:
        return self._seat is not None and self._seat.is_server_retired

    def retire(self) -> None:
        if self._seat:
            self._seat.retire_server()

    async def wait_closed(self) -> None:
        await (self._seat.gone if self._seat else self._disposed).wait()

    async def dispose(self) -> None:
        self._disposed.set()
        if self._seat:
            await self._seat.close()

    # The session

    async def ensure_session(self, options: SessionOptions) -> AgentSessionHandle:
        async with self._starting:
            if self._handle and self.health() == "up":
                return self._handle
            if self._disposed.is_set() or (self._seat and not self._seat.is_up):
                raise self._end()
            is_open = False
            try:
                self._handle = await self._open(options)
                is_open = True
            finally:
                if not is_open:
                    with anyio.CancelScope(shield=True):
                        await self.dispose()
            return self._handle

    async def steer(self, handle: AgentSessionHandle, input: PromptInput) -> bool:
        # a second message is lost when the first one's turn fails, and begins a turn of its own when that has ended
        return False

    async def close_session(self, handle: AgentSessionHandle) -> None:
        # the server keeps its conversations; there is nothing to say
        self._handle = None

    async def _open(self, options: SessionOptions) -> AgentSessionHandle:
        if self._seat is None:
            await self._start(options)
        http = self._seat_or_raise().http
        offer = await fetch_offer(http)
        info = await self._find_session(http, options)
        is_resumed = info is not None
        if info and options.resume_before is not None:
            copy: Fields = {"messageID": options.resume_before}
            info = fields(await http.post(f"/session/{info['id']}/fork", copy, timeout=self._limits.session_start))
        if info is None:
            body: Fields = {"title": f"coder {options.session_id}", "metadata": {"coder_session": options.session_id}}
            info = fields(await http.post("/session", body, timeout=self._limits.session_start))
        session = text(info.get("id"))
        if session is None:
            raise AgentProtocolError("the server opened a session without an id")
        async with self._feed.order:
            await self._feed.pass_on(self.translator.opened(session, info, offer))
        try:
            await self._choose(options.model, options.mode_id, options.thinking_option_id)
        except InvalidInput as error:
            # the turn that wants it will say so
            logger.warning("not chosen: %s", error, extra=self._ids())
        self._group.start_soon(self._prewarm, http)
        port = self._seat_or_raise().port
        is_whole = options.resume_before is None
        return AgentSessionHandle(options.session_id, options.agent, self.kind, session, port, is_resumed, is_whole)

    async def _start(self, options: SessionOptions) -> None:
        await self._heed_plugins(options.worktree_path)
        lease = self._servers.lease(self._provider, self._command, self._env, options, self._confinement)
        self._seat = seat = Seat(self._provider.label, options.worktree_path, lease)
        await seat.open(self._group)
        self._group.start_soon(self._feed.follow, seat)
        with anyio.move_on_after(self._limits.request):
            await self._feed.wait_connected()

    async def _heed_plugins(self, worktree: Path) -> None:
        found = await to_thread.run_sync(find_plugins, worktree)
        if not found:
            return
        listed = ", ".join(found[:5])
        if self._env.get(ALLOW_PLUGINS) != "1":
            raise AgentUnavailable(
                f"{self._provider.label} would run code that this repository brings along ({listed}). "
                f"Set {ALLOW_PLUGINS}=1 in the entry's env to allow it, or remove it from the session's branch",
                code="plugins_refused",
                files=list(found),
            )
        words = f"runs code that the repository brings along: {listed}"
        await self._emit(AgentStatusChanged(agent=self._provider.id, status="starting", message=words))

    async def _find_session(self, http: Http, options: SessionOptions) -> Fields | None:
        """The conversation that a token names, where this server has it and for this worktree."""
        if options.resume_token is None:
            return None
        info = await http.find(f"/session/{quote(options.resume_token, safe='')}")
        # the server names folders as they are, the host as they were given: a link may lie between
        worktree = await to_thread.run_sync(options.worktree_path.resolve)
        return info if info and info.get("directory") in (str(options.worktree_path), str(worktree)) else None

    async def _prewarm(self, http: Http) -> None:
        """Have the server load what the first turn needs."""
        try:
            await http.get("/find/file?query=x&limit=1")
        except AgentError as error:
            logger.debug("not prewarmed: %s", error, extra=self._ids())

    async def _choose(self, model: str | None, mode: str | None, thinking: str | None) -> None:
        """Raises InvalidInput: the server does not offer it."""
        offer, chosen = self.translator.offer, self.translator.chosen
        if model is not None and offer.model(model) is None:
            raise InvalidInput(f"the agent has no model {model}", code="not_offered")
        if mode is not None and not offer.has_mode(mode):
            raise InvalidInput(f"the agent has no mode {mode}", code="not_offered")
        found = offer.model(model or chosen.model)
        levels = found.thinking_options if found else ()
        if thinking is not None and thinking not in [level.id for level in levels]:
            raise InvalidInput(f"the model has no thinking option {thinking}", code="not_offered")
        async with self._feed.order:
            await self._feed.pass_on(self.translator.choose(model=model, mode=mode, thinking=thinking))

    # A turn

    def new_message_id(self) -> str | None:
        return new_message_id()

    async def prompt(self, handle: AgentSessionHandle, input: PromptInput, context: PromptContext) -> TurnResult:
        seat, session = self._seat, self.translator.session
        if seat is None or not seat.is_up or session is None or handle != self._handle:
            return TurnResult(ok=False, error=fault_of(self._end()), reached_agent=False)
        try:
            await self._choose(context.model, context.mode_id, context.thinking_option_id)
            takes_images = self.translator.chosen.model in self.translator.offer.image_models
            parts = prompt_parts(input, takes_images=takes_images)
            system = await to_thread.run_sync(read_instructions, seat.worktree) if seat.is_shared else None
        except CoderError as error:
            return TurnResult(ok=False, error=fault_of(error), reached_agent=False)
        if context.cancel.is_set():
            return TurnResult(ok=True, stop_reason="cancelled", reached_agent=False)
        turn = Turn(context, self._limits, time.monotonic)
        progress = Progress(session, input.message_id or new_message_id())
        exchange = Exchange(seat, self._feed, progress, turn, self._limits, self._provider.id)
        return await exchange.run(input, parts, system)

    # Small things

    def _seat_or_raise(self) -> Seat:
        if self._seat is None:
            raise self._end()
        return self._seat

    def _end(self) -> AgentError:
        end = self._seat.end if self._seat else None
        return end or AgentDied(f"{self._provider.label} is not running")

    def _ids(self) -> dict[str, str | None]:
        session = self._handle.session_id if self._handle else None
        return {"agent": self._provider.id, "session": session}


async def fetch_offer(http: Http) -> Offer:
    """What the server offers in the worktree."""
    vendors = fields(await http.get("/config/providers"))
    agents, commands = await http.get("/agent"), await http.get("/command")
    return read_offer(vendors, agents, commands, fields(await http.get("/config")))


@asynccontextmanager
async def open_opencode_backend(
    provider: Provider,
    command: tuple[str, ...],
    env: Mapping[str, str],
    *,
    servers: Servers,
    emit: Emit,
    limits: AgentLimits,
    confinement: Confinement | None = None,
) -> AsyncGenerator[OpencodeBackend]:
    """A backend whose server is leased by `ensure_session`; leaving ends what runs there for the session.

    `emit` takes events outside of turns.
    """
    async with open_group() as group:
        backend = OpencodeBackend(
            provider,
            command,
            env,
            servers=servers,
            emit=emit,
            limits=limits,
            group=group,
            confinement=confinement,
        )
        try:
            yield backend
        finally:
            with anyio.CancelScope(shield=True):
                await backend.dispose()
