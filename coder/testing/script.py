"""The little language that steers a scripted agent: a prompt's text becomes statements, or it is plain words."""

import re
from dataclasses import dataclass

# A path holds a dot or a slash, so that "write a poem" stays plain words.
_PATH = r"(?P<path>\S*[./]\S*)"

GRAMMAR: dict[str, str] = {
    "say": r"(?P<text>.+)",
    "think": r"(?P<text>.+)",
    "stream": r"(?P<count>\d+)(?: (?P<delay>\d+))?",
    "write": _PATH + r"(?: (?P<text>.*))?",
    "edit": _PATH + r" (?P<old>.+?) => (?P<new>.*)",
    "delete": _PATH,
    "rename": r"(?P<old>\S+) => (?P<new>\S+)",
    "ask": r"(?P<title>.*)",
    "plan": r"(?P<entries>.+)",
    "tool": r"(?P<kind>read|edit|delete|move|search|execute|think|fetch|switch_mode|other) (?P<title>.+)",
    "terminal": r"(?P<command>.+)",
    "delegate": r"(?P<kind>\S+) (?P<title>.+)",
    "report": r"(?P<text>.+)",
    "fsread": _PATH + r"(?: (?P<line>\d+) (?P<limit>\d+))?",
    "fswrite": _PATH + r"(?: (?P<text>.*))?",
    "hang": "",
    "listen": "",
    "die": r"(?P<code>\d*)",
    "half": r"(?P<code>\d*)",
    "mute": "",
    "flood": r"(?P<where>stdout|stderr) (?P<count>\d+)",
    "longline": r"(?P<size>\d+)",
    "garbage": "",
    "unknown": "",
    "unknownrequest": "",
    "usage": r"(?P<used>\d+) (?P<size>\d+)",
    "mode": r"(?P<id>\S+)",
    "title": r"(?P<text>.+)",
    "commands": "",
    "ignore": r"(?P<what>cancel|term|eof)",
    "fork": r"(?P<seconds>\d+)",
    "latency": r"(?P<ms>\d+)",
    "replay-late": "",
    "badorder": "",
    "sleep": r"(?P<ms>\d+)",
    "echoenv": r"(?P<name>\w+)",
    "counter": "",
    "settings": "",
    "attachments": "",
    "cwd": "",
    "fail": r"(?P<text>.*)",
    "stop": r"(?P<reason>\S+)",
}


class ScriptError(ValueError):
    """A prompt that begins as a script holds a statement that is none."""


@dataclass(frozen=True)
class Statement:
    """One verb with its arguments; arguments that were left out are missing."""

    verb: str
    arguments: dict[str, str]

    def __getitem__(self, name: str) -> str:
        return self.arguments.get(name, "")

    def number(self, name: str, default: int = 0) -> int:
        return int(self[name] or default)


def parse(text: str) -> list[Statement] | None:
    """The statements of a prompt; None when its first piece is no statement, so that it is plain words.

    Pieces are separated by line ends and by `;`. In a piece, `\\n` is a line end, `\\t` a tab,
    `\\s` a space, `\\;` a semicolon. What the host tells the agent in front of the prompt is passed over.

    Raises:
        ScriptError: a later piece is no statement.
    """
    if text.startswith("[Note from the host"):
        text = text.partition("\n\n")[2]
    pieces = [piece for piece in re.split(r"\n|(?<!\\);", text) if piece.strip()]
    statements: list[Statement] = []
    for piece in pieces:
        statement = _statement(piece.strip())
        if statement is None:
            if not statements:
                return None
            raise ScriptError(f"not a verb of this agent: {piece.strip()}")
        statements.append(statement)
    return statements or None


def _statement(piece: str) -> Statement | None:
    verb, _, rest = piece.partition(" ")
    pattern = GRAMMAR.get(verb)
    if pattern is None or not (match := re.fullmatch(pattern, rest.strip(), re.DOTALL)):
        return None
    return Statement(verb, {name: _unescape(value) for name, value in match.groupdict().items() if value is not None})


def _unescape(text: str) -> str:
    letters = {"n": "\n", "t": "\t", "s": " ", ";": ";", "\\": "\\"}
    return re.sub(r"\\([nts;\\])", lambda match: letters[match[1]], text)
