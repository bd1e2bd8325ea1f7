"""Merging pieces of one text after the turn: whoever reads is told the same, wherever and whenever they read."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import anyio
import asyncpg
import pytest
from asyncpg import Connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coder.compaction import Compaction
from coder.journal import Journal, JournalLimits, open_journal
from coder.model.events import AgentEvent, Reasoning, Record, Text, UserText
from coder.model.tasks import Task, TaskState
from coder.model.values import new_id, now
from coder.store import compaction, events, tasks
from coder.store.database import open_store, prepare_connection
from coder.store.events import NewRecord
from coder.store.text import encode_model
from coder.testing.ledgers import read_book, told
from tests.postgres.samples import connected_store, open_session
from tests.postgres.test_journal import make_session, open_rooms

AT = datetime(2026, 1, 1, tzinfo=UTC)


class Said(NamedTuple):
    """An event that is to be stored, and where it came from."""

    event: AgentEvent
    agent: str | None = "demo"
    task_id: str | None = "tsk"


words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
pieces = st.builds(
    Said,
    st.one_of(
        st.builds(Text, text=words, message_id=st.sampled_from([None, "m"])),
        st.builds(Reasoning, text=words, message_id=st.none()),
        st.builds(UserText, text=words),
    ),
    st.sampled_from(["demo", "other"]),
    st.sampled_from(["tsk", None]),
)


def _run(said: Said, texts: Sequence[str]) -> Sequence[Said]:
    return [said, *(said._replace(event=said.event.model_copy(update={"text": text})) for text in texts)]


class Look(NamedTuple):
    """A page that somebody reads: after a number, or before one, `limit` records large; numbers count from the end."""

    is_older: bool
    number: int
    limit: int


anything: st.SearchStrategy[Sequence[Said] | str | Look] = st.one_of(
    st.builds(_run, pieces, st.lists(words)),
    st.just("compact"),
    st.builds(Look, st.booleans(), st.integers(0, 40), st.integers(1, 7)),
)
steps = st.lists(anything, min_size=3, max_size=25)


async def store_all(c: Connection, session_id: str, said: Sequence[Said], first: int) -> None:
    rows = [
        NewRecord(first + n, AT + timedelta(seconds=first + n), one.agent, one.task_id, encode_model(one.event))
        for n, one in enumerate(said)
    ]
    async with c.transaction():
        await events.copy_records(c, session_id, rows)


def as_records(said: Sequence[Said]) -> list[Record]:
    return [
        Record(seq=n, at=AT, agent=one.agent, task_id=one.task_id, event=one.event) for n, one in enumerate(said, 1)
    ]


def check(found: Sequence[Record], wanted: Sequence[Record]) -> None:
    """The found records are the wanted ones, each number once, whatever of them is merged."""
    numbers = [number for record in found for number in range(record.begins, record.seq + 1)]
    assert numbers == [record.seq for record in wanted]
    assert told(found) == told(wanted)
    assert all((record.first_seq is None) == (record.until is None) for record in found)


async def read_all(c: Connection, session_id: str, after: int, limit: int) -> list[Record]:
    """Page by page to the end."""
    found: list[Record] = []
    while page := await events.page(c, session_id, after=found[-1].seq if found else after, limit=limit):
        found += page
    return found


async def read_back(c: Connection, session_id: str, before: int, limit: int) -> list[Record]:
    """Page by page to the beginning."""
    found: list[Record] = []
    while page := await events.tail(c, session_id, before=before, limit=limit, max_bytes=10**9):
        found = [*page, *found]
        before = page[0].begins
    return found


@pytest.mark.scenario("journal: a resume from any number is exact, whatever was merged")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps, stretch=st.integers(2, 9))
async def test_whoever_reads_is_told_the_same_whenever_text_is_merged(
    database_url: str, steps: Sequence[Sequence[Said] | str | Look], stretch: int
) -> None:
    c = await asyncpg.connect(database_url)
    await prepare_connection(c)
    session = (await open_session(c)).id
    said: list[Said] = []
    for step in [*steps, "compact"]:
        if step == "compact":
            await compact(c, session, stretch)
        elif isinstance(step, Look):
            number = max(0, len(said) + 1 - step.number)
            if step.is_older:
                found = await read_back(c, session, number, step.limit)
                check(found, [record for record in as_records(said) if record.seq < number])
            else:
                check(await read_all(c, session, number, step.limit), as_records(said)[number:])
        elif not isinstance(step, str):
            await store_all(c, session, step, len(said) + 1)
            said += step
    check(await read_all(c, session, 0, 500), as_records(said))
    assert await compaction.next_stretch(c, session) is None
    book = await read_book(database_url)
    assert [one.model_copy(update={"at": AT}) for one in book.records[session]] == as_records(said)
    await c.execute("DELETE FROM sessions")
    await c.close()


async def compact(c: Connection, session_id: str, stretch: int) -> None:
    while found := await compaction.next_stretch(c, session_id, stretch):
        async with c.transaction():
            assert await compaction.merge(c, found)


@pytest.mark.scenario("journal: pieces of one text are one record after the turn")
async def test_pieces_become_one_record_that_says_which_numbers_it_covers(database_url: str) -> None:
    async with connected_store(database_url) as (store, c):
        session = await make_session(store)
        said = [Said(Text(text=text)) for text in ("one ", "two ", "three")]
        await store_all(c, session, [Said(UserText(text="ask")), *said, Said(UserText(text="more"))], 1)
        await compact(c, session, 100)
        found = await events.page(c, session)
        assert [(record.first_seq, record.seq) for record in found] == [(None, 1), (2, 4), (None, 5)]
        merged = found[1]
        assert merged.event == Text(text="one two three")
        assert (merged.at, merged.until) == (AT + timedelta(seconds=2), AT + timedelta(seconds=4))
        assert "first_seq" not in found[0].model_dump(mode="json")
        [cut] = await events.page(c, session, after=2, before=4)
        assert (cut.seq, cut.first_seq, cut.event) == (3, None, Text(text="two "))
        [cut] = await events.page(c, session, after=2, before=5)
        assert (cut.seq, cut.first_seq, cut.event) == (4, 3, Text(text="two three"))
        assert await c.fetchval("SELECT count(*) FROM events") == 3
        assert [record.event for record in await events.tail(c, session, before=3, limit=9, max_bytes=9999)] == [
            UserText(text="ask"),
            Text(text="one "),
        ]
        for nothing in (0, 1):
            assert await events.tail(c, session, before=nothing, limit=9, max_bytes=9999) == []
            assert await events.page(c, session, before=nothing) == []


async def test_a_merged_text_ends_at_its_limit(database_url: str) -> None:
    async with connected_store(database_url) as (store, c):
        session = await make_session(store)
        half = "x" * (compaction.TEXT_LIMIT // 2)
        await store_all(c, session, [Said(Text(text=half))] * 5, 1)
        await compact(c, session, 100)
        found = await events.page(c, session)
        assert [(record.begins, record.seq) for record in found] == [(1, 2), (3, 4), (5, 5)]


@pytest.mark.scenario("journal: viewers and merging at once")
async def test_viewers_behind_the_ring_miss_nothing_while_text_is_merged(database_url: str) -> None:
    """Viewers begin at every number of a journal whose newest part is in memory, while the rest is being merged."""
    limits = JournalLimits(ring_bytes=2000, store_delay=0.001)
    async with open_rooms(database_url, limits) as (store, journal, session):
        said = [Said(Text(text=f"{n} ")) for n in range(120)]
        for one in said:
            await journal.append(session, one.event, agent=one.agent, task_id=one.task_id)
            await journal.flush(session)
        merging = Compaction(store, journal)

        async def view(after: int) -> None:
            found: list[Record] = []
            with anyio.fail_after(20):
                async with journal.follow(session, after) as follower:
                    while follower.cursor < len(said):
                        batch = await follower.receive()
                        records = [Record.model_validate_json(one) for one in batch.encoded]
                        assert (batch.first_seq, batch.last_seq) == (records[0].begins, records[-1].seq)
                        assert list(batch.seqs) == [record.seq for record in records]
                        found += records
                        await anyio.lowlevel.checkpoint()
            numbers = [number for record in found for number in range(record.begins, record.seq + 1)]
            assert numbers == list(range(after + 1, len(said) + 1))
            assert told(found) == told(as_records(said)[after:])

        async with anyio.create_task_group() as group:
            for after in range(0, 120, 8):
                group.start_soon(view, after)
            group.start_soon(merging.compact, session)
        for after in (0, 7, 60, 119):
            await view(after)
        async with store.connection() as c:
            assert await c.fetchval("SELECT count(*) FROM events") == 1
        snapshot = await journal.snapshot(session)
        assert (len(snapshot.events), snapshot.events[0].begins, snapshot.has_more) == (1, 1, False)
        assert '"first_seq":1,' in snapshot.model_dump_json()


@pytest.mark.scenario("journal: text is merged when the turn has ended and the session is quiet")
async def test_text_waits_for_the_turn_s_end_and_for_quiet(database_url: str) -> None:
    async with (
        open_store(database_url, run_id="run") as store,
        open_journal(store, JournalLimits(store_delay=0.001)) as journal,
    ):
        session = await make_session(store)
        task = Task(
            id=new_id("tsk"), session_id=session, agent="demo", input="x", state=TaskState.PENDING, created_at=now()
        )
        async with store.transaction() as c:
            await tasks.insert(c, task)
            (task,) = await tasks.claim(c, "run")
        await tell(journal, session, 5)
        merging = Compaction(store, journal, quiet=0.05)
        assert not await merging.compact(session)
        async with anyio.create_task_group() as group, store.connection() as c:
            group.start_soon(merging.run)
            async with store.transaction() as other:
                await tasks.finish(other, task.id, task.attempt, TaskState.COMPLETED)
            await merged(c)
            assert await c.fetchval("SELECT count(*) FROM events") == 1
            await tell(journal, session, 5)
            await merged(c)
            assert await c.fetchval("SELECT count(*) FROM events") < 6
            group.cancel_scope.cancel()


async def merged(c: Connection) -> None:
    """Wait until everything stored was looked at."""
    with anyio.fail_after(10):
        while not await c.fetchval("SELECT compacted_seq = last_seq FROM sessions"):
            await anyio.sleep(0.02)


async def tell(journal: Journal, session_id: str, count: int) -> None:
    for n in range(count):
        await journal.append(session_id, Text(text=f"{n}"), agent="demo")
        await journal.flush(session_id)


async def test_two_compactions_at_once_merge_once(database_url: str) -> None:
    async with connected_store(database_url) as (store, c):
        session = await make_session(store)
        await store_all(c, session, [Said(Text(text=f"{n}")) for n in range(10)], 1)
        stretch = await compaction.next_stretch(c, session)
        assert stretch is not None
        results: list[bool] = []

        async def merge() -> None:
            async with store.transaction() as own:
                results.append(await compaction.merge(own, stretch))

        async with anyio.create_task_group() as group:
            group.start_soon(merge)
            group.start_soon(merge)
        assert sorted(results) == [False, True]
        [record] = await events.page(c, session)
        assert (record.first_seq, record.seq, record.event) == (1, 10, Text(text="0123456789"))
