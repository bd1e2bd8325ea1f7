"""Text as a terminal may show it: nothing that an agent wrote reaches it raw."""

import math
import unicodedata
from collections.abc import Sequence
from datetime import datetime

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def visible(text: str) -> str:
    """The text with every control, bidi and invisible character spelled out; new lines and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character if character in "\n\t" or unicodedata.category(character) not in _INVISIBLE else _spelled(character)
        for character in text
    )


def visible_line(text: str) -> str:
    """As `visible`, on one line."""
    return visible(text).replace("\n", "\\n").replace("\t", " ")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns under their heads."""
    lines = [list(head), *([visible_line(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def moment(time: datetime) -> str:
    """A time where the terminal is, to the second."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def part(figure: float | None) -> str:
    """A part of a whole as percents; what is not all of it is not called so."""
    return "-" if figure is None else f"{math.floor(figure * 100 + 1e-9)} %"


def wait(seconds: float | None) -> str:
    """A time that somebody waits, which may be very short."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.001 else "< 1 ms"
    return f"{seconds:.1f} s"


def memory(bytes: int | None) -> str:
    """So much memory, in the unit that reads best."""
    if bytes is None:
        return "-"
    mebi = bytes / 2**20
    return f"{mebi:.0f} MiB" if mebi < 1000 else f"{mebi / 1024:.1f} GiB"


def _spelled(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
