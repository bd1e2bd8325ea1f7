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

from coder.backends.acp.turn import AcpLimits, Turn, fault_of
from coder.backends.acp.wire import Fields, fields, objects, text
from coder.backends.base import (
    AgentSessionHandle,
    Capabilities,
    Emit,
    PromptContext,
    PromptInput,
    SessionOptions,
    TurnResult,
)
from coder.backends.opencode.asking import Asking
from coder.backends.opencode.home import Home
from coder.backends.opencode.http import Http, is_refused_sign_in
from coder.backends.opencode.offer import Offer, read_offer
from coder.backends.opencode.plugins import find_plugins
from coder.backends.opencode.progress import Progress, new_message_id
from coder.backends.opencode.prompt import file_parts, prompt_parts
from coder.backends.opencode.server import Server
from coder.backends.opencode.stream import follow
from coder.backends.opencode.translate import Events, Translator, error_words
from coder.errors import AgentDied, AgentError, AgentProtocolError, AgentUnavailable, CoderError, InvalidInput
from coder.model.events import AgentStatusChanged
from coder.model.providers import Provider
from coder.model.sessions import BackendKind
from coder.model.values import Json
from coder.processes.supervisor import Supervisor

logger = logging.getLogger(__name__)

ALLOW_PLUGINS = "OPENCODE_ALLOW_PROJECT_PLUGINS"
"""Set to 1 in the environment of a catalogue entry, plugins of repositories may run."""
_PAGE = 20
_ADMISSION = 5.0
"""Seconds after which a prompt that nobody has heard of is looked for."""
_QUIET = 1.0
"""Seconds that an idle session may take to tell of its last message."""
_TURN = 7 * 24 * 3600.0
"""Seconds that a request may take which is answered at the end of a turn: the turn has deadlines of its own."""
_LAST_WORDS = 1.0
"""Seconds to read what a server that has died had sent before."""
_ERROR_CODES = {
    "ProviderAuthError": "auth_required",
    "ContextOverflowError": "context_overflow",
    "MessageOutputLengthError": "output_too_long",
}


