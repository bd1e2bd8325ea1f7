"""`./dev compat [--only AGENT]... [--json]`: run real agents through the host and write `docs/compatibility.md`.

With --only or --json the page is left alone and what was found is printed.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path

import anyio

from coder.testing.compatibility import COLUMNS, Cell, Row, examine
from coder.testing.real_agents import ALL_NAMES, AgentMissing

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "compatibility.md"
WORK = ROOT / ".cache" / "compat"
BEGIN, END = "<!-- begin: written by ./dev compat -->", "<!-- end -->"


async def measure(names: Sequence[str]) -> tuple[list[Row], list[str]]:
    """A row per agent that is installed, and the names of the others. Each agent runs in a folder of its own."""
    WORK.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    missing: list[str] = []
    for name in names:
        print(f"» {name}", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=WORK, ignore_cleanup_errors=True) as folder:
            try:
                rows.append(await examine(name, Path(folder)))
            except AgentMissing as error:
                print(f"left out: {error}", file=sys.stderr)
                missing.append(name)
    return rows, missing


def as_page(page: str, table: str) -> str:
    """The page with this table between its marks; what stands around them stays."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}"


def as_text(rows: Sequence[Row], missing: Sequence[str], day: date) -> str:
    """The table, the footnotes of its cells, and what the agents offer; sorted by name."""
    rows = sorted(rows, key=lambda row: row.agent)
    footnotes: list[str] = []
    lines = [f"Taken on {day.isoformat()}.", "", *_head()]
    for row in rows:
        cells = [_shown(row.cells[key], footnotes) for key in COLUMNS]
        lines.append(f"| {' | '.join([f'`{row.agent}`', row.version, *cells])} |")
    lines += ["", *(f"[^{number}]: {text.rstrip('.')}." for number, text in enumerate(footnotes, 1)), ""]
    lines += [_described(row) for row in rows]
    if missing:
        lines += ["", f"Not to be had where the table was made: {', '.join(sorted(missing))}."]
    return "\n".join(lines)


def _head() -> list[str]:
    titles = ["agent", "version", *COLUMNS.values()]
    return [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]


def _shown(cell: Cell, footnotes: list[str]) -> str:
    if not cell.note or cell.verdict == "yes":
        return cell.verdict
    if cell.note not in footnotes:
        footnotes.append(cell.note)
    return f"{cell.verdict}[^{footnotes.index(cell.note) + 1}]"


def _described(row: Row) -> str:
    offered = [f"{COLUMNS[key]}: {cell.note}" for key, cell in row.cells.items() if cell.verdict == "yes" and cell.note]
    words = "; ".join([*([row.note] if row.note else []), *offered])
    return f"- `{row.agent}`: {row.label}, package `{row.package}`{'. ' + words if words else ''}."


def main() -> None:
    """Run what is asked for; print JSON or the table, or write the page."""
    options = argparse.ArgumentParser(prog="./dev compat", description="What works with agents that others have made.")
    options.add_argument("--only", action="append", choices=ALL_NAMES, help="this agent; may be given several times")
    options.add_argument("--json", action="store_true", help="print one JSON object a row")
    chosen = options.parse_args()
    rows, missing = anyio.run(measure, chosen.only or ALL_NAMES)
    text = as_text(rows, missing, datetime.now(UTC).date())
    if chosen.json:
        print("\n".join(json.dumps(asdict(row), ensure_ascii=False) for row in rows))
    elif chosen.only:
        print(text)
    else:
        PAGE.write_text(as_page(PAGE.read_text(), text))


if __name__ == "__main__":
    main()
