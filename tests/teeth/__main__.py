"""Take away one defence at a time, in a copy of the tree, and see that the tests notice: `python -m tests.teeth`.

First the named tests must pass in the copy as it is. Exit status 1 where one does not, or a defence is not missed.
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

from tests.teeth.defences import DEFENCES, Defence

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- teeth -->", "<!-- end of teeth -->"
LIMIT = 300.0
FAILED = 1
"""What pytest ends with when tests ran and some failed; an error of its own is another number."""


@dataclass(frozen=True)
class Finding:
    """What came of one defence: the test that failed first, or None where none did."""

    defence: Defence
    status: int
    noticed_by: str | None
    seconds: float

    @property
    def is_missed(self) -> bool:
        return self.status == FAILED and self.noticed_by is not None


class Copy:
    """A copy of the tree as it is, but for what git ignores, with the same packages and pane."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        names = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout
        for name in names.decode().split("\0"):
            source, target = ROOT / name, folder / name
            if name and source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        for name in ("coder/ui", ".cache"):
            if (ROOT / name).exists():
                (folder / name).symlink_to(ROOT / name)

    async def test(self, tests: Sequence[str]) -> tuple[int, str]:
        """Run tests to the first failure; pytest's exit status and what it printed."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-rf", "--tb=no", "-p", "no:cacheprovider", *tests]
        environment = {**os.environ, "PYTHONPATH": str(self._folder), "PYTHONDONTWRITEBYTECODE": "1"}
        with anyio.move_on_after(LIMIT):
            done = await anyio.run_process(
                command, check=False, cwd=self._folder, env=environment, stderr=subprocess.STDOUT
            )
            return done.returncode, done.stdout.decode(errors="replace")
        return FAILED, f"FAILED {tests[0]} (no end within {LIMIT:g} s)"

    async def without(self, defence: Defence) -> Finding:
        """Run the tests of a defence while it is not there."""
        file = self._folder / defence.file
        whole = file.read_text()
        begun = time.monotonic()
        file.write_text(taken_away(whole, defence))
        try:
            status, said = await self.test(defence.tests)
        finally:
            file.write_text(whole)
        failed = [line.split(" ")[1] for line in said.splitlines() if line.startswith("FAILED ")]
        return Finding(defence, status, failed[0] if failed else None, time.monotonic() - begun)


def taken_away(text: str, defence: Defence) -> str:
    """The file without the defence.

    Raises:
        ValueError: it does not stand there exactly once.
    """
    if text.count(defence.before) != 1:
        raise ValueError(f"{defence.name}: stands {text.count(defence.before)} times in {defence.file}")
    return text.replace(defence.before, defence.after)


def table(findings: Sequence[Finding]) -> str:
    """The findings as the page shows them."""
    missed = sum(finding.is_missed for finding in findings)
    lines = [
        f"{missed} of {len(findings)} defences are missed by a test when they are gone.",
        "",
        "| taken away | noticed by |",
        "|---|---|",
    ]
    for finding in findings:
        name = (finding.noticed_by or "").rpartition("::")[2].partition("[")[0]
        lines.append(f"| {finding.defence.what} | {f'`{name}`' if finding.is_missed else '**nobody**'} |")
    return "\n".join(lines)


def write_page(findings: Sequence[Finding]) -> None:
    """Put the table in its place in docs/reliability.md."""
    head, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text(f"{head}{BEGIN}\n\n{table(findings)}\n\n{END}{tail}")


async def run(chosen: Sequence[Defence]) -> list[Finding]:
    """All findings, printed as they come.

    Raises:
        SystemExit: the tests fail with every defence in its place.
    """
    with tempfile.TemporaryDirectory(prefix="teeth-") as folder:
        copy = Copy(Path(folder))
        tests = sorted({test for defence in chosen for test in defence.tests})
        print(f"{len(chosen)} defences, {len(tests)} tests; first all of them in their place", flush=True)
        status, said = await copy.test(tests)
        if status != 0:
            raise SystemExit(f"the tests fail as they are ({status}):\n{said[-4000:]}")
        findings: list[Finding] = []
        for defence in chosen:
            finding = await copy.without(defence)
            findings.append(finding)
            verdict = f"noticed by {finding.noticed_by}" if finding.is_missed else f"NOT NOTICED ({finding.status})"
            print(f"{finding.seconds:5.1f} s  {defence.name}: {verdict}", flush=True)
        return findings


def main() -> int:
    parser = argparse.ArgumentParser(prog="teeth", description="Take away one defence at a time; tests must notice.")
    parser.add_argument("names", nargs="*", help="only these defences")
    parser.add_argument("--write", action="store_true", help="put the result into docs/reliability.md")
    arguments = parser.parse_args()
    chosen = [one for one in DEFENCES if not arguments.names or one.name in arguments.names]
    findings = asyncio.run(run(chosen))
    print(table(findings))
    if arguments.write and not arguments.names:
        write_page(findings)
    return 0 if findings and all(finding.is_missed for finding in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
