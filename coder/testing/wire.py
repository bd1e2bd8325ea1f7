"""JSON-RPC over stdin and stdout for scripted agents: threads and the standard library, so that a start is cheap."""

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
Fields: TypeAlias = Mapping[str, "Json"]

CLOSED = -32099
"""The code of a request that the other side left unanswered when it closed the connection."""


def fields(value: Json) -> Fields:
    """The value when it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def items(value: Json) -> Sequence[Json]:
    """The value when it is an array, else an empty one."""
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def string(value: Json) -> str:
    """The value when it is text, else nothing."""
    return value if isinstance(value, str) else ""


def encode(message: Json) -> bytes:
    """One line of the wire."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


class RequestRefused(Exception):
    """The other side answered a request with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message


class _Pending:
    def __init__(self) -> None:
        self.answered = threading.Event()
        self.answer: Fields = {}

    def settle(self, answer: Fields) -> None:
        self.answer = answer
        self.answered.set()


class Peer:
    """One end of a connection. `messages` belongs to one thread; everything else may be called from any."""

    def __init__(self, source: int, sink: int) -> None:
        self._source = source
        self._sink = sink
        self._lock = threading.Lock()
        self._pending: dict[str, _Pending] = {}

    def messages(self) -> Iterator[Fields]:
        """Requests and notifications in order, until the end of input. Answers go to whoever asked."""
        with os.fdopen(self._source, "rb", closefd=False) as lines:
            for line in lines:
                try:
                    message = fields(json.loads(line))
                except ValueError:
                    continue
                if "method" in message:
                    yield message
                elif pending := self._pending.pop(str(message.get("id")), None):
                    pending.settle(message)
        while self._pending:
            self._pending.popitem()[1].settle({"error": {"code": CLOSED, "message": "the connection is closed"}})

    def write(self, data: bytes) -> None:
        """Put bytes on the wire, whole, as they are."""
        view = memoryview(data)
        with self._lock:
            while view:
                view = view[os.write(self._sink, view) :]

    def hang_up(self) -> None:
        """Close the wire in this direction."""
        with self._lock:
            os.close(self._sink)

    def notify(self, method: str, params: Fields) -> None:
        self.write(encode({"jsonrpc": "2.0", "method": method, "params": params}))

    def answer(self, id: Json, result: Fields) -> None:
        self.write(encode({"jsonrpc": "2.0", "id": id, "result": result}))

    def refuse(self, id: Json, code: int, message: str) -> None:
        self.write(encode({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}))

    def request(self, method: str, params: Fields) -> Fields:
        """Ask and wait for the answer, however long it takes.

        Raises:
            RequestRefused: the answer is an error.
        """
        pending = _Pending()
        id = self.post(method, params, pending)
        pending.answered.wait()
        if "error" in pending.answer:
            error = fields(pending.answer["error"])
            code = error.get("code")
            raise RequestRefused(code if isinstance(code, int) else 0, string(error.get("message")) or id)
        return fields(pending.answer.get("result"))

    def post(self, method: str, params: Fields, pending: _Pending | None = None) -> str:
        """Ask without waiting; the answer is dropped unless somebody holds `pending`."""
        id = f"agent-{os.urandom(6).hex()}"
        self._pending[id] = pending or _Pending()
        self.write(encode({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
        return id
