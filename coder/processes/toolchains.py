"""Where programs come from: the folders that must be readable for what is on the PATH, and one program, to run."""

import os
from collections.abc import Iterator
from pathlib import Path

_PROGRAMS = ("bin", "sbin", "shims", ".bin")
_MORE = (
    ".rustup",
    ".local/lib",
    ".local/pipx/venvs",
    ".local/share/uv",
    ".local/share/pipx",
    ".local/share/mise",
    ".local/share/pnpm",
    ".local/share/fnm",
    ".nix-profile",
    ".gitconfig",
    ".config/git",
)
"""Of a home, what PATH does not show: what its programs are links to, and who a commit is by."""
_NOT_WHOLE = (".local", ".cargo")
"""Folders of a home whose `bin` is for all, and the rest of which is not."""


def toolchains(program: str, path: str | None, home: Path) -> tuple[Path, ...]:
    """Folders outside of the system that programs live in. Blocks."""
    found = [_root(Path(folder), home) for folder in (path or "").split(os.pathsep)]
    found += [_package(each, home) for each in _chain(Path(program))]
    found += [home / each for each in _MORE]
    return tuple(dict.fromkeys(each for each in found if each is not None and each.exists()))


def _root(folder: Path, home: Path) -> Path | None:
    """The folder of programs with what they need beside it, where that is not somebody's everything."""
    if not folder.is_absolute() or home.is_relative_to(folder):
        return None
    above = folder.parent
    is_whole = folder.name in _PROGRAMS and above not in [home / name for name in _NOT_WHOLE]
    return above if is_whole and not home.is_relative_to(above) else folder


def _package(program: Path, home: Path) -> Path | None:
    """What a program was installed as: the outermost `node_modules` it is in, or its folder."""
    for folder in reversed(program.parents):
        if folder.name == "node_modules":
            return folder
    return _root(program.parent, home)


def _chain(program: Path) -> Iterator[Path]:
    """The program by its name, by where it really is, and the interpreter that its first line names."""
    for _ in range(3):
        real = Path(os.path.realpath(program))
        yield from (program, real)
        interpreter = _interpreter(real)
        if interpreter is None:
            return
        program = interpreter


def _interpreter(program: Path) -> Path | None:
    try:
        with program.open("rb") as file:
            line = file.readline(512)
    except OSError:
        return None
    words = line[2:].split() if line.startswith(b"#!") else []
    found = Path(os.fsdecode(words[0])) if words else None
    return found if found and found.is_absolute() else None
