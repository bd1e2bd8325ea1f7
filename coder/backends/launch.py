"""From a catalogue entry to a running agent: the program, its environment, the backend that fits its transport."""

import tempfile
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio

from coder.backends.acp.backend import AcpLimits, open_acp_backend
from coder.backends.acp.probe import probe_acp
from coder.backends.base import AgentBackend, Emit
from coder.errors import AgentUnavailable, CoderError
from coder.model.providers import ProbeResult, Provider
from coder.processes.child import ChildSpec
from coder.processes.environment import child_environment, find_program
from coder.processes.supervisor import Supervisor

VERSION_SECONDS = 10.0


class Launch:
    """Starts agents under one supervisor with the host's environment filtered for each."""

    def __init__(self, supervisor: Supervisor, environment: Mapping[str, str], limits: AcpLimits) -> None:
        self._supervisor = supervisor
        self._environment = environment
        self._limits = limits

    def find(self, program: str) -> str | None:
        """The absolute path of a program, or None."""
        return find_program(program, self._environment.get("PATH"))

    def open(self, provider: Provider, emit: Emit) -> AbstractAsyncContextManager[AgentBackend]:
        """A backend for the provider; `emit` takes what its agent says outside of turns.

        Raises:
            AgentUnavailable: its program is not installed.
        """
        return open_acp_backend(
            provider,
            self._command(provider),
            self._env(provider),
            supervisor=self._supervisor,
            emit=emit,
            limits=self._limits,
        )

    async def probe(self, provider: Provider) -> ProbeResult:
        """Start the agent in an empty folder, ask what it offers, end it."""
        try:
            command = self._command(provider)
        except AgentUnavailable as error:
            return ProbeResult(error=str(error))
        with tempfile.TemporaryDirectory(prefix="coder-probe-") as folder:
            return await probe_acp(
                provider,
                command,
                self._env(provider),
                supervisor=self._supervisor,
                limits=self._limits,
                cwd=Path(folder),
            )

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

    def _env(self, provider: Provider) -> dict[str, str]:
        return child_environment(self._environment, provider.env, provider.env_names)
