"""The journal's records. `seq` is contiguous from 1 per session; the session's row holds the newest number.

A row of text that was merged (`coder.store.compaction`) covers several numbers. Where a reader begins or ends inside of
it, the text is cut there: every reader is given every number once, whatever is merged meanwhile.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import orjson
from asyncpg import Connection, PostgresError
from asyncpg import Record as Row

from coder.errors import NotFound, WrongState
from coder.model.events import Record, mergeable
from coder.store.cursors import check_limit
from coder.store.rows import found
from coder.store.statements import sql
from coder.store.text import encode_model

_COLUMNS = ("session_id", "seq", "at", "agent", "task_id", "event")

END = 2**63 - 1
"""Behind every number."""
FEW = 16
"""Records of one session up to which one statement is quicker than COPY in a savepoint."""

REFUSED = frozenset({"0A", "22", "23", "44", "54", "P0"})
"""Classes of SQLSTATE that are about the row itself: unsupported, data, constraint, view, limit, trigger.
`append_events` in schema.sql has the same."""


class NewRecord(NamedTuple):
    """A record on its way in; a plain tuple of the same shape will do. `event` is encoded by `coder.store.text`."""

    seq: int
    at: datetime
    agent: str | None
    task_id: str | None
    event: bytes


class EncodedRecord(NamedTuple):
    """A record ready to be sent: `data` is the JSON of one `Record` that covers `first_seq`..`seq`."""

    first_seq: int
    seq: int
    data: bytes


def encode_record(seq: int, at: datetime, agent: str | None, task_id: str | None, event: bytes) -> bytes:
    """The JSON of a whole record around an event that is encoded already."""
    return b'{"seq":%d,"at":%b,"agent":%b,"task_id":%b,"event":%b}' % (
        seq,
        _encode_time(at),
        orjson.dumps(agent),
        orjson.dumps(task_id),
        event,
    )


Substitute = Callable[[str, NewRecord, PostgresError], NewRecord]
"""Makes the record that takes the place of a session's record that PostgreSQL refuses, under its number."""


async def copy_records(
    c: Connection, session_id: str, records: Sequence[NewRecord], substitute: Substitute | None = None
) -> list[NewRecord]:
    """`copy_batches` for one session."""
    return (await copy_batches(c, {session_id: records}, substitute)).get(session_id, [])


async def copy_batches(
    c: Connection, batches: Mapping[str, Sequence[NewRecord]], substitute: Substitute | None = None
) -> dict[str, list[NewRecord]]:
    """Append records of several sessions and move their last numbers; call it inside a transaction.

    Returns, by session, the records that took the place of refused ones.

    Raises:
        NotFound: sessions are gone; `session_ids` in the fields names them.
        WrongState: a journal does not stand just before its first record; `last_seqs` in the fields says where.
        PostgresError: a record is refused, and there is no substitute, or that is refused too.
    """
    filled = {id: records for id, records in batches.items() if records}
    if not filled:
        return {}
    for id, records in filled.items():
        _check_contiguous(id, records)
    if substitute is not None and len(filled) == 1:
        [(id, records)] = filled.items()
        if len(records) <= FEW:
            return {id: await _append_few(c, id, records, substitute)}
    before = [records[0].seq - 1 for records in filled.values()]
    last = [records[-1].seq for records in filled.values()]
    moved = await c.fetch(sql("move_last_seqs"), list(filled), before, last)
    if len(moved) < len(filled):
        await _explain_refusal(c, filled)
    rows = [(id, record) for id, records in filled.items() for record in records]
    if substitute is None:
        await _copy(c, rows)
        return {}
    replaced: dict[str, list[NewRecord]] = {}
    for id, record in await _copy_around(c, rows, substitute):
        replaced.setdefault(id, []).append(record)
    return replaced


async def page(c: Connection, session_id: str, *, after: int = 0, before: int = END, limit: int = 100) -> list[Record]:
    """Records between two numbers, both excluded: the oldest of them, in order."""
    found = await page_encoded(c, session_id, after=after, before=before, limit=limit)
    return [Record.model_validate_json(record.data) for record in found]


async def page_encoded(
    c: Connection, session_id: str, *, after: int = 0, before: int = END, limit: int = 100
) -> list[EncodedRecord]:
    """The same as `page`, ready to be sent."""
    check_limit(limit)
    rows = await c.fetch(sql("page_events"), session_id, after, before, limit) if after + 1 < before else []
    return [_encode(row, after, before) for row in rows]


async def tail(c: Connection, session_id: str, *, before: int = END, limit: int, max_bytes: int) -> list[Record]:
    """The newest records before a number, in order: at most `limit`, and no more than fit into `max_bytes` of JSON."""
    found = await tail_encoded(c, session_id, before=before, limit=limit, max_bytes=max_bytes)
    return [Record.model_validate_json(record.data) for record in found]


