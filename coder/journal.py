"""The journal: the ordered records of every session, numbered by one door, `append` and `commit`.

A record is encoded once, kept in its session's log, shown to every viewer from there (a cursor per viewer, no queue),
and stored in batches. What must be durable before it is seen goes through `commit`, with the state it belongs to.
"""

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import anyio
from asyncpg import Connection, PostgresError

from coder.errors import CoderError, NotFound, Unavailable
from coder.failpoints import failpoint
from coder.model.changes import ChangeStatus
from coder.model.events import AgentEvent, Error, Record
from coder.model.permissions import PermissionStatus
from coder.model.values import now
from coder.protocol import SnapshotFrame
from coder.session_log import SessionLog, encode
from coder.store import agent_sessions, changes, comments, events, permissions, sessions, setups, tasks
from coder.store.database import Store
from coder.store.text import encode_model
from coder.tallies import JournalTally

logger = logging.getLogger(__name__)

TAIL_RECORDS = 75
TAIL_BYTES = 1024 * 1024
RECENT = 100
"""How many tasks and decided changes a snapshot shows."""
FRAME_BYTES = 256 * 1024
"""A batch for one viewer ends after the record that passes this size."""
PAGE = 500
"""Records read from the store at once for a viewer that is behind the ring."""
PAGE_BYTES = 4 * 1024 * 1024
"""A page of older records ends before the record that passes this size."""
LAG_LIMIT = 50_000
"""A viewer that is further behind than this many records starts over from a snapshot."""


class Lagged(CoderError):
    """The viewer is too far behind to be served record by record; `seq` is the newest number."""

    code = "lagged"
    retryable = True

    def __init__(self, session_id: str, seq: int) -> None:
        super().__init__("this viewer fell too far behind", session_id=session_id, seq=seq)
        self.seq = seq


@dataclass(frozen=True)
class Batch:
    """Records from `first_seq` on, each the ready JSON of one `Record`; `seqs` has the (last) number of each."""

    first_seq: int
    seqs: Sequence[int]
    encoded: Sequence[bytes]

    @property
    def last_seq(self) -> int:
        return self.seqs[-1]


@dataclass(frozen=True)
class JournalLimits:
    """`store_delay` seconds bound how long a shown record may wait for the disk; bytes are per session."""

    store_delay: float = 0.05
    pending_bytes: int = 8 * 1024 * 1024
    ring_bytes: int = 1024 * 1024
    retry_delay: float = 0.5


class Commit:
    """An open transaction on one session: write through `connection`, add records with `append`."""

    def __init__(self, connection: Connection, first_seq: int) -> None:
        self.connection = connection
        self.rows: list[tuple[events.NewRecord, bytes]] = []
        self._next = first_seq

    @property
    def last_seq(self) -> int:
        """The newest number given so far."""
        return self._next - 1

    def append(self, event: AgentEvent, *, agent: str | None = None, task_id: str | None = None) -> int:
        """Number the event; it is stored with the transaction and shown once that is committed."""
        self.rows.append(encode(self._next, now(), event, agent, task_id))
        self._next += 1
        return self._next - 1

    def replace(self, row: events.NewRecord) -> None:
        """Take another record under a number that was given out here."""
        at = row.seq - self.rows[0][0].seq if self.rows else -1
        if at >= 0:
            self.rows[at] = row, events.encode_record(*row)


class Follower:
    """One viewer's cursor into a session's log."""

    def __init__(self, journal: "Journal", log: SessionLog, after: int) -> None:
        self._journal = journal
        self._log = log
        self.cursor = after

    async def receive(self) -> Batch:
        """All records after the cursor that are ready, oldest first, up to a frame's worth; waits for the first.

        Raises:
            Lagged: the viewer is too far behind. NotFound: the session was closed.
        """
        log = self._log
        log.settle_text()
        while self.cursor >= log.last_seq:
            if log.is_gone:
                raise NotFound("the session was closed", session_id=log.session_id)
            await log.wait()
            log.settle_text()
        if log.last_seq - self.cursor > LAG_LIMIT:
            raise Lagged(log.session_id, log.last_seq)
        first = self.cursor + 1
        if first >= log.first_seq:
            encoded = _frame_of(log.ring, first - log.first_seq)
            batch = Batch(first, range(first, first + len(encoded)), encoded)
        else:
            batch = await self._journal.read_batch(log.session_id, self.cursor, log.first_seq)
        self.cursor = batch.last_seq
        return batch


