"""Setups: what a repository asks for in a new worktree is carried out before its first prompt, if a person agrees."""

import errno
import logging
import random
import re
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import anyio
from anyio.abc import TaskGroup
from asyncpg import Connection

from coder.errors import CoderError, Conflict, NotFound, Unavailable, WrongState
from coder.journal import Commit, Journal
from coder.model.events import SetupUpdated
from coder.model.sessions import Project
from coder.model.setups import LOG_LIMIT, Recipe, Setup, SetupState, SetupStep, TeardownStep, TrustedSetup
from coder.model.tasks import Fault
from coder.processes.child import ChildSpec
from coder.processes.environment import child_environment
from coder.processes.supervisor import Supervisor
from coder.recipes import BROKEN, read_setup, variables_of
from coder.store import projects, setups
from coder.store.database import Store
from coder.workspaces import Workspace, Workspaces
from coder.worktrees.copies import copy_ignored
from coder.worktrees.submodules import add_submodules

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 1.0
RETRY_SECONDS = 1.0
SHOWN_FILES = 20
PORTS = range(20_000, 32_000)
"""Below what systems give out by themselves."""
INTERRUPTED = Fault(code="interrupted", message="the host stopped while the setup was running; run it again")

_AGAIN = frozenset({SetupState.DONE, SetupState.FAILED, SetupState.SKIPPED})
_ESCAPES = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]")


@dataclass
class _Log:
    """The end of what was printed."""

    kept: bytearray = field(default_factory=bytearray)
    is_new: bool = False

    def add(self, data: bytes) -> None:
        self.kept += data
        self.is_new = True
        if len(self.kept) > 2 * LOG_LIMIT:
            del self.kept[:-LOG_LIMIT]

    def say(self, words: str) -> None:
        self.add(f"{words}\n".encode(errors="replace"))

    def text(self) -> str:
        return _ESCAPES.sub(b"", bytes(self.kept[-LOG_LIMIT:])).decode(errors="replace")


@dataclass(frozen=True)
class _Outcome:
    state: SetupState
    error: Fault | None = None
    exit_status: int | None = None


@dataclass
class _Run:
    """A setup that is under way. `ending` says why it is cut off."""

    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    done: anyio.Event = field(default_factory=anyio.Event)
    log: _Log = field(default_factory=_Log)
    ending: Literal["skip", "stop"] = "stop"


