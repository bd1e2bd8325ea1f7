"""The journal and the lists of a host that has been in use for long: what they cost as they grow."""

import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import asyncpg
import orjson

from bench.native_programs import Programs
from bench.rows import Row, at_most, median, quantile
from coder.api.stream import event_frames
from coder.compaction import Compaction
from coder.journal import Batch, Journal, open_journal
from coder.model.events import Text, UserText
from coder.model.sessions import Project, SessionState
from coder.model.values import new_id, now
from coder.store import events, projects, sessions
from coder.store.database import Store, open_store, prepare_connection
from coder.store.embedded import open_embedded
from coder.store.events import NewRecord
from coder.store.text import encode_model

SESSIONS, ROUNDS = 10_000, 200
JOURNALS = (100, 10_000, 100_000)
PIECES, PIECES_PER_MESSAGE = 10_000, 40
STORED = 5_000
FRAME_BYTES = 256 * 1024


async def measure(programs: Programs, work: Path) -> list[Row]:
    """Each beside its like: lists of few sessions, a short journal, a journal as it was told, a statement per event."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coder-bench-")))
        url = await stack.enter_async_context(open_embedded(folder / "database"))
        store = await stack.enter_async_context(open_store(url, run_id="bench"))
        journal = await stack.enter_async_context(open_journal(store))
        project = Project(id=new_id("prj"), name="p", repo_path="/p", default_branch="main", created_at=now())
        async with store.transaction() as c:
            await projects.insert(c, project)
        rows = await _lists(store, project.id)
        rows += await _snapshots(store, journal, project.id)
        rows += await _replay(store, journal, project.id)
        rows += await _inserts(url, store, project.id)
    return rows


async def _lists(store: Store, project_id: str) -> list[Row]:
    async def list_first() -> None:
        async with store.connection() as c:
            page = await sessions.list_page(c, limit=100)
        assert len(page.items) == 100
        assert [one.id for one in page.items] == sorted((one.id for one in page.items), reverse=True)

    await _fill_sessions(store, project_id, 100)
    few = await _times(list_first)
    await _fill_sessions(store, project_id, SESSIONS - 100)
    many = await _times(list_first)
    async with store.connection() as c:
        assert await sessions.count(c) == SESSIONS
    reference = ("100 sessions", quantile(few, 0.99))
    return [at_most("storage-list", f"100 of {SESSIONS} sessions, p99", "ms", quantile(many, 0.99), reference, 1.5)]


async def _snapshots(store: Store, journal: Journal, project_id: str) -> list[Row]:
    opened = [await _open(store, project_id) for _ in JOURNALS]
    for session_id, count in zip(opened, JOURNALS, strict=True):
        for first in range(1, count + 1, 5000):
            said = [UserText(text=f"record {seq}") for seq in range(first, min(first + 5000, count + 1))]
            await _store_all(store, session_id, said, first)
    async with store.connection() as c:
        await c.execute("VACUUM ANALYZE events")
    times: dict[int, list[float]] = {count: [] for count in JOURNALS}
    for _ in range(ROUNDS):
        for session_id, count in zip(opened, JOURNALS, strict=True):
            begun = time.perf_counter()
            snapshot = await journal.snapshot(session_id)
            times[count].append((time.perf_counter() - begun) * 1000)
            assert (snapshot.seq, snapshot.has_more) == (count, True)
            assert [record.seq for record in snapshot.events] == list(range(count - 74, count + 1))
    reference = (f"{JOURNALS[0]} records", median(times[JOURNALS[0]]))
    return [
        at_most("storage-open", f"snapshot of {count} records, p50", "ms", median(times[count]), reference, 1.2)
        for count in JOURNALS[1:]
    ]


async def _replay(store: Store, journal: Journal, project_id: str) -> list[Row]:
    """The same journal as it was told, a piece a record, and as it is kept."""
    session_id, other = await _open(store, project_id), await _open(store, project_id)
    chance = random.Random(1)
    said = [
        UserText(text="and now?")
        if n % PIECES_PER_MESSAGE == 0
        else Text(text="".join(chance.choices("abcdefghij klmnop", k=chance.randint(2, 12))), message_id="m")
        for n in range(PIECES)
    ]
    for id in (session_id, other):
        for first in range(0, PIECES, 5000):
            await _store_all(store, id, said[first : first + 5000], first + 1)
    assert await Compaction(store, journal).compact(session_id)
    kept_bytes, told_bytes = await _size(store, session_id), await _size(store, other)
    told_times: list[float] = []
    kept_times: list[float] = []
    each_times: list[float] = []
    for _ in range(5):
        each_times.append(await _replay_one_by_one(store, other))
        for id, times in ((other, told_times), (session_id, kept_times)):
            begun = time.process_time()
            frames = await _frames(journal, id)
            times.append((time.process_time() - begun) * 1000)
            assert _told(frames) == "".join(one.text for one in said), "a viewer is told something else"
    each = ("a message per event", median(each_times))
    return [
        at_most("storage-size", f"journal of {PIECES} pieces", "KiB", kept_bytes, ("as it was told", told_bytes), 0.5),
        at_most("storage-replay", f"CPU for {PIECES} records, merged", "ms", median(kept_times), each, 0.1),
        at_most("storage-replay", f"CPU for {PIECES} records, as told", "ms", median(told_times), each),
    ]


async def _inserts(url: str, store: Store, project_id: str) -> list[Row]:
    """CPU of the host for an event on its way to the disk, in batches and one by one."""
    said = [Text(text=f"piece {n} of what is said", message_id=str(n)) for n in range(STORED)]
    c = await asyncpg.connect(url)
    await prepare_connection(c)
    batched: list[float] = []
    single: list[float] = []
    for _ in range(3):
        session_id, other = await _open(store, project_id), await _open(store, project_id)
        begun = time.process_time()
        for first in range(0, STORED, 500):
            await _store_all(store, session_id, said[first : first + 500], first + 1)
        batched.append((time.process_time() - begun) * 1e6 / STORED)
        begun = time.process_time()
        for n, event in enumerate(said, 1):
            question = "INSERT INTO events (session_id, seq, at, agent, event) VALUES ($1, $2, $3, $4, $5)"
            await c.execute(question, other, n, now(), "demo", encode_model(event))
        single.append((time.process_time() - begun) * 1e6 / STORED)
        for id in (session_id, other):
            assert await c.fetchval("SELECT count(*) FROM events WHERE session_id = $1", id) == STORED
    await c.close()
    reference = ("an INSERT per event", median(single))
    return [at_most("storage-insert", "CPU per stored event", "us", median(batched), reference, 0.1)]


async def _times(act: Callable[[], Awaitable[None]]) -> list[float]:
    times: list[float] = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        await act()
        times.append((time.perf_counter() - begun) * 1000)
    return times


async def _open(store: Store, project_id: str) -> str:
    id = new_id("ses")
    async with store.transaction() as c:
        await sessions.insert(c, id=id, project_id=project_id, name="s", base_ref=None, created_at=now())
        await sessions.move(c, id, {SessionState.OPENING}, SessionState.OPEN)
    return id


async def _fill_sessions(store: Store, project_id: str, count: int) -> None:
    rows = [(new_id("ses"), project_id, f"session {n}", "open") for n in range(count)]
    async with store.transaction() as c:
        await c.copy_records_to_table("sessions", records=rows, columns=("id", "project_id", "name", "state"))
    async with store.connection() as c:
        await c.execute("VACUUM ANALYZE sessions")


async def _store_all(store: Store, session_id: str, said: Sequence[Text | UserText], first: int) -> None:
    at = now()
    rows = [
        NewRecord(first + n, at + timedelta(milliseconds=n), "demo", None, encode_model(event))
        for n, event in enumerate(said)
    ]
    async with store.transaction() as c:
        await events.copy_records(c, session_id, rows)


async def _size(store: Store, session_id: str) -> float:
    """KiB of the session's rows in a table and an index of their own."""
    async with store.transaction() as c:
        await c.execute("CREATE TABLE measured (LIKE events INCLUDING INDEXES)")
        await c.execute("INSERT INTO measured SELECT * FROM events WHERE session_id = $1", session_id)
        size = int(await c.fetchval("SELECT pg_total_relation_size('measured')"))
        await c.execute("DROP TABLE measured")
    return size / 1024


async def _frames(journal: Journal, session_id: str) -> list[str]:
    """What a new viewer is sent from the beginning on."""
    frames: list[str] = []
    async with journal.follow(session_id, 0) as follower:
        while follower.cursor < PIECES:
            frames += event_frames(session_id, await follower.receive(), FRAME_BYTES)
    return frames


def _told(frames: Sequence[str]) -> str:
    records = [record for frame in frames for record in orjson.loads(frame)["records"]]
    numbers = [n for record in records for n in range(record.get("first_seq", record["seq"]), record["seq"] + 1)]
    assert numbers == list(range(1, PIECES + 1)), "a number is missing or there twice"
    return "".join(record["event"]["text"] for record in records)


async def _replay_one_by_one(store: Store, session_id: str) -> float:
    """CPU for reading pages and making a message of each record."""
    begun, after = time.process_time(), 0
    frames: list[str] = []
    async with store.connection() as c:
        while page := await events.page_encoded(c, session_id, after=after, limit=500):
            for record in page:
                frames += event_frames(session_id, Batch(record.seq, [record.seq], [record.data]), FRAME_BYTES)
            after = page[-1].seq
    assert len(frames) == PIECES
    return (time.process_time() - begun) * 1000
