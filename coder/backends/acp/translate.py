"""ACP updates to AgentEvents. Pure: no clock, no I/O; one Translator remembers what one agent session has said.

This is version 1 of the protocol, and what both versions share; `translate_v2` adds what version 2 does otherwise.
"""

from collections.abc import Callable, Mapping

from pydantic import ValidationError

from coder.backends.acp.choices import Choices, read_choices
from coder.backends.acp.tool_calls import Terminals, merge
from coder.backends.wire import Fields, fields, objects, prune, text, whole
from coder.model.events import (
    AgentEvent,
    Commands,
    Error,
    ModeChanged,
    ModelChanged,
    Plan,
    PlanEntry,
    Reasoning,
    Text,
    ToolCallStarted,
    ToolCallUpdated,
    Unknown,
    UsageReported,
    UserText,
)
from coder.model.permissions import OptionKind, PermissionOption
from coder.model.providers import Command
from coder.model.tasks import Usage
from coder.model.tool_calls import TerminalOutput, ToolCall
from coder.model.values import Json

Events = list[AgentEvent]

_OPTION_KINDS: dict[str, OptionKind] = {
    "allow_once": "allow_once",
    "allow_always": "allow_always",
    "reject_once": "reject_once",
    "reject_always": "reject_always",
}
_DEPTH = 60
"""How deep raw values of an agent may nest; deeper ones cannot be stored."""
_COMPLETES_CALLS = frozenset({"end_turn", None})