class Setups:
    """Opened by `open_setups`. `wake` is called when prompts may go that waited."""

    def __init__(
        self,
        group: TaskGroup,
        store: Store,
        journal: Journal,
        workspaces: Workspaces,
        supervisor: Supervisor,
        environment: Mapping[str, str],
        wake: Callable[[], None],
    ) -> None:
        self._group = group
        self._store = store
        self._journal = journal
        self._workspaces = workspaces
        self._supervisor = supervisor
        self._environment = environment
        self._wake = wake
        self._running: dict[str, _Run] = {}
        self._is_closing = False

    async def get(self, session_id: str) -> Setup:
        """In state `none` where the repository asks for nothing. Raises NotFound."""
        async with self._store.connection() as connection:
            return await setups.get(connection, session_id)

    async def record(self, commit: Commit, project: Project, setup: Setup) -> None:
        """Keep, in the transaction that opens the session, what its commit's setup file asks for."""
        digest = setup.digest or ""
        if setup.state is SetupState.UNTRUSTED and await setups.is_trusted(commit.connection, project.id, digest):
            setup = setup.model_copy(update={"state": SetupState.PENDING})
        await setups.insert(commit.connection, setup)
        if setup.recipe is not None:
            await _lease_ports(commit.connection, setup.session_id, setup.recipe)
        _tell(commit, await setups.get(commit.connection, setup.session_id))

    async def read(self, project: Project, commit: str, session_id: str) -> Setup | None:
        """What the commit that a session starts from asks for; None where it asks for nothing."""
        return await read_setup(Path(project.repo_path), commit, session_id)

    async def environment(self, session_id: str) -> dict[str, str]:
        """What the session's agents find in their environment beside the usual."""
        async with self._store.connection() as connection:
            setup = await setups.find(connection, session_id)
            if setup is None or setup.recipe is None:
                return {}
            is_trusted = await setups.is_session_trusted(connection, session_id)
        return variables_of(setup.recipe, setup.ports, is_trusted=is_trusted)

    async def refuse_while_held(self, session_id: str) -> None:
        """Raises Conflict: `setup_not_finished`, the session's prompts wait for its setup."""
        setup = await self.get(session_id)
        if setup.holds:
            words = f"the worktree's setup is {setup.state}; run, trust or skip it first"
            raise Conflict(words, code="setup_not_finished", state=setup.state)

    async def run(self, session_id: str) -> Setup:
        """Carry the setup out, or once more. Answers when it is under way.

        Raises:
            NotFound. WrongState: it is running, or there is none. Conflict: `setup_not_trusted`, with the digest to
            trust; `setup_file_invalid`, there is nothing to run; `turn_running`, an agent works in the worktree.
        """
        setup = await self.get(session_id)
        if setup.state is not SetupState.NONE and setup.recipe is None:
            raise Conflict(setup.error.message if setup.error else "the setup file is broken", code=BROKEN)
        if setup.state is not SetupState.PENDING:
            async with self._journal.commit(session_id) as commit:
                await self._refuse_untrusted(commit.connection, setup)
                setup = await setups.queue(commit.connection, session_id, _AGAIN)
                _tell(commit, setup)
        self._start(session_id)
        return setup

    async def skip(self, session_id: str) -> Setup:
        """Let prompts go without the setup; a command that runs is ended. Raises NotFound, WrongState."""
        if run := self._running.get(session_id):
            run.ending = "skip"
            run.scope.cancel()
            await run.done.wait()
            setup = await self.get(session_id)
            if setup.state is SetupState.SKIPPED:
                return setup
        async with self._journal.commit(session_id) as commit:
            setup = await setups.skip(commit.connection, session_id)
            _tell(commit, setup)
        self._wake()
        return setup

    async def trust(self, project_id: str, digest: str, by: str) -> TrustedSetup:
        """Agree, once for a project, that what the file of this digest says may run; starts what waited for it.

        Raises:
            NotFound: no such project, or no worktree of it has such a file.
        """
        async with self._store.transaction() as connection:
            await projects.get(connection, project_id)
            trusted, waiting = await setups.trust(connection, project_id, digest, by)
        for session_id in waiting:
            with suppress(WrongState, NotFound):
                async with self._journal.commit(session_id) as commit:
                    _tell(commit, await setups.queue(commit.connection, session_id, [SetupState.UNTRUSTED]))
                self._start(session_id)
        return trusted

    def start(self, setup: Setup | None) -> None:
        """Carry out what a session that has just been opened asks for, if it may."""
        if setup is not None and setup.state is not SetupState.FAILED:
            self._start(setup.session_id)

    async def end(self, session_id: str) -> None:
        """End a setup that runs and carry out the teardown. Never raises for what that does, and is bounded."""
        if run := self._running.get(session_id):
            run.scope.cancel()
            await run.done.wait()
        try:
            await self._tear_down(session_id)
        except CoderError as error:
            logger.warning("teardown failed: %s", error, extra={"session": session_id})
        except Exception:
            logger.exception("teardown failed", extra={"session": session_id})

    async def reconcile(self) -> None:
        """After a crash: what was running is failed as interrupted, what had not begun runs."""
        async with self._store.connection() as connection:
            cut_off = await setups.in_state(connection, SetupState.RUNNING)
            waiting = await setups.in_state(connection, SetupState.PENDING)
        for session_id in cut_off:
            await self._record_end(session_id, _Outcome(SetupState.FAILED, INTERRUPTED), None)
        for session_id in waiting:
            self._start(session_id)

    async def close(self) -> None:
        """Cut off what runs, record that, and start nothing more."""
        self._is_closing = True
        runs = list(self._running.values())
        for run in runs:
            run.scope.cancel()
        for run in runs:
            await run.done.wait()

    def _start(self, session_id: str) -> None:
        if not self._is_closing and session_id not in self._running:
            run = self._running[session_id] = _Run()
            self._group.start_soon(self._hold, session_id, run)

    async def _hold(self, session_id: str, run: _Run) -> None:
        """The whole run in one task. Whatever happens ends up in its row."""
        try:
            async with self._journal.commit(session_id) as commit:
                setup = await setups.begin(commit.connection, session_id)
                _tell(commit, setup)
            outcome: _Outcome | None = None
            with run.scope:
                outcome = await self._carry_out(setup, run)
            if outcome is None:
                is_skipped = run.ending == "skip"
                outcome = _Outcome(SetupState.SKIPPED) if is_skipped else _Outcome(SetupState.FAILED, INTERRUPTED)
            ended = outcome
            await _until_stored(lambda: self._record_end(session_id, ended, run.log.text()))
        except (WrongState, NotFound) as error:
            logger.info("setup not carried out: %s", error, extra={"session": session_id})
        except Exception:
            logger.exception("setup failed", extra={"session": session_id})
        finally:
            del self._running[session_id]
            run.done.set()
            self._wake()

    async def _record_end(self, session_id: str, outcome: _Outcome, log: str | None) -> None:
        async with self._journal.commit(session_id) as commit:
            setup = await setups.end(
                commit.connection,
                session_id,
                outcome.state,
                error=outcome.error,
                exit_status=outcome.exit_status,
                log=log,
            )
            _tell(commit, setup)

    async def _carry_out(self, setup: Setup, run: _Run) -> _Outcome:
        outcome = _Outcome(SetupState.FAILED, INTERRUPTED)
        async with anyio.create_task_group() as group:
            group.start_soon(self._tell_progress, setup.session_id, run.log)
            outcome = await self._outcome_of(setup, run.log)
            group.cancel_scope.cancel()
        return outcome

    async def _outcome_of(self, setup: Setup, log: _Log) -> _Outcome:
        try:
            return await self._follow_recipe(setup, log)
        except CoderError as error:
            return _Outcome(SetupState.FAILED, Fault(code=error.stable_code, message=str(error)))
        except Exception as error:
            logger.exception("setup failed", extra={"session": setup.session_id})
            return _Outcome(SetupState.FAILED, Fault(code="internal", message=f"the host failed: {error}"))

    async def _follow_recipe(self, setup: Setup, log: _Log) -> _Outcome:
        recipe = setup.recipe or Recipe()
        workspace = await self._workspaces.look(setup.session_id)
        if recipe.include:
            await _copy(workspace, recipe.include, log)
        if recipe.submodules:
            for path in await add_submodules(workspace.checkout, workspace.worktree.worktree_path):
                log.say(f"submodule {path}")
        if recipe.setup is None:
            return _Outcome(SetupState.DONE)
        async with self._store.connection() as connection:
            await self._refuse_untrusted(connection, setup)
        status = await self._run_step(workspace, recipe, setup.ports, recipe.setup, log)
        if status == 0:
            return _Outcome(SetupState.DONE, None, status)
        if status is None:
            words = f"the setup command did not end within {recipe.setup.timeout:g} s"
            return _Outcome(SetupState.FAILED, Fault(code="setup_timeout", message=words))
        words = f"ended by signal {-status}" if status < 0 else f"failed with exit status {status}"
        return _Outcome(SetupState.FAILED, Fault(code="setup_failed", message=f"the setup command {words}"), status)

    async def _run_step(
        self,
        workspace: Workspace,
        recipe: Recipe,
        ports: Mapping[str, int],
        step: SetupStep | TeardownStep,
        log: _Log,
    ) -> int | None:
        """The exit status of a command in the worktree, None where it did not end in time; nothing is left of it."""
        folder = workspace.worktree.worktree_path
        variables = variables_of(recipe, ports, is_trusted=True)
        places = {"CODER_WORKTREE": str(folder), "CODER_CHECKOUT": str(workspace.checkout)}
        spec = ChildSpec(
            _argv(step.command, folder),
            folder,
            child_environment(self._environment, variables, ()) | places,
            has_merged_stderr=True,
        )
        status: int | None = None
        with anyio.move_on_after(step.timeout):
            async with self._supervisor.open_child(spec) as child:
                await child.close_stdin()
                with suppress(anyio.EndOfStream):
                    while True:
                        log.add(await child.receive())
                status = await child.wait()
        return status

    async def _tear_down(self, session_id: str) -> None:
        async with self._store.connection() as connection:
            setup = await setups.find(connection, session_id)
            is_trusted = setup is not None and await setups.is_session_trusted(connection, session_id)
        if setup is None or setup.recipe is None or not is_trusted or setup.started_at is None:
            return
        if step := setup.recipe.teardown:
            workspace = await self._workspaces.look(session_id)
            log = _Log()
            status = await self._run_step(workspace, setup.recipe, setup.ports, step, log)
            level = logging.INFO if status == 0 else logging.WARNING
            logger.log(level, "teardown ended", extra={"session": session_id, "status": status})
            logger.debug("teardown said: %s", log.text()[-2000:], extra={"session": session_id})

    async def _refuse_untrusted(self, connection: Connection, setup: Setup) -> None:
        if setup.recipe is None or not setup.recipe.needs_trust:
            return
        if not await setups.is_session_trusted(connection, setup.session_id):
            raise Conflict(
                f"{setup.source} would run commands that nobody has agreed to; look at it and trust it first",
                code="setup_not_trusted",
                digest=setup.digest,
            )

    async def _tell_progress(self, session_id: str, log: _Log) -> None:
        while True:
            await anyio.sleep(PROGRESS_SECONDS)
            if log.is_new:
                log.is_new = False
                # cut off in its commit, it would leave open whether the record is stored
                with anyio.CancelScope(shield=True):
                    await self._note_log(session_id, log.text())

    async def _note_log(self, session_id: str, text: str) -> None:
        try:
            async with self._journal.commit(session_id) as commit:
                _tell(commit, await setups.note_log(commit.connection, session_id, text))
        except CoderError as error:
            logger.warning("setup's log not stored: %s", error, extra={"session": session_id})