class Journal:
    """Numbers, shows and stores records. Opened by `open_journal`."""

    def __init__(self, store: Store, limits: JournalLimits) -> None:
        self.epoch = store.run_id
        self._store = store
        self._limits = limits
        self._logs: dict[str, SessionLog] = {}
        self._loading = anyio.Lock()
        self._dirty: dict[str, SessionLog] = {}
        self._work = anyio.Event()
        self._flushed = anyio.Event()
        self._closing = anyio.Event()
        self._ended = anyio.Event()
        self.tally = JournalTally()

    async def append(
        self, session_id: str, event: AgentEvent, *, agent: str | None = None, task_id: str | None = None
    ) -> int:
        """Number the event and show it at once; it is stored soon after.

        Pieces of one text that come faster than anybody reads them become one record, of at most 16 KiB.

        Waits while a commit holds the session's next numbers, or while too much of the session is not stored yet:
        this is what slows an agent down when the database cannot keep up.

        Raises:
            NotFound: no such session.
        """
        log = self._logs.get(session_id) or await self._load(session_id)
        while log.gate is not None or log.pending_bytes > self._limits.pending_bytes:
            await (log.gate or self._flushed).wait()
        if log.is_gone:
            raise NotFound("the session was closed", session_id=session_id)
        seq = log.append(event, agent, task_id)
        log.wake()
        if session_id not in self._dirty:
            self._mark_dirty(log)
        return seq

    @asynccontextmanager
    async def commit(self, session_id: str) -> AsyncGenerator[Commit]:
        """A transaction whose records are stored with it and shown only after it is committed.

        The session's other events wait meanwhile, so keep it short and never call `append` for the same session inside.

        Raises:
            Unavailable: the database is away. What became of it is settled before the session's next record.
        """
        log = self._logs.get(session_id) or await self._load(session_id)
        async with log.writing:
            await self._settle(log)
            log.gate = anyio.Event()
            log.settle_text()
            commit: Commit | None = None
            try:
                async with self._store.transaction() as connection:
                    commit = Commit(connection, log.last_seq + 1)
                    yield commit
                    rows = [*log.pending, *(row for row, _ in commit.rows)]
                    if rows:
                        for row in await events.copy_records(connection, session_id, rows, _substitute):
                            log.replace(row)
                            commit.replace(row)
            except Unavailable:
                log.is_unsure = True
                log.in_doubt = commit.rows if commit else []
                self._mark_dirty(log)
                raise
            else:
                self._publish(log, commit.rows)
            finally:
                if not log.in_doubt:
                    log.open_gate()

    @asynccontextmanager
    async def follow(self, session_id: str, after: int) -> AsyncGenerator[Follower]:
        """A cursor that starts behind record `after`.

        Raises:
            NotFound: no such session.
        """
        log = self._logs.get(session_id) or await self._load(session_id)
        log.settle_text()
        yield Follower(self, log, min(after, log.last_seq))

    async def is_known(self, session_id: str, after: int, epoch: str | None) -> bool:
        """Whether a viewer may go on from `after`: the number exists and still means the record it meant."""
        log = self._logs.get(session_id) or await self._load(session_id)
        log.settle_text()
        return after <= (log.last_seq if epoch in (None, self.epoch) else log.boot_seq)

    async def page(self, session_id: str, after: int, limit: int, before: int = events.END) -> list[Record]:
        """Records between two numbers, both excluded: the oldest `limit` of them; what was shown is stored first."""
        await self.flush(session_id)
        async with self._store.connection() as connection:
            await sessions.get(connection, session_id)
            return await events.page(connection, session_id, after=after, before=before, limit=limit)

    async def older(self, session_id: str, before: int, limit: int) -> list[Record]:
        """The newest records before a number, oldest first, at most `limit` and `PAGE_BYTES`."""
        await self.flush(session_id)
        async with self._store.connection() as connection:
            await sessions.get(connection, session_id)
            found = await events.tail(connection, session_id, before=before, limit=limit, max_bytes=PAGE_BYTES)
            return found or await events.tail(connection, session_id, before=before, limit=1, max_bytes=events.END)

    async def read_batch(self, session_id: str, after: int, before: int) -> Batch:
        """Stored records between two numbers, both excluded: the oldest of them.

        Raises:
            NotFound: they are gone, with their session.
        """
        async with self._store.connection() as connection:
            found = await events.page_encoded(connection, session_id, after=after, before=before, limit=PAGE)
        if not found:
            raise NotFound("the session was closed", session_id=session_id)
        return Batch(found[0].first_seq, [record.seq for record in found], [record.data for record in found])

    async def snapshot(self, session_id: str) -> SnapshotFrame:
        """The session as it stands at `seq`: rows and records of one database snapshot. Follow from `seq`.

        Raises:
            NotFound: no such session.
        """
        async with self._store.snapshot() as connection:
            session = await sessions.get(connection, session_id)
            tail = await events.tail(connection, session_id, limit=TAIL_RECORDS, max_bytes=TAIL_BYTES)
            recent = await tasks.list_page(connection, session_id=session_id, limit=RECENT)
            asked = await permissions.list_page(connection, session_id=session_id, status=PermissionStatus.PENDING)
            setup = await setups.find(connection, session_id)
            applied = await changes.list_page(connection, session_id, status=ChangeStatus.APPLIED, limit=RECENT)
            return SnapshotFrame(
                session_id=session_id,
                seq=session.last_seq,
                session=session,
                agents=await agent_sessions.list_by_session(connection, session_id),
                tasks=recent.items[::-1],
                permissions=asked.items[::-1],
                changes=(*await changes.pending(connection, session_id), *applied.items),
                setup=setup and setup.abridged(),
                comments=await comments.open_threads(connection, session_id),
                events=tuple(tail),
                has_more=bool(session.last_seq) and (not tail or tail[0].begins > 1),
            )

    async def flush(self, session_id: str) -> None:
        """Return when everything shown so far of the session is stored."""
        log = self._logs.get(session_id)
        if log is None:
            return
        log.settle_text()
        target = log.last_seq
        while log.stored_seq < target and not log.is_gone:
            flushed = self._flushed
            self._mark_dirty(log)
            await flushed.wait()

    async def flush_all(self) -> None:
        """Return when everything shown so far is stored."""
        for session_id in list(self._logs):
            await self.flush(session_id)

    def forget(self, session_id: str) -> None:
        """The session's rows are gone: its viewers are told, nothing more is stored."""
        log = self._logs.pop(session_id, None)
        self._dirty.pop(session_id, None)
        if log is not None:
            log.is_gone = True
            log.wake()

    @property
    def stored(self) -> anyio.Event:
        """Set when the next batch is on disk."""
        return self._flushed

    def standing(self) -> Mapping[str, tuple[int, float]]:
        """Up to where each session of this run is stored, and since when by the event loop's clock."""
        return {id: (log.stored_seq, log.stored_at) for id, log in self._logs.items()}

    def unstored_bytes(self) -> int:
        """How much has been shown but not stored yet, over all sessions."""
        return sum(log.pending_bytes for log in self._logs.values())

    def lag_seconds(self) -> float:
        """How long the oldest record that was shown has been waiting to be stored."""
        waiting = [log.pending[0].at for log in self._logs.values() if log.pending]
        return max(0.0, (now() - min(waiting)).total_seconds()) if waiting else 0.0

    async def run(self) -> None:
        """Store what was appended, in batches, until `close`."""
        try:
            delay = self._limits.store_delay
            while not self._closing.is_set():
                await self._work.wait()
                with anyio.move_on_after(delay):
                    await self._closing.wait()
                self._work = anyio.Event()
                is_stored = await self._store_dirty()
                delay = self._limits.store_delay if is_stored else self._limits.retry_delay
        finally:
            self._ended.set()

    async def close(self) -> None:
        """Store everything that was shown."""
        self._closing.set()
        self._work.set()
        await self._ended.wait()
        while self._dirty and await self._store_dirty():
            pass

    def _mark_dirty(self, log: SessionLog) -> None:
        self._dirty[log.session_id] = log
        self._work.set()

    async def _load(self, session_id: str) -> SessionLog:
        async with self._loading:
            if log := self._logs.get(session_id):
                return log
            async with self._store.connection() as connection:
                seq = (await sessions.get(connection, session_id)).last_seq
            log = SessionLog(session_id, stored_seq=seq, boot_seq=seq, last_seq=seq)
            self._logs[session_id] = log
            return log

    def _publish(self, log: SessionLog, rows: Sequence[tuple[events.NewRecord, bytes]]) -> None:
        for _, encoded in rows:
            log.show(encoded)
        log.mark_stored(log.last_seq, self._limits.ring_bytes)
        self.tally.records += len(rows)
        log.wake()
        self._announce_flush()

    def _announce_flush(self) -> None:
        flushed, self._flushed = self._flushed, anyio.Event()
        flushed.set()

    async def _settle(self, log: SessionLog) -> None:
        """Find out what became of a commit in doubt, and of rows whose COPY was cut off."""
        if not log.is_unsure:
            return
        async with self._store.connection() as connection:
            stored = (await sessions.get(connection, log.session_id)).last_seq
        rows, log.in_doubt, log.is_unsure = log.in_doubt, [], False
        if rows and stored >= rows[-1][0].seq:
            self._publish(log, rows)
        else:
            log.mark_stored(stored, self._limits.ring_bytes)
        log.open_gate()

    async def _store_dirty(self) -> bool:
        """One batch over all sessions; False when the database refused it and it must be tried again."""
        dirty, self._dirty = self._dirty, {}
        held: list[SessionLog] = []
        for log in dirty.values():
            try:
                log.writing.acquire_nowait()
            except anyio.WouldBlock:
                self._mark_dirty(log)
            else:
                held.append(log)
        try:
            failed = await self._try_to_store(held)
        finally:
            for log in held:
                log.writing.release()
            self._announce_flush()
        self.tally.batches += 1
        self.tally.refused_batches += bool(failed)
        for log in failed:
            log.is_unsure = True
            self._mark_dirty(log)
        return not failed

    async def _try_to_store(self, logs: Sequence[SessionLog]) -> Sequence[SessionLog]:
        """Store what these sessions have; returns those that have to be tried again."""
        try:
            await self._store_logs(logs)
        except Unavailable as error:
            logger.warning("storing is held up: %s", error, extra={"sessions": len(logs)})
        except Exception as error:
            if len(logs) > 1:
                # what is wrong with one session does not hold up the others
                return [failed for log in logs for failed in await self._try_to_store([log])]
            ids = {"session": logs[0].session_id}
            if isinstance(error, PostgresError):
                # its text may quote the row
                logger.error("storing failed and is tried again: SQLSTATE %s", error.sqlstate, extra=ids)
            else:
                logger.exception("storing failed and is tried again", extra=ids)
        else:
            return []
        return logs

    async def _store_logs(self, logs: Sequence[SessionLog]) -> None:
        for log in logs:
            await self._settle(log)
            log.settle_text()
        batches = {log.session_id: list(log.pending) for log in logs if log.pending and not log.is_gone}
        if not batches:
            return
        try:
            async with self._store.transaction() as connection:
                replaced = await events.copy_batches(connection, batches, _substitute)
                failpoint("journal.copied")
        except NotFound as gone:
            for id in cast("tuple[str, ...]", gone.fields["session_ids"]):
                self.forget(id)
            await self._store_logs([log for log in logs if not log.is_gone])
            return
        for log in logs:
            if log.session_id in batches:
                self.tally.records += len(batches[log.session_id])
                for row in replaced.get(log.session_id, []):
                    log.replace(row)
                log.mark_stored(batches[log.session_id][-1].seq, self._limits.ring_bytes)


