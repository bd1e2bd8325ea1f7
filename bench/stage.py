"""A host as a process of its own with agents to prompt, and how its CPU is read."""

import json
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from coder.client import Client
from coder.model.sessions import Project, Session
from coder.testing.host_process import HostProcess, open_host_process
from coder.testing.repositories import make_repository

AGENT = "native"
"""The provider id of the native agent; `demo` is there as well."""


@dataclass(frozen=True)
class Stage:
    host: HostProcess
    client: Client
    project: Project

    async def open_session(self, agent: str | None = None) -> Session:
        """A new session; with an agent it is warm."""
        session = await self.client.open_session(self.project.id)
        if agent is not None:
            await self.client.warm(session.id, agent)
        return session

    async def until_idle(self, session: Session) -> None:
        """Until the newest turn of a session has ended in every respect."""
        page = await self.client.tasks(session_id=session.id, limit=1)
        await self.client.wait_for_task(page.items[0].id)


@asynccontextmanager
async def open_stage(
    folder: Path,
    native_agent: Path,
    *flags: str,
    environment: Mapping[str, str] | None = None,
    files: Mapping[str, str | bytes] | None = None,
) -> AsyncGenerator[Stage]:
    """A host with a registered repository, of `files` where they are given, and nothing else running on it."""
    home = folder / "home"
    home.mkdir(parents=True)
    entry = {"extends": "acp", "label": "Native", "command": [str(native_agent)], "version_args": []}
    (home / "coder-providers.json").write_text(json.dumps({"providers": {AGENT: entry}}))
    repository = make_repository(folder / "repository", files) if files else make_repository(folder / "repository")
    async with (
        open_host_process(home, "--log-level", "warning", *flags, environment=environment) as host,
        host.client() as client,
    ):
        project = await client.register_project(str(repository))
        yield Stage(host, client, project)


def resident_kib(pid: int) -> int:
    """Memory that one process holds now."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def cpu_seconds(pid: int) -> float:
    """Time that one process, not its children, has spent on a processor, by its CPU clock (clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2)
