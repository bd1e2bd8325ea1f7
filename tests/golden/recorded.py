"""Recorded conversations of real agents, and the events the host makes of them.

`events_of` is what a host would journal: the translator's events, with the host's own around them (turns, permission
requests) at fixed times and with counted ids, so that a pane can be folded over the same files.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import orjson

from coder.backends.acp.translate import Translator
from coder.backends.acp.translate_v2 import TranslatorV2
from coder.backends.wire import Fields, fields, objects, text
from coder.model.events import AgentEvent, PermissionRequested, PermissionResolved, TurnEnded, TurnStarted, agent_event
from coder.model.permissions import PermissionOption, PermissionOutcome, PermissionRequest, PermissionStatus
from coder.model.tasks import Fault, TaskState
from coder.model.tool_calls import ToolCall

FOLDER = Path(__file__).parent / "acp"
NAMES = sorted(path.name.removesuffix(".jsonl") for path in FOLDER.glob("*.jsonl"))
AT = datetime(2026, 1, 1, tzinfo=UTC)


def transcript(name: str) -> Path:
    return FOLDER / f"{name}.jsonl"


def expected_events(name: str) -> list[AgentEvent]:
    """The committed events of a transcript."""
    return [agent_event.validate_python(item) for item in orjson.loads((FOLDER / f"{name}.events.json").read_bytes())]


def write_expected(name: str) -> None:
    """Commit what the translator makes of a transcript now; to be read before it is believed."""
    lines = [agent_event.dump_json(event) for event in events_of(name)]
    (FOLDER / f"{name}.events.json").write_bytes(b"[\n" + b",\n".join(lines) + b"\n]\n")


def events_of(name: str) -> list[AgentEvent]:
    """The events of a recorded conversation, all its processes in a row."""
    return host_of(name).events


def without_turns(events: list[AgentEvent]) -> list[AgentEvent]:
    """What a backend and the permissions yield; turns are the dispatcher's."""
    return [event for event in events if not isinstance(event, TurnStarted | TurnEnded)]


def host_of(name: str) -> "RecordedHost":
    """A host that has heard a whole recording."""
    host = RecordedHost(agent=name.partition(".")[0])
    for line in transcript(name).read_bytes().splitlines():
        record = orjson.loads(line)
        if "restarted" in record.get("note", ""):
            host.restart()
        elif record.get("dir") == "c2a":
            host.sent(record["msg"])
        elif record.get("dir") == "a2c":
            host.received(record["msg"])
    host.end()
    return host


def permission_requested(number: int, agent: str, task: int, call: ToolCall, options: tuple[PermissionOption, ...]):
    """The host's event for the n-th permission request of a conversation."""
    return PermissionRequested(
        request=PermissionRequest(
            id=f"prm_{number}",
            session_id="ses_1",
            task_id=f"tsk_{task}",
            agent=agent,
            tool_call=call,
            options=options,
            status=PermissionStatus.PENDING,
            created_at=AT,
            expires_at=AT,
        )
    )


def permission_resolved(number: int, outcome: PermissionOutcome) -> PermissionResolved:
    return PermissionResolved(request_id=f"prm_{number}", outcome=outcome)


@dataclass
class Scene:
    """One recorded turn. Counts are of events before it, turns' own starts and ends left out."""

    prompt: str
    starts_after: int
    cancelled_after: int | None = None
    answers: list[str | None] = field(default_factory=list["str | None"])
    """The options chosen, None where a request was cancelled."""


@dataclass
class Part:
    """What one process of a recording was asked for."""

    token: str | None = None
    mode: str | None = None
    ends_after: int = 0
    scenes: list[Scene] = field(default_factory=list[Scene])


