"""An agent that plays a recorded conversation: `python -m coder.testing.replay_agent TRANSCRIPT`.

A transcript holds a line per message, `{"dir": "c2a" | "a2c", "msg": …}`, and `{"note": …}` lines between scenes. The
agent says what was recorded, and waits where the recorded client spoke until this client says the like. `<WORKTREE>` in
a transcript stands for the directory of the session. After a `restarted` note a new process goes on: which part is
played is decided by the first request about a session.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from coder.testing.wire import Fields, Json, encode, fields, string

METHOD_NOT_FOUND = -32601
_SETTERS = frozenset({"session/set_mode", "session/set_model", "session/set_config_option"})
"""A client may choose by another way than the recorded one did."""


@dataclass(frozen=True)
class Line:
    """One recorded message."""

    is_ours: bool
    message: Fields

    @property
    def method(self) -> str:
        return string(self.message.get("method"))


def read_parts(path: Path) -> list[list[Line]]:
    """The recorded messages, one list per process of the agent."""
    parts: list[list[Line]] = [[]]
    for text in path.read_text().splitlines():
        record = fields(json.loads(text))
        if "restarted" in string(record.get("note")):
            parts.append([])
        if "msg" in record:
            parts[-1].append(Line(record["dir"] == "a2c", fields(record["msg"])))
    return parts


@dataclass
class Replay:
    """Plays the parts of a transcript over two streams."""

    parts: list[list[Line]]
    source: BinaryIO
    sink: BinaryIO
    _ids: dict[str, Json] = field(default_factory=dict[str, "Json"])
    _worktree: str = "<WORKTREE>"

    def run(self) -> None:
        """Play until the recording ends, then refuse everything until the end of input."""
        messages = self._messages()
        introduction, rest = self._introduce(messages)
        if rest is not None:
            self._play(introduction, rest, messages)
        for message in messages:
            self._refuse(message)

    def _introduce(self, messages: Iterator[Fields]) -> tuple[Fields, list[Line] | None]:
        """Answer `initialize` as recorded; the first request about a session that is recorded chooses the part."""
        answer = next(line.message for line in self.parts[0] if line.is_ours and "result" in line.message)
        for message in messages:
            method = string(message.get("method"))
            if method == "initialize":
                self._write({**answer, "id": message.get("id")})
                continue
            for part in self.parts:
                index = next((i for i, line in enumerate(part) if line.method == method and not line.is_ours), None)
                if index is not None and method != "session/prompt":
                    return message, part[index:]
            self._refuse(message)
        return {}, None

    def _play(self, first: Fields, lines: list[Line], messages: Iterator[Fields]) -> None:
        self._worktree = string(fields(first.get("params")).get("cwd"))
        waiting: Fields | None = first
        cursor = 0
        while cursor < len(lines):
            line = lines[cursor]
            if line.is_ours:
                self._write(self._with_id(line.message))
                cursor += 1
                continue
            heard = waiting or next(messages, None)
            waiting = None
            if heard is None:
                return
            found = self._place(lines, cursor, heard)
            if found is not None:
                cursor = found + 1

    def _place(self, lines: list[Line], cursor: int, heard: Fields) -> int | None:
        """Where in the recording the client is now; None when what it said is not in it."""
        method = string(heard.get("method"))
        if not method:
            expected = lines[cursor]
            return cursor if not expected.method and expected.message.get("id") == heard.get("id") else None
        wanted = _SETTERS if method in _SETTERS else {method}
        for index in range(cursor, len(lines)):
            line = lines[index]
            if not line.is_ours and line.method in wanted:
                self._ids[str(line.message.get("id"))] = heard.get("id")
                return index
            if not line.is_ours and line.method == "session/prompt":
                break
        self._refuse(heard)
        return None

    def _with_id(self, message: Fields) -> Fields:
        if "method" in message:
            return message
        return {**message, "id": self._ids.get(str(message.get("id")))}

    def _messages(self) -> Iterator[Fields]:
        for line in self.source:
            yield fields(json.loads(line))

    def _refuse(self, message: Fields) -> None:
        if "method" in message and "id" in message:
            error: Fields = {"code": METHOD_NOT_FOUND, "message": f"not recorded: {message['method']}"}
            self._write({"jsonrpc": "2.0", "id": message["id"], "error": error})

    def _write(self, message: Fields) -> None:
        quoted = json.dumps(self._worktree, ensure_ascii=False)[1:-1].encode()
        self.sink.write(encode(message).replace(b"<WORKTREE>", quoted))
        self.sink.flush()


if __name__ == "__main__":
    Replay(read_parts(Path(sys.argv[1])), sys.stdin.buffer, sys.stdout.buffer).run()