class Translator:
    """The events of one agent session.

    A replay of history, which comes while a session is loaded, yields no events for what was said and done; what is
    true now (commands, modes, usage) counts all the same.
    """

    def __init__(self) -> None:
        self.choices = Choices()
        self.commands: tuple[Command, ...] = ()
        self.usage = Usage()
        self.is_replaying = False
        self.replayed = 0
        """How many pieces of history a replay has brought."""
        self._calls: dict[str, ToolCall] = {}
        self._aliases: dict[str, str] = {}
        self._past: set[str] = set()
        self._refused: set[str] = set()
        self._terminals = Terminals()
        self._echoes: list[str] = []
        self._kinds: dict[str, Callable[[Fields], Events]] = {
            "available_commands_update": self._commands,
            "current_mode_update": self._mode,
            "config_option_update": self._options,
            "session_info_update": _session_info,
            "usage_update": self._context,
        }
        self._history: dict[str, Callable[[Fields], Events]] = {
            "agent_message_chunk": self._message,
            "agent_thought_chunk": _thought,
            "user_message_chunk": self._user_message,
            "tool_call": self._tool_call,
            "tool_call_update": self._tool_update,
            "plan": _plan,
            "notice": _notice,
        }

    def update(self, update: Fields) -> Events:
        """The events of one `session/update`."""
        kind = update.get("sessionUpdate")
        if isinstance(kind, str) and (state := self._kinds.get(kind)):
            return _tolerant(state, update)
        if self.is_replaying:
            self.replayed += 1
            return []
        translate = self._history.get(kind, _unknown) if isinstance(kind, str) else _unknown
        return _tolerant(translate, update)

    def piece(self, update: Fields) -> tuple[str, str | None] | None:
        """Text and message id of an update that is a piece of the answer and nothing else; None for all others."""
        if self.is_replaying or update.get("sessionUpdate") != "agent_message_chunk" or "_meta" in update:
            return None
        content = update.get("content")
        if not isinstance(content, dict) or content.get("type") != "text":
            return None
        said, message_id = content.get("text"), update.get("messageId")
        if not isinstance(said, str) or not said:
            return None
        return said, message_id if isinstance(message_id, str) else None

    def session_opened(self, result: Fields) -> Events:
        """The answer to session/new, load or resume: what can be chosen and what is chosen now."""
        events = self.configured(result)
        if isinstance(result.get("availableCommands"), list):
            events += self._commands(result)
        return events

    def configured(self, result: Fields) -> Events:
        """An answer that may hold config options, models and modes."""
        return self._choose(read_choices(result, self.choices))

    def chosen(self, *, model: str | None = None, mode: str | None = None, thinking: str | None = None) -> Events:
        """We have set something and the agent accepted it."""
        return self._choose(self.choices.with_current(model=model, mode=mode, thinking=thinking))

    def begin_turn(self, prompt: str) -> None:
        """A prompt is about to be sent. Ids of calls that have ended may be used again by the agent for new ones."""
        ended = {wire_id for wire_id, id in self._aliases.items() if _is_over(self._calls[id])}
        self._past |= {self._aliases.pop(wire_id) for wire_id in ended}
        self._calls = {id: call for id, call in self._calls.items() if not _is_over(call)}
        self._refused.clear()
        self._terminals = Terminals()
        self._echoes = [prompt]
        self.usage = self.usage.model_copy(update={"input_tokens": None, "output_tokens": None})

    def end_turn(self, stop_reason: str | None) -> Events:
        """The turn is over: calls the agent has left open are completed after `end_turn`, else failed."""
        self._echoes.clear()
        events: Events = []
        for call in list(self._calls.values()):
            if not _is_over(call):
                is_done = stop_reason in _COMPLETES_CALLS and call.id not in self._refused
                events += self._keep(call.model_copy(update={"status": "completed" if is_done else "failed"}))
        return events

    def expect_echo(self, words: str) -> None:
        """More words of the user were sent into the turn; the agent may repeat them, and the host knows them."""
        self._echoes.append(words)

    def forget_echo(self, words: str) -> None:
        """The agent has not taken these words."""
        if words in self._echoes:
            self._echoes.remove(words)

    def turn_usage(self, result: Fields) -> Usage | None:
        """Usage as of the end of the turn, with what the prompt's answer says of it."""
        told = _tokens(fields(result.get("usage"))) or _tokens(_quota(result))
        if told:
            self.usage = self.usage.model_copy(update=told)
        return self.usage if self.usage != Usage() else None

    def permission(self, params: Fields) -> tuple[Events, ToolCall, tuple[PermissionOption, ...]]:
        """A permission request: the call it is about, announced if it was not, and the agent's own options."""
        described = self._asked_about(params)
        if text(described.get("toolCallId")) is None:
            described = {"title": "Permission", **described, "toolCallId": "permission"}
        wire_id = text(described.get("toolCallId")) or ""
        if wire_id in self._aliases:
            # "pending" speaks of the request: some agents have announced the call as running before
            described = {key: value for key, value in described.items() if key != "status"}
        events = _tolerant(self._tool_call, described)
        return events, self._calls[self._aliases[wire_id]], tuple(_permission_options(params))

    def _asked_about(self, params: Fields) -> Fields:
        return fields(params.get("toolCall"))

    def refused(self, call: ToolCall) -> None:
        """The permission for a call was not given: unless the agent says otherwise it fails."""
        self._refused.add(call.id)

    def terminal(self, terminal: TerminalOutput) -> Events:
        """A terminal that runs here has news; the events of the calls that show it."""
        self._terminals.set(terminal)
        events: Events = []
        for call in list(self._calls.values()):
            if any(shown.terminal_id == terminal.terminal_id for shown in call.terminals):
                terminals = tuple(self._terminals.get(shown.terminal_id) for shown in call.terminals)
                events += self._keep(call.model_copy(update={"terminals": terminals}))
        return events

    def _message(self, update: Fields) -> Events:
        content = update.get("content")
        if not isinstance(content, dict):
            return _unknown(update)
        said = content.get("text")
        if content.get("type") != "text" or not isinstance(said, str):
            return _unknown(update)
        message_id = update.get("messageId")
        events: Events = []
        if said:
            events.append(Text(text=said, message_id=message_id if isinstance(message_id, str) else None))
        if meta := update.get("_meta"):
            events += self._told(self._summed(_tokens(fields(fields(meta).get("usage")))))
        return events

    def _summed(self, told: Mapping[str, int | float]) -> dict[str, int | float]:
        """What single answers of the model took, added up over the turn."""
        before = {"input_tokens": self.usage.input_tokens, "output_tokens": self.usage.output_tokens}
        return {name: count + (before[name] or 0) for name, count in told.items()}

    def _user_message(self, update: Fields) -> Events:
        said = text(fields(update.get("content")).get("text"))
        if said is None:
            return _unknown(update)
        if not said or self._is_echo(said):
            return []
        return [UserText(text=said)]

    def _is_echo(self, said: str) -> bool:
        """Whether the agent repeats the prompt, which the host has recorded itself."""
        for index, words in enumerate(self._echoes):
            if words.startswith(said):
                self._echoes[index : index + 1] = [rest] if (rest := words[len(said) :]) else []
                return True
        return False

    def _tool_call(self, update: Fields) -> Events:
        wire_id = text(update.get("toolCallId"))
        if wire_id is None:
            return _unknown(update)
        id = self._aliases.get(wire_id) or self._new_alias(wire_id)
        known = self._calls.get(id)
        return self._keep(self._merged(known, id, update))

    def _merged(self, known: ToolCall | None, id: str, update: Fields) -> ToolCall:
        return merge(known, id, update, self._terminals)

    def _tool_update(self, update: Fields) -> Events:
        events = self._tool_call(update)
        if events and (id := self._aliases.get(text(update.get("toolCallId")) or "")):
            self._heed(id)
        return events

    def _heed(self, id: str) -> None:
        # the agent goes on with a call that was refused, or has ended it itself
        if self._calls[id].status != "pending":
            self._refused.discard(id)

    def _new_alias(self, wire_id: str) -> str:
        id, number = wire_id, 1
        while id in self._past:
            number += 1
            id = f"{wire_id}#{number}"
        self._aliases[wire_id] = id
        return id

    def _keep(self, call: ToolCall) -> Events:
        if call.parent_id in self._aliases:
            call = call.model_copy(update={"parent_id": self._aliases[call.parent_id]})
        known = self._calls.get(call.id)
        self._calls[call.id] = call
        if known is None:
            return [ToolCallStarted(tool_call=call)]
        return [ToolCallUpdated(tool_call=call)] if call != known else []

    def _commands(self, update: Fields) -> Events:
        commands = tuple(_command(item) for item in objects(update.get("availableCommands")) if text(item.get("name")))
        if commands == self.commands:
            return []
        self.commands = commands
        return [Commands(commands=commands)]

    def _mode(self, update: Fields) -> Events:
        mode = text(update.get("currentModeId")) or text(update.get("modeId"))
        return self._choose(self.choices.with_current(mode=mode)) if mode else _unknown(update)

    def _options(self, update: Fields) -> Events:
        return self._choose(read_choices(update, self.choices))

    def _choose(self, choices: Choices) -> Events:
        before, self.choices = self.choices, choices
        events: Events = []
        mode, model = choices.mode and choices.mode.current, choices.model and choices.model.current
        if mode and mode != (before.mode and before.mode.current):
            events.append(ModeChanged(mode_id=mode))
        if model and model != (before.model and before.model.current):
            events.append(ModelChanged(model_id=model))
        return events

    def _context(self, update: Fields) -> Events:
        told: dict[str, int | float] = {}
        for key, name in (("used", "context_used"), ("size", "context_size")):
            # a context that holds nothing is one the agent has not counted (yet, or after a cancel)
            if count := whole(update.get(key)):
                told[name] = count
        cost = fields(update.get("cost"))
        amount = cost.get("amount")
        if isinstance(amount, int | float) and cost.get("currency", "USD") == "USD":
            told["cost"] = amount
        return self._told(told)

    def _told(self, told: Mapping[str, int | float | None]) -> Events:
        before, self.usage = self.usage, self.usage.model_copy(update=told)
        return [UsageReported.model_validate(self.usage.model_dump())] if self.usage != before else []


