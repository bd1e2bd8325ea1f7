"""From a catalogue entry to a running agent: the program, its environment, the backend that fits its transport."""

import logging
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import anyio
from anyio import to_thread

from coder.backends.acp.backend import open_acp_backend
from coder.backends.acp.probe import probe_acp
from coder.backends.base import AgentBackend, Emit, SessionOptions
from coder.backends.fallback import open_with_fallback
from coder.backends.opencode.backend import open_opencode_backend
from coder.backends.opencode.home import home_of
from coder.backends.opencode.probe import probe_opencode
from coder.backends.opencode.server import TESTED_VERSION, ServerUnavailable
from coder.backends.opencode.servers import Servers, open_servers
from coder.backends.quarters import Quarters, without_tidying
from coder.backends.turn import AgentLimits
from coder.errors import AgentUnavailable, CoderError
from coder.model.providers import ProbeResult, Provider
from coder.model.sandboxes import SandboxKind
from coder.processes.child import ChildSpec
from coder.processes.confinement import Confinement
from coder.processes.environment import child_environment, find_program
from coder.processes.supervisor import Supervisor
from coder.worktrees.grounds import Ground

logger = logging.getLogger(__name__)

VERSION_SECONDS = 10.0

FindGround = Callable[[], Awaitable[Ground]]
"""What of the machine a session is about; asked for only where an agent is confined."""


class Launch:
    """Starts agents under one supervisor with the host's environment filtered for each.

    What an agent keeps for a session lies in `folder`, under the session's id, or its project's. Made by `open_launch`.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        servers: Servers,
        environment: Mapping[str, str],
        limits: AgentLimits,
        folder: Path,
        quarters: Quarters,
    ) -> None:
        self._supervisor = supervisor
        self._servers = servers
        self._environment = environment
        self._limits = limits
        self._folder = folder
        self._quarters = quarters

    def find(self, program: str) -> str | None:
        """The absolute path of a program, or None."""
        return find_program(program, self._environment.get("PATH"))

    @asynccontextmanager
    async def open(
        self,
        provider: Provider,
        emit: Emit,
        session_id: str,
        find_ground: FindGround,
        variables: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[AgentBackend]:
        """A backend for the provider; `emit` takes what its agent says outside of turns.

        `variables` are the session's own; where the provider's entry sets the same ones, the entry wins.

        Raises:
            AgentUnavailable: its program is not installed, or the sandbox that it must run in is not to be had.
        """
        sandbox = await self._quarters.sandbox(provider)
        if sandbox is not None:
            # a server that sessions share would see the worktrees of them all
            provider = provider.model_copy(update={"share_server": False})
        # a server that sessions share can have the variables of none of them
        is_shared = provider.share_server and _has_server(provider)
        command, env = self._command(provider), self._env(provider, None if is_shared else variables)
        confinement = None
        if sandbox is not None:
            ground, folder = await find_ground(), self._folder / session_id
            confinement = await self._quarters.confine(provider, sandbox, command[0], env, folder, ground)
            env = without_tidying(env)
        async with self._backend(provider, command, env, emit, confinement) as backend:
            yield backend

    def _backend(
        self,
        provider: Provider,
        command: tuple[str, ...],
        env: Mapping[str, str],
        emit: Emit,
        confinement: Confinement | None,
    ) -> AbstractAsyncContextManager[AgentBackend]:
        if not _has_server(provider):
            return self._open_acp(provider, command, env, emit, confinement)
        server = open_opencode_backend(
            provider,
            command,
            env,
            servers=self._servers,
            emit=emit,
            limits=self._limits,
            confinement=confinement,
        )

        @asynccontextmanager
        async def fall_back(options: SessionOptions) -> AsyncGenerator[AgentBackend]:
            # the same program over ACP, in the home that its server has, so that conversations go on
            home = home_of(self._folder, provider, options)
            await to_thread.run_sync(home.prepare, env, TESTED_VERSION)
            environment = home.environment(env, options.worktree_path)
            async with self._open_acp(provider, (*command, "acp"), environment, emit, confinement) as backend:
                yield backend

        return open_with_fallback(provider.id, server, fall_back, emit, ServerUnavailable)

    def _open_acp(
        self,
        provider: Provider,
        command: tuple[str, ...],
        env: Mapping[str, str],
        emit: Emit,
        confinement: Confinement | None,
    ) -> AbstractAsyncContextManager[AgentBackend]:
        return open_acp_backend(
            provider,
            command,
            env,
            supervisor=self._supervisor,
            emit=emit,
            limits=self._limits,
            confinement=confinement,
        )

    async def probe(self, provider: Provider) -> ProbeResult:
        """Start the agent in an empty folder, ask what it offers, end it."""
        try:
            command, sandbox = self._command(provider), await self._quarters.sandbox(provider)
        except AgentUnavailable as error:
            return ProbeResult(error=str(error))
        env, supervisor, limits = self._env(provider), self._supervisor, self._limits
        with tempfile.TemporaryDirectory(prefix="coder-probe-") as folder:
            cwd = Path(tempfile.mkdtemp(dir=folder))
            walls = None
            if sandbox is not None:
                ground = Ground(cwd, write=(cwd,))
                walls = await self._quarters.confine(provider, sandbox, command[0], env, Path(folder), ground)
            if _has_server(provider):
                try:
                    return await probe_opencode(
                        provider, command, env, supervisor=supervisor, limits=limits, cwd=cwd, confinement=walls
                    )
                except ServerUnavailable as error:
                    logger.warning("probed over ACP: %s", error, extra={"agent": provider.id})
                    command = (*command, "acp")
            return await probe_acp(
                provider, command, env, supervisor=supervisor, limits=limits, cwd=cwd, confinement=walls
            )

    async def sandbox(self, provider: Provider) -> SandboxKind | None:
        """What the provider's next agent is started in; None where it is refused."""
        try:
            found = await self._quarters.sandbox(provider)
        except AgentUnavailable:
            return None
        return found.kind if found else "none"

    async def version(self, provider: Provider) -> str | None:
        """The first line that the provider's program answers to its version arguments, or None."""
        try:
            spec = ChildSpec(
                (self._command(provider)[0], *provider.version_args), Path(tempfile.gettempdir()), self._env(provider)
            )
            with anyio.move_on_after(VERSION_SECONDS):
                async with self._supervisor.open_child(spec) as child:
                    await child.close_stdin()
                    line = (await child.receive_lines())[0].decode(errors="replace").strip()
                    return line[:200] or None
        except (CoderError, anyio.EndOfStream):
            return None
        return None

    def _command(self, provider: Provider) -> tuple[str, ...]:
        path = self.find(provider.command[0])
        if path is None:
            raise AgentUnavailable(f"{provider.label} is not installed: no {provider.command[0]} on PATH")
        return (path, *provider.command[1:])

    def _env(self, provider: Provider, variables: Mapping[str, str] | None = None) -> dict[str, str]:
        return child_environment(self._environment, {**(variables or {}), **provider.env}, provider.env_names)


def _has_server(provider: Provider) -> bool:
    """Whether its server is to be used; an entry whose command is the ACP form of the program means that form."""
    return provider.transport == "opencode" and provider.command[-1] != "acp"


@asynccontextmanager
async def open_launch(
    supervisor: Supervisor, environment: Mapping[str, str], limits: AgentLimits, folder: Path, quarters: Quarters
) -> AsyncGenerator[Launch]:
    """Nothing runs yet; leaving ends the servers that are left."""
    async with open_servers(supervisor, limits, folder) as servers:
        yield Launch(supervisor, servers, environment, limits, folder, quarters)
