"""Recorded event streams of a real opencode server, one scenario each, and the events the host makes of them.

`python -m tests.golden.opencode_recorded` writes the expected events anew. Read the difference before committing it.
"""

from collections.abc import Iterator
from pathlib import Path

import orjson

from coder.backends.opencode.offer import Offer
from coder.backends.opencode.progress import Progress
from coder.backends.opencode.translate import Translator, error_words
from coder.backends.wire import Fields, fields, text
from coder.model.events import AgentEvent, TurnEnded, TurnStarted, agent_event
from coder.model.permissions import PermissionOutcome, PermissionStatus
from coder.model.providers import Mode, Model
from coder.model.tasks import Fault, TaskState
from tests.golden.recorded import permission_requested, permission_resolved

FOLDER = Path(__file__).parent / "opencode"
NAMES = sorted(path.name.removesuffix(".jsonl") for path in FOLDER.glob("*.jsonl"))
OFFER = Offer(
    models=(Model(id="stub/stub-1", label="Stub 1"),),
    modes=(Mode(id="build", label="Build"), Mode(id="plan", label="Plan")),
    default_model="stub/stub-1",
    default_mode="build",
    context_sizes={"stub/stub-1": 128_000},
)


def recorded(name: str) -> list[Fields]:
    """What the server sent."""
    return [orjson.loads(line) for line in (FOLDER / f"{name}.jsonl").read_bytes().splitlines()]


def expected_events(name: str) -> list[AgentEvent]:
    """The committed events of a scenario."""
    return [agent_event.validate_python(item) for item in orjson.loads((FOLDER / f"{name}.events.json").read_bytes())]


def write_expected(name: str) -> None:
    """Commit what the translator makes of a scenario now; to be read before it is believed."""
    lines = [orjson.dumps(_short(event)) for event in events_of(name)]
    (FOLDER / f"{name}.events.json").write_bytes(b"[\n" + b",\n".join(lines) + b"\n]\n")


def events_of(name: str) -> list[AgentEvent]:
    """The events of a recorded scenario, with the host's own around each turn."""
    return list(RecordedServer(recorded(name)).events())


def _short(event: AgentEvent) -> dict[str, object]:
    """The event without what goes without saying."""
    return {"type": event.type, **event.model_dump(mode="json", exclude_defaults=True)}


class RecordedServer:
    """Feeds a translator as the backend does. Each message of the user begins a turn, unless one is running."""

    def __init__(self, messages: list[Fields]) -> None:
        self._messages = messages
        self._translator = Translator("opencode")
        self._progress: Progress | None = None
        self._turns = 0
        self._requests = 0
        self._asked: dict[str, int] = {}

    def events(self) -> Iterator[AgentEvent]:
        """Everything that a host would journal."""
        session = next((found for message in self._messages if (found := _session_of(message))), "ses_001")
        self._translator.opened(session, {}, OFFER)
        for message in self._messages:
            kind, properties = text(message.get("type")) or "", fields(message.get("properties"))
            yield from self._begin(kind, properties, session)
            if kind in ("permission.asked", "question.asked"):
                yield from self._ask(kind, properties)
            elif kind in ("permission.replied", "question.replied", "question.rejected"):
                yield from self._answered(properties)
            else:
                yield from self._translator.event(kind, properties)
            if self._progress:
                if kind == "message.updated":
                    self._newest = max(self._newest, text(fields(properties.get("info")).get("id")) or "")
                self._progress.take(kind, properties)
                if self._progress.is_over:
                    yield from self._end(None)
        if self._progress:
            yield from self._end("the server is gone" if not self._progress.error else None)

    def _begin(self, kind: str, properties: Fields, session: str) -> Iterator[AgentEvent]:
        info = fields(properties.get("info"))
        is_prompt = kind == "message.updated" and info.get("role") == "user" and info.get("sessionID") == session
        is_refused = kind == "session.error" and not self._turns
        if self._progress or self._is_known(info) or not (is_prompt or is_refused):
            return
        self._turns += 1
        self._newest = text(info.get("id")) or "msg_000"
        self._progress = Progress(session, self._newest)
        self._translator.begin_turn(self._newest, self._prompt())
        yield TurnStarted(task_id=f"tsk_{self._turns}")

    def _is_known(self, info: Fields) -> bool:
        return self._turns > 0 and (text(info.get("id")) or "") <= self._newest

    def _prompt(self) -> str:
        parts = (fields(fields(message.get("properties")).get("part")) for message in self._messages)
        return next((text(part.get("text")) or "" for part in parts if part.get("messageID") == self._newest), "")

    def _ask(self, kind: str, properties: Fields) -> Iterator[AgentEvent]:
        if kind == "permission.asked":
            found = self._translator.permission(properties)
            events, questions = (found[0], [found[1:]]) if found else ([], [])
        else:
            events, questions = self._translator.question(properties) or ([], [])
        yield from events
        for call, options in questions:
            self._requests += 1
            self._asked[text(properties.get("id")) or ""] = self._requests
            yield permission_requested(self._requests, "opencode", self._turns, call, options)

    def _answered(self, properties: Fields) -> Iterator[AgentEvent]:
        number = self._asked.pop(text(properties.get("requestID")) or "", None)
        if number is None:
            return
        option = text(properties.get("reply")) or ("0" if "answers" in properties else "dismiss")
        yield permission_resolved(number, PermissionOutcome(status=PermissionStatus.SELECTED, option_id=option))

    def _end(self, death: str | None) -> Iterator[AgentEvent]:
        progress, self._progress = self._progress, None
        assert progress is not None
        is_cancelled = death is None and (progress.was_aborted or progress.is_unfinished)
        error = None if is_cancelled or not progress.error else error_words(progress.error)
        error = death or error
        yield from self._translator.end_turn(is_done=not (error or is_cancelled))
        state = TaskState.CANCELLED if is_cancelled else TaskState.FAILED if error else TaskState.COMPLETED
        yield TurnEnded(
            task_id=f"tsk_{self._turns}",
            state=state,
            stop_reason=None if error else "cancelled" if is_cancelled else progress.stop_reason,
            error=Fault(code="agent_failed", message=error) if error else None,
            usage=self._translator.usage,
        )


def _session_of(message: Fields) -> str | None:
    return text(fields(message.get("properties")).get("sessionID"))


if __name__ == "__main__":
    for name in NAMES:
        write_expected(name)
