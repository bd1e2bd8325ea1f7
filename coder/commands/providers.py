"""Commands about the agents that the host knows how to start."""

from collections.abc import Sequence
from typing import Annotated

import typer

from coder.commands.calls import call, settings_of
from coder.commands.reach import JsonFlag, group
from coder.commands.shown import show, show_one
from coder.errors import InvalidInput
from coder.model.pool import PoolShare
from coder.model.providers import ProviderSnapshot
from coder.model.values import Json
from coder.protocol import ProviderPage
from coder.providers.overrides import OverrideFile, parse_override, patched, save_overrides
from coder.providers.registry import load_registry
from coder.settings import inherited_environment
from coder.terminal.text import memory, part, table, wait

commands = group()
providers = group("Agents that the host knows how to start.")
commands.add_typer(providers, name="providers")


@providers.command(name="list")
def list_providers(
    context: typer.Context, force: Annotated[bool, typer.Option("--force")] = False, as_json: JsonFlag = False
) -> None:
    """Every provider, and whether it can be used."""
    found = call(context, lambda client: client.providers(force=force))
    show(as_json, found, ("ID", "LABEL", "STATUS", "VERSION", "SANDBOX", "NOTE"), _provider_row)


@providers.command(name="refresh")
def refresh_providers(
    context: typer.Context, ids: Annotated[list[str] | None, typer.Argument()] = None, as_json: JsonFlag = False
) -> None:
    """Ask the agents again what they offer."""
    found = call(context, lambda client: client.refresh_providers(ids or None))
    show(as_json, found, ("ID", "LABEL", "STATUS", "VERSION", "SANDBOX", "NOTE"), _provider_row)


@providers.command(name="pool")
def show_pool(context: typer.Context, as_json: JsonFlag = False) -> None:
    """How often agents and sessions were ready, how long a wait that saved, what memory agents hold."""
    page = call(context, lambda client: client.provider_page())
    show_one(as_json, page, _pool_text(page))


@providers.command(name="add")
def add_provider(
    context: typer.Context,
    id: str,
    command: Annotated[list[str], typer.Argument(help="The program and its arguments, after --.")],
    label: Annotated[str | None, typer.Option()] = None,
    description: Annotated[str | None, typer.Option()] = None,
) -> None:
    """Add an agent that speaks ACP to the override file of this machine."""
    entry: dict[str, Json] = {"extends": "acp", "label": label or id, "command": list(command), "enabled": True}
    if description:
        entry["description"] = description
    settings = settings_of(context)
    registry = load_registry(settings.resolved_providers_path, inherited_environment())
    parse_override(id, entry, registry.builtin)
    _write_override(registry.file, id, entry)
    typer.echo(f"{id} is in {registry.file.path}")


@providers.command(name="enable")
def enable_provider(context: typer.Context, id: str) -> None:
    """Offer a provider again."""
    call(context, lambda client: client.patch_providers({id: {"enabled": True}}, merge_fields=True))


@providers.command(name="disable")
def disable_provider(context: typer.Context, id: str) -> None:
    """Stop offering a provider."""
    call(context, lambda client: client.patch_providers({id: {"enabled": False}}, merge_fields=True))


def _write_override(file: OverrideFile, id: str, entry: Json) -> None:
    if file.document is None:
        raise InvalidInput(f"{file.path} {file.damage[0].message}; mend it first")
    entries = patched(file.raw, {id: entry if isinstance(entry, dict) else {}}, merge=False)
    save_overrides(file.path, {**file.document, "providers": entries}, file.stamp)


def _provider_row(provider: ProviderSnapshot) -> Sequence[str]:
    state = "disabled" if not provider.enabled else provider.status if provider.installed else "not installed"
    note = provider.error or ("" if provider.installed else provider.install_hint)
    return (provider.id, provider.label, state, provider.version or "", provider.sandbox or "missing", note)


def _pool_text(page: ProviderPage) -> str:
    head = ("ID", "WARM", "AT WORK", "TURNS", "FOUND WARM", "WAIT WARM", "WAIT COLD", "MEMORY")
    used = [provider for provider in page.items if provider.pool.warm or provider.pool.turns]
    pool, spares = page.pool, page.spares
    lines = [table(head, [_pool_row(provider.id, provider.pool) for provider in used]), ""] if used else []
    held = f"they hold {memory(pool.resident_bytes)} of {memory(pool.memory_budget_bytes)}"
    lines.append(f"{pool.warm} of at most {pool.limit} agents are warm; {held}")
    ready = f"{part(spares.hit_rate)} of {spares.openings} opened sessions were ready"
    waits = f"{wait(spares.hit_seconds)} to open one, {wait(spares.miss_seconds)} to open another"
    lines.append(f"{ready}: {waits}" if spares.openings else "no session was opened yet")
    return "\n".join(lines)


def _pool_row(id: str, pool: PoolShare) -> Sequence[str]:
    counts = str(pool.warm), str(pool.leased), str(pool.turns), part(pool.hit_rate)
    return id, *counts, wait(pool.warm_wait_seconds), wait(pool.cold_wait_seconds), memory(pool.resident_bytes)
