"""A cold probe: start a server, ask what it offers, end it. Cheaper than the same question over ACP, and knows more."""

from collections.abc import Mapping
from pathlib import Path

import anyio

from coder.backends.opencode.backend import fetch_offer
from coder.backends.opencode.home import Home
from coder.backends.opencode.offer import Offer
from coder.backends.opencode.server import Server
from coder.backends.turn import AgentLimits
from coder.errors import AgentError
from coder.model.providers import ProbeResult, Provider
from coder.processes.confinement import Confinement
from coder.processes.supervisor import Supervisor


async def probe_opencode(
    provider: Provider,
    command: tuple[str, ...],
    env: Mapping[str, str],
    *,
    supervisor: Supervisor,
    limits: AgentLimits,
    cwd: Path,
    confinement: Confinement | None = None,
) -> ProbeResult:
    """What the server offers in `cwd`, an empty folder of the caller.

    Raises:
        ServerUnavailable: there is no server to be had. AgentError: it does not answer as it should.
    """
    worktree = cwd / "worktree"
    worktree.mkdir()
    server = Server(
        provider.label,
        command,
        env,
        Home(cwd / "home"),
        worktree,
        supervisor=supervisor,
        limits=limits,
        confinement=confinement,
    )
    found: Offer | AgentError = Offer()
    async with anyio.create_task_group() as group:
        try:
            await server.open(group)
            found = await fetch_offer(server.http)
        except AgentError as error:
            found = error  # raised below: the task group would wrap it
        finally:
            with anyio.CancelScope(shield=True):
                await server.close()
    if isinstance(found, AgentError):
        raise found
    return _result(found, server.version)


def _result(offer: Offer, version: str | None) -> ProbeResult:
    return ProbeResult(
        models=offer.models,
        modes=offer.modes,
        commands=offer.commands,
        default_model=offer.default_model,
        default_mode=offer.default_mode,
        agent_name="OpenCode",
        agent_version=version,
        can_resume=True,
        accepts_images=bool(offer.image_models),
        signed_in=bool(offer.models),
        error=None if offer.models else "no model is configured: sign in first",
    )