class OpencodeBackend:
    """An AgentBackend over the HTTP server of opencode. Made by `open_opencode_backend`."""

    def __init__(
        self,
        provider: Provider,
        command: tuple[str, ...],
        env: Mapping[str, str],
        *,
        folder: Path,
        supervisor: Supervisor,
        emit: Emit,
        limits: AcpLimits,
        group: TaskGroup,
    ) -> None:
        self._provider = provider
        self._command = command
        self._env = env
        self._folder = folder
        self._supervisor = supervisor
        self._emit = emit
        self._limits = limits
        self._group = group
        self.translator = Translator(provider.id)
        self._starting = anyio.Lock()
        self._order = anyio.Lock()
        self._connected = anyio.Event()
        self._heard_all = anyio.Event()
        self._server: Server | None = None
        self._disposed = anyio.Event()
        self._handle: AgentSessionHandle | None = None
        self._turn: Turn | None = None
        self._progress: Progress | None = None
        self._asking: Asking | None = None
        self._news = anyio.Event()
        self._is_held = False

    @property
    def kind(self) -> BackendKind:
        return "opencode_server"

    @property
    def server(self) -> Server | None:
        """The running server, once there is one."""
        return self._server

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
        return "up" if self._server and self._server.is_up else "down"

    async def resident_bytes(self) -> int:
        return await self._server.resident_bytes() if self._server else 0

    async def wait_closed(self) -> None:
        await (self._server.gone if self._server else self._disposed).wait()

    async def dispose(self) -> None:
        self._disposed.set()
        if self._server:
            await self._server.close()

    # The session

    async def ensure_session(self, options: SessionOptions) -> AgentSessionHandle:
        async with self._starting:
            if self._handle and self.health() == "up":
                return self._handle
            if self._disposed.is_set() or (self._server and not self._server.is_up):
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
        if self._server is None:
            await self._start(options)
        http = self._server_or_raise().http
        offer = await fetch_offer(http)
        info = await self._find_session(http, options)
        is_resumed = info is not None
        if info is None:
            body: Fields = {"title": f"coder {options.session_id}", "metadata": {"coder_session": options.session_id}}
            info = fields(await http.post("/session", body, timeout=self._limits.session_start))
        session = text(info.get("id"))
        if session is None:
            raise AgentProtocolError("the server opened a session without an id")
        async with self._order:
            await self._pass_on(self.translator.opened(session, info, offer))
        try:
            await self._choose(options.model, options.mode_id, options.thinking_option_id)
        except InvalidInput as error:
            # the turn that wants it will say so
            logger.warning("not chosen: %s", error, extra=self._ids())
        self._group.start_soon(self._prewarm, http)
        port = self._server_or_raise().port
        return AgentSessionHandle(options.session_id, options.agent, self.kind, session, port, is_resumed)

    async def _start(self, options: SessionOptions) -> None:
        await self._heed_plugins(options.worktree_path)
        home = Home(self._folder / options.session_id / options.agent)
        server = Server(self._provider.label, self._command, home, self._supervisor, self._limits)
        self._server = server
        await server.open(self._group, self._env, options.worktree_path)
        self._group.start_soon(self._follow, server)
        with anyio.move_on_after(self._limits.request):
            await self._connected.wait()

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
        async with self._order:
            await self._pass_on(self.translator.choose(model=model, mode=mode, thinking=thinking))

    # What the server tells

    async def _follow(self, server: Server) -> None:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._read, server)
                await server.ending.wait()
                with anyio.move_on_after(_LAST_WORDS):
                    await self._heard_all.wait()
                group.cancel_scope.cancel()
        except Exception as error:
            logger.exception("the server's events could not be handled", extra=self._ids())
            server.end = server.end or AgentError(f"{self._provider.label}: its events could not be handled: {error}")
            server.kill()
        finally:
            self._heard_all.set()

    async def _read(self, server: Server) -> None:
        try:
            await follow(server.http, lambda: server.is_up, self._on_connected, self._on_event)
        except AgentError as error:
            server.end = server.end or error
            server.kill()
        finally:
            self._heard_all.set()

    async def _on_connected(self) -> None:
        is_again, self._connected = self._connected.is_set(), self._connected
        self._connected.set()
        if is_again:
            async with self._order:
                self.translator.missed()
                await self._reconcile()

    async def _on_event(self, kind: str, properties: Fields) -> None:
        async with self._order:
            await self._take(kind, properties)

    async def _take(self, kind: str, properties: Fields) -> None:
        translator = self.translator
        if kind == "session.created":
            translator.event(kind, properties)
        if translator.session is None or not translator.concerns(properties):
            return
        if kind in ("permission.asked", "question.asked"):
            await self._ask(kind, properties)
        elif kind in ("permission.replied", "question.replied", "question.rejected"):
            if self._asking:
                self._asking.settled(text(properties.get("requestID")))
        else:
            await self._pass_on(translator.event(kind, properties))
        if self._progress:
            self._progress.take(kind, properties)
        if self._turn and "sessionID" in properties:
            self._turn.heard()
        self._tell()

    async def _ask(self, kind: str, asked: Fields) -> None:
        if self._asking is None:
            return
        if kind == "permission.asked":
            if found := self.translator.permission(asked):
                events, call, options = found
                await self._pass_on(events)
                self._asking.permit(asked, call, options)
        elif found := self.translator.question(asked):
            events, questions = found
            await self._pass_on(events)
            self._asking.question(asked, questions)

    async def _reconcile(self) -> None:
        """Fetch what the stream may not have told: requests, messages since the prompt, whether the session is idle."""
        progress, http, session = self._progress, self._server_or_raise().http, self.translator.session
        if progress is None or session is None:
            return
        statuses = fields(await http.get("/session/status"))
        messages = objects(await http.get(f"/session/{session}/message?limit={_PAGE}"))
        for message in messages:
            info = fields(message.get("info"))
            if (text(info.get("id")) or "") >= progress.message_id:
                await self._pass_on(self.translator.message(message))
                progress.take("message.updated", {"info": dict(info)})
        for kind, path in (("permission.asked", "/permission"), ("question.asked", "/question")):
            for asked in objects(await http.get(path)):
                if self.translator.concerns(asked):
                    await self._ask(kind, asked)
        status = fields(statuses.get(session)) or {"type": "idle"}
        progress.take("session.status", {"sessionID": session, "status": dict(status)})
        self._tell()

    async def _pass_on(self, events: Events) -> None:
        turn = self._turn
        emit = self._emit if turn is None or turn.over.is_set() else turn.context.emit
        self._is_held = True
        try:
            for event in events:
                await emit(event)
        finally:
            self._is_held = False
        if turn and events:
            turn.heard()
            turn.has_begun = True

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    # A turn

    async def prompt(self, handle: AgentSessionHandle, input: PromptInput, context: PromptContext) -> TurnResult:
        server, session = self._server, self.translator.session
        if server is None or not server.is_up or session is None or handle != self._handle:
            return TurnResult(ok=False, error=fault_of(self._end()), reached_agent=False)
        try:
            await self._choose(context.model, context.mode_id, context.thinking_option_id)
            takes_images = self.translator.chosen.model in self.translator.offer.image_models
            parts = prompt_parts(input, takes_images=takes_images)
        except CoderError as error:
            return TurnResult(ok=False, error=fault_of(error), reached_agent=False)
        if context.cancel.is_set():
            return TurnResult(ok=True, stop_reason="cancelled", reached_agent=False)
        turn = Turn(context, self._limits, time.monotonic)
        progress = Progress(session, new_message_id(lambda: time.time_ns() // 1_000_000))
        is_done = False
        try:
            self.translator.begin_turn(progress.message_id, input.text)
            self._turn, self._progress = turn, progress
            result = await self._run_turn(turn, progress, server, input, parts)
            is_done = True
        finally:
            self._turn = self._progress = None
            if not is_done:
                # nobody waits for the end any more, and the next prompt must not meet this one
                server.kill()
        return result

    async def _run_turn(
        self, turn: Turn, progress: Progress, server: Server, input: PromptInput, parts: list[Json]
    ) -> TurnResult:
        reached = True
        async with anyio.create_task_group() as group:
            self._asking = Asking(turn, server.http, self.translator, group)
            group.start_soon(self._watch_cancel, turn, server)
            group.start_soon(self._watch_silence, turn, server)
            group.start_soon(self._watch_end, turn, server)
            try:
                await self._send(server.http, progress, input, parts, group)
                group.start_soon(self._watch_progress, turn, progress)
            except AgentError as error:
                reached = not isinstance(error, AgentProtocolError)
                fault = await server.obituary(error)
                if reached and await self._has_arrived(server, progress):
                    group.start_soon(self._watch_progress, turn, progress)
                else:
                    reached = reached and not server.is_up
                    turn.error = fault
                    turn.over.set()
                if is_refused_sign_in(error):
                    server.kill()
            await turn.over.wait()
            await self._asking.end()
            group.cancel_scope.cancel()
        self._asking = None
        return await self._close_turn(turn, progress, reached=reached)

    async def _has_arrived(self, server: Server, progress: Progress) -> bool:
        """Whether a prompt that was not answered is there all the same."""
        if not server.is_up:
            return False
        try:
            path = f"/session/{self.translator.session}/message/{progress.message_id}"
            return bool((await server.http.find(path) or {}).get("info"))
        except AgentError as error:
            logger.info("not found out: %s", error, extra=self._ids())
            return False

    async def _close_turn(self, turn: Turn, progress: Progress, *, reached: bool) -> TurnResult:
        fault = progress.error if not progress.was_aborted else None
        is_cancelled = turn.is_cancelled or progress.was_aborted or (turn.error is None and progress.is_unfinished)
        is_done = not (turn.error or fault or is_cancelled)
        turn.usage = self.translator.usage
        async with self._order:
            for event in self.translator.end_turn(is_done=is_done):
                await turn.context.emit(event)
        if is_cancelled and turn.error is None:
            return TurnResult(ok=True, stop_reason="cancelled", usage=turn.usage)
        if turn.error is None and fault:
            code = _ERROR_CODES.get(text(fault.get("name")) or "", "agent_failed")
            turn.error = AgentError(error_words(fault), code=code)
        turn.stop_reason = progress.stop_reason
        result = turn.result()
        return result if reached else TurnResult(ok=False, error=result.error, reached_agent=False)

    async def _send(
        self, http: Http, progress: Progress, input: PromptInput, parts: list[Json], group: TaskGroup
    ) -> None:
        chosen, session = self.translator.chosen, self.translator.session
        body: dict[str, Json] = {"messageID": progress.message_id}
        if chosen.mode:
            body["agent"] = chosen.mode
        if chosen.thinking:
            body["variant"] = chosen.thinking
        name, _, arguments = input.text.removeprefix("/").partition(" ")
        if input.text.startswith("/") and any(command.name == name for command in self.translator.offer.commands):
            takes_images = chosen.model in self.translator.offer.image_models
            files = file_parts(input, takes_images=takes_images)
            body |= {"command": name, "arguments": arguments, "parts": files}
            if chosen.model:
                body["model"] = chosen.model
            group.start_soon(self._command_runs, http, f"/session/{session}/command", body)
            return
        if chosen.model:
            vendor, _, model = chosen.model.partition("/")
            body["model"] = {"providerID": vendor, "modelID": model}
        await http.post(f"/session/{session}/prompt_async", {**body, "parts": parts})

    async def _command_runs(self, http: Http, path: str, body: Fields) -> None:
        """A command is answered when its turn is over; what becomes of it is told by the events."""
        try:
            await http.post(path, body, timeout=_TURN)
        except AgentError as error:
            logger.info("command: %s", error, extra=self._ids())
            if self._progress and self._turn and self._progress.message_id == body.get("messageID"):
                self._turn.error = self._turn.error or error
                self._turn.over.set()

    async def _watch_progress(self, turn: Turn, progress: Progress) -> None:
        while not progress.is_over:
            news, patience = self._news, _QUIET if progress.is_idle else _ADMISSION
            with anyio.move_on_after(patience) as pause:
                await news.wait()
                continue
            if pause.cancelled_caught and progress.needs_a_look and await self._look(progress):
                break
        turn.over.set()

    async def _look(self, progress: Progress) -> bool:
        """Whether nothing more can be expected, seen by asking."""
        try:
            async with self._order:
                await self._reconcile()
        except AgentError as error:
            logger.info("not reconciled: %s", error, extra=self._ids())
            return False
        if not progress.is_admitted:
            progress.error = progress.error or {"name": "the server did not take the prompt"}
            return True
        return progress.is_idle

    async def _watch_cancel(self, turn: Turn, server: Server) -> None:
        await turn.context.cancel.wait()
        turn.is_cancelled = True
        await self._stop_turn(turn, server)

    async def _watch_silence(self, turn: Turn, server: Server) -> None:
        error = await turn.wait_for_silence(lambda: self._is_held)
        if not turn.is_cancelled:
            turn.error = error
            await self._stop_turn(turn, server)

    async def _watch_end(self, turn: Turn, server: Server) -> None:
        await server.gone.wait()
        await self._heard_all.wait()
        turn.error = turn.error or self._end()
        turn.over.set()

    async def _stop_turn(self, turn: Turn, server: Server) -> None:
        """Ask politely; a server that does not end its turn is ended itself."""
        with anyio.move_on_after(self._limits.cancel):
            try:
                await server.http.post(f"/session/{self.translator.session}/abort", {})
            except AgentError as error:
                logger.debug("not aborted: %s", error, extra=self._ids())
            if self._asking:
                await self._asking.withdraw()
            await turn.over.wait()
            return
        logger.warning("server does not end its turn", extra=self._ids())
        server.kill()

    # Small things

    def _server_or_raise(self) -> Server:
        if self._server is None:
            raise self._end()
        return self._server

    def _end(self) -> AgentError:
        end = self._server.end if self._server else None
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
    folder: Path,
    supervisor: Supervisor,
    emit: Emit,
    limits: AcpLimits,
) -> AsyncGenerator[OpencodeBackend]:
    """A backend whose server is started by `ensure_session`; leaving ends the server and everything it started.

    What the server keeps lies in `folder`, under the session's id and the agent's. `emit` takes events outside of
    turns.
    """
    failure: Exception | None = None
    async with anyio.create_task_group() as group:
        backend = OpencodeBackend(
            provider, command, env, folder=folder, supervisor=supervisor, emit=emit, limits=limits, group=group
        )
        try:
            yield backend
        except Exception as error:
            failure = error  # raised below: the task group would wrap it
        finally:
            with anyio.CancelScope(shield=True):
                await backend.dispose()
            group.cancel_scope.cancel()
    if failure:
        raise failure
