"""The text of a change: git's diff between two blobs, its hunks, and either side with only some of them."""

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from coder.errors import Conflict, InvalidInput
from coder.model.changes import FileDifference, Hunk, HunkChoice
from coder.worktrees.shadow import Shadow

DIFF_LIMIT = 8 * 1024 * 1024
"""Bytes of the longest text that is shown and decided by hunks; a larger file is decided whole."""

_EMPTY_BLOBS = {
    40: "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
    64: "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813",
}
_HUNK = re.compile(rb"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_LINK = "120000"

Omitted = Literal["binary", "large"]


@dataclass(frozen=True)
class TextHunk:
    """One hunk of git's diff. Starts count lines from 0; `lines` keep their first byte: a space, `+`, `-` or `\\`."""

    id: str
    header: bytes
    base_start: int
    new_start: int
    lines: tuple[bytes, ...]

    @property
    def changed(self) -> frozenset[int]:
        """The numbers of the lines that are added or deleted."""
        return frozenset(number for number, line in enumerate(self.lines) if line[:1] in (b"+", b"-"))

    @property
    def shown(self) -> Hunk:
        lines = tuple(line.decode(errors="replace") for line in self.lines)
        return Hunk(id=self.id, header=self.header.decode(errors="replace"), lines=lines)


@dataclass(frozen=True)
class TextDiff:
    """Git's diff of one file with three lines of context: what stands above its hunks, and the hunks."""

    header: str
    body: bytes
    hunks: tuple[TextHunk, ...]
    omitted: Omitted | None = None

    @property
    def shown(self) -> str:
        return self.header + self.body.decode(errors="replace")


@dataclass(frozen=True)
class Parts:
    """A difference cut in two: what was chosen, and what is left to decide; None where nothing is."""

    chosen: FileDifference
    left: FileDifference | None


@dataclass(frozen=True)
class _Lines:
    """Numbers of the lines that one text loses and the other gains."""

    deleted: frozenset[int]
    added: frozenset[int]


async def text_diff(shadow: Shadow, difference: FileDifference) -> TextDiff:
    """The diff of a file. Without hunks for a binary or very large file, and where only the mode or name differs."""
    header = _header(difference)
    base, new = difference.base_blob, difference.new_blob
    if difference.is_binary or base == new:
        return TextDiff(header, b"", (), "binary" if difference.is_binary else None)
    if await _is_large(shadow, difference):
        return TextDiff(header, b"", (), "large")
    body = await _body(shadow, base, new)
    return TextDiff(header + _file_names(difference) if body else header, body, split_hunks(body, f"{base}..{new}"))


def split_hunks(body: bytes, place: str) -> tuple[TextHunk, ...]:
    """The hunks of a unified diff.

    A hunk's id depends on its lines, not on where it stands. Hunks with equal lines also depend on `place`, which says
    what the two texts are, and on where they stand: one of them must never be taken for another.
    """
    lines = body.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    starts = [number for number, line in enumerate(lines) if _HUNK.match(line)]
    bounds = list(zip(starts, [*starts[1:], len(lines)][: len(starts)], strict=True))
    contents = [b"\n".join(lines[start + 1 : end]) for start, end in bounds]
    count = Counter(contents)
    hunks: list[TextHunk] = []
    for (start, end), content in zip(bounds, contents, strict=True):
        words = _HUNK.match(lines[start])
        assert words is not None
        base_start, base_count, new_start, new_count = (int(word) if word else 1 for word in words.groups())
        salt = b"" if count[content] == 1 else f"{place}@{base_start}\n".encode()
        hunks.append(
            TextHunk(
                id=hashlib.sha256(salt + content).hexdigest()[:16],
                header=lines[start],
                # git names the line before a place that holds none
                base_start=base_start - (base_count > 0),
                new_start=new_start - (new_count > 0),
                lines=tuple(lines[start + 1 : end]),
            )
        )
    return tuple(hunks)


def pick(base: bytes, new: bytes, hunks: Sequence[TextHunk], chosen: Mapping[str, frozenset[int]]) -> bytes:
    """`base` with the chosen lines of the hunks between it and `new` carried out.

    An added line that is not chosen is left out, a deleted one that is not chosen stays. Where lines were replaced, the
    first new one belongs to the first old one, and so on.
    """
    old, fresh = _lines(base), _lines(new)
    result: list[bytes] = []
    at = 0
    for hunk in hunks:
        result += old[at : hunk.base_start]
        at, there = hunk.base_start, hunk.new_start
        taken = chosen.get(hunk.id, frozenset())
        kept: list[bytes | None] = []
        added: list[bytes | None] = []
        for number, line in enumerate(hunk.lines):
            match line[:1]:
                case b"+":
                    added.append(fresh[there] if number in taken else None)
                    there += 1
                case b"-":
                    kept.append(None if number in taken else old[at])
                    at += 1
                case b"\\":
                    pass
                case _:
                    result += _paired(kept, added)
                    result.append(old[at])
                    at, there = at + 1, there + 1
        result += _paired(kept, added)
    return _joined(result + old[at:])


def resolve_choices(hunks: Sequence[TextHunk], choices: Sequence[HunkChoice]) -> dict[str, frozenset[int]]:
    """The chosen lines of each hunk.

    Raises:
        Conflict: `stale_hunk`, an id is not there any more; the present hunks are in `fields`.
        InvalidInput: a line that is not there or does not change anything, or a hunk named twice.
    """
    known = {hunk.id: hunk for hunk in hunks}
    gone = [choice.id for choice in choices if choice.id not in known]
    if gone:
        raise Conflict(
            f"no such hunk in the change as it is now: {', '.join(gone[:5])}",
            code="stale_hunk",
            stale=gone,
            hunks=[hunk.shown.model_dump(mode="json") for hunk in hunks],
        )
    chosen: dict[str, frozenset[int]] = {}
    for choice in choices:
        changed = known[choice.id].changed
        lines = changed if choice.lines is None else frozenset(choice.lines)
        if choice.id in chosen:
            raise InvalidInput(f"hunk {choice.id} is named twice", code="hunk_twice", hunk=choice.id)
        if not lines or not lines <= changed:
            raise InvalidInput(
                f"lines of hunk {choice.id} that are neither added nor deleted: {sorted(lines - changed)[:5]}",
                code="no_such_line",
                hunk=choice.id,
            )
        chosen[choice.id] = lines
    return chosen


async def cut_apply(shadow: Shadow, difference: FileDifference, choices: Sequence[HunkChoice]) -> Parts:
    """Cut a change for applying: `chosen` is base → picked, `left` picked → new.

    Raises:
        Conflict, InvalidInput: as `resolve_choices`; the change has no hunks.
    """
    hunks, chosen = await _choose(shadow, difference, choices)
    if _is_all(hunks, chosen):
        return Parts(difference, None)
    base, new = await _texts(shadow, difference)
    blob = await shadow.write_blob(pick(base, new, hunks, chosen))
    # a deletion that is only begun leaves the file, and the last part takes the mode along
    mode = difference.base_mode or difference.new_mode
    done = {"new_blob": blob, "new_mode": mode}
    todo = {"base_blob": blob, "base_mode": mode, "old_path": None}
    return Parts(await _part(shadow, difference, done), await _part(shadow, difference, todo))


async def cut_reject(shadow: Shadow, difference: FileDifference, choices: Sequence[HunkChoice]) -> Parts:
    """Cut a change for rejecting: `chosen` is left → new, `left` base → left.

    Raises:
        Conflict, InvalidInput: as `resolve_choices`; the change has no hunks.
    """
    hunks, chosen = await _choose(shadow, difference, choices)
    if _is_all(hunks, chosen):
        return Parts(difference, None)
    base, new = await _texts(shadow, difference)
    kept = {hunk.id: hunk.changed - chosen.get(hunk.id, frozenset()) for hunk in hunks}
    blob = await shadow.write_blob(pick(base, new, hunks, kept))
    mode = difference.new_mode or difference.base_mode
    done = {"base_blob": blob, "base_mode": mode, "old_path": None}
    todo = {"new_blob": blob, "new_mode": mode}
    return Parts(await _part(shadow, difference, done), await _part(shadow, difference, todo))


async def has_change(shadow: Shadow, text: str | None, base: str | None, change: str) -> bool:
    """Whether a blob has what leads from `base` to `change` already: each line that it adds, none that it deletes."""
    wanted, made = await _changed(shadow, base, change), await _changed(shadow, base, text)
    undone = await _changed(shadow, change, text)
    return wanted.deleted <= made.deleted and not wanted.added & undone.deleted


async def _changed(shadow: Shadow, base: str | None, new: str | None) -> _Lines:
    deleted, added = set[int](), set[int]()
    for hunk in split_hunks(await _body(shadow, base, new), ""):
        at, there = hunk.base_start, hunk.new_start
        for line in hunk.lines:
            sign = line[:1]
            deleted |= {at} if sign == b"-" else set()
            added |= {there} if sign == b"+" else set()
            at += sign in (b"-", b" ")
            there += sign in (b"+", b" ")
    return _Lines(frozenset(deleted), frozenset(added))


async def _choose(
    shadow: Shadow, difference: FileDifference, choices: Sequence[HunkChoice]
) -> tuple[tuple[TextHunk, ...], dict[str, frozenset[int]]]:
    diff = await text_diff(shadow, difference)
    if not diff.hunks or _LINK in (difference.base_mode, difference.new_mode):
        kind = diff.omitted or "without text"
        raise InvalidInput(f"{difference.file_path} is {kind}: it is decided whole", code="no_hunks")
    return diff.hunks, resolve_choices(diff.hunks, choices)


def _is_all(hunks: Sequence[TextHunk], chosen: Mapping[str, frozenset[int]]) -> bool:
    return all(chosen.get(hunk.id) == hunk.changed for hunk in hunks)


async def _texts(shadow: Shadow, difference: FileDifference) -> tuple[bytes, bytes]:
    blobs = [blob for blob in (difference.base_blob, difference.new_blob) if blob]
    found = await shadow.read_blobs(blobs)
    return found.get(difference.base_blob or "", b""), found.get(difference.new_blob or "", b"")


async def _part(shadow: Shadow, difference: FileDifference, sides: Mapping[str, str | None]) -> FileDifference:
    part = difference.model_copy(update=sides)
    body = await _body(shadow, part.base_blob, part.new_blob)
    lines = [line[:1] for hunk in split_hunks(body, "") for line in hunk.lines]
    if part.base_blob is None:
        operation = "create"
    elif part.new_blob is None:
        operation = "delete"
    else:
        operation = "rename" if part.old_path else "edit"
    counts = {"added_lines": lines.count(b"+"), "deleted_lines": lines.count(b"-")}
    return part.model_copy(update={"operation": operation, **counts})


async def _body(shadow: Shadow, base: str | None, new: str | None) -> bytes:
    if base == new:
        return b""
    empty = _EMPTY_BLOBS[len(base or new or "")]
    options = ("--no-ext-diff", "--no-textconv", "--no-color", "--unified=3", "--text")
    output = await shadow.git("diff", *options, base or empty, new or empty)
    start = re.search(rb"^@@ ", output, re.MULTILINE)
    return output[start.start() :] if start else b""


async def _is_large(shadow: Shadow, difference: FileDifference) -> bool:
    blobs = [blob for blob in (difference.base_blob, difference.new_blob) if blob]
    question = "".join(f"{blob}\n" for blob in blobs).encode()
    sizes = await shadow.git("cat-file", "--batch-check=%(objectsize)", input=question)
    return any(int(size) > DIFF_LIMIT for size in sizes.split() if size.isdigit())


def _lines(text: bytes) -> list[bytes]:
    lines = [line + b"\n" for line in text.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _paired(kept: list[bytes | None], added: list[bytes | None]) -> list[bytes]:
    """What is left of a replaced piece, old and new in turns; both lists are empty afterwards."""
    pairs = itertools.zip_longest(kept, added)
    lines = [line for pair in pairs for line in pair if line is not None]
    kept.clear()
    added.clear()
    return lines


def _joined(lines: Sequence[bytes]) -> bytes:
    """A line that ended its text without a line end gets one where another now follows."""
    return b"".join(line if line.endswith(b"\n") else line + b"\n" for line in lines[:-1]) + b"".join(lines[-1:])


def _header(difference: FileDifference) -> str:
    old, new = difference.old_path or difference.file_path, difference.file_path
    base_mode, new_mode = difference.base_mode, difference.new_mode
    lines = [f"diff --git {_prefixed('a/', old)} {_prefixed('b/', new)}"]
    if base_mode is None:
        lines.append(f"new file mode {new_mode}")
    elif new_mode is None:
        lines.append(f"deleted file mode {base_mode}")
    elif base_mode != new_mode:
        lines += [f"old mode {base_mode}", f"new mode {new_mode}"]
    if old != new:
        lines += [f"rename from {old}", f"rename to {new}"]
    if difference.base_blob != difference.new_blob:
        zero = "0" * len(difference.base_blob or difference.new_blob or "")
        kept_mode = f" {new_mode}" if base_mode == new_mode else ""
        lines.append(f"index {difference.base_blob or zero}..{difference.new_blob or zero}{kept_mode}")
    if difference.is_binary:
        lines.append("Binary files differ")
    return "\n".join(lines) + "\n"


def _file_names(difference: FileDifference) -> str:
    base = _prefixed("a/", difference.old_path or difference.file_path) if difference.base_blob else "/dev/null"
    new = _prefixed("b/", difference.file_path) if difference.new_blob else "/dev/null"
    return f"--- {base}\n+++ {new}\n"


def _prefixed(prefix: str, name: str) -> str:
    return f'"{prefix}{name[1:]}' if name.startswith('"') else prefix + name
