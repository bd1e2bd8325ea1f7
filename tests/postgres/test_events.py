"""Records: numbered without a gap, appended in batches, read back as they were encoded."""

import orjson
import pytest

from coder.errors import NotFound, WrongState
from coder.model.events import Record, Text, Unknown
from coder.model.values import now
from coder.store import events, sessions
from coder.store.events import NewRecord
from coder.store.text import encode_model
from tests.postgres.samples import connected_store, open_session, records


def texts_of(found: list[Record]) -> list[str]:
    return [record.event.text for record in found if isinstance(record.event, Text)]


@pytest.mark.scenario("store: Records are appended without a gap")
async def test_records_are_stored_with_the_last_number_in_one_transaction(database_url: str) -> None:
    async with connected_store(database_url) as (_, c):
        session = await open_session(c)
        async with c.transaction():
            await events.copy_records(c, session.id, records(1, "one", "two"))
        async with c.transaction():
            await events.copy_records(c, session.id, records(3, "three"))
        found = await events.page(c, session.id, after=1)
        assert [record.seq for record in found] == [2, 3]
        assert texts_of(found) == ["two", "three"]
        assert await events.last_seq(c, session.id) == 3
        assert (await sessions.get(c, session.id)).last_seq == 3


@pytest.mark.scenario("store: A second writer of a journal is refused")
async def test_numbers_that_do_not_follow_are_refused_and_nothing_is_stored(database_url: str) -> None:
    async with connected_store(database_url) as (_, c):
        session = await open_session(c)
        for first in (2, 0):
            with pytest.raises((WrongState, NotFound)):
                async with c.transaction():
                    await events.copy_records(c, session.id, records(first, "x"))
        with pytest.raises(ValueError, match="gap"):
            await events.copy_records(c, session.id, [*records(1, "a"), *records(3, "c")])
        async with c.transaction():
            await events.copy_records(c, session.id, records(1, "mine"))
        with pytest.raises(WrongState) as caught:
            async with c.transaction():
                await events.copy_records(c, session.id, records(1, "theirs"))
        assert caught.value.fields["last_seqs"] == {session.id: 1}
        assert texts_of(await events.page(c, session.id)) == ["mine"]


async def test_one_batch_serves_many_sessions_and_names_those_that_are_gone(database_url: str) -> None:
    async with connected_store(database_url) as (_, c):
        one, two, gone = [await open_session(c) for _ in range(3)]
        await sessions.delete(c, gone.id)
        batch = {one.id: records(1, "a"), two.id: records(1, "b", "c"), "empty": []}
        async with c.transaction():
            await events.copy_batches(c, batch)
        assert await events.all_last_seqs(c) == {one.id: 1, two.id: 2}
        with pytest.raises(NotFound) as caught:
            async with c.transaction():
                await events.copy_batches(c, {one.id: records(2, "d"), gone.id: records(1, "e")})
        assert caught.value.fields["session_ids"] == (gone.id,)
        assert await events.last_seq(c, one.id) == 1


@pytest.mark.scenario("store: A record is served as it was encoded")
async def test_a_record_comes_back_with_the_bytes_it_was_encoded_with(database_url: str) -> None:
    odd = encode_model(Unknown(raw={"z": 1.0, "a": ["\0", "\ud800", "ü"], "big": 2**63 - 1}))
    at = now()
    async with connected_store(database_url) as (_, c):
        session = await open_session(c)
        async with c.transaction():
            await events.copy_records(c, session.id, [NewRecord(1, at, "demo", None, odd)])
        [stored] = await events.page_encoded(c, session.id)
        assert stored.data == events.encode_record(1, at, "demo", None, odd)
        assert odd in stored.data
        [record] = await events.page(c, session.id)
        assert orjson.loads(stored.data) == record.model_dump(mode="json")


@pytest.mark.scenario("store: A tail is bounded in records and bytes")
async def test_a_tail_is_the_newest_records_that_fit(database_url: str) -> None:
    async with connected_store(database_url) as (_, c):
        session = await open_session(c)
        async with c.transaction():
            await events.copy_records(c, session.id, records(1, "a", "b" * 1000, "c", "d"))
        assert texts_of(await events.tail(c, session.id, limit=2, max_bytes=10_000)) == ["c", "d"]
        assert texts_of(await events.tail(c, session.id, limit=75, max_bytes=600)) == ["c", "d"]
        assert texts_of(await events.tail(c, session.id, limit=75, max_bytes=1)) == []
        encoded = await events.tail_encoded(c, session.id, limit=75, max_bytes=10_000)
        assert [record.seq for record in encoded] == [1, 2, 3, 4]
