"""Which hunks and lines of pending changes are meant: named on the command line, or asked for one by one."""

import re
import sys
from collections.abc import Sequence
from typing import Literal, cast

import typer

from coder.errors import Conflict, InvalidInput
from coder.model.changes import ChangeDetail, Hunk
from coder.protocol import ChosenChange, HunkLines
from coder.terminal.diffs import head_text, hunk_text, is_cut
from coder.terminal.text import visible_line

Verb = Literal["apply", "reject"]
_NUMBERS = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")
_MEANINGS = {
    "y": "{verb} this {part}",
    "n": "leave this {part} pending",
    "l": "{verb} some lines of this hunk",
    "a": "{verb} this and all later {part}s of the file",
    "d": "leave this and all later {part}s of the file pending",
    "q": "leave this and everything after it pending",
    "?": "say what the letters mean",
}


def named_hunks(changes: Sequence[ChangeDetail], names: Sequence[str]) -> list[ChosenChange]:
    """The hunks that are named, each `ID` or `ID:LINES` with numbers as `hunk_text` shows them.

    Raises:
        Conflict: `stale_hunk`, no pending change has such a hunk now.
        InvalidInput: lines that change nothing, or a hunk that several files have.
    """
    chosen: dict[str, list[str | HunkLines]] = {}
    for name in names:
        id, _, lines = name.partition(":")
        found = [(change, hunk) for change in changes for hunk in change.hunks if hunk.id == id]
        if not found:
            raise Conflict(f"no such hunk in what is pending now: {id}", code="stale_hunk", stale=[id])
        if len(found) > 1:
            files = ", ".join(visible_line(change.file_path) for change, _ in found)
            raise InvalidInput(f"several files have hunk {id}, name one of them: {files}", code="ambiguous_hunk")
        ((change, hunk),) = found
        chosen.setdefault(change.id, []).append(HunkLines(id=id, lines=line_numbers(hunk, lines)) if lines else id)
    return [ChosenChange(id=id, hunks=tuple(hunks)) for id, hunks in chosen.items()]


def line_numbers(hunk: Hunk, text: str) -> tuple[int, ...]:
    """The added and deleted lines among those that are named, as in `3,5-7`. Raises InvalidInput: there is none."""
    numbers: set[int] = set()
    for part in text.replace(" ", "").split(","):
        found = _NUMBERS.fullmatch(part)
        if found is None:
            raise InvalidInput(f"lines are named as in 3,5-7, not as {visible_line(text)}", code="no_such_line")
        first = int(found[1])
        numbers.update(range(first, min(int(found[2] or first), len(hunk.lines)) + 1))
    changed = tuple(number for number, line in enumerate(hunk.lines) if line[:1] in "+-" and number in numbers)
    if not changed:
        raise InvalidInput(f"lines {visible_line(text)} of hunk {hunk.id} change nothing", code="no_such_line")
    return changed


class HunkQuestions:
    """Asks about every hunk, and about files that have none, in the manner of `git add -p`. No answer at all is `q`."""

    def __init__(self, verb: Verb) -> None:
        self._verb = verb
        self._is_left = False

    def choose(self, changes: Sequence[ChangeDetail]) -> list[ChosenChange]:
        """What was said yes to."""
        chosen: list[ChosenChange] = []
        for change in changes:
            if self._is_left:
                break
            _tell(head_text(change))
            found = self._hunks_of(change) if is_cut(change) else self._whole(change)
            if found is not None:
                chosen.append(found)
        return chosen

    def _whole(self, change: ChangeDetail) -> ChosenChange | None:
        if change.queued or self._ask("file", 1, 1) != "y":
            return None
        return ChosenChange(id=change.id)

    def _hunks_of(self, change: ChangeDetail) -> ChosenChange | None:
        open_hunks = _not_queued(change)
        taken: list[str | HunkLines] = []
        for number, hunk in enumerate(open_hunks, 1):
            _tell(hunk_text(hunk))
            match self._ask("hunk", number, len(open_hunks)):
                case "y":
                    taken.append(hunk.id)
                case "l":
                    taken += self._lines(hunk)
                case "a":
                    taken += [each.id for each in open_hunks[number - 1 :]]
                    break
                case "d" | "q":
                    break
                case _:
                    pass
        return ChosenChange(id=change.id, hunks=tuple(taken)) if taken else None

    def _lines(self, hunk: Hunk) -> list[str | HunkLines]:
        _tell(hunk_text(hunk, is_numbered=True))
        while text := _answer(f"{self._verb.capitalize()} which lines, as in 3,5-7? "):
            try:
                return [HunkLines(id=hunk.id, lines=line_numbers(hunk, text))]
            except InvalidInput as error:
                _tell(str(error))
        return []

    def _ask(self, part: Literal["hunk", "file"], number: int, count: int) -> str:
        letters = [letter for letter in _MEANINGS if part == "hunk" or letter not in "lad"]
        question = f"({number}/{count}) {self._verb.capitalize()} this {part} [{','.join(letters)}]? "
        while True:
            said = _answer(question)
            letter = "q" if said is None else said[:1].lower()
            if letter in letters and letter != "?":
                self._is_left = letter == "q"
                return letter
            for each in letters:
                _tell(f"{each} - {_MEANINGS[each].format(verb=self._verb, part=part)}")


def _not_queued(change: ChangeDetail) -> list[Hunk]:
    if any(queued.hunks is None for queued in change.queued):
        return []
    queued = {choice.id for each in change.queued for choice in each.hunks or ()}
    return [hunk for hunk in change.hunks if hunk.id not in queued]


def _answer(question: str) -> str | None:
    typer.echo(typer.style(question, fg=typer.colors.BLUE, bold=True), nl=False, err=True)
    line = cast(str, sys.stdin.readline())
    if not line:
        _tell("")
        return None
    return line.strip()


def _tell(text: str) -> None:
    typer.echo(text, err=True)