async def tail_encoded(
    c: Connection, session_id: str, *, before: int = END, limit: int, max_bytes: int
) -> list[EncodedRecord]:
    """The same as `tail`, ready to be sent."""
    kept: list[EncodedRecord] = []
    size = 0
    check_limit(limit)
    for row in await c.fetch(sql("page_events_before"), session_id, before, limit) if before > 1 else []:
        record = _encode(row, 0, before)
        size += len(record.data)
        if size > max_bytes:
            break
        kept.append(record)
    kept.reverse()
    return kept


async def last_seq(c: Connection, session_id: str) -> int:
    """The newest stored number, 0 where there is none; NotFound."""
    return int(found(await c.fetchrow(sql("last_seq"), session_id), "session", session_id)["last_seq"])


async def all_last_seqs(c: Connection) -> dict[str, int]:
    """The newest stored number of every session."""
    return {row["id"]: row["last_seq"] for row in await c.fetch(sql("all_last_seqs"))}


_Row = tuple[str, NewRecord]


async def _append_few(
    c: Connection, session_id: str, records: Sequence[NewRecord], substitute: Substitute
) -> list[NewRecord]:
    columns = [list(column) for column in zip(*records, strict=True)]
    outcome = await c.fetchval(sql("append_events"), session_id, records[0].seq - 1, *columns)
    if outcome == "elsewhere":
        await _explain_refusal(c, {session_id: records})
    if outcome != "refused":
        return []
    return [record for _, record in await _copy_around(c, [(session_id, record) for record in records], substitute)]


async def _copy(c: Connection, rows: Sequence[_Row]) -> None:
    await c.copy_records_to_table("events", records=[(id, *record) for id, record in rows], columns=_COLUMNS)


async def _copy_around(c: Connection, rows: Sequence[_Row], substitute: Substitute) -> list[_Row]:
    """Copy all rows, halving what is refused until the row is found that has to be replaced."""
    try:
        async with c.transaction():
            await _copy(c, rows)
    except PostgresError as error:
        if error.sqlstate[:2] not in REFUSED:
            raise
        if len(rows) == 1:
            ((id, refused),) = rows
            replaced = (id, substitute(id, refused, error))
            await _copy(c, [replaced])
            return [replaced]
    else:
        return []
    half = len(rows) // 2
    return [*await _copy_around(c, rows[:half], substitute), *await _copy_around(c, rows[half:], substitute)]


def _check_contiguous(session_id: str, records: Sequence[NewRecord]) -> None:
    first = records[0][0]
    if any(record[0] != first + n for n, record in enumerate(records)):
        raise ValueError(f"records of {session_id} are not numbered without a gap")


async def _explain_refusal(c: Connection, batches: Mapping[str, Sequence[NewRecord]]) -> None:
    stored = {row["id"]: int(row["last_seq"]) for row in await c.fetch(sql("last_seqs"), list(batches))}
    gone = tuple(id for id in batches if id not in stored)
    if gone:
        raise NotFound(f"no such session: {', '.join(gone)}", noun="session", session_ids=gone)
    raise WrongState("a journal does not stand just before the records to append", last_seqs=stored)


def _encode(row: Row, after: int, before: int) -> EncodedRecord:
    """The row's part between two numbers, both excluded."""
    seq, at, agent, task_id, event = row["seq"], row["at"], row["agent"], row["task_id"], row["event"].encode()
    if row["first_seq"] is None:
        return EncodedRecord(seq, seq, encode_record(seq, at, agent, task_id, event))
    first, last = max(row["first_seq"], after + 1), min(seq, before - 1)
    if (first, last) != (row["first_seq"], seq):
        event = _cut(event, row["lengths"], first - row["first_seq"], last - row["first_seq"] + 1)
    if first == last:
        return EncodedRecord(last, last, encode_record(last, at, agent, task_id, event))
    head = b'{"seq":%d,"first_seq":%d,"at":%b,"until":%b,"agent":%b,"task_id":%b,"event":%b}'
    times = _encode_time(at), _encode_time(row["until"])
    data = head % (last, first, *times, orjson.dumps(agent), orjson.dumps(task_id), event)
    return EncodedRecord(first, last, data)


def _cut(event: bytes, lengths: Sequence[int], first: int, end: int) -> bytes:
    """The event with the text of some of its pieces only."""
    told = mergeable.validate_json(event)
    start = sum(lengths[:first])
    return encode_model(told.model_copy(update={"text": told.text[start : start + sum(lengths[first:end])]}))


def _encode_time(at: datetime) -> bytes:
    return b'"%bZ"' % at.astimezone(UTC).isoformat(timespec="milliseconds")[:-6].encode()
