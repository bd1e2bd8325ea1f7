"""Three ledgers of what happened, and whether they agree: the scripted agents', the database's, and every viewer's.

A scripted agent with `DEMO_LEDGER` notes each piece of an answer once it is on the wire. Prompts made by `numbered` let
each piece carry a token of its own, so that what was lost, doubled or moved can be named.
"""

import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import anyio
import asyncpg
import orjson

from coder.client import Client
from coder.errors import CoderError
from coder.model.events import Reasoning, Record, Text
from coder.protocol import SnapshotFrame

TOKEN = re.compile(r"<([a-z0-9.-]+)>")
LEDGER = "agents.jsonl"


def numbered(name: str, count: int, *, pause_ms: int = 0) -> str:
    """A prompt whose answer is `count` pieces, each with a token."""
    pause = f"; sleep {pause_ms}" if pause_ms else ""
    return "; ".join(f"say <{name}.{number}>{pause}" for number in range(count))


def tokens_in(text: str) -> list[str]:
    return TOKEN.findall(text)


def write_catalogue(home: Path, **environment: str) -> None:
    """Let the demo agent of the host with this home keep its ledger, in `home / LEDGER`."""
    home.mkdir(parents=True, exist_ok=True)
    variables = {"DEMO_LEDGER": str(home / LEDGER), **environment}
    document = {
        "providers": {"demo": {"env": variables, "command": [sys.executable, "-P", "-m", "coder.testing.agent"]}}
    }
    (home / "coder-providers.json").write_bytes(orjson.dumps(document))


@dataclass(frozen=True)
class TaskRow:
    id: str
    session_id: str
    state: str
    key: str | None
    was_started: bool
    error: str | None


@dataclass(frozen=True)
class Book:
    """What the database holds."""

    last_seqs: Mapping[str, int]
    worktrees: Mapping[str, str]
    records: Mapping[str, Sequence[Record]]
    tasks: Sequence[TaskRow]
    active_agents: Sequence[str]
    open_requests: Sequence[str]

    def tokens(self, session_id: str) -> list[str]:
        """The tokens of all answers, in the order of the journal."""
        return tokens_in(_answers(self.records[session_id]))


async def read_book(database_url: str) -> Book:
    """Read the whole database, by nothing but SQL."""
    connection = await asyncpg.connect(database_url)
    try:
        sessions = await connection.fetch(
            "SELECT id, last_seq, worktree_path FROM sessions LEFT JOIN session_worktrees ON session_id = id"
        )
        rows = await connection.fetch("SELECT *, event::text AS raw FROM events ORDER BY session_id, seq")
        tasks = await connection.fetch("SELECT *, error::text AS fault FROM tasks ORDER BY ordinal")
        active = await connection.fetch("SELECT session_id FROM agent_sessions WHERE status = 'active'")
        asked = await connection.fetch("SELECT id FROM permission_requests WHERE status = 'pending'")
    finally:
        await connection.close()
    records: dict[str, list[Record]] = {row["id"]: [] for row in sessions}
    for row in rows:
        records[row["session_id"]] += _pieces(row)
    return Book(
        last_seqs={row["id"]: row["last_seq"] for row in sessions},
        worktrees={row["id"]: row["worktree_path"] for row in sessions if row["worktree_path"]},
        records=records,
        tasks=[
            TaskRow(
                row["id"],
                row["session_id"],
                row["state"],
                row["idempotency_key"],
                row["started_at"] is not None,
                orjson.loads(row["fault"])["code"] if row["fault"] else None,
            )
            for row in tasks
        ],
        active_agents=[row["session_id"] for row in active],
        open_requests=[row["id"] for row in asked],
    )


def _pieces(row: asyncpg.Record) -> Iterator[Record]:
    """The record under each of the numbers that a row covers."""
    event = orjson.loads(row["raw"])
    if row["first_seq"] is None:
        yield _record(row, row["seq"], event)
        return
    assert sum(row["lengths"]) == len(event["text"]), "a merged record has another text than its pieces had"
    begin = 0
    for seq, length in zip(range(row["first_seq"], row["seq"] + 1), row["lengths"], strict=True):
        yield _record(row, seq, event | {"text": event["text"][begin : begin + length]})
        begin += length


