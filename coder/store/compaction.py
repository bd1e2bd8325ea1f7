"""Merging adjacent pieces of one text into one record that covers their numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from asyncpg import Connection, Record

from coder.model.events import Reasoning, Text, mergeable
from coder.store.statements import sql
from coder.store.text import encode_model

TEXT_LIMIT = 64 * 1024
"""Characters after which a merged text is a record of its own."""
STRETCH = 2000
"""Records looked at, and merged, in one transaction."""


@dataclass(frozen=True)
class Piece:
    """A record of text, which may have been merged before."""

    first_seq: int
    seq: int
    at: datetime
    until: datetime
    lengths: Sequence[int]
    event: Text | Reasoning
    agent: str | None
    task_id: str | None

    def is_continued_by(self, other: "Piece") -> bool:
        """Whether the other says more of the same text, of the same agent in the same task."""
        mine, theirs = self.event, other.event
        is_same_text = (mine.type, mine.message_id) == (theirs.type, theirs.message_id)
        return is_same_text and (self.agent, self.task_id) == (other.agent, other.task_id)


@dataclass(frozen=True)
class Stretch:
    """Records `compacted`+1..`last` of a session, which hold these runs of pieces to merge."""

    session_id: str
    compacted: int
    last: int
    runs: Sequence[Sequence[Piece]]


async def sessions_behind(c: Connection) -> Sequence[str]:
    """Sessions with records that were not looked at yet."""
    return [row["id"] for row in await c.fetch(sql("sessions_to_compact"))]


async def next_stretch(c: Connection, session_id: str, limit: int = STRETCH) -> Stretch | None:
    """What is to be merged next; None where everything was looked at."""
    rows = await c.fetch(sql("stretch_to_compact"), session_id, limit)
    if not rows:
        return None
    runs = list(runs_of([_read(row) for row in rows]))
    compacted, last = int(rows[0]["compacted_seq"]), int(rows[-1]["seq"])
    if len(rows) == limit and runs and runs[-1][-1].seq == last and runs[-1][0].first_seq > compacted + 1:
        # It may go on in the next stretch.
        last = runs.pop()[0].first_seq - 1
    return Stretch(session_id, compacted, last, [run for run in runs if len(run) > 1])


async def merge(c: Connection, stretch: Stretch) -> bool:
    """Carry it out; call it inside a transaction. False: somebody else did, or a turn runs, or the session is gone."""
    id = stretch.session_id
    if await c.fetchrow(sql("move_compacted_seq"), id, stretch.compacted, stretch.last) is None:
        return False
    if stretch.runs:
        firsts, lasts = zip(*((run[0].first_seq, run[-1].seq) for run in stretch.runs), strict=True)
        await c.execute(sql("drop_merged_events"), id, firsts, lasts)
        await c.executemany(sql("merge_event"), [(id, *_merged(run)) for run in stretch.runs])
    return True


def runs_of(records: Sequence[Piece | None]) -> Iterator[Sequence[Piece]]:
    """Adjacent pieces that fit into one record each; None is a record that is no text."""
    run: list[Piece] = []
    size = 0
    for piece in records:
        length = len(piece.event.text) if piece else 0
        if run and (piece is None or not run[-1].is_continued_by(piece) or size + length > TEXT_LIMIT):
            yield run
            run, size = [], 0
        if piece is not None:
            run.append(piece)
            size += length
    if run:
        yield run


def _merged(run: Sequence[Piece]) -> tuple[int, int, datetime, datetime, Sequence[int], bytes]:
    first, last = run[0], run[-1]
    text = "".join(piece.event.text for piece in run)
    event = encode_model(first.event.model_copy(update={"text": text}))
    return last.seq, first.first_seq, first.at, last.until, [n for piece in run for n in piece.lengths], event


def _read(row: Record) -> Piece | None:
    if row["event"] is None:
        return None
    event = mergeable.validate_json(row["event"])
    return Piece(
        first_seq=row["seq"] if row["first_seq"] is None else row["first_seq"],
        seq=row["seq"],
        at=row["at"],
        until=row["until"] or row["at"],
        lengths=row["lengths"] or [len(event.text)],
        event=event,
        agent=row["agent"],
        task_id=row["task_id"],
    )
