"""The journal on a real database: numbering, order, durability, followers."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import asyncpg
import orjson
import pytest

from coder.errors import NotFound
from coder.journal import Follower, Journal, JournalLimits, open_journal
from coder.model.events import Error, Reasoning, Text, TurnStarted, UserText
from coder.model.sessions import Project, SessionState
from coder.model.values import new_id, now
from coder.protocol import SnapshotFrame
from coder.session_log import TEXT_LIMIT
from coder.store import events, projects, sessions
from coder.store.database import Store, open_store


@asynccontextmanager
async def open_rooms(url: str, limits: JournalLimits | None = None) -> AsyncGenerator[tuple[Store, Journal, str]]:
    """A store, a journal, and an open session."""
    async with open_store(url, run_id="run") as store, open_journal(store, limits) as journal:
        yield store, journal, await make_session(store)


async def make_session(store: Store) -> str:
    id, project_id = new_id("ses"), new_id("prj")
    project = Project(id=project_id, name="p", repo_path=f"/repo/{project_id}", default_branch="main", created_at=now())
    async with store.transaction() as connection:
        await projects.insert(connection, project)
        await sessions.insert(connection, id=id, project_id=project_id, name="s", base_ref=None, created_at=now())
        await sessions.move(connection, id, {SessionState.OPENING}, SessionState.OPEN)
    return id


async def texts(follower: Follower, count: int) -> list[str]:
    found: list[str] = []
    with anyio.fail_after(10):
        while len(found) < count:
            batch = await follower.receive()
            assert batch.last_seq - batch.first_seq + 1 == len(batch.encoded)
            found += [orjson.loads(record)["event"]["text"] for record in batch.encoded]
    return found


async def stored_texts(store: Store, session_id: str) -> list[str]:
    async with store.connection() as connection:
        records = await events.page(connection, session_id, after=0, limit=500)
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    return [record.event.text for record in records if isinstance(record.event, UserText)]


@pytest.mark.scenario("journal: a viewer gets what is ready in one batch")
async def test_a_viewer_gets_everything_that_is_ready_in_one_batch(database_url: str) -> None:
    async with open_rooms(database_url) as (_, journal, session), journal.follow(session, 0) as follower:
        for word in ("a", "b", "c"):
            await journal.append(session, UserText(text=word))
        batch = await follower.receive()
        assert (batch.first_seq, batch.last_seq) == (1, 3)


@pytest.mark.scenario("journal: text is shown before it is stored, and stored soon")
async def test_text_is_shown_at_once_and_stored_soon_after(database_url: str) -> None:
    async with open_rooms(database_url, JournalLimits(store_delay=30)) as (store, journal, session):
        async with journal.follow(session, 0) as follower:
            await journal.append(session, UserText(text="early"))
            assert await texts(follower, 1) == ["early"]
            assert await stored_texts(store, session) == []
    async with open_rooms(database_url) as (store, journal, other):
        await journal.append(other, UserText(text="soon"))
        with anyio.fail_after(5):
            await journal.flush(other)
        assert await stored_texts(store, other) == ["soon"]
        assert await stored_texts(store, session) == ["early"]


@pytest.mark.scenario("journal: a failed transaction shows nothing and frees its numbers")
async def test_a_failed_commit_shows_nothing_and_its_numbers_are_used_again(database_url: str) -> None:
    async with open_rooms(database_url) as (store, journal, session), journal.follow(session, 0) as follower:

        async def change_mind() -> None:
            async with journal.commit(session) as commit:
                commit.append(UserText(text="never"))
                raise RuntimeError("changed my mind")

        with pytest.raises(RuntimeError):
            await change_mind()
        async with journal.commit(session) as commit:
            assert commit.append(UserText(text="then")) == 1
        assert await texts(follower, 1) == ["then"]
        assert await stored_texts(store, session) == ["then"]


@pytest.mark.scenario("journal: numbers have no gap whoever writes")
async def test_writers_at_once_leave_no_gap_and_keep_their_own_order(database_url: str) -> None:
    async with open_rooms(database_url, JournalLimits(store_delay=0.001)) as (store, journal, session):

        async def stream(name: str) -> None:
            for n in range(60):
                await journal.append(session, UserText(text=f"{name}{n}"))
                await anyio.lowlevel.checkpoint()

        async def decide() -> None:
            for n in range(20):
                async with journal.commit(session) as commit:
                    commit.append(UserText(text=f"c{n}"))
                    await anyio.lowlevel.checkpoint()

        async with journal.follow(session, 0) as follower:
            async with anyio.create_task_group() as group:
                group.start_soon(stream, "a")
                group.start_soon(stream, "b")
                group.start_soon(decide)
            seen = await texts(follower, 140)
        await journal.flush(session)
        assert await stored_texts(store, session) == seen
        for name, count in (("a", 60), ("b", 60), ("c", 20)):
            assert [text for text in seen if text.startswith(name)] == [f"{name}{n}" for n in range(count)]


@pytest.mark.scenario("journal: a viewer behind the ring is served from the store")
async def test_a_viewer_behind_the_ring_misses_nothing(database_url: str) -> None:
    async with open_rooms(database_url, JournalLimits(store_delay=0.001, ring_bytes=2000)) as (_, journal, session):
        words = [f"word {n}" for n in range(700)]
        async with journal.follow(session, 0) as follower:
            for word in words:
                await journal.append(session, UserText(text=word))
                if word.endswith("00"):
                    await journal.flush(session)
            assert await texts(follower, len(words)) == words


@pytest.mark.scenario("journal: a lost database connection loses and doubles nothing")
async def test_cut_connections_lose_and_double_nothing(database_url: str) -> None:
    async with open_rooms(database_url, JournalLimits(store_delay=0.001, retry_delay=0.01)) as (
        store,
        journal,
        session,
    ):
        words = [f"w{n}" for n in range(200)]
        killer = await asyncpg.connect(database_url)
        for n, word in enumerate(words):
            await journal.append(session, UserText(text=word))
            if n % 20 == 0:
                await killer.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE 'COPY%'"
                )
        await killer.close()
        with anyio.fail_after(10):
            await journal.flush(session)
        assert await stored_texts(store, session) == words


@pytest.mark.scenario("journal: what was shown is stored at the end")
async def test_leaving_the_journal_stores_what_was_shown(database_url: str) -> None:
    async with open_store(database_url, run_id="run") as store:
        async with open_journal(store, JournalLimits(store_delay=30)) as journal:
            session = await make_session(store)
            await journal.append(session, UserText(text="last words"))
        assert await stored_texts(store, session) == ["last words"]


@pytest.mark.scenario("journal: a number from a crashed run is not trusted")
async def test_a_number_of_another_epoch_above_the_stored_one_is_unknown(database_url: str) -> None:
    async with open_rooms(database_url) as (_, journal, session):
        async with journal.commit(session) as commit:
            commit.append(TurnStarted(task_id="t"))
        assert await journal.is_known(session, 1, journal.epoch)
        assert not await journal.is_known(session, 1, "another run")
        assert await journal.is_known(session, 0, "another run")
        assert not await journal.is_known(session, 2, None)


@pytest.mark.scenario("journal: an agent that outruns the store waits")
async def test_an_agent_that_outruns_the_store_waits(database_url: str) -> None:
    limits = JournalLimits(store_delay=0.2, pending_bytes=5000)
    async with open_rooms(database_url, limits) as (_, journal, session):
        most = 0
        for _ in range(30):
            await journal.append(session, UserText(text="x" * 1000))
            most = max(most, journal.unstored_bytes())
        assert most < 5000 + 2000


@pytest.mark.scenario("journal: text that PostgreSQL refuses is stored all the same")
async def test_nul_and_surrogates_do_not_stop_a_record(database_url: str) -> None:
    async with open_rooms(database_url) as (store, journal, session):
        await journal.append(session, UserText(text="a\0b\ud800c"))
        await journal.flush(session)
        assert await stored_texts(store, session) == ["a\ufffdb\ufffdc"]


@pytest.mark.scenario("journal: viewers of a closed session are told")
async def test_viewers_of_a_closed_session_are_told(database_url: str) -> None:
    async with open_rooms(database_url) as (_, journal, session), journal.follow(session, 0) as follower:
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                with pytest.raises(NotFound):
                    await follower.receive()

            group.start_soon(watch)
            await anyio.wait_all_tasks_blocked()
            journal.forget(session)


@pytest.mark.scenario("journal: a snapshot and what follows it fit together")
async def test_a_snapshot_taken_while_records_flow_continues_without_a_gap(database_url: str) -> None:
    async with open_rooms(database_url, JournalLimits(store_delay=0.001)) as (_, journal, session):
        words = [f"w{n}" for n in range(120)]

        async def stream() -> None:
            for word in words:
                await journal.append(session, UserText(text=word))
                await anyio.lowlevel.checkpoint()

        snapshots: list[SnapshotFrame] = []

        async def take_snapshot() -> None:
            snapshots.append(await journal.snapshot(session))

        async with anyio.create_task_group() as group:
            group.start_soon(stream)
            group.start_soon(take_snapshot)
        (snapshot,) = snapshots
        async with journal.follow(session, snapshot.seq) as follower:
            rest = await texts(follower, len(words) - snapshot.seq)
        known = [record.event.text for record in snapshot.events if isinstance(record.event, UserText)]
        assert (known + rest)[-len(words) :] == words[-len(known + rest) :]
        assert snapshot.seq + len(rest) == len(words)


REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.event::text LIKE '%poison%' THEN RAISE EXCEPTION 'not this one: %', NEW.event; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION refuse();
"""
"""How a database may refuse a record; others are a CHECK, or a row that is too large."""


