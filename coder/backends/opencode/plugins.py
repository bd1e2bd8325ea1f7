"""Code that a repository would have the server run: found before the server goes there.

Files in `.opencode/plugin` and whatever the repository's `opencode.json` names as plugins run inside the server at the
first turn, whatever switches are set.
"""

import re
from pathlib import Path

_FOLDERS = ("plugin", "plugins")
_SUFFIXES = (".js", ".ts")
_CONFIGS = ("opencode.json", "opencode.jsonc", ".opencode/opencode.json", ".opencode/opencode.jsonc")
_NAMED = re.compile(r"[\"'](?:plugins?|\\u)")
"""A key that names plugins, or one that is written in a way that could hide it."""


def find_plugins(worktree: Path) -> tuple[str, ...]:
    """What would be run, as paths in the worktree. Blocks."""
    files = [
        str(path.relative_to(worktree))
        for folder in _FOLDERS
        for path in sorted((worktree / ".opencode" / folder).glob("*"))
        if path.suffix in _SUFFIXES
    ]
    return (*files, *(name for name in _CONFIGS if _names_plugins(worktree / name)))


def _names_plugins(path: Path) -> bool:
    try:
        return bool(_NAMED.search(path.read_text(errors="replace")))
    except FileNotFoundError:
        return False
    except OSError:
        return True  # what cannot be read here may be readable there
