"""`python -m bench NAME [--json]`: run one benchmark, or `all`, and print a row per figure."""

import argparse
import os
import sys
import time
import traceback
from pathlib import Path

import anyio

from bench import changes, dispatch, fairness, memory, opening, pane, queues, relay, scale, spawn, storage, warm
from bench.native_programs import compile_programs
from bench.results import write_results
from bench.rows import Row, as_json, as_table

BENCHES = {
    "relay": relay.measure,
    "warm": warm.measure,
    "dispatch": dispatch.measure,
    "queues": queues.measure,
    "changes": changes.measure,
    "opening": opening.measure,
    "scale": scale.measure,
    "fairness": fairness.measure,
    "memory": memory.measure,
    "spawn": spawn.measure,
    "pane": pane.measure,
    "storage": storage.measure,
}
WORK = Path(__file__).resolve().parents[1] / ".cache" / "bench"


async def measure(names: list[str]) -> tuple[list[Row], list[str]]:
    """Run these benchmarks; the rows, and which of them failed. Standard error tells why, and how long each took."""
    programs = compile_programs(WORK)
    rows: list[Row] = []
    failed: list[str] = []
    for name in names:
        begun = time.monotonic()
        try:
            rows += await BENCHES[name](programs, WORK)
        except* (SystemExit, Exception) as group:
            traceback.print_exception(group)
            failed.append(name)
        print(f"» {name}: {time.monotonic() - begun:.0f} s", file=sys.stderr)
    return rows, failed


def main() -> None:
    """Print JSON lines with --json, else a table."""
    options = argparse.ArgumentParser(prog="./dev bench", description="Benchmarks: ratios beside a reference.")
    options.add_argument("name", choices=[*BENCHES, "all"])
    options.add_argument("--json", action="store_true", help="one JSON object a line")
    options.add_argument(
        "--write", action="store_true", help="write bench/RESULTS.md with a drawing for each benchmark"
    )
    chosen = options.parse_args()
    load = os.getloadavg()[0]
    rows, failed = anyio.run(measure, list(BENCHES) if chosen.name == "all" else [chosen.name])
    if chosen.write:
        write_results(rows, Path(__file__).parent, load)
    print(as_json(rows) if chosen.json else as_table(rows))
    if failed:
        raise SystemExit(f"wrong results, or none: {', '.join(failed)}")


if __name__ == "__main__":
    main()
