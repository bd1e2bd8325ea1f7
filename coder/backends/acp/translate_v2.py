"""Updates of version 2 of the protocol to AgentEvents: everything is an upsert by id, and null clears a field.

Whole messages and pieces of them become the pieces that version 1 would have told, without what was shown before. The
state of a session (running, idle) is the business of `exchange_v2`; here it only has a word where nothing else has one.
"""

import base64

from coder.backends.acp.messages import Messages
from coder.backends.acp.tool_calls import cleared, extended, merge
from coder.backends.acp.translate import Events, Translator, plan_entries
from coder.backends.wire import Fields, fields, objects, text, whole
from coder.model.events import Plan, PlanEntry, Unknown
from coder.model.permissions import PermissionOption
from coder.model.tool_calls import ContentBlock, ToolCall
from coder.model.values import Json

STATES = frozenset({"running", "idle", "requires_action", "unknown"})
_CHUNKS = {"agent_message": "agent_message_chunk", "agent_thought": "agent_thought_chunk"}


class TranslatorV2(Translator):
    """The events of one agent session in version 2."""

    def __init__(self) -> None:
        super().__init__()
        self.is_echoed = False
        """Whether the prompt of this turn has come back: it has its place in the conversation then."""
        self._messages = Messages()
        self._own: set[str] = set()
        self._plans: dict[str, tuple[PlanEntry, ...]] = {}
        self._background: Json = []
        self._say = {"agent_message_chunk": self._message, "agent_thought_chunk": self._history["agent_thought_chunk"]}
        self._kinds["state_update"] = self._state
        self._history |= {
            "agent_message_chunk": self._chunk,
            "agent_thought_chunk": self._chunk,
            "agent_message": self._whole,
            "agent_thought": self._whole,
            "user_message_chunk": self._user_chunk,
            "user_message": self._user_whole,
            "tool_call_content_chunk": self._tool_content,
            "terminal_update": self._terminal_update,
            "terminal_output_chunk": self._terminal_chunk,
            "plan_update": self._plan_update,
            "plan_removed": self._plan_removed,
        }

    def begin_turn(self, prompt: str) -> None:
        super().begin_turn(prompt)
        self.is_echoed = False
        self._own.clear()

    def piece(self, update: Fields) -> None:
        return None  # a piece may be part of what a later update says again as a whole

    def permission(self, params: Fields) -> tuple[Events, ToolCall, tuple[PermissionOption, ...]]:
        events, call, options = super().permission(params)
        words = text(params.get("description"))
        if words and not any(block.text == words for block in call.content):
            # the reason belongs to the request: it is shown with it, and not kept with the call
            reason = ContentBlock(kind="text", text=words)
            call = call.model_copy(update={"content": (reason, *call.content)})
        return events, call, options

    def _asked_about(self, params: Fields) -> Fields:
        subject = fields(params.get("subject"))
        title = params.get("title")
        match subject.get("type"):
            case "tool_call":
                return {"title": title, **fields(subject.get("toolCall"))}
            case "command":
                described: dict[str, Json] = {"kind": "execute"}
                if id := text(subject.get("toolCallId")):
                    described["toolCallId"] = id
                if id not in self._aliases:
                    command, cwd = subject.get("command"), subject.get("cwd")
                    described |= {"title": command or title, "rawInput": {"command": command, "cwd": cwd}}
                return described
            case _:
                return {"title": title} | ({"rawInput": dict(subject)} if subject else {})

    # Messages

    def _chunk(self, update: Fields) -> Events:
        kind, id, said = _kind(update), text(update.get("messageId")), _words([fields(update.get("content"))])
        if id is None or not said:
            return self._say[kind](update)
        piece = self._messages.get(kind, id).add(said)
        return self._say[kind]({**update, "messageId": piece.message_id, "content": _text(piece.text)})

    def _whole(self, update: Fields) -> Events:
        kind, id, content = _CHUNKS[_kind(update)], text(update.get("messageId")), _blocks(update)
        if id is None or content is None:
            return [] if id else self._unknown(update)
        message = self._messages.get(kind, id)
        piece = message.replace(_words(content))
        chunk: Fields = {"sessionUpdate": kind, "messageId": piece.message_id}
        events = self._say[kind]({**chunk, "content": _text(piece.text)})
        for block in message.add_blocks([dict(block) for block in content if block.get("type") != "text"]):
            events += self._unknown({**chunk, "content": block})
        return events

    def _user_chunk(self, update: Fields) -> Events:
        id = text(update.get("messageId"))
        if id in self._own or self._is_own(id, _words([fields(update.get("content"))])):
            return []
        return self._user_message(update)

    def _user_whole(self, update: Fields) -> Events:
        id, content = text(update.get("messageId")), _blocks(update)
        if id is None or content is None:
            return [] if id else self._unknown(update)
        words = _words(content)
        if id in self._own or self._is_own(id, words) or (content and self._is_own(id, _words(content[:1]))):
            return []
        message = self._messages.get("user", id)
        events = self._user_message({"content": _text(message.replace(words).text)})
        for block in message.add_blocks([dict(block) for block in content if block.get("type") != "text"]):
            events += self._unknown({**update, "content": [block]})
        return events

    def _is_own(self, id: str | None, words: str) -> bool:
        """Whether it is the prompt that comes back, with whatever was attached to it."""
        if not words or not self._is_echo(words):
            return False
        self.is_echoed = True
        if id:
            self._own.add(id)
        return True

    # Tool calls, terminals, plans

    def _merged(self, known: ToolCall | None, id: str, update: Fields) -> ToolCall:
        return merge(cleared(known, update), id, update, self._terminals)

    def _tool_content(self, update: Fields) -> Events:
        wire_id, item = text(update.get("toolCallId")), update.get("content")
        if wire_id is None or not isinstance(item, dict):
            return self._unknown(update)
        id = self._aliases.get(wire_id) or self._new_alias(wire_id)
        return self._keep(extended(self._calls.get(id), id, item, self._terminals))

    def _terminal_update(self, update: Fields) -> Events:
        id = text(update.get("terminalId"))
        if id is None:
            return self._unknown(update)
        if "output" in update:
            self._terminals.write(id, _bytes(fields(update["output"]).get("data")), afresh=True)
        if "exitStatus" in update:
            ended = fields(update["exitStatus"])
            exit = {"exit_code": whole(ended.get("exitCode")), "signal": text(ended.get("signal"))}
            self._terminals.set(self._terminals.get(id).model_copy(update=exit))
        return self.terminal(self._terminals.get(id))

    def _terminal_chunk(self, update: Fields) -> Events:
        id = text(update.get("terminalId"))
        if id is None:
            return self._unknown(update)
        self._terminals.write(id, _bytes(update.get("data")))
        return self.terminal(self._terminals.get(id))

    def _plan_update(self, update: Fields) -> Events:
        plan = fields(update.get("plan"))
        id = text(plan.get("planId")) or ""
        if plan.get("type") != "items":
            self._plans.pop(id, None)
            return self._unknown(update)
        listed: list[Json] = [dict(item) for item in objects(plan.get("entries")) if item.get("status") != "cancelled"]
        self._plans[id] = plan_entries(listed)
        return self._plan()

    def _plan_removed(self, update: Fields) -> Events:
        if self._plans.pop(text(update.get("planId")) or "", None) is None:
            return []
        return self._plan()

    def _plan(self) -> Events:
        return [Plan(entries=tuple(entry for entries in self._plans.values() for entry in entries))]

    # What is true now

    def _state(self, update: Fields) -> Events:
        """Work in the background and states of other kinds are kept as they come."""
        before, told = self._background, update.get("background")
        if isinstance(told, list):
            self._background = told
        is_news = self._background != before
        return [] if update.get("state") in STATES and not is_news else self._unknown(update)

    def _context(self, update: Fields) -> Events:
        events = super()._context(update)
        return events + (self._told({"cost": None}) if "cost" in update and update["cost"] is None else [])

    def _unknown(self, update: Fields) -> Events:
        return [Unknown(raw=dict(update))]


def _kind(update: Fields) -> str:
    return text(update.get("sessionUpdate")) or ""


def _text(words: str) -> Json:
    return {"type": "text", "text": words}


def _blocks(update: Fields) -> list[Fields] | None:
    """The content that replaces what was there; None when it is left as it is."""
    if "content" not in update:
        return None
    content = update["content"]
    return [content] if isinstance(content, dict) else objects(content)


def _words(content: list[Fields]) -> str:
    return "".join(text(block.get("text")) or "" for block in content if block.get("type") == "text")


def _bytes(data: Json) -> bytes:
    """Bytes in base64; text that is none is taken as it is."""
    written = text(data) or ""
    try:
        return base64.b64decode(written, validate=True)
    except ValueError:
        return written.encode()
