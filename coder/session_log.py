"""One session's newest records: those in memory that viewers read from, and those that wait for the disk."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

import anyio

from coder.model.events import AgentEvent, Reasoning, Text
from coder.model.values import now
from coder.store import events
from coder.store.text import encode_model

TEXT_LIMIT = 16 * 1024
"""Characters after which a text that grows is a record, read or not."""


class _Growing:
    """Adjacent pieces of one text, of one agent in one task, that nobody has read yet."""

    __slots__ = ("_at", "_first", "_key", "_parts", "_size")

    def __init__(self, first: Text | Reasoning, agent: str | None, task_id: str | None) -> None:
        self._at = now()
        self._first = first
        self._key = (type(first), first.message_id, agent, task_id)
        self._parts = [first.text]
        self._size = len(first.text)

    def takes(self, event: Text | Reasoning, agent: str | None, task_id: str | None) -> bool:
        fits = self._size + len(event.text) <= TEXT_LIMIT
        return fits and self._key == (type(event), event.message_id, agent, task_id)

    def add(self, piece: str) -> None:
        self._parts.append(piece)
        self._size += len(piece)

    def encode(self, seq: int) -> tuple[events.NewRecord, bytes]:
        event = self._first
        if len(self._parts) > 1:
            event = type(event)(text="".join(self._parts), message_id=event.message_id)
        _, _, agent, task_id = self._key
        return encode(seq, self._at, event, agent, task_id)


@dataclass
class SessionLog:
    """One session's newest records. Everything above `stored_seq` is in `pending` and in `ring`."""

    session_id: str
    stored_seq: int
    boot_seq: int
    last_seq: int
    ring: list[bytes] = field(default_factory=list[bytes])
    ring_bytes: int = 0
    pending: list[events.NewRecord] = field(default_factory=list[events.NewRecord])
    pending_bytes: int = 0
    in_doubt: list[tuple[events.NewRecord, bytes]] = field(default_factory=list[tuple[events.NewRecord, bytes]])
    """Rows of a commit whose outcome the lost database never told; the gate stays closed until that is known."""
    is_unsure: bool = False
    """A write was cut off: how far it got is read again before the next one."""
    writing: anyio.Lock = field(default_factory=anyio.Lock)
    gate: anyio.Event | None = None
    """Closed while a commit holds the next numbers: appends wait for it."""
    waiters: list[asyncio.Future[None]] = field(default_factory=list["asyncio.Future[None]"])
    is_gone: bool = False
    stored_at: float = field(default_factory=anyio.current_time)
    """When it was last stored, by the event loop's clock."""
    _growing: _Growing | None = None

    @property
    def first_seq(self) -> int:
        """The number of `ring[0]`."""
        return self.last_seq - len(self.ring) + 1

    def append(self, event: AgentEvent, agent: str | None, task_id: str | None) -> int:
        """Number the event. Pieces of one text grow together under one number until somebody reads that."""
        if isinstance(event, Text | Reasoning):
            if self._growing is not None and self._growing.takes(event, agent, task_id):
                self._growing.add(event.text)
            else:
                self.settle_text()
                self._growing = _Growing(event, agent, task_id)
            return self.last_seq + 1
        self.settle_text()
        self._add(*encode(self.last_seq + 1, now(), event, agent, task_id))
        return self.last_seq

    def settle_text(self) -> None:
        """The text that grows is a record from here on."""
        growing, self._growing = self._growing, None
        if growing is not None:
            self._add(*growing.encode(self.last_seq + 1))

    def _add(self, row: events.NewRecord, encoded: bytes) -> None:
        self.pending.append(row)
        self.pending_bytes += len(row.event)
        self.show(encoded)

    def show(self, encoded: bytes) -> None:
        self.last_seq += 1
        self.ring.append(encoded)
        self.ring_bytes += len(encoded)

    def replace(self, row: events.NewRecord) -> None:
        """Show another record under a number that was shown already: what is read again is what is stored."""
        at = row.seq - self.first_seq
        if 0 <= at < len(self.ring):
            encoded = events.encode_record(*row)
            self.ring_bytes += len(encoded) - len(self.ring[at])
            self.ring[at] = encoded

    def open_gate(self) -> None:
        if self.gate is not None:
            gate, self.gate = self.gate, None
            gate.set()

    def wake(self) -> None:
        if self.waiters:
            waiters, self.waiters = self.waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    async def wait(self) -> None:
        """Until something was appended, shown, or the session is gone."""
        waiter = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        await waiter

    def mark_stored(self, seq: int, ring_limit: int) -> None:
        """Everything up to `seq` is on disk; the ring may let go of it."""
        self.stored_seq = seq
        self.stored_at = anyio.current_time()
        keep = 0
        while keep < len(self.pending) and self.pending[keep].seq <= seq:
            self.pending_bytes -= len(self.pending[keep].event)
            keep += 1
        del self.pending[:keep]
        if self.ring_bytes > 2 * ring_limit:
            self._trim(ring_limit)

    def _trim(self, ring_limit: int) -> None:
        first, drop, size = self.first_seq, 0, self.ring_bytes
        while drop < len(self.ring) and size > ring_limit and first + drop <= self.stored_seq:
            size -= len(self.ring[drop])
            drop += 1
        del self.ring[:drop]
        self.ring_bytes = size


def encode(
    seq: int, at: datetime, event: AgentEvent, agent: str | None, task_id: str | None
) -> tuple[events.NewRecord, bytes]:
    """The record as it is stored, and as it is shown."""
    body = encode_model(event)
    return events.NewRecord(seq, at, agent, task_id, body), events.encode_record(seq, at, agent, task_id, body)
