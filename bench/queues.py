"""No-op tasks through the store's own functions, beside task queues on the same PostgreSQL.

A task here is a row that is accepted, claimed and finished, by eight connections of one process, each task carried out
once. No agent hears of it: what a turn costs besides is what the other benchmarks measure. Statistics are fresh when
the claiming begins, as autovacuum keeps them on a host that has been up for a minute.
"""

import json
import tempfile
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import anyio

from bench.native_programs import Programs
from bench.peer_programs import find_peer
from bench.rows import Row, at_least, median
from coder.dispatch import AT_ONCE
from coder.model.sessions import Project, SessionState
from coder.model.tasks import Task, TaskState
from coder.model.values import new_id, now
from coder.store import projects, sessions, tasks
from coder.store.database import Store, StoreLimits, open_store
from coder.store.embedded import open_embedded

TASKS, SESSIONS, CONNECTIONS, ROUNDS = 2_000, 200, 8, 3
DRAIN = Path(__file__).parent / "peers" / "queues" / "drain.py"
PEERS = {"procrastinate": 5.0, "pgqueuer": 1.0}
"""How many times as many tasks a second are aimed at."""


@dataclass(frozen=True)
class Run:
    """Tasks a second."""

    accepted: float
    carried_out: float


async def measure(programs: Programs, work: Path) -> list[Row]:
    """Each beside a peer; they take turns."""
    python = find_peer(work, "queues", "venv", "bin", "python")
    if python is None:
        return []
    ours: list[Run] = []
    theirs: dict[str, list[Run]] = {name: [] for name in PEERS}
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coder-bench-")))
        url = await stack.enter_async_context(open_embedded(folder / "database"))
        limits = StoreLimits(connections=CONNECTIONS)
        store = await stack.enter_async_context(open_store(url, run_id="bench", limits=limits))
        opened = await _open_sessions(store)
        for _ in range(ROUNDS):
            ours.append(await _run_ours(store, opened))
            for name, runs in theirs.items():
                runs.append(await _run_peer(python, name, url))
    rows: list[Row] = []
    for name, runs in theirs.items():
        carried_out = (name, median([run.carried_out for run in runs]))
        accepted = (name, median([run.accepted for run in runs]))
        label = f"{CONNECTIONS} connections"
        rows += [
            at_least(
                "dispatch-rate",
                f"no-op tasks/s, claim and finish, {label}",
                "1/s",
                median([run.carried_out for run in ours]),
                carried_out,
                PEERS[name],
            ),
            at_least(
                "dispatch-rate", f"tasks/s accepted, {label}", "1/s", median([run.accepted for run in ours]), accepted
            ),
        ]
    return rows


async def _open_sessions(store: Store) -> list[str]:
    ids = [new_id("ses") for _ in range(SESSIONS)]
    project = Project(id=new_id("prj"), name="p", repo_path="/p", default_branch="main", created_at=now())
    async with store.transaction() as c:
        await projects.insert(c, project)
        for id in ids:
            await sessions.insert(c, id=id, project_id=project.id, name="s", base_ref=None, created_at=now())
            await sessions.move(c, id, {SessionState.OPENING}, SessionState.OPEN)
    return ids


async def _run_ours(store: Store, opened: list[str]) -> Run:
    """Sessions take turns in being given a task, as when many people ask."""
    wanted = [
        Task(
            id=new_id("tsk"),
            session_id=opened[n % len(opened)],
            agent="demo",
            input=str(n),
            state=TaskState.PENDING,
            created_at=now(),
        )
        for n in range(TASKS)
    ]
    waiting = iter(wanted)
    carried_out: list[str] = []

    async def accept() -> None:
        for task in waiting:
            async with store.transaction() as c:
                await tasks.insert(c, task)

    async def carry_out() -> None:
        while len(carried_out) < TASKS:
            async with store.connection() as c:
                claimed = await tasks.claim(c, "bench", AT_ONCE)
            if not claimed:
                await anyio.sleep(0.001)
            for task in claimed:
                carried_out.append(task.id)
                async with store.transaction() as c:
                    await tasks.finish(c, task.id, task.attempt, TaskState.COMPLETED)

    accepted = TASKS / await _seconds(accept)
    async with store.connection() as c:
        await c.execute("ANALYZE")
    rate = TASKS / await _seconds(carry_out)
    if sorted(carried_out) != sorted(task.id for task in wanted):
        raise SystemExit(f"queues: {len(carried_out)} of {TASKS} tasks were carried out, or one of them twice")
    async with store.transaction() as c:
        assert await c.fetchval("SELECT count(*) FROM tasks WHERE state = 'completed'") == TASKS
        await c.execute("TRUNCATE tasks CASCADE")
    return Run(accepted, rate)


async def _seconds(work: Callable[[], Coroutine[None, None, None]]) -> float:
    begun = time.perf_counter()
    async with anyio.create_task_group() as group:
        for _ in range(CONNECTIONS):
            group.start_soon(work)
    return time.perf_counter() - begun


async def _run_peer(python: Path, name: str, url: str) -> Run:
    command = [python, DRAIN, name, url, str(TASKS), str(CONNECTIONS)]
    done = await anyio.run_process(command, check=False)
    if done.returncode:
        raise SystemExit(f"queues: {done.stderr.decode()}")
    told = json.loads(done.stdout)
    return Run(TASKS / told["accept_s"], TASKS / told["drain_s"])
