"""Peers that `./dev bench` installs from `bench/peers`; where one could not be had, its rows are left out."""

import sys
from pathlib import Path


def find_peer(work: Path, name: str, *program: str) -> Path | None:
    """A program of an installed peer; None, and a line on standard error, where it is not there."""
    folder = work / "peers" / name
    if (folder / ".stamp").exists() and (found := folder.joinpath(*program)).exists():
        return found
    print(f"left out: {name} is not installed", file=sys.stderr)
    return None
