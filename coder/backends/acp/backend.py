"""A warm ACP agent: one process, one agent session, one turn at a time."""

import logging
import time
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import anyio
from anyio.abc import TaskGroup

from coder.backends.acp.client import Client
from coder.backends.acp.connection import Connection
from coder.backends.acp.exchange import Exchange
from coder.backends.acp.exchange_v2 import ExchangeV2
from coder.backends.acp.feed import Feed
from coder.backends.acp.handshake import Introduction, initialize_params, read_introduction
from coder.backends.acp.peer import OnAnswer, OnRequest, Peer, Pending
from coder.backends.acp.prompt import prompt_blocks
from coder.backends.acp.selection import selections
from coder.backends.acp.terminals import Terminals
from coder.backends.acp.translate import Translator
from coder.backends.acp.translate_v2 import TranslatorV2
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
from coder.backends.turn import AgentLimits, Turn, fault_of, needs_login
from coder.backends.wire import Fields, fields, text
from coder.errors import AgentDied, AgentError, AgentProtocolError, AuthRequired, CoderError, InvalidInput
from coder.model.providers import Provider
from coder.model.sandboxes import SandboxKind
from coder.model.sessions import BackendKind
from coder.model.tasks import Fault
from coder.model.tool_calls import TerminalOutput
from coder.model.values import Json
from coder.processes.child import ChildSpec
from coder.processes.confinement import Confinement
from coder.processes.supervisor import Supervisor
from coder.worktrees.paths import open_root

logger = logging.getLogger(__name__)

_LATE_REPLAY = 2.0
"""Seconds a late replay may take at most."""


