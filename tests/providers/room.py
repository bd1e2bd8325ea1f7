"""A room of providers for tests: real programs on a private PATH, a real database, a scripted probe."""

import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import anyio
import orjson

from coder.model.providers import Model, ProbeResult, Provider, ProviderSnapshot
from coder.model.sandboxes import SandboxKind
from coder.model.values import Json, now
from coder.processes.environment import find_program
from coder.providers.probes import Limits
from coder.providers.providers import Providers, open_providers
from coder.store.database import open_store

FOUND = ProbeResult(
    models=(Model(id="m1", label="Model 1"),), default_model="m1", agent_version="9.9.9", signed_in=True
)


@dataclass
class ScriptedProbe:
    """Finds what it was told to find; keeps count; can be held back per agent."""

    answers: dict[str, ProbeResult | Exception] = field(default_factory=dict[str, ProbeResult | Exception])
    held: dict[str, anyio.Event] = field(default_factory=dict[str, anyio.Event])
    asked: list[Provider] = field(default_factory=list[Provider])
    running: int = 0
    most: int = 0
    cancelled: int = 0
    begun: anyio.Event = field(default_factory=anyio.Event)

    @property
    def ids(self) -> list[str]:
        return [provider.id for provider in self.asked]

    async def until_asked(self, count: int) -> None:
        """Return when this many probes have begun in all."""
        with anyio.fail_after(10):
            while len(self.asked) < count:
                await self.begun.wait()

    async def __call__(self, provider: Provider) -> ProbeResult:
        self.asked.append(provider)
        self.begun.set()
        self.begun = anyio.Event()
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if provider.id in self.held:
                await self.held[provider.id].wait()
            await anyio.lowlevel.checkpoint()
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        answer = self.answers.get(provider.id, FOUND)
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class Room:
    providers: Providers
    probe: ScriptedProbe
    path: Path
    changes: list[anyio.Event]

    async def row(self, id: str, *, force: bool = False) -> ProviderSnapshot:
        return next(row for row in await self.providers.snapshot(force=force) if row.id == id)

    async def until(self, id: str, fits: Callable[[ProviderSnapshot], bool]) -> ProviderSnapshot:
        """The row of `id` once it fits; woken by the change listener."""
        with anyio.fail_after(10):
            while True:
                changed = self.changes[-1]
                row = await self.row(id)
                if fits(row):
                    return row
                await changed.wait()

    async def until_ready(self, id: str) -> ProviderSnapshot:
        return await self.until(id, lambda row: row.status == "ready")


def write_overrides(path: Path, entries: Mapping[str, Json]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps({"providers": entries}))


def read_entries(path: Path) -> dict[str, Json]:
    return orjson.loads(path.read_bytes())["providers"]


def install(folder: Path, name: str, version: str) -> Path:
    """A program that knows its version and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{name} {version}'\n")
    program.chmod(0o755)
    return program


async def read_version(provider: Provider) -> str | None:
    result = await anyio.run_process([provider.command[0], *provider.version_args])
    return result.stdout.decode()


async def no_sandbox(provider: Provider) -> SandboxKind | None:
    return "none"


@asynccontextmanager
async def open_room(
    folder: Path,
    database_url: str,
    *,
    probe: ScriptedProbe | None = None,
    path: Path | None = None,
    environment: Mapping[str, str] | None = None,
    ttl_ms: int = 86_400_000,
    limits: Limits | None = None,
    clock: Callable[[], datetime] = now,
) -> AsyncGenerator[Room]:
    """Providers with only the programs in `folder`/bin on their PATH."""
    probe = probe or ScriptedProbe()
    path = path or folder / "data" / "coder-providers.json"
    programs = f"{folder / 'bin'}{os.pathsep}/bin"
    changes = [anyio.Event()]

    def changed() -> None:
        changes.append(anyio.Event())
        changes[-2].set()

    async with (
        open_store(database_url, run_id="run") as store,
        open_providers(
            path,
            store=store,
            probe=probe,
            find=lambda program: find_program(program, str(folder / "bin")),
            version=read_version,
            ttl_ms=ttl_ms,
            sandbox=no_sandbox,
            environment={"PATH": programs, "HOME": str(folder), **(environment or {})},
            on_change=changed,
            limits=limits,
            clock=clock,
        ) as providers,
    ):
        yield Room(providers, probe, path, changes)
