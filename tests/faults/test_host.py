"""The host told to stop in the middle of everything, and out of files."""

import resource
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest

from coder.protocol import Prompt
from coder.testing.host_process import open_host_process
from coder.testing.ledgers import (
    Verdict,
    compare,
    connections_to,
    litter,
    numbered,
    read_book,
    until_gone,
    write_catalogue,
)
from coder.testing.repositories import make_repository
from tests.api.wire import send_raw


@pytest.mark.scenario("faults: SIGTERM with ten turns in flight")
async def test_a_host_that_is_told_to_stop_ends_ten_turns_in_order(tmp_path: Path, database_url: str) -> None:
    home = tmp_path / "home"
    write_catalogue(home)
    repository = make_repository(tmp_path / "repository")
    environment = {"CODER_SHUTDOWN_GRACE": "1", "CODER_CANCEL_TIMEOUT": "2"}
    async with open_host_process(home, "--database-url", database_url, environment=environment) as host:
        async with host.client() as client:
            project = await client.register_project(str(repository))
            sessions = [await client.open_session(project.id) for _ in range(10)]
            for number, session in enumerate(sessions):
                await client.prompt(session.id, Prompt(agent="demo", input=f"{numbered(f's{number}', 3)}; hang"))
            book = await read_book(database_url)
            with anyio.fail_after(60):
                while len([token for session in sessions for token in book.tokens(session.id)]) < 30:
                    await anyio.sleep(0.2)
                    book = await read_book(database_url)
            begun = time.monotonic()
            assert await host.end() == 0
            assert time.monotonic() - begun < 1 + 2 + 5
    await until_gone(home, 1)
    book = await read_book(database_url)
    assert compare(book, home) == Verdict()
    assert {task.state for task in book.tasks} == {"cancelled"}
    assert await connections_to(database_url) == 0
    assert litter(home, [repository], book) == []


@pytest.mark.scenario("faults: Out of files")
async def test_a_host_without_files_left_says_so_briefly_and_recovers(tmp_path: Path, database_url: str) -> None:
    home = tmp_path / "home"
    log = tmp_path / "log"
    with log.open("wb") as file:
        async with open_host_process(home, "--database-url", database_url, log=file) as host, host.client() as client:
            await client.health()
            before = len(list(Path(f"/proc/{host.pid}/fd").iterdir()))
            limits = resource.prlimit(host.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(host.pid, resource.RLIMIT_NOFILE, (before + 20, limits[1]))
            address = urlsplit(host.url)
            async with AsyncExitStack() as stack:
                for _ in range(100):
                    stream = await anyio.connect_tcp(address.hostname or "", address.port or 0)
                    await stack.enter_async_context(stream)
                with anyio.fail_after(10):
                    while b"out of system resource" not in log.read_bytes():
                        await anyio.sleep(0.1)
                # two more tries to accept, each of which would be a page of log
                with anyio.move_on_after(2.5) as waiting:
                    await send_raw(host.url, "GET", "/api/health", [("Host", address.netloc)])
                assert waiting.cancelled_caught
            begun = time.monotonic()
            with anyio.fail_after(10):
                assert (await client.health()).status == "ok"
            assert time.monotonic() - begun < 5
            resource.prlimit(host.pid, resource.RLIMIT_NOFILE, limits)
            assert log.read_bytes().count(b"out of system resource") < 5
            assert await host.end(signal.SIGTERM) == 0