class AcpBackend:
    """An AgentBackend over the Agent Client Protocol, version 1 or 2. Made by `open_acp_backend`."""

    def __init__(
        self,
        provider: Provider,
        command: tuple[str, ...],
        env: Mapping[str, str],
        *,
        supervisor: Supervisor,
        emit: Emit,
        limits: AgentLimits,
        group: TaskGroup,
        confinement: Confinement | None = None,
    ) -> None:
        self._provider = provider
        self._command = command
        self._env = env
        self._supervisor = supervisor
        self._limits = limits
        self._confinement = confinement
        self._group = group
        self._feed = Feed(provider.id, emit)
        self.introduction = Introduction()
        self._starting = anyio.Lock()
        self._connection: Connection | None = None
        self._disposed = anyio.Event()
        self._handle: AgentSessionHandle | None = None
        self._exchange: Exchange | None = None

    @property
    def kind(self) -> BackendKind:
        return "acp_warm"

    @property
    def sandbox(self) -> SandboxKind:
        return self._confinement.sandbox.kind if self._confinement else "none"

    @property
    def translator(self) -> Translator:
        """What the agent has said of itself: choices, commands, usage."""
        return self._feed.translator

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            resume=self.introduction.can_resume or self.introduction.can_load,
            images=self.introduction.accepts_images,
            modes=self.translator.choices.mode is not None,
            models=self.translator.choices.model is not None,
            commands=bool(self.translator.commands),
            usage=self.translator.usage.context_used is not None,
            steer=self.introduction.can_steer,
        )

    def health(self) -> Literal["up", "down"]:
        return "up" if self._connection and self._connection.is_up else "down"

    async def resident_bytes(self) -> int:
        return await self._connection.resident_bytes() if self._connection else 0

    def age(self) -> float:
        return self._connection.age() if self._connection else 0.0

    @property
    def is_retired(self) -> bool:
        return self._connection is not None and self._connection.is_retired

    def retire(self) -> None:
        if self._connection:
            self._connection.is_retired = True

    async def wait_closed(self) -> None:
        await (self._connection.gone if self._connection else self._disposed).wait()

    async def dispose(self) -> None:
        self._disposed.set()
        if self._connection:
            await self._connection.close()

    # The session

    async def ensure_session(self, options: SessionOptions) -> AgentSessionHandle:
        async with self._starting:
            if self._handle and self.health() == "up":
                return self._handle
            if self._disposed.is_set() or (self._connection and not self._connection.is_up):
                raise self._end()
            is_open = False
            try:
                handle = await self._open(options)
                is_open = True
            except AgentProtocolError as error:
                if not needs_login(error):
                    raise
                raise AuthRequired(self._wish_for_login(error), auth_methods=self.introduction.auth) from error
            finally:
                if not is_open:
                    with anyio.CancelScope(shield=True):
                        await self.dispose()
            self._handle = handle
            return handle

    async def close_session(self, handle: AgentSessionHandle) -> None:
        session, self._feed.session, self._handle = self._feed.session, None, None
        if session and self.health() == "up" and self.introduction.can_close:
            try:
                await self._request("session/close", {"sessionId": session}, self._limits.request)
            except AgentError as error:
                logger.info("session not closed: %s", error, extra=self._ids())

    async def _open(self, options: SessionOptions) -> AgentSessionHandle:
        if self._connection is None:
            await self._connect(options.worktree_path)
        place: Fields = {"cwd": str(options.worktree_path), "mcpServers": []}
        token = options.resume_token
        is_resumed = token is not None and await self._resume(token, place)
        # a load that was accepted but brought nothing back has opened a session all the same
        if self._feed.session is None:
            await self._open_session("session/new", place, None)
        try:
            await self._select(options.model, options.mode_id, options.thinking_option_id, options.feature_values)
        except (InvalidInput, AgentProtocolError) as error:
            # the turn that wants it will say so
            logger.warning("not chosen: %s", error, extra=self._ids())
        return AgentSessionHandle(options.session_id, options.agent, self.kind, self._feed.session, None, is_resumed)

    async def _connect(self, worktree: Path) -> None:
        @contextmanager
        def open_client(group: TaskGroup) -> Generator[OnRequest]:
            with open_root(worktree) as root:
                terminals = Terminals(self._supervisor, group, self._env, self._terminal_news, self._confinement)
                yield Client(root, terminals, self._feed.permit).accept

        spec = ChildSpec(
            self._command, worktree, self._env, write_timeout=self._limits.write, confinement=self._confinement
        )
        self._connection = Connection(self._provider.label, spec, self._supervisor, self._feed, open_client)
        await self._connection.open(self._group)
        self.introduction = read_introduction(fields(await self._initialize()), self._command)
        if self.introduction.protocol == 2:
            self._feed.translator = TranslatorV2()

    async def _initialize(self) -> Json:
        newest = self._provider.protocol
        try:
            return await self._request("initialize", initialize_params(self._provider, newest), self._limits.initialize)
        except AgentProtocolError as error:
            if newest == 1 or needs_login(error):
                raise
            logger.info("version %s refused: %s", newest, error, extra=self._ids())
        return await self._request("initialize", initialize_params(self._provider, 1), self._limits.initialize)

    async def _resume(self, token: str, place: Fields) -> bool:
        """Whether the agent has its memory of the session back."""
        params: Fields = {"sessionId": token, **place}
        if self.introduction.can_resume and await self._try_to_open("session/resume", params, token):
            return True
        self.translator.replayed = 0
        if self.introduction.can_load and await self._try_to_open(*self._load(params), token):
            # some accept any id, and open an empty session
            return self.translator.replayed > 0
        return False

    def _load(self, params: Fields) -> tuple[str, Fields]:
        if self.introduction.protocol == 2:
            return "session/resume", {**params, "replayFrom": {"type": "start"}}
        return "session/load", params

    async def _try_to_open(self, method: str, params: Fields, token: str) -> bool:
        self.translator.is_replaying = True
        try:
            await self._open_session(method, params, token)
            if method == "session/load" or "replayFrom" in params:
                await self._let_replay_end()
        except AgentProtocolError as error:
            if needs_login(error):
                raise
            logger.info("%s refused: %s", method, error, extra=self._ids())
            return False
        finally:
            self.translator.is_replaying = False
        return True

    async def _open_session(self, method: str, params: Fields, token: str | None) -> None:
        async def opened(pending: Pending) -> None:
            result = fields(pending.result)
            if pending.error or (id := text(result.get("sessionId")) or token) is None:
                return
            await self._feed.open(id, result)

        await self._request(method, params, self._limits.session_start, opened)
        if self._feed.session is None:
            raise AgentProtocolError(f"the agent answered {method} without a session id", method=method)

    async def _let_replay_end(self) -> None:
        """Some agents answer a load first and replay afterwards: wait until no update comes any more."""
        with anyio.move_on_after(_LATE_REPLAY):
            seen = -1
            while seen != self._feed.updates:
                seen = self._feed.updates
                await anyio.sleep(self._limits.replay_quiet)

    async def _select(
        self, model: str | None, mode: str | None, thinking: str | None, features: Mapping[str, Json]
    ) -> None:
        """Make what is asked for true, by whatever way the agent offers."""
        choices = selections(
            lambda: self.translator.choices, model, mode, thinking, features, self.introduction.protocol
        )
        for wanted in choices:

            async def accepted(pending: Pending, chosen: Mapping[str, str] = wanted.chosen) -> None:
                if not pending.error:
                    events = self.translator.configured(fields(pending.result))
                    await self._feed.pass_on(events + self.translator.chosen(**chosen))

            params: Fields = {"sessionId": self._feed.session, **wanted.params}
            await self._request(wanted.method, params, self._limits.request, accepted)

    # A turn

    def new_message_id(self) -> str | None:
        return None

    async def prompt(self, handle: AgentSessionHandle, input: PromptInput, context: PromptContext) -> TurnResult:
        connection = self._connection
        if connection is None or not connection.is_up or self._feed.session is None or handle != self._handle:
            return TurnResult(ok=False, error=fault_of(self._end()), reached_agent=False)
        try:
            blocks = prompt_blocks(input, self.introduction)
            await self._select(context.model, context.mode_id, context.thinking_option_id, {})
        except CoderError as error:
            return self._told(TurnResult(ok=False, error=fault_of(error), reached_agent=False))
        if context.cancel.is_set():
            return TurnResult(ok=True, stop_reason="cancelled", reached_agent=False)
        turn = Turn(context, self._limits, time.monotonic)
        kind = ExchangeV2 if self.introduction.protocol == 2 else Exchange
        self._exchange = kind(connection, self._feed, turn, self._limits, self._provider.id)
        try:
            return self._told(await self._exchange.run(input.text, blocks))
        finally:
            self._exchange = None

    def _told(self, result: TurnResult) -> TurnResult:
        """The result; where the agent wants a login first, with its ways to sign in."""
        if result.error is None or result.error.code != AuthRequired.code:
            return result
        fault = Fault(code=result.error.code, message=self._wish_for_login(result.error.message))
        return replace(result, error=fault, auth_methods=self.introduction.auth)

    async def steer(self, handle: AgentSessionHandle, input: PromptInput) -> bool:
        """Put input into the running turn; False when there is none, or the agent has not taken it.

        Raises:
            AgentTimeout, AgentDied: it is not known whether it was taken.
        """
        exchange = self._exchange
        if exchange is None or handle != self._handle or not self.introduction.can_steer:
            return False
        try:
            blocks = prompt_blocks(input, self.introduction)
        except InvalidInput:
            return False
        return await exchange.steer(input.text, blocks)

    async def _terminal_news(self, terminal: TerminalOutput) -> None:
        async with self._peer().order:
            await self._feed.pass_on(self.translator.terminal(terminal))

    # Small things

    def _peer(self) -> Peer:
        if self._connection is None:
            raise self._end()
        return self._connection.peer

    def _end(self) -> AgentError:
        end = self._connection.end if self._connection else None
        return end or AgentDied(f"{self._provider.label} is not running")

    async def _request(self, method: str, params: Fields, timeout: float, on_answer: OnAnswer | None = None) -> Json:
        return await self._peer().request(method, params, timeout=timeout, on_answer=on_answer)

    def _wish_for_login(self, words: object) -> str:
        return f"{self._provider.label} wants a login first: {words}"

    def _ids(self) -> dict[str, str | None]:
        session = self._handle.session_id if self._handle else None
        return {"agent": self._provider.id, "session": session}


@asynccontextmanager
async def open_acp_backend(
    provider: Provider,
    command: tuple[str, ...],
    env: Mapping[str, str],
    *,
    supervisor: Supervisor,
    emit: Emit,
    limits: AgentLimits,
    confinement: Confinement | None = None,
) -> AsyncGenerator[AcpBackend]:
    """A backend whose agent is started by `ensure_session`; leaving ends the agent and everything it started.

    `emit` takes events outside of turns.
    """
    async with open_group() as group:
        backend = AcpBackend(
            provider,
            command,
            env,
            supervisor=supervisor,
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
