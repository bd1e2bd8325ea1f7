"""Events of the opencode server to AgentEvents. Pure: no clock, no I/O.

One Translator remembers what one conversation, with the sub-agents it has started, has said. Everything it takes may
come twice or late: nothing is told twice, and nothing goes back.
"""

from collections.abc import Callable

from pydantic import ValidationError

from coder.backends.opencode.calls import Calls
from coder.backends.opencode.offer import Chosen, Offer
from coder.backends.opencode.speech import Speech
from coder.backends.wire import Fields, fields, objects, prune, text, whole
from coder.model.events import (
    AgentEvent,
    AgentStatusChanged,
    Commands,
    Error,
    ModeChanged,
    ModelChanged,
    Plan,
    PlanEntry,
    Unknown,
    UsageReported,
)
from coder.model.permissions import PermissionOption
from coder.model.tasks import Usage
from coder.model.tool_calls import ToolCall
from coder.model.values import Json

Events = list[AgentEvent]

PERMISSION_OPTIONS = (
    PermissionOption(id="once", name="Allow once", kind="allow_once"),
    PermissionOption(id="always", name="Allow always", kind="allow_always"),
    PermissionOption(id="reject", name="Reject", kind="reject_once"),
)
DISMISS = PermissionOption(id="dismiss", name="Dismiss", kind="reject_once")

ELSEWHERE = frozenset(
    {
        # the connection itself
        *("server.connected", "server.heartbeat", "server.instance.disposed", "global.disposed", "sync"),
        # the state of the turn, which the backend follows
        *("session.idle", "session.created", "session.deleted", "command.executed"),
        # asked and answered through the host
        *("permission.asked", "permission.replied", "question.asked", "question.replied", "question.rejected"),
        # the host makes its own differences
        *("session.diff", "file.edited", "file.watcher.updated", "vcs.branch.updated"),
        # the server's own furniture
        *("plugin.added", "catalog.updated", "reference.updated", "integration.updated", "models-dev.refreshed"),
        *("integration.connection.updated", "project.updated", "project.directories.updated", "lsp.updated"),
        *("mcp.tools.changed", "installation.updated", "installation.update-available"),
        *("pty.created", "pty.updated", "pty.exited", "pty.deleted", "tui.prompt.append", "tui.command.execute"),
        *("tui.toast.show", "tui.session.select", "workspace.ready", "workspace.status", "worktree.ready"),
    }
)
"""Events that say nothing of the conversation, or what is said in another way."""
_NEXT_SURFACE = ("session.next.", "permission.v2.", "question.v2.")
"""A second telling of the same for a later version of the server's API."""
_DEPTH = 60