async def stored_kinds(store: Store, session_id: str) -> list[str]:
    """Texts, and the codes of errors in their places."""
    async with store.connection() as connection:
        records = await events.page(connection, session_id, after=0, limit=500)
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    shown = [record.event for record in records]
    return [
        event.code if isinstance(event, Error) else event.text for event in shown if isinstance(event, Error | UserText)
    ]


@pytest.mark.scenario("journal: a refused record is replaced and all others are stored")
@pytest.mark.parametrize("law", [REFUSE, "ALTER TABLE events ADD CHECK (event::text NOT LIKE '%poison%')"])
async def test_a_refused_record_is_replaced_where_it_stood(
    database_url: str, law: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_rooms(database_url, JournalLimits(store_delay=30)) as (store, journal, session):
        async with store.connection() as connection:
            await connection.execute(law)
        other = await make_session(store)
        for n in range(20):
            await journal.append(session, UserText(text="poison" if n in (3, 4, 19) else str(n)), agent="demo")
            await journal.append(other, UserText(text=str(n)))
        with anyio.fail_after(10):
            await journal.close()
        expected = ["record_refused" if n in (3, 4, 19) else str(n) for n in range(20)]
        assert await stored_kinds(store, session) == expected
        assert await stored_texts(store, other) == [str(n) for n in range(20)]
        async with journal.follow(session, 0) as follower:
            read = [orjson.loads(record) for record in (await follower.receive()).encoded]
        assert [record["event"].get("code") or record["event"]["text"] for record in read] == expected
        assert read[3] == (await journal.page(session, 3, 1))[0].model_dump(mode="json")
    refusals = [entry for entry in caplog.records if "refused" in entry.message]
    assert [(entry.__dict__["session"], entry.__dict__["seq"]) for entry in refusals] == [
        (session, 4),
        (session, 5),
        (session, 20),
    ]
    assert "poison" not in caplog.text


@pytest.mark.scenario("journal: a refused record does not stop a state change")
async def test_a_refused_record_does_not_stop_a_commit(database_url: str) -> None:
    async with open_rooms(database_url, JournalLimits(store_delay=30)) as (store, journal, session):
        async with store.connection() as connection:
            await connection.execute(REFUSE)
        async with journal.follow(session, 0) as follower:
            for word in ("a", "poison", "b"):
                await journal.append(session, UserText(text=word))
            async with journal.commit(session) as commit:
                await sessions.patch(commit.connection, session, name="renamed", auto_apply=None)
                for word in ("c", "poison", "d"):
                    commit.append(UserText(text=word))
            shown = [orjson.loads(record)["event"] for record in (await follower.receive()).encoded]
        expected = ["a", "record_refused", "b", "c", "record_refused", "d"]
        assert [event.get("code") or event["text"] for event in shown] == expected
        assert await stored_kinds(store, session) == expected
        async with store.connection() as connection:
            assert (await sessions.get(connection, session)).name == "renamed"


@pytest.mark.scenario("journal: a session whose records cannot be stored holds up no other")
async def test_a_session_that_cannot_be_stored_holds_up_no_other(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    limits = JournalLimits(store_delay=0.001, retry_delay=0.02)
    async with open_rooms(database_url, limits) as (store, journal, session):
        other = await make_session(store)
        async with store.connection() as connection:
            await connection.execute(REFUSE.replace("'%poison%'", f"'%' AND NEW.session_id = '{session}'"))
        await journal.append(session, UserText(text="secret"))
        await journal.append(other, UserText(text="fine"))
        with anyio.fail_after(10):
            await journal.flush(other)
            assert await stored_texts(store, other) == ["fine"]
            async with store.connection() as connection:
                await connection.execute("DROP TRIGGER refuse ON events")
            await journal.flush(session)
        assert await stored_texts(store, session) == ["secret"]
    assert "secret" not in caplog.text


@pytest.mark.scenario("journal: pieces of one text that nobody has read yet are one record")
async def test_pieces_of_a_text_grow_together_until_somebody_reads_them(database_url: str) -> None:
    async with open_rooms(database_url) as (_, journal, session):
        async with journal.follow(session, 0) as viewer:
            for piece in ("one ", "two "):
                await journal.append(session, Text(text=piece), agent="demo")
            await journal.append(session, Reasoning(text="hm"), agent="demo")
            first = await viewer.receive()
            seqs = [await journal.append(session, Text(text=piece), agent="demo") for piece in ("three ", "four")]
            await journal.append(session, Text(text="mine"), agent="other")
            second = await viewer.receive()
        await journal.flush(session)

        records = await journal.page(session, 0, 100)
        assert (first.first_seq, first.last_seq, second.first_seq, second.last_seq) == (1, 2, 3, 4)
        assert seqs == [3, 3]
        assert [record.seq for record in records] == [1, 2, 3, 4]
        said = [(record.agent, record.event.text) for record in records if isinstance(record.event, Text | Reasoning)]
        assert said == [("demo", "one two "), ("demo", "hm"), ("demo", "three four"), ("other", "mine")]
        assert [orjson.loads(line)["seq"] for line in (*first.encoded, *second.encoded)] == [1, 2, 3, 4]


@pytest.mark.scenario("journal: pieces of one text that nobody has read yet are one record")
async def test_a_text_grows_to_a_limit_and_never_across_a_commit(database_url: str) -> None:
    async with open_rooms(database_url) as (_, journal, session):
        for _ in range(3):
            await journal.append(session, Text(text="x" * (TEXT_LIMIT // 2)))
        async with journal.commit(session) as commit:
            commit.append(UserText(text="between"))
        await journal.append(session, Text(text="after"))
        told = [record.event for record in await journal.page(session, 0, 9)]
        sizes = [len(event.text) for event in told if isinstance(event, Text | UserText)]
        assert sizes == [TEXT_LIMIT, TEXT_LIMIT // 2, len("between"), len("after")]
