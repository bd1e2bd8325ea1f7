"""A desk in a process of its own that takes orders, dies at a failpoint, and is there again within milliseconds.

`python -m coder.testing.mortal_desk` reads lines of JSON, each with the socket, home and database of a desk, and forks
a process for each: everything that it needs is imported already. A desk lives until its socket is closed.
"""

import asyncio
import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import orjson

from coder.errors import CoderError
from coder.failpoints import arm
from coder.model.branches import CommitWhat, UpdateHow
from coder.model.changes import Change, Hunk, Target
from coder.model.checkpoints import Checkpoint
from coder.model.decisions import Decision, Pick
from coder.model.values import Value
from coder.protocol import BranchIncoming
from coder.store import changes, session_worktrees, sessions
from coder.testing.desk import Desk, open_desk

PATIENCE = 60.0
_LINE_LIMIT = 64 * 1024 * 1024

Verb = Literal[
    "look",
    "open",
    "close",
    "boot",
    "begin_turn",
    "end_turn",
    "apply",
    "reject",
    "revert",
    "restore",
    "withdraw",
    "commit",
    "update",
    "auto_apply",
    "show",
]


class Order(Value):
    """What a desk shall do. At the last of the failpoints it is gone."""

    verb: Verb
    session_id: str
    """For `open` the repository."""
    picks: tuple[Pick, ...] = ()
    target: Target = "checkout"
    what: CommitWhat = "applied"
    how: UpdateHow = "merge"
    id: str = ""
    failpoints: tuple[str, ...] = ()


class Books(Value):
    """Everything that is recorded of a session, oldest first."""

    session_id: str
    base_tree: str
    last_tree: str | None
    is_turn_running: bool
    changes: tuple[Change, ...]
    decisions: tuple[Decision, ...]
    checkpoints: tuple[Checkpoint, ...]


class Answer(Value):
    """What came of an order: `code` and `message` where it was refused."""

    code: str | None = None
    message: str = ""
    hunks: tuple[Hunk, ...] = ()
    books: Books | None = None


class Died(Exception):
    """The desk's process is gone in the middle of an order."""


class MortalDesk:
    """The door to a desk in another process."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._answers = connection.makefile("rb")

    def do(self, order: Order) -> Answer:
        """Raises Died."""
        line = self._ask(order.model_dump_json().encode() + b"\n")
        if not line:
            self._hang_up()
            raise Died
        answer = Answer.model_validate_json(line)
        assert answer.code != "broken", answer.message
        return answer

    def close(self) -> None:
        """Let the process end, and wait until it has."""
        if self._connection.fileno() >= 0:
            self._connection.shutdown(socket.SHUT_WR)
            self._answers.read()
            self._hang_up()

    def _ask(self, line: bytes) -> bytes:
        try:
            self._connection.sendall(line)
            return self._answers.readline()
        except ConnectionError:
            return b""

    def _hang_up(self) -> None:
        self._answers.close()
        self._connection.close()


class Nursery:
    """Where desks come from. Made by `open_nursery`."""

    def __init__(self, folder: Path, database_url: str, process: subprocess.Popen[bytes]) -> None:
        self._folder = folder
        self._database_url = database_url
        self._process = process
        self._count = 0

    def open_desk(self, home: Path) -> MortalDesk:
        """A fresh desk; the one before must be closed or dead."""
        self._count += 1
        path = self._folder / f"{self._count}.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.settimeout(PATIENCE)
            listener.bind(str(path))
            listener.listen()
            assert self._process.stdin is not None
            self._process.stdin.write(orjson.dumps([str(path), str(home), self._database_url]) + b"\n")
            self._process.stdin.flush()
            connection, _ = listener.accept()
        path.unlink()
        connection.settimeout(PATIENCE)
        return MortalDesk(connection)


@contextmanager
def open_nursery(folder: Path, database_url: str) -> Generator[Nursery]:
    """Its sockets are in `folder`, whose path must be short."""
    command = [sys.executable, "-m", "coder.testing.mortal_desk"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        yield Nursery(folder, database_url, process)


def _breed() -> None:
    for line in sys.stdin.buffer:
        path, home, database_url = orjson.loads(line)
        if os.fork() == 0:
            _live(path, Path(home), database_url)
        _reap()


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _live(path: str, home: Path, database_url: str) -> None:
    try:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        asyncio.run(_serve(connection, home, database_url))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


async def _serve(connection: socket.socket, home: Path, database_url: str) -> None:
    reader, writer = await asyncio.open_connection(sock=connection, limit=_LINE_LIMIT)
    async with open_desk(home, database_url) as desk:
        while line := await reader.readline():
            answer = await _answer(desk, Order.model_validate_json(line))
            writer.write(answer.model_dump_json().encode() + b"\n")
            await writer.drain()


async def _answer(desk: Desk, order: Order) -> Answer:
    try:
        arm(*order.failpoints)
        answer = await _carry_out(desk, order)
        arm()
        if order.verb in ("close", "open", "show"):
            return answer
        return answer.model_copy(update={"books": await _read_books(desk, order.session_id)})
    except CoderError as error:
        arm()
        books = await _read_books(desk, order.session_id)
        return Answer(code=error.stable_code, message=str(error), books=books)
    except Exception:
        return Answer(code="broken", message=traceback.format_exc())


async def _carry_out(desk: Desk, order: Order) -> Answer:
    id, decisions = order.session_id, desk.decisions
    match order.verb:
        case "look":
            pass
        case "open":
            opened = await desk.open_session(Path(id))
            return Answer(books=await _read_books(desk, opened))
        case "close":
            async with desk.store.transaction() as connection:
                await sessions.delete(connection, id)
        case "boot":
            await desk.boot(id)
        case "begin_turn":
            await desk.begin_turn(id)
        case "end_turn":
            await desk.end_turn(id)
        case "apply":
            await decisions.apply(order.picks, by="person", target=order.target)
        case "reject":
            await decisions.reject(order.picks, by="person")
        case "revert":
            await decisions.revert([pick.change_id for pick in order.picks], by="person")
        case "restore":
            await desk.checkpoints.restore(order.id, by="person")
        case "withdraw":
            await desk.rejections.withdraw(order.id, by="person")
        case "commit":
            await desk.branches.commit(id, "Work", order.what, f"committer of {order.what}")
        case "update":
            await desk.branches.update(id, BranchIncoming(how=order.how), "person")
        case "auto_apply":
            async with desk.store.transaction() as connection:
                await sessions.patch(connection, id, name=None, auto_apply=True)
            await decisions.auto_apply(id)
        case "show":
            return Answer(hunks=(await desk.changes.get(order.id)).hunks)
    return Answer()


async def _read_books(desk: Desk, session_id: str) -> Books:
    async with desk.store.connection() as connection:
        worktree = await session_worktrees.get(connection, session_id)
        rows = (await changes.list_page(connection, session_id, limit=500)).items
    return Books(
        session_id=session_id,
        base_tree=worktree.base_tree,
        last_tree=worktree.last_tree,
        is_turn_running=bool(await desk.running(session_id)),
        changes=tuple(reversed(rows)),
        decisions=tuple(reversed((await desk.decisions.list(session_id, None, None, 500)).items)),
        checkpoints=tuple(reversed((await desk.checkpoints.list(session_id, None, 500)).items)),
    )


if __name__ == "__main__":
    _breed()
