"""The whole database as files of PostgreSQL's own COPY text, readable by every version of it, and back.

Names of tables and columns are part of these statements: they come from schema.sql and the catalogue alone.
"""

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import asyncpg
from asyncpg import Connection

from coder import resources
from coder.errors import DatabaseAway, HostConfigError
from coder.model.backups import CopiedTable
from coder.store.database import HOST_LOCK, apply_schema
from coder.store.lasting import DRIVER_ERRORS, close_quietly
from coder.store.statements import sql

LEFT_OUT = frozenset({"available_agents"})
"""What was found on this machine, and is looked for again on the next one."""


@asynccontextmanager
async def open_snapshot(url: str) -> AsyncGenerator[Connection]:
    """The database as of one moment, for reading, while a host may go on using it.

    Raises:
        DatabaseAway: it cannot be reached, or went away.
    """
    async with _connected(url) as connection:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield connection


@asynccontextmanager
async def open_alone(url: str) -> AsyncGenerator[Connection]:
    """The database with today's schema and without any host, in one transaction.

    Raises:
        HostConfigError: `database_in_use`, a host uses it. DatabaseAway: it cannot be reached, or went away.
    """
    async with _connected(url) as connection:
        if not await connection.fetchval(sql("try_lock"), HOST_LOCK):
            raise HostConfigError("a host uses this database: stop it first", code="database_in_use")
        await apply_schema(connection)
        async with connection.transaction():
            yield connection


async def write_tables(connection: Connection, folder: Path) -> dict[str, CopiedTable]:
    """Write a file for each table of the schema that is there."""
    written: dict[str, CopiedTable] = {}
    for table in await table_names():
        columns = [str(row["attname"]) for row in await connection.fetch(sql("stored_columns"), table)]
        if columns and table not in LEFT_OUT:
            status = await connection.copy_from_table(table, columns=columns, output=folder / table)
            written[table] = CopiedTable(columns=tuple(columns), rows=int(status.split()[-1]))
    return written


async def read_tables(connection: Connection, folder: Path, tables: Mapping[str, CopiedTable]) -> None:
    """Fill empty tables from the files.

    Raises:
        HostConfigError: `backup_too_new`, a newer version has made them. `backup_damaged`: a file lacks rows.
    """
    names = await table_names()
    for table in names:
        if (copied := tables.get(table)) is None:
            continue
        known = {str(row["attname"]) for row in await connection.fetch(sql("stored_columns"), table)}
        if unknown := set(copied.columns) - known:
            raise _too_new(f"{table}.{min(unknown)}")
        status = await connection.copy_to_table(table, columns=list(copied.columns), source=folder / table)
        if int(status.split()[-1]) != copied.rows:
            raise HostConfigError(f"the backup is damaged: {table} lacks rows", code="backup_damaged")
        for row in await connection.fetch(sql("identity_columns"), table):
            await connection.fetchval(sql("continue_identity"), table, row["attname"], await _highest(connection, row))
    if unknown := tables.keys() - set(names):
        raise _too_new(min(unknown))


async def is_empty(connection: Connection) -> bool:
    """Whether nothing was ever done with the database, or all of it is gone again."""
    return not await connection.fetchval(sql("has_projects"))


async def names_in_rows(connection: Connection, session_id: str) -> set[str]:
    """Every git object that a row of the session names, and other words that look like one."""
    return {str(row["name"]) for row in await connection.fetch(sql("object_names_of_session"), session_id)}


async def empty_tables(connection: Connection) -> None:
    """Delete every row of every table."""
    names = [name for name in await table_names() if await connection.fetchval("SELECT to_regclass($1)", name)]
    await connection.execute(f"TRUNCATE {', '.join(names)} RESTART IDENTITY")


async def table_names() -> Sequence[str]:
    """The tables of the schema; each comes after those that it refers to."""
    schema = await anyio.Path(resources.schema_path()).read_text(encoding="utf-8")
    return re.findall(r"^CREATE TABLE IF NOT EXISTS (\w+)", schema, re.MULTILINE)


async def _highest(connection: Connection, row: asyncpg.Record) -> int | None:
    return await connection.fetchval(f"SELECT max({row['attname']}) FROM {row['relname']}")


def _too_new(what: str) -> HostConfigError:
    words = f"a newer version has made this backup: {what} is unknown here; restore it with that version"
    return HostConfigError(words, code="backup_too_new")


@asynccontextmanager
async def _connected(url: str) -> AsyncGenerator[Connection]:
    try:
        connection = await asyncpg.connect(url, timeout=10)
    except (ValueError, *DRIVER_ERRORS) as error:
        raise DatabaseAway(f"the database cannot be used: {error}") from error
    try:
        yield connection
    except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError) as error:
        raise DatabaseAway(f"the database went away: {error}") from error
    finally:
        await close_quietly(connection)
