"""The door to PostgreSQL: one host only, lost connections, text that PostgreSQL would refuse."""

import anyio
import asyncpg
import pytest
from asyncpg.exceptions import InternalClientError

from coder.errors import HostConfigError, NotFound, Unavailable
from coder.store import projects, tasks
from coder.store.database import StoreLimits, open_store
from coder.store.lasting import Pace
from coder.testing.relay import open_relay
from tests.postgres.samples import a_project, a_task, connected_store, open_session
from tests.postgres.waiting import eventually

QUICK = StoreLimits(
    acquire_timeout=1,
    connect_timeout=1,
    command_timeout=1,
    lock_wait=0.2,
    open_wait=0.2,
    lock_pace=Pace(probe_every=0.05, probe_timeout=0.3, first_wait=0.01, longest_wait=0.05),
)


@pytest.mark.scenario("store: A second host is refused")
async def test_a_second_host_on_the_same_database_is_refused_by_name(database_url: str) -> None:
    async with open_store(database_url, run_id="first"):
        with pytest.raises(HostConfigError, match=r"another host uses this database \(coder first\)"):
            async with open_store(database_url, run_id="second", limits=QUICK):
                pass
    async with open_store(database_url, run_id="second", limits=QUICK) as store:
        assert await store.is_up()


async def test_a_database_that_is_not_there_is_a_configuration_error(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("none")
    with pytest.raises(HostConfigError, match="cannot be reached"):
        async with open_store(f"postgresql://u@/d?host={folder}", run_id="run", limits=QUICK):
            pass


async def test_a_database_of_an_unknown_name_is_a_configuration_error(database_url: str) -> None:
    with pytest.raises(HostConfigError, match="cannot be used"):
        async with open_store(database_url.replace("/test_", "/nothing_"), run_id="run", limits=QUICK):
            pass


@pytest.mark.scenario("store: A lost lock is taken again")
async def test_a_lost_lock_connection_is_replaced_and_a_second_host_is_still_refused(database_url: str) -> None:
    async with open_store(database_url, run_id="first", limits=QUICK) as store:
        async with store.connection() as c:
            lock = (
                "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND database = "
                "(SELECT oid FROM pg_database WHERE datname = current_database())"
            )
            old = await c.fetchval(lock)
            await c.execute("SELECT pg_terminate_backend($1)", old)

            async def is_replaced() -> bool:
                return await c.fetchval(lock) not in (None, old)

            await eventually(is_replaced)
        await eventually(store.is_up)
        with pytest.raises(HostConfigError, match="another host"):
            async with open_store(database_url, run_id="second", limits=QUICK):
                pass


@pytest.mark.scenario("store: The database goes away and comes back")
async def test_a_database_that_goes_away_is_unavailable_until_it_is_back(database_url: str) -> None:
    async with open_relay(database_url) as relay, open_store(relay.url, run_id="run", limits=QUICK) as store:
        await relay.cut()
        with pytest.raises(Unavailable) as caught:
            async with store.connection() as c:
                await projects.list_page(c)
        assert caught.value.retryable
        assert not await store.is_up()
        relay.restore()
        await eventually(store.is_up)
        async with store.connection() as c:
            assert (await projects.list_page(c)).items == ()


async def test_a_database_that_falls_silent_in_a_statement_is_unavailable(database_url: str) -> None:
    async with open_relay(database_url) as relay, open_store(relay.url, run_id="run", limits=QUICK) as store:

        async def ask() -> None:
            async with store.transaction() as c:
                relay.go_deaf()
                await projects.list_page(c)

        with anyio.fail_after(5), pytest.raises(Unavailable):
            await ask()
        relay.hear_again()
        await eventually(store.is_up)


async def test_more_work_than_connections_waits_for_its_deadline_only(database_url: str) -> None:
    limits = StoreLimits(connections=1, acquire_timeout=0.1)
    async with open_store(database_url, run_id="run", limits=limits) as store, store.connection():
        with pytest.raises(Unavailable, match="busy"):
            async with store.connection():
                pass


async def test_errors_of_the_caller_pass_through_untouched(database_url: str) -> None:
    async with open_store(database_url, run_id="run") as store:
        with pytest.raises(FileNotFoundError):
            async with store.connection():
                raise FileNotFoundError("of the caller")
        with pytest.raises(asyncpg.InterfaceError):
            async with store.connection() as c:
                await c.fetch("SELECT $1::int")
        with pytest.raises(TimeoutError):
            async with store.transaction():
                raise TimeoutError("of the caller")
        with pytest.raises(NotFound):
            async with store.transaction() as c:
                await tasks.get(c, "nothing")


async def test_a_connection_that_the_driver_itself_has_lost_track_of_is_given_up(database_url: str) -> None:
    async with open_store(database_url, run_id="run", limits=StoreLimits(connections=1)) as store:
        with pytest.raises(Unavailable):
            async with store.connection():
                # what asyncpg says after an operation that was cut off in the middle
                raise InternalClientError("cannot switch to state 12; another operation (2) is in progress")
        assert await store.is_up()


async def test_an_exception_of_the_body_comes_out_of_the_store_as_it_is(database_url: str) -> None:
    with pytest.raises(NotFound):
        async with open_store(database_url, run_id="run"):
            raise NotFound("of the body")


async def test_a_transaction_that_fails_or_is_cancelled_leaves_nothing(database_url: str) -> None:
    async with open_store(database_url, run_id="run") as store:
        with anyio.CancelScope() as scope:
            async with store.transaction() as c:
                await projects.insert(c, a_project())
                scope.cancel()
                await anyio.lowlevel.checkpoint()
        async with store.connection() as c:
            assert (await projects.list_page(c)).items == ()
            assert not c.is_in_transaction()


@pytest.mark.scenario("store: No text can stop a row from being stored")
async def test_text_that_postgresql_refuses_is_stored_with_replacement_marks(database_url: str) -> None:
    odd = "a\0b\ud800c"
    async with connected_store(database_url) as (_, c):
        session = await open_session(c)
        task = a_task(session, odd).model_copy(update={"feature_values": {odd: [odd, {"deep": odd}]}})
        stored = await tasks.insert(c, task)
        assert stored.input == "a\ufffdb\ufffdc"
        assert stored.feature_values == {"a\ufffdb\ufffdc": ["a\ufffdb\ufffdc", {"deep": "a\ufffdb\ufffdc"}]}
        with pytest.raises(NotFound):
            await tasks.get(c, odd)


async def test_the_lock_is_free_as_soon_as_the_store_is_closed(database_url: str) -> None:
    for run in ("first", "second", "third"):
        async with open_store(database_url, run_id=run, limits=StoreLimits(lock_wait=2)):
            pass
    connection = await asyncpg.connect(database_url)

    async def is_alone() -> bool:
        others = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'coder %' AND datname = $1"
        return await connection.fetchval(others, await connection.fetchval("SELECT current_database()")) == 0

    await eventually(is_alone)
    await connection.close()
