"""A host that does nothing but hold an embedded server: `host_program.py FOLDER INTERPRETER`, until its input ends."""

import sys
from pathlib import Path

import anyio
import asyncpg
from anyio import to_thread

from coder.errors import HostConfigError
from coder.store.embedded import open_embedded


async def main(folder: Path, interpreter: str) -> None:
    async with open_embedded(folder, options={"fsync": "off"}, interpreter=interpreter) as url:
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        await connection.execute("INSERT INTO kept VALUES (1)")
        kept = await connection.fetchval("SELECT count(*) FROM kept")
        print("ready", kept, flush=True)
        await to_thread.run_sync(sys.stdin.read)
        await connection.close()


try:
    anyio.run(main, Path(sys.argv[1]), sys.argv[2])
except HostConfigError as error:
    print("refused", error, flush=True)
