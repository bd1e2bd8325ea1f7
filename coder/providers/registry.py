"""The resolved registry: the built-in catalogue, and what overrides make of it."""

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from coder import resources
from coder.model.providers import Provider
from coder.providers.overrides import Override, OverrideFile, parse_override, read_overrides

PYTHON = "{python}"
"""Stands in a command for the interpreter that the host runs on."""
PLATFORM = "{platform}"
"""Stands for the operating system and processor, in the words that programs made for one of each are named by."""
_PROCESSORS = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Registry:
    """Every provider there is, in the order a person sees them, and the file that had its say."""

    providers: Mapping[str, Provider]
    builtin: tuple[str, ...]
    file: OverrideFile


def load_builtin(home: str | None = None) -> dict[str, Provider]:
    """The catalogue that is shipped along, by id, in its own order. Blocks."""
    entries = orjson.loads(resources.catalogue_path().read_bytes())["providers"]
    return {
        id: _custom(id, parse_override(id, raw, ()), home).model_copy(update={"builtin": True})
        for id, raw in entries.items()
    }


def load_registry(path: Path, environment: Mapping[str, str]) -> Registry:
    """Built-in providers with the override file at `path` applied. Never raises for what the file holds. Blocks."""
    home = environment.get("HOME")
    builtin = load_builtin(home)
    return resolve(builtin, read_overrides(path, builtin), home)


def resolve(builtin: Mapping[str, Provider], file: OverrideFile, home: str | None) -> Registry:
    """Apply every usable override; sort by `order`, then built-in order, then the order of the file."""
    found = {id: _overridden(provider, file.overrides.get(id), home) for id, provider in builtin.items()}
    found |= {id: _custom(id, override, home) for id, override in file.overrides.items() if id not in builtin}
    ordered = sorted(found.values(), key=lambda provider: provider.order)
    return Registry({provider.id: provider for provider in ordered}, tuple(builtin), file)


def _custom(id: str, override: Override, home: str | None) -> Provider:
    bare = Provider(id=id, label=id, command=(id,), install_hint="the program that its command names")
    return _overridden(bare, override, home)


def _overridden(provider: Provider, override: Override | None, home: str | None) -> Provider:
    if override is None:
        return provider
    fields: dict[str, object] = {
        "transport": override.extends,
        "label": override.label,
        "description": override.description,
        "command": override.command and _expanded(override.command, home),
        "env": override.env,
        "env_names": override.env_names,
        "version_args": override.version_args,
        "models": override.models and tuple(model.resolved() for model in override.models),
        "additional_models": override.additional_models
        and tuple(model.resolved() for model in override.additional_models),
        "modes": override.modes and tuple(mode.resolved() for mode in override.modes),
        "enabled": override.enabled,
        "order": override.order,
        "offer_fs": override.offer_fs,
        "offer_terminal": override.offer_terminal,
        "protocol": override.protocol,
        "share_server": override.share_server,
        "sandbox": override.sandbox,
        "state_folders": override.state_folders,
        "locked_files": override.locked_files,
        "copied_files": override.copied_files,
        "read_folders": override.read_folders,
        "install_hint": override.install_hint and override.install_hint.replace(PLATFORM, this_platform()),
        "login_command": override.login_command and _expanded(override.login_command, home),
    }
    return provider.model_copy(update={name: value for name, value in fields.items() if value is not None})


def _expanded(command: tuple[str, ...], home: str | None) -> tuple[str, ...]:
    named = (word.replace(PLATFORM, this_platform()) for word in command)
    program, *arguments = (sys.executable if word == PYTHON else word for word in named)
    if home and program.startswith("~/"):
        program = str(Path(home, program[2:]))
    return program, *arguments


def this_platform() -> str:
    """Such as `linux-x64` or `darwin-arm64`."""
    machine = platform.machine().lower()
    return f"{sys.platform}-{_PROCESSORS.get(machine, machine)}"