class Translator:
    """The events of one conversation of the agent called `agent`."""

    def __init__(self, agent: str) -> None:
        self._agent = agent
        self.session: str | None = None
        self.offer = Offer()
        self.chosen = Chosen()
        self.usage = Usage()
        self._is_in_turn = False
        self._cost: float | None = None
        self._children: set[str] = set()
        self._inner: dict[str, list[str]] = {}
        self._tasks: dict[str, Fields] = {}
        self._speech = Speech()
        self._calls = Calls()
        self._steps: set[str] = set()
        self._requests: set[str] = set()
        self._plan = Plan(entries=())
        self._kinds: dict[str, Callable[[Fields], Events]] = {
            "message.updated": self._message,
            "message.part.updated": lambda properties: self.part(fields(properties.get("part"))),
            "message.part.delta": self._piece,
            "message.part.removed": lambda _: [],
            "session.updated": self._session,
            "session.status": self._status,
            "session.error": self._error,
            "session.compacted": self._compacted,
            "todo.updated": self._todo,
        }

    # What is said of the conversation

    def opened(self, session: str, info: Fields, offer: Offer) -> Events:
        """The conversation is known, and what the server offers in it."""
        self.session, self.offer = session, offer
        cost = info.get("cost")
        self._cost = float(cost) if isinstance(cost, int | float) else None
        events: Events = [Commands(commands=offer.commands)] if offer.commands else []
        model, variant = _model_of(fields(info.get("model")))
        mode = text(info.get("agent"))
        return events + self.choose(
            model=model if offer.model(model) else offer.default_model,
            mode=mode if mode and offer.has_mode(mode) else offer.default_mode,
            thinking=variant,
        )

    def choose(self, *, model: str | None = None, mode: str | None = None, thinking: str | None = None) -> Events:
        """Prompts are sent with this from now on. A thinking level holds for the model it was chosen with."""
        before = self.chosen
        other = model if model != before.model else None
        self.chosen = Chosen(
            model=model or before.model,
            mode=mode or before.mode,
            thinking=thinking or (None if other else before.thinking),
        )
        events: Events = []
        if mode and mode != before.mode:
            events.append(ModeChanged(mode_id=mode))
        if other:
            events.append(ModelChanged(model_id=other))
        return events

    def begin_turn(self, message_id: str, prompt: str) -> None:
        """A prompt is about to be sent as the message of that id."""
        self._is_in_turn = True
        self._speech.begin_turn(message_id, prompt)
        self._calls.begin_turn()
        self.usage = self.usage.model_copy(update={"input_tokens": None, "output_tokens": None})

    def end_turn(self, *, is_done: bool) -> Events:
        """The turn is over: calls that are still open have failed, or were forgotten where all went well."""
        self._is_in_turn = False
        return self._calls.end_turn(is_done=is_done)

    def missed(self) -> None:
        """Events may have been lost: what streams now is told when its whole text comes."""
        self._speech.missed()

    # What the server tells

    def event(self, kind: str, properties: Fields) -> Events:
        """The events of one event of the server."""
        if kind == "session.created":
            self._adopt(fields(properties.get("info")))
        if kind in ELSEWHERE or kind.startswith(_NEXT_SURFACE):
            return []
        if not self.concerns(properties):
            return []
        translate = self._kinds.get(kind)
        if translate is None:
            return [Unknown(raw={"type": kind, "properties": prune(dict(properties), _DEPTH)})]
        try:
            return translate(properties)
        except ValidationError:
            return translate(fields(prune(dict(properties), _DEPTH)))

    def concerns(self, properties: Fields) -> bool:
        """Whether an event is of this conversation or one of its sub-agents; those of no session are."""
        session = _session_of(properties)
        return session is None or self.is_ours(session)

    def is_ours(self, session: str | None) -> bool:
        return session == self.session or session in self._children

    def message(self, message: Fields) -> Events:
        """A whole message, as it is fetched."""
        events = self.event("message.updated", {"info": dict(fields(message.get("info")))})
        for part in objects(message.get("parts")):
            self._speech.fetched(part)
            events += self.event("message.part.updated", {"part": dict(part)})
        return events

    def permission(self, asked: Fields) -> tuple[Events, ToolCall, tuple[PermissionOption, ...]] | None:
        """A permission request: its call, announced if it was not, and the options; None when it was seen before."""
        if (id := self._first_sight(asked)) is None:
            return None
        kind, patterns = text(asked.get("permission")) or "permission", asked.get("patterns")
        subject = ", ".join(item for item in patterns if isinstance(item, str)) if isinstance(patterns, list) else ""
        title = f"{kind} {subject}".strip()[:500]
        events, call = self._calls.asked(id, asked, title, kind, self._parent_of(asked))
        if kind == "external_directory":
            # asked before the tool itself asks: not what the call does is the question, but where
            call = call.model_copy(update={"title": title})
        return events, call, _permission_options(kind, asked.get("always"))

    def question(self, asked: Fields) -> tuple[Events, list[tuple[ToolCall, tuple[PermissionOption, ...]]]] | None:
        """Questions, each with its options, `0` for the first; None when they were seen before."""
        if (id := self._first_sight(asked)) is None:
            return None
        questions = objects(asked.get("questions"))
        events, call = self._calls.asked(id, asked, _words_of(questions), "question", self._parent_of(asked))
        return events, [
            (call.model_copy(update={"title": text(item.get("question")) or call.title}), _answers(item))
            for item in questions
        ]

    def plan(self, todos: list[Fields]) -> Events:
        """The whole list of what is to be done."""
        before, self._plan = self._plan, Plan(entries=tuple(_entry(item) for item in todos))
        return [self._plan] if self._plan != before else []

    def refused(self, call: ToolCall) -> None:
        """The permission for a call was not given: unless the server says otherwise it fails."""
        self._calls.refused(call)

    # Messages and their parts

    def part(self, part: Fields) -> Events:
        """One part of a message as it stands now."""
        match part.get("type"):
            case "text" | "reasoning" if text(part.get("id")) is not None and text(part.get("text")) is not None:
                return self._said(part)
            case "tool" if text(part.get("id")) is not None:
                return self._tool(part)
            case "step-finish":
                return self._step(part)
            case "step-start" | "snapshot" | "patch" | "retry" | "compaction":
                return []
            case "file" | "agent" | "subtask" if self._speech.is_users(part):
                return []
            case _:
                return [Unknown(raw=prune(dict(part), _DEPTH))]

    def _message(self, properties: Fields) -> Events:
        self._speech.message(fields(properties.get("info")))
        return []

    def _said(self, part: Fields) -> Events:
        events, has_ended = self._speech.part(part)
        if not self._is_sub_agents(part):
            return events
        return self._inner_said(part) if has_ended else []

    def _piece(self, properties: Fields) -> Events:
        events = self._speech.piece(properties)
        return [] if self._is_sub_agents(properties) else events

    def _is_sub_agents(self, part: Fields) -> bool:
        return text(part.get("sessionID")) in self._children

    def _inner_said(self, part: Fields) -> Events:
        """What a sub-agent has said is shown in the call it works for."""
        session, said = text(part.get("sessionID")) or "", text(part.get("text"))
        if not said:
            return []
        self._inner.setdefault(session, []).append(said)
        task = self._tasks.get(session)
        return self._tool(task) if task else []

    def _tool(self, part: Fields) -> Events:
        child = text(fields(fields(part.get("state")).get("metadata")).get("sessionId"))
        if child:
            self._children.add(child)
            self._tasks[child] = part
        return self._calls.part(part, tuple(self._inner.get(child or "", ())), self._parent_of(part))

    def _parent_of(self, part: Fields) -> str | None:
        """The call that the sub-agent works for whose part or request this is."""
        task = self._tasks.get(text(part.get("sessionID")) or "")
        return self._calls.id_of(task) if task else None

    def _step(self, part: Fields) -> Events:
        id = text(part.get("id"))
        if id is None or id in self._steps:
            return []
        self._steps.add(id)
        tokens = fields(part.get("tokens"))
        cache = fields(tokens.get("cache"))
        told: dict[str, int | float | None] = {
            "input_tokens": _sum(self.usage.input_tokens, tokens.get("input"), cache.get("read"), cache.get("write")),
            "output_tokens": _sum(self.usage.output_tokens, tokens.get("output"), tokens.get("reasoning")),
        }
        if not self._is_sub_agents(part) and (used := whole(tokens.get("total"))):
            told["context_used"] = used
            told["context_size"] = self.offer.context_sizes.get(self.chosen.model or "")
        cost = part.get("cost")
        if isinstance(cost, int | float) and not isinstance(cost, bool):
            self._cost = round((self._cost or 0.0) + cost, 9)
            told["cost"] = self._cost
        before, self.usage = self.usage, self.usage.model_copy(update=told)
        return [UsageReported.model_validate(self.usage.model_dump())] if self.usage != before else []

    # The session

    def _adopt(self, info: Fields) -> None:
        id, parent = text(info.get("id")), text(info.get("parentID"))
        if id and parent and self.is_ours(parent):
            self._children.add(id)

    def _session(self, properties: Fields) -> Events:
        info = fields(properties.get("info"))
        self._adopt(info)
        if text(info.get("id")) != self.session:
            return []
        mode, (model, _) = text(info.get("agent")), _model_of(fields(info.get("model")))
        # while a turn runs the server says what it uses; before and after it may still name the last one
        return self.choose(
            model=model if self._is_in_turn and self.offer.model(model) else None,
            mode=mode if self._is_in_turn and mode and self.offer.has_mode(mode) else None,
            thinking=self.chosen.thinking,
        )

    def _status(self, properties: Fields) -> Events:
        status = fields(properties.get("status"))
        if status.get("type") != "retry" or _session_of(properties) != self.session:
            return []
        self._speech.start_over()
        attempt = whole(status.get("attempt"))
        words = text(status.get("message")) or "the model did not answer"
        return [
            AgentStatusChanged(agent=self._agent, status="working", message=f"retrying ({attempt}): {words}"[:1000])
        ]

    def _error(self, properties: Fields) -> Events:
        if self._is_in_turn or _session_of(properties) != self.session:
            return []  # a turn ends with it; a sub-agent's is in the call it worked for
        error = fields(properties.get("error"))
        if error.get("name") == "MessageAbortedError":
            return []
        return [Error(code="agent_failed", message=error_words(error))]

    def _compacted(self, properties: Fields) -> Events:
        words = "the conversation was compacted to fit the model's context"
        return [AgentStatusChanged(agent=self._agent, status="working", message=words)] if self._is_in_turn else []

    def _todo(self, properties: Fields) -> Events:
        return self.plan(objects(properties.get("todos"))) if _session_of(properties) == self.session else []

    # Requests

    def _first_sight(self, asked: Fields) -> str | None:
        id = text(asked.get("id"))
        if id is None or id in self._requests:
            return None
        self._requests.add(id)
        return id


