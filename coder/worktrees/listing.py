"""The files of a worktree by name: what git knows or would take in, never `.git`, never what is ignored."""

import os
import re
from collections.abc import Iterable

from coder.errors import NotFound
from coder.model.files import Folder, FolderEntry, Kind
from coder.worktrees.git import run_in_thread
from coder.worktrees.names import shown_name, stored_name
from coder.worktrees.paths import open_root
from coder.worktrees.shadow import Shadow


async def find_files(shadow: Shadow, query: str, limit: int) -> list[str]:
    """The names that hold the letters of `query` in their order, the best first; without a query the nearest ones."""
    listed = await shadow.git("ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate", "-z")
    return await run_in_thread(lambda: _existing(shadow, _ranked(query, listed.split(b"\0")), limit))


async def list_folder(shadow: Shadow, path: str, limit: int) -> Folder:
    """What is directly in a folder by name, folders first; the root's path is empty.

    Raises:
        NotFound: there is nothing of that name. PathEscape: it leads out of the worktree.
    """
    place = stored_name(path)
    if path and await run_in_thread(lambda: _stamp(shadow, place)) is None:
        raise NotFound(f"no such folder: {path}", path=path)
    under = ("--", f"{place}/") if path else ()
    command = ("ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate", "-z")
    listed = await shadow.git("--literal-pathspecs", *command, *under)
    prefix = os.fsencode(f"{place}/") if path else b""

    def collect() -> Folder:
        kinds = _children(listed.split(b"\0"), prefix)
        with open_root(shadow.worktree) as root:
            there = [name for name in kinds if root.stamp(os.fsdecode(prefix + name)) is not None]
        names = sorted(there, key=lambda name: (kinds[name] == "file", name.lower()))
        entries = [
            FolderEntry(path=shown_name(prefix + name), name=shown_name(name), kind=kinds[name])
            for name in names[:limit]
        ]
        return Folder(path=path, entries=tuple(entries), more=len(names) - len(entries))

    return await run_in_thread(collect)


def _stamp(shadow: Shadow, place: str) -> tuple[int, ...] | None:
    with open_root(shadow.worktree) as root:
        return root.stamp(place)


def _children(names: Iterable[bytes], prefix: bytes) -> dict[bytes, Kind]:
    kinds: dict[bytes, Kind] = {}
    for full in names:
        name, slash, rest = full.removeprefix(prefix).partition(b"/")
        # a nested repository ends with a slash and is not entered
        if full.startswith(prefix) and name and (rest or not slash):
            kinds[name] = "folder" if rest else "file"
    return kinds


def _ranked(query: str, names: Iterable[bytes]) -> list[str]:
    letters = "".join(query.lower().split())
    pattern = re.compile(".*?".join(map(re.escape, letters)), re.DOTALL)
    found: list[tuple[tuple[int, int, int, str], str]] = []
    for name in names:
        if not name or name.endswith(b"/"):
            continue  # a nested repository, which is not entered
        path = shown_name(name)
        low = path.lower()
        match = pattern.search(low)
        if match is not None:
            found.append((_rank(letters, low, match), path))
    return [path for _, path in sorted(found)]


def _rank(letters: str, low: str, match: re.Match[str]) -> tuple[int, int, int, str]:
    if not letters:
        return (low.count("/"), 0, 0, low)
    base = low.rpartition("/")[2]
    if base.startswith(letters):
        kind = 0
    elif letters in base:
        kind = 1
    elif letters in low:
        kind = 2
    else:
        kind = 3
    return (kind, match.end() - match.start() if kind == 3 else 0, len(low), low)


def _existing(shadow: Shadow, paths: Iterable[str], limit: int) -> list[str]:
    """The first ones that are still there: the index may know more than the folder holds."""
    existing: list[str] = []
    with open_root(shadow.worktree) as root:
        for path in paths:
            if len(existing) == limit:
                break
            if root.stamp(stored_name(path)) is not None:
                existing.append(path)
    return existing
