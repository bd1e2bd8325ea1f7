"""Lines of a text by their content, so that they are found again in a later text of the same file. Pure."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from coder.model.comments import Anchor, Side

CONTEXT = 3
"""Lines kept before and after the anchored one."""
LINE_CHARACTERS = 1000
"""What is kept and compared of a longer line."""

CANDIDATES = 500
"""How many equal lines are looked at on each side of the old place."""


@dataclass(frozen=True)
class Lines:
    """A text's lines, without their ends, and where each is."""

    lines: Sequence[str]
    places: Mapping[str, Sequence[int]]


def lines_of(content: bytes) -> Lines | None:
    """The lines of a file; None where it is no text."""
    if b"\0" in content:
        return None
    lines = content.decode(errors="replace").split("\n")
    if not lines[-1]:
        lines.pop()
    cut = [line.removesuffix("\r")[:LINE_CHARACTERS] for line in lines]
    places: dict[str, list[int]] = {}
    for index, line in enumerate(cut):
        places.setdefault(line, []).append(index)
    return Lines(cut, places)


def anchor_at(text: Lines, side: Side, line: int) -> Anchor:
    """An anchor on a line, counted from 1. Raises IndexError: the text has no such line."""
    if not 1 <= line <= len(text.lines):
        raise IndexError(line)
    before, after = _around(text, line - 1)
    return Anchor(side=side, line=line, text=text.lines[line - 1], before=before, after=after)


def find(anchor: Anchor, text: Lines) -> int | None:
    """The number of the anchored line in another text, None where it is gone.

    Of several equal lines it is the one with the most of the lines around it, then the one at the same number. A line
    without a letter or digit is everywhere: it counts only with a neighbour.
    """
    scores = {index: _likeness(anchor, text, index) for index in _candidates(anchor, text)}
    least = 0 if any(character.isalnum() for character in anchor.text) else 1
    highest = max(scores.values(), default=0)
    best = [index for index, score in scores.items() if score == highest >= least]
    if len(best) == 1:
        return best[0] + 1
    return anchor.line if anchor.line - 1 in best else None


def _candidates(anchor: Anchor, text: Lines) -> Sequence[int]:
    places = text.places.get(anchor.text, ())
    middle = bisect_left(places, anchor.line - 1)
    return places[max(0, middle - CANDIDATES) : middle + CANDIDATES]


def _likeness(anchor: Anchor, text: Lines, index: int) -> int:
    """How many lines next to it, without a gap, are those of the anchor; an equal edge of the text counts as one."""
    before, after = _around(text, index)
    edges = (len(anchor.before) < CONTEXT, len(before) < CONTEXT), (len(anchor.after) < CONTEXT, len(after) < CONTEXT)
    return _run(anchor.before[::-1], before[::-1], edges[0]) + _run(anchor.after, after, edges[1])


def _run(ours: Sequence[str], theirs: Sequence[str], at_edge: tuple[bool, bool]) -> int:
    count = 0
    for our, their in zip(ours, theirs, strict=False):
        if our != their:
            return count
        count += 1
    return count + (len(ours) == len(theirs) and all(at_edge))


def _around(text: Lines, index: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    lines = text.lines
    return tuple(lines[max(0, index - CONTEXT) : index]), tuple(lines[index + 1 : index + 1 + CONTEXT])
