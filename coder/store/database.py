"""The door to PostgreSQL: a pool of connections, the schema at boot, and the lock that makes this host the only one."""

import logging
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import asyncpg
import orjson
from asyncpg import Connection, Pool
from asyncpg.exceptions import InternalClientError
from asyncpg.transaction import Transaction

from coder import resources
from coder.errors import CoderError, DatabaseAway, HostConfigError
from coder.store.lasting import DRIVER_ERRORS, Pace, Upkeep, close_quietly, hold_connection
from coder.store.statements import sql
from coder.store.text import encode_json, encode_text

log = logging.getLogger(__name__)

HOST_LOCK = 0x636F646572
"""The advisory lock that a host holds on its database for as long as it lives."""
SCHEMA_LOCK = HOST_LOCK + 1

AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidCatalogNameError,
)
"""Answers that say nothing about the statement: the same one may succeed later."""


@dataclass(frozen=True)
class StoreLimits:
    """Seconds, and connections."""

    connections: int = 10
    acquire_timeout: float = 5.0
    connect_timeout: float = 5.0
    command_timeout: float = 10.0
    lock_wait: float = 3.0
    """How long a host that was just killed may take to let go of the database."""
    open_wait: float = 5.0
    """How long a server that is starting is waited for at boot."""
    lock_pace: Pace = field(default_factory=Pace)


class Store:
    """One host's database. Statements go through the functions of the nouns beside this module."""

    def __init__(self, pool: Pool, run_id: str, limits: StoreLimits) -> None:
        self.run_id = run_id
        self._pool = pool
        self._limits = limits
        self._is_held = True
        self.reconnects = -1
        """How often the database was found again after it had gone."""

    def hold(self, is_held: bool) -> None:
        """Whether the host's lock is held; without it nothing is read or written."""
        self.reconnects += is_held
        self._is_held = is_held

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        """A connection for single statements.

        Raises:
            DatabaseAway: the database is away or too busy, before or while the connection was used.
        """
        connection = await self._acquire()
        try:
            with _translated(connection):
                yield connection
        finally:
            with anyio.CancelScope(shield=True):
                await self._release(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        """A connection inside a transaction that commits when the block ends well.

        Raises:
            DatabaseAway: as for `connection`; then it is not known to be committed.
        """
        async with self.connection() as connection, _inside(connection, connection.transaction()):
            yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncGenerator[Connection]:
        """A connection whose statements all see the database as of one moment, for reading.

        Raises:
            DatabaseAway: as for `connection`.
        """
        async with self.connection() as connection:
            async with _inside(connection, connection.transaction(isolation="repeatable_read", readonly=True)):
                yield connection

    async def is_up(self) -> bool:
        """Whether the database answers within two seconds."""
        try:
            with anyio.fail_after(2):
                async with self.connection() as connection:
                    await connection.fetchval(sql("probe"))
        except (CoderError, TimeoutError):
            return False
        return True

    async def _acquire(self) -> Connection:
        if not self._is_held:
            raise DatabaseAway("the database is away")
        try:
            return await self._pool.acquire(timeout=self._limits.acquire_timeout)
        except TimeoutError as error:
            raise DatabaseAway("the database does not answer or is too busy") from error
        except DRIVER_ERRORS as error:
            raise DatabaseAway(f"the database is away: {error}") from error

    async def _release(self, connection: Connection) -> None:
        try:
            await self._pool.release(connection, timeout=self._limits.acquire_timeout)
        except DRIVER_ERRORS as error:
            log.debug("a connection did not go back to the pool: %s", error)


@asynccontextmanager
async def open_store(url: str, *, run_id: str, limits: StoreLimits | None = None) -> AsyncGenerator[Store]:
    """Open the database for one host: lock it, apply the schema, hand out connections until the context is left.

    Raises:
        HostConfigError: the database cannot be reached or used, or another host holds it.
    """
    limits = limits or StoreLimits()
    lock = await _open_locked(url, run_id, limits)
    try:
        await apply_schema(lock)
        pool = await _open_pool(url, run_id, limits)
    except DRIVER_ERRORS as error:
        await close_quietly(lock)
        raise HostConfigError(f"the database cannot be prepared: {error}") from error
    except BaseException:
        await close_quietly(lock)
        raise
    store = Store(pool, run_id, limits)

    async def open_again() -> Connection:
        connection = await _connect(url, run_id, limits)
        return await _lock(connection, limits)

    upkeep = Upkeep("lock", open=open_again, probe=_probe, changed=store.hold)
    async with hold_connection(upkeep, limits.lock_pace, first=lock):
        try:
            yield store
        finally:
            await _close_pool(pool)


async def apply_schema(connection: Connection) -> None:
    """Apply schema.sql; safe to do twice and from several places at once."""
    schema = await anyio.Path(resources.schema_path()).read_text(encoding="utf-8")
    async with connection.transaction():
        await connection.execute(sql("wait_for_lock_in_transaction"), SCHEMA_LOCK)
        await connection.execute(schema)


async def prepare_connection(connection: Connection) -> None:
    """Let JSON columns travel as Python values, and let no text reach the server that it would refuse."""
    await connection.set_type_codec(
        "text", schema="pg_catalog", format="binary", encoder=encode_text, decoder=bytes.decode
    )
    await connection.set_type_codec(
        "json", schema="pg_catalog", format="binary", encoder=encode_json, decoder=orjson.loads
    )
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", format="binary", encoder=_encode_jsonb, decoder=_decode_jsonb
    )


