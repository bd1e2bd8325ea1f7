"""What the messages of a conversation say: text and reasoning, told piece by piece, once, in the end whole. Pure."""

from dataclasses import dataclass, field
from typing import Literal

from coder.backends.wire import Fields, fields, text
from coder.model.events import AgentEvent, Reasoning, Text, UserText


@dataclass
class _Words:
    """A part of text or reasoning while it streams."""

    kind: Literal["text", "reasoning"] | None
    said: list[str] = field(default_factory=list[str])
    is_held: bool = False
    """Pieces of it were missed: only its whole text will do."""
    is_over: bool = False


@dataclass(frozen=True)
class _Message:
    role: str
    is_summary: bool = False


class Speech:
    """Takes messages, their parts and pieces of parts, each of which may come twice or late."""

    def __init__(self) -> None:
        self._prompt_id: str | None = None
        self._prompt = ""
        self._messages: dict[str, _Message] = {}
        self._words: dict[str, _Words] = {}
        self._heard: set[str] = set()
        """The parts of users' messages that were told."""

    def begin_turn(self, message_id: str, prompt: str) -> None:
        """A prompt is about to be sent as the message of that id: what comes back of it is told to nobody."""
        self._prompt_id, self._prompt = message_id, prompt
        self._words = {id: words for id, words in self._words.items() if not words.is_over}

    def missed(self) -> None:
        """Pieces may have been lost: what streams now is told when its whole text comes."""
        for words in self._words.values():
            words.is_held = True

    def start_over(self) -> None:
        """The model starts over; what it had begun stays as it is."""
        for words in self._words.values():
            words.is_over = True

    def message(self, info: Fields) -> None:
        """Whose message it is."""
        if id := text(info.get("id")):
            self._messages[id] = _Message(text(info.get("role")) or "assistant", info.get("summary") is True)

    def is_users(self, part: Fields) -> bool:
        return self._message_of(part).role == "user"

    def fetched(self, part: Fields) -> None:
        """A part that streams is about to be given as it was fetched: its pieces up to now are lost."""
        is_open = part.get("type") in ("text", "reasoning") and "end" not in fields(part.get("time"))
        if is_open and (id := text(part.get("id"))) and not self.is_users(part):
            self._words.setdefault(id, _Words(None)).is_held = True

    def part(self, part: Fields) -> tuple[list[AgentEvent], bool]:
        """A part with its id and text as it stands: what is new in it, and whether it has just ended."""
        id, whole_text = text(part.get("id")) or "", text(part.get("text")) or ""
        message = self._message_of(part)
        if message.role == "user":
            return self._user_said(id, part, whole_text), False
        words = self._words.setdefault(id, _Words(None))
        words.kind = "reasoning" if part.get("type") == "reasoning" or message.is_summary else "text"
        if words.is_over:
            return [], False
        is_end = "end" in fields(part.get("time"))
        events = self._rest(words, part, whole_text, is_end=is_end) if whole_text else []
        if is_end:
            words.is_over, words.said = True, []
        return events, is_end

    def piece(self, properties: Fields) -> list[AgentEvent]:
        """A piece of a part that streams."""
        id, said = text(properties.get("partID")), text(properties.get("delta"))
        if id is None or said is None or properties.get("field") != "text":
            return []
        words = self._words.setdefault(id, _Words(None, is_held=True))
        if words.is_held or words.is_over:
            return []
        return _speak(words, properties, said)

    def _message_of(self, part: Fields) -> _Message:
        return self._messages.get(text(part.get("messageID")) or "", _Message("assistant"))

    def _rest(self, words: _Words, part: Fields, whole_text: str, *, is_end: bool) -> list[AgentEvent]:
        said = "".join(words.said)
        if (words.is_held and not is_end) or not whole_text.startswith(said):
            # the end of a text may come without its last spaces
            return []
        return _speak(words, part, whole_text[len(said) :])

    def _user_said(self, id: str, part: Fields, said: str) -> list[AgentEvent]:
        is_own = part.get("messageID") == self._prompt_id or said == self._prompt
        if is_own or part.get("synthetic") is True or part.get("ignored") is True or id in self._heard:
            return []
        self._heard.add(id)
        return [UserText(text=said)] if said else []


def _speak(words: _Words, where: Fields, said: str) -> list[AgentEvent]:
    words.said.append(said)
    if not said:
        return []
    message_id = text(where.get("messageID"))
    if words.kind == "reasoning":
        return [Reasoning(text=said, message_id=message_id)]
    return [Text(text=said, message_id=message_id)]
