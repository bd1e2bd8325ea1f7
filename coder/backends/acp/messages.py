"""Messages that an agent may replace whole: what of each was not said before.

Viewers join the pieces of a message in order, and a piece cannot be taken back. So a text that goes on from what was
shown yields the rest of it; one that is shown text cut short yields nothing, and goes on from there; any other text is
a new version of the message, said whole under an id of its own.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple

from coder.model.values import Json

_KEPT = 500
"""Messages whose text is remembered, the latest ones."""


class Piece(NamedTuple):
    """What is new, and the id of the message that it belongs to."""

    text: str
    message_id: str


@dataclass
class Message:
    """One message as it was shown; `text` is what it holds now, where that is less."""

    id: str
    blocks: list[Json] = field(default_factory=list["Json"])
    """Content that is no text, as far as it was shown."""
    _shown: list[str] = field(default_factory=list[str])
    _text: str | None = None
    _version: int = 1

    def add(self, piece: str) -> Piece:
        """More text at the end."""
        if self._text is not None:
            return self.replace(self._text + piece)
        self._shown.append(piece)
        return self._piece(piece)

    def replace(self, text: str) -> Piece:
        """Another text in place of the present one."""
        shown = "".join(self._shown)
        self._text = None
        if text.startswith(shown) or text.strip() == shown.strip():
            self._shown = [text]
            return self._piece(text[len(shown) :] if text.startswith(shown) else "")
        if shown.startswith(text):
            self._text = text
            return self._piece("")
        self._version += 1
        self._shown = [text]
        return self._piece(text)

    def add_blocks(self, blocks: list[Json]) -> list[Json]:
        """Those that were not shown before."""
        fresh = [block for block in blocks if block not in self.blocks]
        self.blocks += fresh
        return fresh

    def _piece(self, text: str) -> Piece:
        return Piece(text, self.id if self._version == 1 else f"{self.id}#{self._version}")


class Messages:
    """The latest messages of one agent session, by kind and id."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], Message] = OrderedDict()

    def get(self, kind: str, id: str) -> Message:
        """The message of that id; a new one where there is none."""
        message = self._known.setdefault((kind, id), Message(id))
        self._known.move_to_end((kind, id))
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return message
