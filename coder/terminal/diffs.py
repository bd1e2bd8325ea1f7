"""Changes as a terminal shows them: diffs, hunks with their ids, counts. Colours are dropped where nobody sees them."""

from collections.abc import Sequence

import typer

from coder.model.changes import Change, ChangeDetail, FileDifference, Hunk
from coder.terminal.text import visible, visible_line

_LINK = "120000"
_GRAPH = 40
"""Signs in the longest bar of counts."""


def is_cut(change: ChangeDetail) -> bool:
    """Whether hunks of it can be decided; anything else is decided whole."""
    return bool(change.hunks) and _LINK not in (change.base_mode, change.new_mode)


def name_text(difference: FileDifference) -> str:
    """The file, with its old name where it was renamed."""
    names = (difference.old_path, difference.file_path) if difference.old_path else (difference.file_path,)
    return " => ".join(visible_line(name) for name in names)


def counts_text(difference: FileDifference) -> str:
    """What happened to the file, with the lines that came and went."""
    return f"{difference.operation} +{difference.added_lines} -{difference.deleted_lines}"


def diff_text(change: ChangeDetail, *, with_ids: bool = False) -> str:
    """A unified diff; with ids, each hunk under its id with its lines numbered."""
    lines = [head_text(change)]
    for hunk in change.hunks:
        if with_ids and is_cut(change):
            lines.append(typer.style(f"hunk {hunk.id}", fg=typer.colors.YELLOW))
        lines.append(hunk_text(hunk, is_numbered=with_ids and is_cut(change)))
    return "\n".join(lines)


def head_text(change: ChangeDetail) -> str:
    """What stands above a change's hunks, after what there is to know about it."""
    notes = [f"# rejected at the end of the turn: {queued.decision_id}" for queued in change.queued]
    notes += ["# looks like a secret: never applied by itself"] if change.is_secret else []
    notes += ["# too large to show"] if change.omitted == "large" else []
    head = f"\n{change.diff}".partition("\n@@ ")[0].strip("\n").split("\n")
    shown = [typer.style(visible(note), fg=typer.colors.MAGENTA) for note in notes]
    return "\n".join([*shown, *(typer.style(visible(line), bold=True) for line in head)])


def hunk_text(hunk: Hunk, *, is_numbered: bool = False) -> str:
    """A hunk; its lines numbered as decisions about single lines name them."""
    width = len(str(len(hunk.lines)))
    numbers = [f"{number:>{width}} " if is_numbered else "" for number in range(len(hunk.lines))]
    lines = [number + _coloured(line) for number, line in zip(numbers, hunk.lines, strict=True)]
    return "\n".join([typer.style(visible(hunk.header), fg=typer.colors.CYAN), *lines])


def stat_text(changes: Sequence[Change]) -> str:
    """A line of counts for each file, and their sum."""
    names = [name_text(change) for change in changes]
    most = max(change.added_lines + change.deleted_lines for change in changes)
    scale = min(1.0, _GRAPH / most) if most else 1.0
    width, digits = max(map(len, names)), len(str(most))
    lines = [
        f" {name:<{width}} | {_count(change, digits)} {_bar(change, scale)}".rstrip()
        for name, change in zip(names, changes, strict=True)
    ]
    added, deleted = sum(each.added_lines for each in changes), sum(each.deleted_lines for each in changes)
    files = "1 file" if len(changes) == 1 else f"{len(changes)} files"
    return "\n".join([*lines, f" {files}, {added} lines added, {deleted} deleted"])


def _count(change: Change, digits: int) -> str:
    return "binary" if change.is_binary else f"{change.added_lines + change.deleted_lines:>{digits}}"


def _bar(change: Change, scale: float) -> str:
    added, deleted = (
        "" if not count else sign * max(1, round(count * scale))
        for sign, count in (("+", change.added_lines), ("-", change.deleted_lines))
    )
    bars = ((added, typer.colors.GREEN), (deleted, typer.colors.RED))
    return "".join(typer.style(bar, fg=colour) for bar, colour in bars if bar)


def _coloured(line: str) -> str:
    colours = {"+": typer.colors.GREEN, "-": typer.colors.RED}
    return typer.style(visible(line), fg=colours.get(line[:1]))