def _record(row: asyncpg.Record, seq: int, event: object) -> Record:
    fields = {"seq": seq, "at": row["at"], "agent": row["agent"], "task_id": row["task_id"], "event": event}
    return Record.model_validate(fields)


def told(records: Sequence[Record]) -> Sequence[Record]:
    """What the records say: without times, and with adjacent pieces of one text as one record, however they came.

    A number that is missing or there twice ends a record.
    """
    merged: list[Record] = []
    for record in records:
        last = merged[-1] if merged else None
        if last and isinstance(last.event, Text | Reasoning) and record.begins == last.seq + 1:
            event = last.event.model_copy(update={"text": last.event.text + getattr(record.event, "text", "")})
            longer = last.model_copy(update={"seq": record.seq, "event": event})
            if _source(longer) == _source(record):
                merged[-1] = longer
                continue
        merged.append(record.model_copy(update={"at": None, "until": None, "first_seq": record.begins}))
    return merged


def _source(record: Record) -> object:
    return record.agent, record.task_id, record.event.type, getattr(record.event, "message_id", None)


@dataclass
class Viewer:
    """Follows one session over as many connections as it takes, and keeps all it is sent."""

    session_id: str
    records: list[Record] = field(default_factory=list[Record])
    begins_after: int = 0
    snapshots: int = 0

    @property
    def seq(self) -> int:
        return self.records[-1].seq if self.records else self.begins_after

    async def follow(self, client: Client) -> None:
        """Until it is cancelled; a snapshot replaces what came before, as the protocol asks."""
        while True:
            try:
                async with client.events(self.session_id, self.seq) as stream:
                    async for item in stream:
                        if isinstance(item, SnapshotFrame):
                            self.records.clear()
                            self.begins_after = item.seq
                            self.snapshots += 1
                        else:
                            self.records.append(item)
            except CoderError:
                await anyio.sleep(0.1)

    async def reached(self, seq: int) -> None:
        """Wait until it has everything up to `seq`."""
        with anyio.fail_after(30):
            while self.seq < seq:  # noqa: ASYNC110 - bounded; nothing says when
                await anyio.sleep(0.02)


@dataclass(frozen=True)
class Verdict:
    """What the ledgers say. `lost` was on an agent's wire and is not in the database; `unheard` the other way round."""

    lost: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()
    unheard: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


def compare(book: Book, home: Path, viewers: Collection[Viewer] = ()) -> Verdict:
    """Let the three agree, or say where they do not."""
    lost: list[str] = []
    doubled: list[str] = []
    moved: list[str] = []
    unheard: list[str] = []
    for session_id, said in _said(book, home).items():
        stored = book.tokens(session_id)
        doubled += [token for token, count in Counter(stored).items() if count > said.count(token) > 0]
        lost += [token for token in said if token not in set(stored)]
        unheard += [token for token in stored if token not in set(said)]
        common = set(stored) & set(said)
        if [token for token in stored if token in common] != [token for token in said if token in common]:
            moved.append(session_id)
    faults = [*_journal_faults(book), *_state_faults(book), *(fault for one in viewers for fault in _viewed(book, one))]
    return Verdict(tuple(lost), tuple(doubled), tuple(moved), tuple(unheard), tuple(faults))


def _said(book: Book, home: Path) -> Mapping[str, list[str]]:
    sessions = {str(Path(path).resolve()): id for id, path in book.worktrees.items()}
    said: dict[str, list[str]] = {id: [] for id in book.worktrees}
    ledger = home / LEDGER
    for line in ledger.read_bytes().splitlines() if ledger.exists() else ():
        note = orjson.loads(line)
        session_id = sessions.get(str(Path(note["cwd"]).resolve()))
        if session_id is not None:
            said[session_id] += tokens_in(note["text"])
    return said


def _journal_faults(book: Book) -> Iterator[str]:
    for session_id, records in book.records.items():
        seqs = [record.seq for record in records]
        if seqs != list(range(1, len(seqs) + 1)):
            yield f"{session_id}: numbers are not 1 to {len(seqs)}"
        if book.last_seqs[session_id] != len(seqs):
            yield f"{session_id}: last_seq is {book.last_seqs[session_id]}, records are {len(seqs)}"


