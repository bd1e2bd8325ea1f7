"""A refused decision as a terminal shows it: the places where both sides changed the same."""

from collections.abc import Iterator, Mapping
from typing import cast

from coder.terminal.text import visible, visible_line

SHOWN_LINES = 200
"""So many lines of all files are shown; the API has the whole of both sides."""


def conflicts_text(fields: Mapping[str, object]) -> str:
    """Each file that does not fit, with the lines between its markers."""
    conflicts = fields.get("conflicts")
    found = cast(list[Mapping[str, object]], conflicts) if isinstance(conflicts, list) else []
    lines = [line for conflict in found for line in _lines_of(conflict)]
    more = [f"… {len(lines) - SHOWN_LINES} lines more"] if len(lines) > SHOWN_LINES else []
    return "\n".join([*lines[:SHOWN_LINES], *more])


def _lines_of(conflict: Mapping[str, object]) -> Iterator[str]:
    yield visible_line(f"conflict in {conflict.get('file_path')}: {conflict.get('reason') or 'both sides changed it'}")
    merged = conflict.get("merged")
    is_inside = False
    for number, line in enumerate(merged.splitlines() if isinstance(merged, str) else (), 1):
        is_inside = is_inside or line.startswith("<<<<<<<")
        if is_inside:
            yield f"{number:>6} {visible(line)}"
        is_inside = is_inside and not line.startswith(">>>>>>>")