def error_words(error: Fields) -> str:
    """What an error of the server says, for a person."""
    said = text(fields(error.get("data")).get("message")) or text(error.get("name")) or "the server gave no reason"
    return said.splitlines()[0][:2000] if said else "the server gave no reason"


def _session_of(properties: Fields) -> str | None:
    for place in (properties, fields(properties.get("info")), fields(properties.get("part"))):
        if session := text(place.get("sessionID")):
            return session
    return None


def _model_of(model: Fields) -> tuple[str | None, str | None]:
    vendor, id = text(model.get("providerID")), text(model.get("id")) or text(model.get("modelID"))
    variant = text(model.get("variant"))
    return (f"{vendor}/{id}" if vendor and id else None), (variant if variant != "default" else None)


def _sum(before: int | None, *counts: Json) -> int | None:
    found = [count for count in map(whole, counts) if count is not None]
    return (before or 0) + sum(found) if found and (before or any(found)) else before


def _entry(item: Fields) -> PlanEntry:
    status, priority = item.get("status"), item.get("priority")
    # what is not to be done any more is nothing that is left to do
    status = "completed" if status == "cancelled" else status
    return PlanEntry.model_validate(
        {
            "content": text(item.get("content")) or "",
            "priority": priority if priority in ("high", "medium", "low") else "medium",
            "status": status if status in ("pending", "in_progress", "completed") else "pending",
        }
    )


def _words_of(questions: list[Fields]) -> str:
    return "; ".join(words for item in questions if (words := text(item.get("question")))) or "a question"


def _permission_options(kind: str, always: Json) -> tuple[PermissionOption, ...]:
    """The answers; the patterns that the server will take for answered are those of the lasting one."""
    patterns = [item for item in always if isinstance(item, str)] if isinstance(always, list) else []
    covers = tuple(f"{kind} {pattern}" for pattern in patterns)
    return tuple(
        option.model_copy(update={"covers": covers}) if option.kind == "allow_always" else option
        for option in PERMISSION_OPTIONS
    )


def _answers(question: Fields) -> tuple[PermissionOption, ...]:
    labels = [label for item in objects(question.get("options")) if (label := text(item.get("label")))]
    options = (PermissionOption(id=str(number), name=label, kind="allow_once") for number, label in enumerate(labels))
    return (*options, DISMISS)
