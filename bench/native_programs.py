"""The small C programs beside the host: an agent, viewers, and the relay that is the limit."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parent / "native"


@dataclass(frozen=True)
class Programs:
    agent: Path
    relay: Path
    viewers: Path


def compile_programs(folder: Path) -> Programs:
    """Compile what is not compiled yet or older than its source.

    Raises:
        SystemExit: there is no C compiler.
    """
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise SystemExit("this benchmark needs a C compiler: apt-get install gcc libc6-dev")
    folder.mkdir(parents=True, exist_ok=True)
    for source in SOURCES.glob("*.c"):
        program = folder / source.stem
        if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
            subprocess.run([compiler, "-O2", "-o", program, source], check=True)
    return Programs(folder / "agent", folder / "relay", folder / "viewers")
