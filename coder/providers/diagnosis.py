"""Why an agent does not work: what is known of it, and advice in words."""

import os
from collections.abc import Mapping

from coder.model.providers import Diagnostic, Provider
from coder.providers.probes import Known
from coder.providers.snapshot import signed_out_advice


def diagnose(provider: Provider, known: Known, environment: Mapping[str, str]) -> Diagnostic:
    """Names variables and folders; never a variable's value."""
    names = dict.fromkeys((*provider.env, *provider.env_names))
    present = tuple(name for name in names if name in provider.env or environment.get(name))
    folders = environment.get("PATH", "").split(os.pathsep)
    return Diagnostic(
        id=provider.id,
        command=provider.command,
        resolved_path=known.path,
        version=known.shown_version if known.path else None,
        searched=tuple(dict.fromkeys(folder for folder in folders if folder)),
        env_present=present,
        env_missing=tuple(name for name in names if name not in present),
        probe=known.probe,
        probed_at=known.row.probed_at if known.row else None,
        stderr=known.stderr,
        advice=tuple(_advice(provider, known)),
    )


def _advice(provider: Provider, known: Known) -> list[str]:
    advice: list[str] = []
    if not provider.enabled:
        advice.append(f'{provider.label} is disabled: set "enabled": true for {provider.id} in the override file.')
    if known.path is None:
        advice.append(f"{provider.command[0]} was not found. To install: {provider.install_hint}.")
        if "/" not in provider.command[0]:
            advice.append("If it is installed, its folder is not among those searched: add it to PATH and restart.")
    elif provider.enabled and known.probe is None:
        advice.append("The agent was not asked yet: refresh it.")
    if known.probe is not None and known.probe.signed_in is False:
        advice.append(f"{provider.label}: {signed_out_advice(provider, known.probe)}.")
    if known.probe is not None and known.probe.error is not None:
        command = " ".join(provider.command)
        advice.append(f"Asking the agent failed: {known.probe.error}. Try it by hand: {command}")
    return advice or ["Nothing is wrong as far as can be seen."]
