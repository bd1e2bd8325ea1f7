"""The journal's records. `seq` is contiguous from 1 per session; the session's row holds the newest number."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import orjson
from asyncpg import Connection, PostgresError
from asyncpg import Record as Row

from coder.errors import NotFound, WrongState
from coder.model.events import Record
from coder.store.cursors import check_limit
from coder.store.rows import found
from coder.store.statements import sql

_COLUMNS = ("session_id", "seq", "at", "agent", "task_id", "event")

REFUSED = frozenset({"0A", "22", "23", "44", "54", "P0"})
"""Classes of SQLSTATE that are about the row itself: unsupported, data, constraint, view, limit, trigger."""


class NewRecord(NamedTuple):
    """A record on its way in; a plain tuple of the same shape will do. `event` is encoded by `coder.store.text`."""

    seq: int
    at: datetime
    agent: str | None
    task_id: str | None
    event: bytes


class EncodedRecord(NamedTuple):
    """A record ready to be sent: `data` is the JSON of `{seq, at, agent, task_id, event}`."""

    seq: int
    data: bytes


def encode_record(seq: int, at: datetime, agent: str | None, task_id: str | None, event: bytes) -> bytes:
    """The JSON of a whole record around an event that is encoded already."""
    time = at.astimezone(UTC).isoformat(timespec="milliseconds")[:-6]
    return b'{"seq":%d,"at":"%sZ","agent":%s,"task_id":%s,"event":%s}' % (
        seq,
        time.encode(),
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


async def page(c: Connection, session_id: str, *, after: int = 0, limit: int = 100) -> list[Record]:
    """Records after a number, in order."""
    return [_read(row) for row in await c.fetch(sql("page_events"), session_id, after, check_limit(limit))]


async def page_encoded(c: Connection, session_id: str, *, after: int = 0, limit: int = 100) -> list[EncodedRecord]:
    """The same as `page`, ready to be sent."""
    return [_encode(row) for row in await c.fetch(sql("page_events"), session_id, after, check_limit(limit))]


async def tail(c: Connection, session_id: str, *, limit: int, max_bytes: int) -> list[Record]:
    """The newest records in order: at most `limit`, and no more than fit into `max_bytes` of JSON."""
    return [
        Record.model_validate_json(record.data)
        for record in await tail_encoded(c, session_id, limit=limit, max_bytes=max_bytes)
    ]


async def tail_encoded(c: Connection, session_id: str, *, limit: int, max_bytes: int) -> list[EncodedRecord]:
    """The same as `tail`, ready to be sent."""
    kept: list[EncodedRecord] = []
    size = 0
    for row in await c.fetch(sql("tail_events"), session_id, check_limit(limit)):
        record = _encode(row)
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


def _encode(row: Row) -> EncodedRecord:
    seq = row["seq"]
    event = row["event"].encode()
    return EncodedRecord(seq, encode_record(seq, row["at"], row["agent"], row["task_id"], event))


def _read(row: Row) -> Record:
    return Record.model_validate_json(_encode(row).data)
