"""File names as text. Git stores bytes; JSON and PostgreSQL hold UTF-8."""

import os
import re

_ESCAPES = {0x07: "a", 0x08: "b", 0x09: "t", 0x0A: "n", 0x0B: "v", 0x0C: "f", 0x0D: "r", 0x22: '"', 0x5C: "\\"}
_NAMED = {letter: byte for byte, letter in _ESCAPES.items()}
_ESCAPE = re.compile(rb'\\([0-7]{3}|[abtnvfr"\\])')


def shown_name(name: bytes) -> str:
    """`name` as text: itself where that is valid UTF-8, else quoted as git does it, `"caf\\351.txt"`.

    `stored_name` gives back exactly the same bytes, so a change to such a file can be shown and decided.
    """
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return _quoted(name)
    return _quoted(name) if text.startswith('"') else text


def stored_name(text: str) -> str:
    """The name that `shown_name` has made text of, in the form the functions of `os` take."""
    if not (text.startswith('"') and text.endswith('"') and len(text) > 1):
        return text
    return os.fsdecode(_ESCAPE.sub(_unescaped, text[1:-1].encode()))


def _quoted(name: bytes) -> str:
    return '"' + "".join(_escaped(byte) for byte in name) + '"'


def _escaped(byte: int) -> str:
    if byte in _ESCAPES:
        return "\\" + _ESCAPES[byte]
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}"


def _unescaped(match: re.Match[bytes]) -> bytes:
    token = match.group(1).decode()
    return bytes([_NAMED[token] if token in _NAMED else int(token, 8) & 0xFF])
