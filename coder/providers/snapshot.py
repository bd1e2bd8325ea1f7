"""The provider snapshot: what is said and what is known of a provider, as one row for a person to choose from."""

from coder.model.providers import AuthMethod, Mode, Model, ProbeResult, Provider, ProviderSnapshot, SnapshotStatus
from coder.model.sandboxes import SandboxKind
from coder.providers.probes import Known


def snapshot_row(
    provider: Provider, known: Known, sandbox: SandboxKind | None, *, is_probing: bool
) -> ProviderSnapshot:
    """What a person sees of the provider at this moment. Without `sandbox` it may not be started."""
    probe = known.probe or ProbeResult()
    models = _models(provider, probe)
    status, error = _status(provider, known, sandbox, is_probing=is_probing)
    is_installed = known.path is not None
    works = probe.signed_in is not False and probe.error is None and sandbox is not None
    return ProviderSnapshot(
        id=provider.id,
        label=provider.label,
        description=provider.description,
        transport=provider.transport,
        enabled=provider.enabled,
        installed=is_installed,
        signed_in=probe.signed_in,
        usable=provider.enabled and is_installed and works,
        status=status,
        version=known.shown_version if is_installed else None,
        models=models,
        modes=_modes(provider, known.probe),
        commands=probe.commands,
        default_model=_default_model(provider, probe, models),
        default_mode=probe.default_mode,
        accepts_images=probe.accepts_images,
        accepts_audio=probe.accepts_audio,
        accepts_files=probe.accepts_files,
        auth_methods=probe.auth_methods,
        install_hint=provider.install_hint,
        sandbox=sandbox,
        error=error,
        fetched_at=known.row.probed_at if known.row else None,
    )


def _status(
    provider: Provider, known: Known, sandbox: SandboxKind | None, *, is_probing: bool
) -> tuple[SnapshotStatus, str | None]:
    if not provider.enabled:
        return "unavailable", None
    if known.path is None:
        return "unavailable", f"{provider.command[0]} was not found; to install: {provider.install_hint}"
    if sandbox is None:
        return "unavailable", "must run in a sandbox, and this machine has none"
    if is_probing or known.probe is None:
        return "loading", None
    if known.probe.error is not None:
        return "error", known.probe.error
    if known.probe.signed_in is False:
        return "unavailable", signed_out_advice(provider, known.probe)
    return "ready", None


def signed_out_advice(provider: Provider, probe: ProbeResult) -> str:
    """Words for a person who has to sign in to an agent first."""
    way = way_to_sign_in(provider, probe.auth_methods)
    return f"nobody is signed in; {way}" if way else "nobody is signed in"


def way_to_sign_in(provider: Provider, methods: tuple[AuthMethod, ...]) -> str:
    """What a person does to sign in: the agent's own command, the catalogue's, or what the agent says; may be empty."""
    commands = [method.command for method in methods if method.command]
    command = commands[0] if commands else provider.login_command
    if command:
        return f"run in a terminal: {' '.join(command)}"
    return "; ".join(method.description or method.name for method in methods)


def _models(provider: Provider, probe: ProbeResult) -> tuple[Model, ...]:
    listed = probe.models if provider.models is None else provider.models
    added = {model.id: model for model in provider.additional_models}
    kept = tuple(added.pop(model.id, model) for model in listed)
    return kept + tuple(added.values())


def _default_model(provider: Provider, probe: ProbeResult, models: tuple[Model, ...]) -> str | None:
    chosen = (*(provider.models or ()), *provider.additional_models)
    wanted = [model.id for model in chosen if model.is_default]
    wanted += [probe.default_model] if probe.default_model else []
    wanted += [model.id for model in models if model.is_default]
    offered = {model.id for model in models}
    return next((id for id in wanted if id in offered), None)


def _modes(provider: Provider, probe: ProbeResult | None) -> tuple[Mode, ...]:
    """The agent's own modes, with what the catalogue knows of them; the catalogue's until the agent was asked."""
    if probe is None:
        return provider.modes
    noted = {mode.id: mode for mode in provider.modes}
    return tuple(_noted(mode, noted.get(mode.id)) for mode in probe.modes)


def _noted(mode: Mode, note: Mode | None) -> Mode:
    if note is None:
        return mode
    unattended = mode.is_unattended or note.is_unattended
    return mode.model_copy(update={"is_unattended": unattended, "description": mode.description or note.description})