@asynccontextmanager
async def open_setups(
    store: Store,
    journal: Journal,
    workspaces: Workspaces,
    supervisor: Supervisor,
    environment: Mapping[str, str],
    wake: Callable[[], None],
) -> AsyncGenerator[Setups]:
    """Setups; leaving it cuts off what runs."""
    async with anyio.create_task_group() as group:
        opened = Setups(group, store, journal, workspaces, supervisor, environment, wake)
        try:
            yield opened
        finally:
            with anyio.move_on_after(15, shield=True):
                await opened.close()
            group.cancel_scope.cancel()


def _tell(commit: Commit, setup: Setup) -> None:
    commit.append(SetupUpdated(setup=setup.abridged()))


async def _copy(workspace: Workspace, patterns: tuple[str, ...], log: _Log) -> None:
    copies = await copy_ignored(workspace.checkout, workspace.shadow, patterns)
    lines = [f"copied {name}" for name in copies.copied]
    lines += [f"not copied: {name}: {why}" for name, why in copies.left_out]
    for line in lines[:SHOWN_FILES]:
        log.say(line)
    if len(lines) > SHOWN_FILES:
        log.say(f"… {len(copies.copied)} files copied, {len(copies.left_out)} not")


def _argv(command: str | tuple[str, ...], folder: Path) -> tuple[str, ...]:
    if isinstance(command, str):
        return ("/bin/sh", "-c", command)
    program = command[0]
    # a relative program is the repository's own
    return (str(folder / program), *command[1:]) if "/" in program and not program.startswith("/") else command


async def _lease_ports(connection: Connection, session_id: str, recipe: Recipe) -> None:
    """A free port of this machine for each name, that no other session has."""
    if not recipe.ports:
        return
    taken = await setups.leased_ports(connection)
    free = [port for port in PORTS if port not in taken]
    candidates = iter(random.sample(free, min(len(free), 200)))
    for name in recipe.ports:
        while True:
            port = next(candidates, None)
            if port is None:
                raise Unavailable("no free port was found for the session")
            if _is_free(port) and await setups.lease_port(connection, session_id, name, port):
                break


def _is_free(port: int) -> bool:
    """Whether nobody listens there now, on either kind of loopback address."""
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, port))
        except OSError as error:
            if family is socket.AF_INET or error.errno == errno.EADDRINUSE:
                return False
    return True


async def _until_stored(write: Callable[[], Awaitable[None]]) -> None:
    """Repeat while the database is away: an end that happened must not be forgotten."""
    while True:
        try:
            return await write()
        except Unavailable as error:
            logger.warning("a setup's end waits for the database: %s", error)
            await anyio.sleep(RETRY_SECONDS)
