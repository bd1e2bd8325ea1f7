"""How far a prompt is: accepted, worked on, over. Pure.

No single event says that a prompt is done. What holds in every recorded case: the session is idle, and the newest
message of the assistant since the prompt is complete.
"""

import itertools
import os
import time

from coder.backends.wire import Fields, fields, text

_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_numbers = itertools.count()

STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "content-filter": "refusal", "tool-calls": "end_turn"}
"""`tool-calls` at the end: a refused permission has stopped the work."""


def new_message_id() -> str:
    """An id as the server makes them: they sort by age, and a wrong one breaks later turns."""
    number = (time.time_ns() // 1_000_000 * 4096 + next(_numbers) % 4096) % 2**48
    return f"msg_{number:012x}{''.join(_LETTERS[byte % 62] for byte in os.urandom(14))}"


class Progress:
    """Follows one prompt in one session."""

    def __init__(self, session: str, message_id: str) -> None:
        self.message_id = message_id
        self.session = session
        self._newest = ""
        self.is_admitted = False
        self.is_idle = False
        self.is_complete = False
        """Whether the newest answer is."""
        self.finish: str | None = None
        self.error: Fields | None = None

    @property
    def is_over(self) -> bool:
        return self.is_idle and self.is_complete

    @property
    def needs_a_look(self) -> bool:
        """Something is amiss unless more comes soon."""
        return self.is_idle or not self.is_admitted

    @property
    def stop_reason(self) -> str:
        return STOP_REASONS.get(self.finish or "", self.finish or "end_turn")

    @property
    def was_aborted(self) -> bool:
        return self.error is not None and self.error.get("name") == "MessageAbortedError"

    @property
    def is_unfinished(self) -> bool:
        """Complete, but with neither a finish nor an error: it was aborted while it waited to try again."""
        return self.finish is None and self.error is None

    def take(self, kind: str, properties: Fields) -> None:
        """Heed one event of the server."""
        match kind:
            case "message.updated":
                self._message(fields(properties.get("info")))
            case "session.status" if properties.get("sessionID") == self.session:
                # what is told before the prompt was accepted is about the one before
                status = fields(properties.get("status")).get("type")
                self.is_idle = status == "idle" and (self.is_admitted or self.error is not None)
            case "session.error" if properties.get("sessionID") == self.session:
                self.error = self.error or fields(properties.get("error"))
            case _:
                pass

    def _message(self, info: Fields) -> None:
        id = text(info.get("id"))
        if id is None or info.get("sessionID") != self.session or id < self.message_id:
            return
        if id == self.message_id:
            self.is_admitted = True
        if info.get("role") != "assistant" or id < self._newest:
            return
        self._newest = id
        self.is_complete = "completed" in fields(info.get("time"))
        self.finish = text(info.get("finish"))
        self.error = fields(info.get("error")) or (None if self.finish else self.error)