@dataclass
class RecordedHost:
    """Feeds a translator as the backend does, from both sides of a recording."""

    agent: str
    events: list[AgentEvent] = field(default_factory=list[AgentEvent])
    parts: list[Part] = field(default_factory=lambda: [Part()])
    _translator: Translator = field(default_factory=Translator)
    _sent: dict[str, Fields] = field(default_factory=dict[str, Fields])
    _asked: dict[str, tuple[int, ToolCall, tuple[PermissionOption, ...]]] = field(
        default_factory=dict[str, tuple[int, ToolCall, tuple[PermissionOption, ...]]]
    )
    _tasks: int = 0
    _permissions: int = 0
    _is_cancelled: bool = False

    def restart(self) -> None:
        self.end()
        self._translator = Translator()
        self._sent.clear()
        self.parts.append(Part())

    def end(self) -> None:
        self.parts[-1].ends_after = self._count()

    def sent(self, message: Fields) -> None:
        """The client spoke."""
        params = fields(message.get("params"))
        match message.get("method"):
            case None:
                self._answered(message)
            case "session/cancel":
                self._is_cancelled = True
                if not self._asked:
                    self.parts[-1].scenes[-1].cancelled_after = self._count()
            case "session/load":
                self._translator.is_replaying = True
                self.parts[-1].token = text(params.get("sessionId"))
            case "session/set_mode":
                self.parts[-1].mode = text(params.get("modeId"))
            case "session/set_config_option" if params.get("configId") == "mode":
                self.parts[-1].mode = text(params.get("value"))
            case "session/prompt":
                self._begin_turn(text(objects(params.get("prompt"))[0].get("text")) or "")
            case _:
                pass
        if "method" in message:
            self._sent[str(message.get("id"))] = message

    def received(self, message: Fields) -> None:
        """The agent spoke."""
        params = fields(message.get("params"))
        match message.get("method"):
            case "session/update":
                update = fields(params.get("update"))
                self.events += self._translator.update(update)
                if update.get("sessionUpdate") == "state_update" and update.get("state") == "idle":
                    self._end_turn(update, {})
            case "session/request_permission":
                self._ask(message, params)
            case None:
                self._settle(self._sent.pop(str(message.get("id"))), message)
            case _:
                pass

    def _count(self) -> int:
        return len(without_turns(self.events))

    def _begin_turn(self, prompt: str) -> None:
        self._tasks += 1
        self._is_cancelled = self._translator.is_replaying = False
        self.parts[-1].scenes.append(Scene(prompt, self._count()))
        self.events.append(TurnStarted(task_id=f"tsk_{self._tasks}"))
        self._translator.begin_turn(prompt)

    def _ask(self, message: Fields, params: Fields) -> None:
        events, call, options = self._translator.permission(params)
        self._permissions += 1
        self._asked[str(message.get("id"))] = self._permissions, call, options
        self.events += events
        self.events.append(permission_requested(self._permissions, self.agent, self._tasks, call, options))

    def _answered(self, message: Fields) -> None:
        asked = self._asked.pop(str(message.get("id")), None)
        if asked is None:
            return
        number, call, options = asked
        option_id = text(fields(fields(message.get("result")).get("outcome")).get("optionId"))
        self.parts[-1].scenes[-1].answers.append(option_id)
        chosen = next((option for option in options if option.id == option_id), None)
        status = PermissionStatus.SELECTED if chosen else PermissionStatus.CANCELLED
        self.events.append(permission_resolved(number, PermissionOutcome(status=status, option_id=option_id)))
        self._is_cancelled = self._is_cancelled or chosen is None
        if chosen is None or chosen.kind.startswith("reject"):
            self._translator.refused(call)

    def _settle(self, request: Fields, answer: Fields) -> None:
        result, params = fields(answer.get("result")), fields(request.get("params"))
        match request.get("method"):
            case "initialize" if result.get("protocolVersion") == 2:
                self._translator = TranslatorV2()
            case "session/new" | "session/load":
                self.events += self._translator.session_opened(result)
            case "session/set_mode":
                self.events += self._translator.configured(result)
                self.events += self._translator.chosen(mode=text(params.get("modeId")))
            case "session/set_config_option":
                self.events += self._translator.configured(result)
            case "session/prompt" if "stopReason" in result or "error" in answer:
                self._end_turn(result, fields(answer.get("error")))
            case _:
                pass

    def _end_turn(self, result: Fields, error: Fields) -> None:
        usage = self._translator.turn_usage(result)
        reason = "cancelled" if self._is_cancelled else text(result.get("stopReason"))
        self.events += self._translator.end_turn("failed" if error else reason)
        state = TaskState.CANCELLED if reason == "cancelled" else TaskState.COMPLETED
        self.events.append(
            TurnEnded(
                task_id=f"tsk_{self._tasks}",
                state=TaskState.FAILED if error else state,
                stop_reason=reason,
                error=Fault(code="agent_protocol", message=text(error.get("message")) or "") if error else None,
                usage=usage,
            )
        )