def _encode_jsonb(value: Any) -> bytes:
    return b"\x01" + encode_json(value)


def _decode_jsonb(data: bytes) -> Any:
    return orjson.loads(data[1:])


async def _open_pool(url: str, run_id: str, limits: StoreLimits) -> Pool:
    return await asyncpg.create_pool(
        url,
        min_size=1,
        max_size=limits.connections,
        init=prepare_connection,
        reset=_leave_as_it_is,
        timeout=limits.connect_timeout,
        command_timeout=limits.command_timeout,
        statement_cache_size=256,
        server_settings=_server_settings(run_id)
        | {"lock_timeout": "5s", "idle_in_transaction_session_timeout": "60s", "jit": "off"},
    )


async def _leave_as_it_is(connection: Connection) -> None:
    """Nothing here changes a connection's settings outside of transactions: a round trip less on every use."""


def _server_settings(run_id: str) -> dict[str, str]:
    return {"application_name": f"coder {run_id}"}


async def _connect(url: str, run_id: str, limits: StoreLimits) -> Connection:
    return await asyncpg.connect(
        url,
        timeout=limits.connect_timeout,
        command_timeout=limits.command_timeout,
        server_settings=_server_settings(run_id),
    )


async def _open_locked(url: str, run_id: str, limits: StoreLimits) -> Connection:
    deadline = anyio.current_time() + limits.open_wait
    while True:
        try:
            connection = await _connect(url, run_id, limits)
        except (OSError, TimeoutError, asyncpg.CannotConnectNowError) as error:
            if anyio.current_time() > deadline:
                raise HostConfigError(f"the database cannot be reached: {error}") from error
            await anyio.sleep(0.1)
        except (ValueError, *DRIVER_ERRORS) as error:
            raise HostConfigError(f"the database cannot be used: {error}") from error
        else:
            return await _lock(connection, limits)


async def _lock(connection: Connection, limits: StoreLimits) -> Connection:
    try:
        deadline = anyio.current_time() + limits.lock_wait
        while not await connection.fetchval(sql("try_lock"), HOST_LOCK):
            if anyio.current_time() > deadline:
                raise HostConfigError(await _describe_holder(connection), code="database_in_use")
            await anyio.sleep(0.05)
    except BaseException:
        await close_quietly(connection)
        raise
    return connection


async def _describe_holder(connection: Connection) -> str:
    holder = await connection.fetchval(sql("find_lock_holder"), HOST_LOCK)
    return f"another host uses this database ({holder or 'unknown'}): stop it, or give this one a database of its own"


async def _probe(connection: Connection) -> None:
    await connection.execute(sql("probe"))


@asynccontextmanager
async def _inside(connection: Connection, transaction: Transaction) -> AsyncGenerator[None]:
    """Begin, then commit or roll back; a cancellation waits for each of them, bounded by the command timeout."""
    with anyio.CancelScope(shield=True):
        await transaction.start()
    try:
        yield
    except BaseException:
        with anyio.CancelScope(shield=True):
            await _roll_back(connection, transaction)
        raise
    with anyio.CancelScope(shield=True):
        await transaction.commit()


async def _roll_back(connection: Connection, transaction: Transaction) -> None:
    try:
        await transaction.rollback()
    except DRIVER_ERRORS as error:
        log.debug("a transaction was not rolled back: %s", error)
        if not _is_gone(connection):
            connection.terminate()


def _is_gone(connection: Connection) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        # The pool has taken a broken connection back already.
        return True


async def _close_pool(pool: Pool) -> None:
    with anyio.CancelScope(shield=True):
        with anyio.move_on_after(5):
            await pool.close()
            return
        pool.terminate()


@contextmanager
def _translated(connection: Connection) -> Generator[None]:
    try:
        yield
    except asyncpg.DiskFullError as error:
        raise DatabaseAway(f"the database's disk is full: {error}", code="disk_full") from error
    except AWAY as error:
        raise DatabaseAway(f"the database is away: {error}") from error
    except InternalClientError as error:
        # Something before was cut off in the middle of an operation that the driver still believes to be under way.
        connection.terminate()
        raise DatabaseAway(f"the database is away: {error}") from error
    except asyncpg.InterfaceError as error:
        # Either the connection is gone, or it was used wrongly.
        if not _is_gone(connection):
            raise
        raise DatabaseAway(f"the database is away: {error}") from error
    except (OSError, TimeoutError) as error:
        if not _is_from_driver(error):
            raise
        raise DatabaseAway("the database is away or does not answer") from error


def _is_from_driver(error: BaseException) -> bool:
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__", "").startswith("asyncpg."):
            return True
        trace = trace.tb_next
    return False