def _state_faults(book: Book) -> Iterator[str]:
    ends: dict[str, list[str]] = {}
    begun: Counter[str] = Counter()
    for records in book.records.values():
        for record in records:
            if record.event.type == "turn_ended":
                ends.setdefault(record.event.task_id, []).append(record.event.state)
            if record.event.type == "turn_started":
                begun[record.event.task_id] += 1
    for task in book.tasks:
        if task.state in ("running", "pending", "blocked"):
            yield f"{task.id} is still {task.state}"
        elif task.was_started and ends.get(task.id) != [task.state]:
            yield f"{task.id} is {task.state}, its ends are {ends.get(task.id)}"
    yield from (f"an agent of {id} is still active" for id in book.active_agents)
    yield from (f"request {id} is still open" for id in book.open_requests)
    keys = Counter((task.session_id, task.key) for task in book.tasks if task.key)
    yield from (f"the key {key} has {count} tasks" for (_, key), count in keys.items() if count > 1)


def _viewed(book: Book, viewer: Viewer) -> Iterator[str]:
    numbers = [(one.begins, one.seq) for one in viewer.records]
    for (_, last), (first, _) in pairwise([(0, viewer.begins_after), *numbers]):
        if first != last + 1:
            yield f"a viewer of {viewer.session_id} was given {first} after {last}"
    stored = told([one for one in book.records[viewer.session_id] if one.seq > viewer.begins_after])
    seen = told(viewer.records)
    if seen != stored:
        differing = next(
            (index for index, pair in enumerate(zip(seen, stored, strict=False)) if pair[0] != pair[1]), None
        )
        yield (
            f"a viewer of {viewer.session_id} has {len(seen)} records after {viewer.begins_after}, the database "
            f"{len(stored)}; the first difference is at {differing}"
        )


def _answers(records: Sequence[Record]) -> str:
    return "".join(record.event.text for record in records if record.event.type == "text")


# What is left behind


def processes_of(home: Path) -> list[int]:
    """Living processes that carry the home's tag in their environment or work in one of its worktrees."""
    home_id = hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:16]
    tag = f"CODER_CHILD={home_id}:".encode()
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            folder = (process / "cwd").readlink()
            if tag in (process / "environ").read_bytes() or folder.is_relative_to(home / "worktrees"):
                found.append(int(process.name))
        except OSError:
            continue
    return found


async def until_gone(home: Path, seconds: float = 12) -> None:
    """Wait until no process of the home is left."""
    with anyio.fail_after(seconds):
        while processes_of(home):  # noqa: ASYNC110 - as above
            await anyio.sleep(0.05)


async def connections_to(database_url: str) -> int:
    """How many others are connected to this database, once those that are just leaving have left."""
    connection = await asyncpg.connect(database_url)
    question = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend'"
    )
    try:
        with anyio.move_on_after(5):
            while await connection.fetchval(question):  # noqa: ASYNC110 - as above
                await anyio.sleep(0.05)
        return int(await connection.fetchval(question))
    finally:
        await connection.close()


def litter(home: Path, repositories: Collection[Path], book: Book) -> list[str]:
    """Locks, temporary files, and worktrees that do not go with the rows, in words."""
    places = [home / "worktrees", home / "shadows", *repositories]
    found = [
        f"left over: {path}"
        for place in places
        if place.exists()
        for pattern in ("*.lock", ".coder-*", "tmp_obj_*", "tmp_pack_*")
        for path in place.rglob(pattern)
    ]
    wanted = {Path(path).resolve() for path in book.worktrees.values()}
    there = (
        {path.resolve() for path in (home / "worktrees").iterdir()} if (home / "worktrees").exists() else set[Path]()
    )
    found += [f"worktree without a row: {path}" for path in sorted(there - wanted)]
    found += [f"row without a worktree: {path}" for path in sorted(wanted - there)]
    for repository in repositories:
        command = ["git", "-C", str(repository), "worktree", "list", "--porcelain"]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        if "prunable" in listed:
            found.append(f"a lost worktree is listed in {repository}")
    return found
