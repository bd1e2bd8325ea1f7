"""A bare ACP client for tests of agents: it starts a program, talks to it over pipes and collects what it sends."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path

from coder.testing.wire import Fields, Json, Peer, RequestRefused, fields, items, string

Answer = Callable[[str, Fields], Fields]
"""Answers a request of the agent: method and parameters to result. Raises RequestRefused to refuse."""


class AgentEnded(Exception):
    """The agent closed its output."""


class RawClient:
    """The client's side of one running agent."""

    def __init__(self, child: subprocess.Popen[bytes], answer: Answer) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        self.child = child
        self.updates: list[Fields] = []
        self.asked: list[tuple[str, Fields]] = []
        self.peer = Peer(child.stdout.fileno(), child.stdin.fileno())
        self.ended = threading.Event()
        self._answer = answer
        self._changed = threading.Condition()
        self._first_seen: dict[str, Callable[[], None]] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def request(self, method: str, params: Fields) -> Fields:
        """Ask the agent; the updates it sends meanwhile are in `updates`.

        Raises:
            RequestRefused: the agent answered with an error.
        """
        return self.peer.request(method, params)

    def open_session(self, cwd: Path, capabilities: Fields | None = None) -> str:
        """`initialize` and `session/new`; the session's id."""
        self.request("initialize", {"protocolVersion": 1, "clientCapabilities": capabilities or {}})
        return string(self.request("session/new", {"cwd": str(cwd), "mcpServers": []})["sessionId"])

    def prompt(self, session: str, text: str) -> str:
        """Carry out one turn; its stop reason."""
        block: Fields = {"type": "text", "text": text}
        return string(self.request("session/prompt", {"sessionId": session, "prompt": [block]}).get("stopReason"))

    def said(self) -> str:
        """All answer text so far."""
        chunks = [update for update in self.updates if update.get("sessionUpdate") == "agent_message_chunk"]
        return "".join(string(fields(chunk.get("content")).get("text")) for chunk in chunks)

    def wait_for(self, kind: str, seconds: float = 10) -> Fields:
        """The first update of that kind, as soon as it is there.

        Raises:
            AgentEnded: it did not come in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._first(kind), seconds):
                raise AgentEnded(f"no {kind} within {seconds} s")
        found = self._first(kind)
        assert found is not None
        return found

    def on_first(self, kind: str, action: Callable[[], None]) -> None:
        """Do something when the next update of that kind comes, in the reader's thread: it must not ask and wait."""
        self._first_seen[kind] = action

    def _first(self, kind: str) -> Fields | None:
        return next((update for update in self.updates if update.get("sessionUpdate") == kind), None)

    def _read(self) -> None:
        for message in self.peer.messages():
            method, params = string(message.get("method")), fields(message.get("params"))
            if method == "session/update":
                update = fields(params.get("update"))
                with self._changed:
                    self.updates.append(update)
                    self._changed.notify_all()
                if action := self._first_seen.pop(string(update.get("sessionUpdate")), None):
                    action()
            elif "id" in message:
                self.asked.append((method, params))
                try:
                    self.peer.answer(message["id"], self._answer(method, params))
                except RequestRefused as refusal:
                    self.peer.refuse(message["id"], refusal.code, refusal.message)
        self.ended.set()


def allow(method: str, params: Fields) -> Fields:
    """Grant every permission once and know no other request."""
    return choose("allow_once", method, params)


def reject(method: str, params: Fields) -> Fields:
    """Refuse every permission and know no other request."""
    return choose("reject_once", method, params)


def choose(kind: str, method: str, params: Fields) -> Fields:
    """Answer a permission request with the option of that kind."""
    if method != "session/request_permission":
        raise RequestRefused(-32601, f"unknown method {method}")
    options = [fields(option) for option in items(params.get("options"))]
    chosen: Json = next(option["optionId"] for option in options if option.get("kind") == kind)
    return {"outcome": {"outcome": "selected", "optionId": chosen}}


@contextlib.contextmanager
def open_raw_client(
    command: Sequence[str], environment: Mapping[str, str], answer: Answer = allow
) -> Generator[RawClient]:
    """Start an agent in a process group of its own; leaving closes its input, waits a little, then kills the group."""
    child = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    client = RawClient(child, answer)
    try:
        yield client
    finally:
        child.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, 9)
        child.wait()
        # A reader thread still holds the pipe when something the agent started lives on.
        if client.ended.wait(1):
            child.stdout.close()
