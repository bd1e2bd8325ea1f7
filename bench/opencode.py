"""What a warm opencode is worth: prompt to first text, served and over ACP, beside one-shot `opencode run`."""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio import to_thread

from bench.rows import Row, at_most, median
from bench.turns import first_text
from coder.client import Client
from coder.testing.host_process import open_host_process
from coder.testing.model_server import open_model_server
from coder.testing.real_agents import AgentMissing, RealAgent, real_agent
from coder.testing.repositories import make_repository

WARM_ROUNDS, COLD_ROUNDS = 12, 3
SERVER_TARGET = 0.06
PROMPT = '[[text {"text":"hello"}]]'
SERVER, ACP = "opencode", "opencode-acp"


async def measure_opencode() -> list[Row]:
    """Times are medians in milliseconds. No rows where opencode is not installed."""
    with tempfile.TemporaryDirectory(prefix="coder-bench-") as folder, open_model_server() as model_url:
        try:
            real = real_agent("opencode", Path(folder) / "agent-home", model_url)
        except AgentMissing:
            return []
        real.prepare()
        server, server_cold = await _through_host(real, SERVER, Path(folder) / SERVER)
        acp, acp_cold = await _through_host(real, ACP, Path(folder) / ACP)
        once = await to_thread.run_sync(_one_shot, real, Path(folder) / "once")
    run = ("opencode run", once)
    return [
        at_most("warm", "prompt to first text, opencode server", "ms", server, run, SERVER_TARGET),
        at_most("warm", "prompt to first text, opencode acp", "ms", acp, run),
        at_most("warm", "prompt to first text, opencode server beside acp", "ms", server, ("opencode acp", acp)),
        at_most("warm", "prompt to first text, opencode server cold", "ms", server_cold, run),
        at_most("warm", "prompt to first text, opencode acp cold", "ms", acp_cold, run),
    ]


async def _through_host(real: RealAgent, agent: str, folder: Path) -> tuple[float, float]:
    async with _open_client(real, folder) as client:
        project = await client.register_project(str(make_repository(folder / "repository")))
        cold: list[float] = []
        warm: list[float] = []
        for number in range(COLD_ROUNDS):
            session = await client.open_session(project.id)
            cold.append(await first_text(client, session.id, agent, PROMPT))
            rounds = WARM_ROUNDS if number == COLD_ROUNDS - 1 else 0
            warm += [await first_text(client, session.id, agent, PROMPT) for _ in range(rounds)]
            await client.close_session(session.id, force=True)
    return median(warm), median(cold)


@asynccontextmanager
async def _open_client(real: RealAgent, folder: Path) -> AsyncGenerator[Client]:
    home = folder / "home"
    home.mkdir(parents=True)
    program, env = real.command[0], dict(real.env)
    entries: dict[str, object] = {
        SERVER: {"command": [program], "env": env},
        ACP: {"extends": "acp", "label": "opencode acp", "command": [program, "acp"], "env": env},
    }
    (home / "coder-providers.json").write_text(json.dumps({"providers": entries}))
    async with open_host_process(home, "--log-level", "warning") as host, host.client() as client:
        with anyio.fail_after(600):
            yield client


def _one_shot(real: RealAgent, folder: Path) -> float:
    """Milliseconds from the start of the program to the first text it prints."""
    repository, times = make_repository(folder), list[float]()
    env = {"PATH": os.environ.get("PATH", os.defpath), **real.env}
    argv = [real.command[0], "run", "--format", "json", PROMPT]
    for _ in range(COLD_ROUNDS + 1):
        begun = time.perf_counter()
        with subprocess.Popen(
            argv, cwd=repository, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as program:
            assert program.stdout is not None
            heard = next((time.perf_counter() for line in program.stdout if b'"text"' in line), None)
        if heard is None:
            raise SystemExit(f"opencode run said nothing (exit code {program.returncode})")
        times.append((heard - begun) * 1000)
    # the first one makes the program's own folders
    return median(times[1:])
