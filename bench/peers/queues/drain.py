"""`drain.py LIBRARY URL TASKS CONNECTIONS`: no-op tasks through a task queue, every one carried out once.

Run by the Python that has the libraries. Prints one JSON object: seconds for accepting the tasks, each by a call of its
own, and seconds from the worker's start until the last task ran.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

import asyncpg
import procrastinate
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode


class Carried:
    """The tasks that ran, and when the last one did."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.last = 0.0

    def note(self, number: int) -> None:
        self.numbers.append(number)
        self.last = time.perf_counter()


async def with_procrastinate(url: str, count: int, connections: int, carried: Carried) -> tuple[float, float]:
    # one more for what it asks besides its tasks
    connector = procrastinate.PsycopgConnector(conninfo=url, min_size=connections, max_size=connections + 1)
    app = procrastinate.App(connector=connector)

    @app.task(name="noop")
    async def noop(number: int) -> None:
        carried.note(number)

    async with app.open_async():
        if not await app.check_connection_async():
            await app.schema_manager.apply_schema_async()
        accepted = await accept(count, connections, lambda number: noop.defer_async(number=number))
        await app.connector.execute_query_async("ANALYZE")
        begun = time.perf_counter()
        await app.run_worker_async(
            concurrency=connections, wait=False, install_signal_handlers=False, listen_notify=False
        )
        await app.connector.execute_query_async("TRUNCATE procrastinate_jobs CASCADE")
    return accepted, carried.last - begun


async def with_pgqueuer(url: str, count: int, connections: int, carried: Carried) -> tuple[float, float]:
    async with asyncpg.create_pool(url, min_size=connections, max_size=connections + 1) as pool:
        driver = AsyncpgPoolDriver(pool)
        if not await Queries(driver).has_table("pgqueuer"):
            await Queries(driver).install()
        queue = PgQueuer(driver)

        @queue.entrypoint("noop")
        async def noop(job) -> None:
            carried.note(int(job.payload))

        accepted = await accept(
            count, connections, lambda number: queue.qm.queries.enqueue("noop", str(number).encode())
        )
        await pool.execute("ANALYZE")
        begun = time.perf_counter()
        await queue.qm.run(batch_size=connections, dequeue_timeout=timedelta(seconds=1), mode=QueueExecutionMode.drain)
        await pool.execute("TRUNCATE pgqueuer, pgqueuer_log")
    return accepted, carried.last - begun


async def accept(count: int, connections: int, one: Callable[[int], Awaitable[object]]) -> float:
    """Seconds for so many tasks, as many at a time as there are connections."""
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            await one(number)

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(some())
    return time.perf_counter() - begun


async def main() -> None:
    library, url, count, connections = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    carried = Carried()
    run = {"procrastinate": with_procrastinate, "pgqueuer": with_pgqueuer}[library]
    accepted, drained = await run(url, count, connections, carried)
    if sorted(carried.numbers) != list(range(count)):
        sys.exit(f"{library}: {len(carried.numbers)} of {count} tasks ran, or one of them twice")
    print(json.dumps({"accept_s": accepted, "drain_s": drained}))


asyncio.run(main())