@asynccontextmanager
async def open_journal(store: Store, limits: JournalLimits | None = None) -> AsyncGenerator[Journal]:
    """A journal over the store; leaving it stores what is left."""
    journal = Journal(store, limits or JournalLimits())
    async with anyio.create_task_group() as group:
        group.start_soon(journal.run)
        try:
            yield journal
        finally:
            with anyio.move_on_after(5, shield=True):
                await journal.close()
            group.cancel_scope.cancel()


def _substitute(session_id: str, refused: events.NewRecord, error: PostgresError) -> events.NewRecord:
    """What is stored in place of a record that PostgreSQL refuses for a reason that nobody thought of."""
    where = {"session": session_id, "seq": refused.seq, "agent": refused.agent, "task": refused.task_id}
    logger.error("a record is refused and replaced: SQLSTATE %s", error.sqlstate, extra=where)
    words = f"the database refused what belongs here (SQLSTATE {error.sqlstate})"
    return refused._replace(event=encode_model(Error(code="record_refused", message=words)))


def _frame_of(ring: list[bytes], start: int) -> list[bytes]:
    """The records from `start` on, up to a frame's worth."""
    ready = ring[start:]
    size = 0
    for index, encoded in enumerate(ready):
        size += len(encoded)
        if size > FRAME_BYTES:
            return ready[: index + 1]
    return ready