def _tolerant(translate: Callable[[Fields], Events], update: Fields) -> Events:
    try:
        return translate(update)
    except ValidationError:
        return translate(fields(prune(dict(update), _DEPTH)))


def _is_over(call: ToolCall) -> bool:
    return call.status in ("completed", "failed")


def _thought(update: Fields) -> Events:
    content = fields(update.get("content"))
    said = text(content.get("text"))
    if content.get("type") != "text" or said is None:
        return _unknown(update)
    return [Reasoning(text=said, message_id=text(update.get("messageId")))] if said else []


def plan_entries(listed: Json) -> tuple[PlanEntry, ...]:
    """The entries of a plan."""
    return tuple(
        PlanEntry.model_validate(
            {
                "content": text(item.get("content")) or "",
                "priority": _one_of(item.get("priority"), ("high", "medium", "low"), "medium"),
                "status": _one_of(item.get("status"), ("pending", "in_progress", "completed"), "pending"),
            }
        )
        for item in objects(listed)
    )


def _plan(update: Fields) -> Events:
    return [Plan(entries=plan_entries(update.get("entries")))]


def _notice(update: Fields) -> Events:
    if update.get("severity") != "error":
        return _unknown(update)
    words = [text(update.get("title")), text(update.get("description"))]
    return [Error(code="agent_notice", message=": ".join(filter(None, words)))]


def _session_info(update: Fields) -> Events:
    # some agents send one without content, for their own client, at every step
    return _unknown(update) if update.keys() & {"title", "updatedAt"} else []


def _unknown(update: Fields) -> Events:
    return [Unknown(raw=dict(update))]


def _command(item: Fields) -> Command:
    return Command(
        name=text(item.get("name")) or "",
        description=text(item.get("description")) or "",
        hint=text(fields(item.get("input")).get("hint")) or None,
    )


def _permission_options(params: Fields) -> list[PermissionOption]:
    # what a lasting one covers is in its name, where the agent says it at all
    return [
        PermissionOption(
            id=id, name=text(item.get("name")) or id, kind=_OPTION_KINDS.get(text(item.get("kind")) or "", "other")
        )
        for item in objects(params.get("options"))
        if (id := text(item.get("optionId")))
    ]


def _quota(result: Fields) -> Fields:
    return fields(fields(fields(result.get("_meta")).get("quota")).get("token_count"))


def _tokens(usage: Fields) -> dict[str, int | float]:
    told: dict[str, int | float] = {}
    for keys, name in (
        (("inputTokens", "input_tokens"), "input_tokens"),
        (("outputTokens", "output_tokens"), "output_tokens"),
    ):
        for key in keys:
            if (count := whole(usage.get(key))) is not None:
                told[name] = count
    # all zeros come with turns that were cancelled before the model said anything about them
    return told if any(told.values()) else {}


def _one_of(value: Json, allowed: tuple[str, ...], default: str) -> str:
    return value if isinstance(value, str) and value in allowed else default
