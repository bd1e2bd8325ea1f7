"""A cold probe: start an agent, ask what it offers, end it."""

from collections.abc import Mapping
from pathlib import Path

import anyio

from coder.backends.acp.backend import AcpBackend, open_acp_backend
from coder.backends.base import SessionOptions
from coder.backends.turn import AgentLimits
from coder.errors import AuthRequired, CoderError
from coder.model.events import AgentEvent, Commands
from coder.model.providers import ProbeResult, Provider
from coder.processes.confinement import Confinement
from coder.processes.supervisor import Supervisor

_COMMANDS = 3.0
"""Seconds to wait for the first list of commands."""
_SETTLE = 0.3
"""Seconds without another list that make one the last."""


async def probe_acp(
    provider: Provider,
    command: tuple[str, ...],
    env: Mapping[str, str],
    *,
    supervisor: Supervisor,
    limits: AgentLimits,
    cwd: Path,
    confinement: Confinement | None = None,
) -> ProbeResult:
    """What the agent offers in a session in `cwd`, an empty folder of the caller.

    Faults come back as words; that it wants a login first is none.
    """
    heard = _Heard()
    async with open_acp_backend(
        provider, command, env, supervisor=supervisor, emit=heard.emit, limits=limits, confinement=confinement
    ) as backend:
        options = SessionOptions(session_id="probe", agent=provider.id, worktree_path=cwd, project_id="probe")
        try:
            await backend.ensure_session(options)
        except AuthRequired:
            return _result(backend, signed_in=False, error=None)
        except CoderError as error:
            return _result(backend, signed_in=None, error=str(error))
        await heard.wait_for_commands()
        return _result(backend, signed_in=True, error=None)


class _Heard:
    def __init__(self) -> None:
        self._came = anyio.Event()

    async def emit(self, event: AgentEvent) -> None:
        if isinstance(event, Commands):
            self._came.set()

    async def wait_for_commands(self) -> None:
        with anyio.move_on_after(_COMMANDS):
            await self._came.wait()
            while self._came.is_set():
                self._came = anyio.Event()
                with anyio.move_on_after(_SETTLE):
                    await self._came.wait()


def _result(backend: AcpBackend, *, signed_in: bool | None, error: str | None) -> ProbeResult:
    agent, choices = backend.introduction, backend.translator.choices
    return ProbeResult(
        models=choices.models(),
        modes=choices.modes(),
        commands=backend.translator.commands,
        default_model=choices.model.current if choices.model else None,
        default_mode=choices.mode.current if choices.mode else None,
        agent_name=agent.name,
        agent_version=agent.version,
        can_resume=backend.capabilities.resume,
        accepts_images=agent.accepts_images,
        accepts_audio=agent.accepts_audio,
        accepts_files=agent.accepts_resources,
        signed_in=signed_in,
        auth_methods=agent.auth,
        error=error,
    )
