"""The listener against a real server: through lost and deaf connections, and a server that is not there yet."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import asyncpg
import pytest

from coder.store.lasting import Pace
from coder.store.notify import open_listener
from coder.testing.relay import open_relay
from tests.postgres.waiting import eventually

QUICK = Pace(probe_every=0.05, probe_timeout=0.3, first_wait=0.01, longest_wait=0.05)


class Bell:
    """Counts how often it was rung; `heard` waits for the next ring after it was asked."""

    def __init__(self) -> None:
        self.count = 0
        self._rung = anyio.Event()

    def ring(self) -> None:
        self.count += 1
        self._rung.set()
        self._rung = anyio.Event()

    async def reached(self, count: int) -> None:
        with anyio.fail_after(5):
            while self.count < count:
                await self._rung.wait()


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def kill_listener(connection: asyncpg.Connection) -> None:
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'coder listener tasks_new' AND datname = current_database()"
    )


@pytest.mark.scenario("store: A notification wakes the host")
async def test_an_inserted_task_wakes_at_commit_and_not_before(database_url: str) -> None:
    bell = Bell()
    async with connected(database_url) as writer, open_listener(database_url, "tasks_new", bell.ring) as listener:
        assert listener.mode == "notify"
        before = bell.count
        async with writer.transaction():
            await writer.execute("INSERT INTO projects (id, name, repo_path) VALUES ('p', 'n', '/r')")
            await writer.execute("INSERT INTO sessions (id, project_id, name, state) VALUES ('s', 'p', 'n', 'open')")
            await writer.execute("INSERT INTO tasks (id, session_id, agent, input) VALUES ('t', 's', 'demo', 'hi')")
            async with connected(database_url) as other:
                await other.execute("SELECT 1")
            assert bell.count == before
        await bell.reached(before + 1)


@pytest.mark.scenario("store: A lost listener comes back and catches up")
async def test_a_killed_listener_comes_back_and_wakes_to_catch_up(database_url: str) -> None:
    bell = Bell()
    async with connected(database_url) as other, open_listener(database_url, "tasks_new", bell.ring, pace=QUICK):
        assert bell.count == 1
        await kill_listener(other)
        await bell.reached(2)
        await other.execute("NOTIFY tasks_new")
        await bell.reached(3)


@pytest.mark.scenario("store: A deaf listener is found by its probe")
async def test_a_connection_that_is_open_but_hears_nothing_is_replaced(database_url: str) -> None:
    bell = Bell()
    async with (
        open_relay(database_url) as relay,
        open_listener(relay.url, "tasks_new", bell.ring, pace=QUICK) as listener,
    ):
        relay.go_deaf()
        await eventually(lambda: listener.mode == "polling")
        relay.hear_again()
        await eventually(lambda: listener.mode == "notify")
        assert bell.count == 2


@pytest.mark.scenario("store: Without a listener the host polls")
async def test_the_mode_is_polling_until_the_server_is_there(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("none")
    async with open_listener(f"postgresql://u@/d?host={folder}", "tasks_new", lambda: None, pace=QUICK) as listener:
        assert listener.mode == "polling"


async def test_a_wake_that_raises_does_not_end_the_listener(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    bell = Bell()

    def wake() -> None:
        bell.ring()
        raise RuntimeError("the owner is confused")

    async with connected(database_url) as other, open_listener(database_url, "tasks_new", wake, pace=QUICK) as listener:
        await other.execute("NOTIFY tasks_new")
        await bell.reached(2)
        assert listener.mode == "notify"
    assert "waking failed" in caplog.text


async def test_leaving_closes_the_connection(database_url: str) -> None:
    async with open_listener(database_url, "tasks_new", lambda: None):
        pass
    async with connected(database_url) as other:
        listening = (
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'coder listener%' "
            "AND datname = current_database()"
        )

        async def is_alone() -> bool:
            return await other.fetchval(listening) == 0

        await eventually(is_alone)
