"""A connection that is held for as long as its context: probed, and opened again with back-off when it is lost."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
from asyncpg import Connection, InterfaceError, PostgresError

from coder.errors import CoderError

log = logging.getLogger(__name__)

DRIVER_ERRORS = (PostgresError, InterfaceError, OSError, TimeoutError)
"""Everything that asyncpg raises when a server refuses, dies or stays silent."""

CLOSE_TIMEOUT = 2.0


@dataclass(frozen=True)
class Pace:
    """Seconds. A silent connection is noticed within `probe_every` + `probe_timeout`."""

    probe_every: float = 5.0
    probe_timeout: float = 3.0
    first_wait: float = 0.05
    longest_wait: float = 2.0


@dataclass(frozen=True)
class Upkeep:
    """What one lasting connection is for: how it is opened and probed, and who hears that it came or went."""

    name: str
    open: Callable[[], Awaitable[Connection]]
    probe: Callable[[Connection], Awaitable[None]]
    changed: Callable[[bool], None]


@asynccontextmanager
async def hold_connection(upkeep: Upkeep, pace: Pace, *, first: Connection | None = None) -> AsyncGenerator[None]:
    """Keep a connection open until the context is left; an exception of the body comes out as it is.

    `first` is a connection that is open already; it is taken over.
    """
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        settled = anyio.Event()
        tasks.start_soon(_keep, upkeep, pace, first, settled)
        await settled.wait()
        try:
            yield
        except Exception as error:
            # Kept until the group is left, which would wrap it.
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def close_quietly(connection: Connection) -> None:
    """Say goodbye to the server if it listens, and drop the connection in any case."""
    with anyio.CancelScope(shield=True):
        try:
            await connection.close(timeout=CLOSE_TIMEOUT)
        except DRIVER_ERRORS:
            connection.terminate()


async def _keep(upkeep: Upkeep, pace: Pace, connection: Connection | None, settled: anyio.Event) -> None:
    """`settled` is set when the first connection is in use, or when there is none yet."""
    wait = pace.first_wait
    if connection is None:
        settled.set()
    while True:
        if connection is None:
            try:
                connection = await upkeep.open()
            except (*DRIVER_ERRORS, CoderError) as error:
                level = logging.ERROR if isinstance(error, CoderError) else logging.DEBUG
                log.log(level, "%s connection cannot be opened: %s", upkeep.name, error)
                await anyio.sleep(wait)
                wait = min(wait * 2, pace.longest_wait)
                continue
            log.info("%s connection is back", upkeep.name)
        wait = pace.first_wait
        await _use(upkeep, pace, connection, settled)
        connection = None


async def _use(upkeep: Upkeep, pace: Pace, connection: Connection, settled: anyio.Event) -> None:
    lost = anyio.Event()

    def on_termination(_: object) -> None:
        lost.set()

    connection.add_termination_listener(on_termination)
    if connection.is_closed():
        lost.set()
    upkeep.changed(True)
    settled.set()
    try:
        await _watch(upkeep, pace, connection, lost)
        log.warning("%s connection was lost", upkeep.name)
    finally:
        upkeep.changed(False)
        connection.remove_termination_listener(on_termination)
        await close_quietly(connection)


async def _watch(upkeep: Upkeep, pace: Pace, connection: Connection, lost: anyio.Event) -> None:
    while True:
        with anyio.move_on_after(pace.probe_every):
            await lost.wait()
        if lost.is_set():
            return
        try:
            with anyio.fail_after(pace.probe_timeout):
                await upkeep.probe(connection)
        except DRIVER_ERRORS:
            return
