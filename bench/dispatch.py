"""From a task's row to the agent: how long until a warm agent hears of it, with NOTIFY and with polling alone.

The row is inserted straight into the database, as any program may do; the agent tells when it read the prompt.
"""

import random
import re
import tempfile
import time
from pathlib import Path

import anyio
import asyncpg

from bench.native_programs import Programs
from bench.rows import Row, at_most, quantile
from bench.stage import AGENT, Stage, open_stage
from coder.model.events import Record, Text
from coder.model.sessions import Session
from coder.model.tasks import Task, TaskState
from coder.model.values import new_id, now
from coder.store import tasks
from coder.store.database import prepare_connection
from coder.store.embedded import open_embedded

NOTIFIED, POLLED, ROUND_TRIPS = 200, 12, 500
WRITTEN = re.compile(r"t=(\d{18});")


async def measure(programs: Programs, work: Path) -> list[Row]:
    """Delays in milliseconds; the reference is a `select 1` on the same connection."""
    with tempfile.TemporaryDirectory(prefix="coder-bench-") as name:
        folder = Path(name)
        async with (
            open_embedded(folder / "database") as url,
            open_stage(folder / "stage", programs.agent, "--database-url", url) as stage,
        ):
            connection = await asyncpg.connect(url)
            await prepare_connection(connection)
            trips = await _round_trips(connection)
            session = await stage.open_session(AGENT)
            notified = [await _hear(stage, connection, session) for _ in range(NOTIFIED)]
            await connection.execute("ALTER TABLE tasks DISABLE TRIGGER tasks_new")
            polled = [await _hear(stage, connection, session, pause=random.uniform(0, 2)) for _ in range(POLLED)]
            await connection.close()
    trip = ("select 1", quantile(trips, 0.5))
    return [
        at_most("dispatch", "insert to agent p50, NOTIFY", "ms", quantile(notified, 0.5), trip, 20.0),
        at_most("dispatch", "insert to agent p99, NOTIFY", "ms", quantile(notified, 0.99), trip),
        at_most("dispatch", "insert to agent p50, polling only", "ms", quantile(polled, 0.5), trip),
    ]


async def _round_trips(connection: asyncpg.Connection) -> list[float]:
    times: list[float] = []
    for _ in range(ROUND_TRIPS):
        begun = time.perf_counter()
        await connection.fetchval("SELECT 1")
        times.append((time.perf_counter() - begun) * 1000)
    return times


async def _hear(stage: Stage, connection: asyncpg.Connection, session: Session, pause: float = 0) -> float:
    """Milliseconds from before the insert until the agent read the prompt; returns after the turn's end."""
    await anyio.sleep(pause)
    after = (await stage.client.session(session.id)).last_seq
    heard = 0
    with anyio.fail_after(60):
        async with stage.client.events(session.id, after) as stream:
            task = Task(
                id=new_id("tsk"),
                session_id=session.id,
                agent=AGENT,
                input="burst 1 200",
                state=TaskState.PENDING,
                created_at=now(),
            )
            begun = time.monotonic_ns()
            await tasks.insert(connection, task)
            async for item in stream:
                if isinstance(item, Record) and isinstance(item.event, Text):
                    found = WRITTEN.search(item.event.text)
                    heard = int(found[1]) if found else heard
                if isinstance(item, Record) and item.event.type == "turn_ended":
                    break
    return (heard - begun) / 1e6
