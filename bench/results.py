"""The results of a whole run as a page, with a drawing for each benchmark."""

import math
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from bench.rows import Row, as_table

WIDTH, LEFT, RIGHT, LINE = 860, 360, 110, 26
OURS, REFERENCE, TARGET, INK = "#2b6cb0", "#a0aec0", "#c05621", "#2d3748"


def write_results(rows: Sequence[Row], folder: Path, load: float) -> None:
    """Write `RESULTS.md` and `plots/*.svg` below `folder`; `load` is the machine's before the run began."""
    plots = folder / "plots"
    plots.mkdir(exist_ok=True)
    names = list(dict.fromkeys(row.name for row in rows))
    parts = [
        "# Results",
        "",
        f"Taken with `./dev bench all --write` on {datetime.now(UTC):%d %B %Y}: {_machine()}, load {load:.1f} before.",
        "Each reference was measured in the same run. `README.md` says what each benchmark does.",
    ]
    for name in names:
        of_name = [row for row in rows if row.name == name]
        (plots / f"{name}.svg").write_text(draw(name, of_name))
        parts += ["", f"## {name}", "", f"![{name}](plots/{name}.svg)", "", as_table(of_name)]
    (folder / "RESULTS.md").write_text("\n".join(parts) + "\n")


def draw(name: str, rows: Sequence[Row]) -> str:
    """Bars on a logarithmic axis: ours, the reference below it, and a mark where the target lies."""
    values = [value for row in rows for value in (row.ours, row.reference, _limit(row)) if value]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)) + 0.01)

    def at(value: float) -> float:
        # a logarithm knows no zero: nothing, or less, is drawn as the least that is shown
        return LEFT + (math.log10(max(value, 10.0**low)) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    height = 2 * LINE + len(rows) * 2 * LINE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"',
        ' font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        *(_gridline(at(10.0**power), power, height) for power in range(low, high + 1)),
        f"<title>{escape(name)}</title>",
    ]
    for index, row in enumerate(rows):
        top = LINE + index * 2 * LINE
        words = f"{row.metric} ({row.unit})"
        parts.append(f'<text x="{LEFT - 8}" y="{top + 14}" text-anchor="end" fill="{INK}">{escape(words)}</text>')
        parts.append(_bar(at(row.ours), top, OURS, f"{row.ours:.4g}"))
        if row.reference:
            parts.append(_bar(at(row.reference), top + 18, REFERENCE, f"{row.reference:.4g} {row.reference_name}"))
        if limit := _limit(row):
            x = at(limit)
            parts.append(f'<path d="M{x:.1f} {top - 2}v22" stroke="{TARGET}" stroke-width="2"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _limit(row: Row) -> float | None:
    """The value of ours that just meets the target."""
    if row.target is None:
        return None
    return row.target * row.reference if row.reference else row.target


def _bar(end: float, top: int, colour: str, words: str) -> str:
    return (
        f'<rect x="{LEFT}" y="{top}" width="{max(1.0, end - LEFT):.1f}" height="16" fill="{colour}"/>'
        f'<text x="{max(end, LEFT) + 5:.1f}" y="{top + 13}" fill="{INK}">{escape(words)}</text>'
    )


def _gridline(x: float, power: int, height: int) -> str:
    return (
        f'<path d="M{x:.1f} {LINE - 8}V{height - LINE}" stroke="#edf2f7"/>'
        f'<text x="{x:.1f}" y="{height - 8}" text-anchor="middle" fill="{INK}">{10.0**power:g}</text>'
    )


def _machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    git = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    return f"{os.cpu_count()} cores ({model}), Python {platform.python_version()}, git {git}"
