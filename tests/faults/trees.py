"""Files and git's trees as plain dictionaries, read and changed without any of the code that is tested."""

import functools
import os
import shutil
import stat
import subprocess
import tempfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from coder.model.changes import FileDifference
from coder.worktrees.names import stored_name

PLAIN, EXECUTABLE, LINK = "100644", "100755", "120000"


@dataclass(frozen=True)
class File:
    """`mode` as git has it; of a link the content is its target."""

    mode: str
    content: bytes

    def holds(self, other: "File") -> bool:
        return (self.mode == LINK) == (other.mode == LINK) and self.content == other.content


Tree = dict[str, File]
Side = tuple[str, File] | None


class Unfit(Exception):
    """A move that a place does not allow."""


class Objects:
    """Git's loose objects, read from where they lie."""

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self._known: dict[str, bytes] = {}

    def read(self, id: str) -> bytes:
        """The content of an object; AssertionError where it is nowhere."""
        if id not in self._known:
            paths = [folder / id[:2] / id[2:] for folder in self._folders]
            found = [path for path in paths if path.exists()]
            assert found, f"object {id} is lost"
            self._known[id] = zlib.decompress(found[0].read_bytes()).partition(b"\0")[2]
        return self._known[id]

    def tree(self, id: str, prefix: str = "") -> Tree:
        """Every file of a tree."""
        found: Tree = {}
        rest = self.read(id)
        while rest:
            head, _, rest = rest.partition(b"\0")
            mode, _, name = head.partition(b" ")
            child, rest = rest[:20].hex(), rest[20:]
            path = prefix + os.fsdecode(name)
            if mode == b"40000":
                found |= self.tree(child, path + "/")
            else:
                found[path] = File(mode.decode(), self.read(child))
        return found

    def commit(self, id: str) -> tuple[list[str], Tree]:
        """A commit's parents and its files."""
        head = self.read(id).partition(b"\n\n")[0].decode(errors="replace")
        fields = [line.split(" ", 1) for line in head.split("\n")]
        (tree,) = [value for name, value in fields if name == "tree"]
        return [value for name, value in fields if name == "parent"], self.tree(tree)

    def sides(self, row: FileDifference) -> tuple[Side, Side]:
        """What a row says: before and after."""
        before = self._side(row.old_path or row.file_path, row.base_mode, row.base_blob)
        return before, self._side(row.file_path, row.new_mode, row.new_blob)

    def _side(self, path: str, mode: str | None, blob: str | None) -> Side:
        if blob is None or mode is None:
            assert (blob, mode) == (None, None)
            return None
        return stored_name(path), File(mode, self.read(blob))


def read_files(folder: Path) -> Tree:
    """Every file on the disk but git's own."""
    found: Tree = {}
    for path in folder.iterdir():
        if path.name != ".git":
            _read_below(path, path.name, found)
    return found


def _read_below(path: Path, name: str, found: Tree) -> None:
    state = path.lstat()
    if stat.S_ISLNK(state.st_mode):
        found[name] = File(LINK, os.fsencode(path.readlink()))
    elif stat.S_ISDIR(state.st_mode):
        for child in path.iterdir():
            _read_below(child, f"{name}/{child.name}", found)
    else:
        found[name] = File(EXECUTABLE if state.st_mode & 0o100 else PLAIN, path.read_bytes())


def put_file(folder: Path, path: str, file: File) -> None:
    """Make `path` this file, whatever is in its way."""
    target = folder
    for part in path.split("/"):
        if target.is_symlink() or target.is_file():
            target.unlink()
        target = target / part
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
    if file.mode == LINK:
        target.symlink_to(os.fsdecode(file.content))
    else:
        target.write_bytes(file.content)
        target.chmod(0o755 if file.mode == EXECUTABLE else 0o644)


def carry(place: Mapping[str, File], moves: Sequence[tuple[Side, Side]], *, is_disk: bool = False) -> Tree:
    """`place` with every move made, all at once and three-way; Unfit where one of them cannot be.

    On a disk nothing is looked for behind a link.
    """
    vacated = {before[0] for before, after in moves if before and (after is None or after[0] != before[0])}
    for path in {side[0] for move in moves for side in move if side} if is_disk else ():
        above = [parent for parent in parents(path) if parent in place and place[parent].mode == LINK]
        _require(not set(above) - vacated, path, "behind a link")
    removed: set[str] = set()
    written: Tree = {}
    for before, after in moves:
        if before is None and after is not None:
            there = place.get(after[0])
            if there is None or not there.holds(after[1]):
                _require(there is None or after[0] in vacated, after[0], "something else is there")
                written[after[0]] = after[1]
        elif before is not None and after is None:
            there = place.get(before[0])
            _require(there is None or there.holds(before[1]), before[0], "edited")
            removed.add(before[0])
        elif before is not None and after is not None:
            _change(place, before, after, vacated, removed, written)
    result = {path: file for path, file in place.items() if path not in removed} | written
    for path in result:
        _require(not any(parent in result for parent in parents(path)), path, "a file is where a folder has to be")
    return result


def chain(sets: Sequence[Sequence[tuple[Side, Side]]]) -> list[tuple[Side, Side]]:
    """Sets of moves that follow each other, as one set."""
    made: list[tuple[Side, Side]] = []
    for each in sets:
        made = _chained(made, each)
    return made


def _chained(first: Sequence[tuple[Side, Side]], then: Sequence[tuple[Side, Side]]) -> list[tuple[Side, Side]]:
    left = {after[0]: (before, after) for before, after in first if after}
    gone = {before[0]: (before, None) for before, after in first if before and not after and before[0] not in left}
    moves = list(first)
    for before, after in then:
        earlier = left.get(before[0]) if before else gone.get(after[0]) if after else None
        if earlier is None:
            moves.append((before, after))
            continue
        moves.remove(earlier)
        there = earlier[1]
        if before and after and there:
            after = (after[0], _changed(there[1], before[1], after[1], after[0]))
        moves.append((earlier[0], after))
    return [(before, after) for before, after in moves if before != after]


def _change(
    place: Mapping[str, File],
    before: tuple[str, File],
    after: tuple[str, File],
    vacated: set[str],
    removed: set[str],
    written: Tree,
) -> None:
    there, target = place.get(before[0]), place.get(after[0])
    if before[0] != after[0] and there is None and target is not None and target.holds(after[1]):
        return
    if there is None:
        raise Unfit(f"{before[0]}: gone")
    if before[0] != after[0]:
        _require(target is None or after[0] in vacated, after[0], "something else is at the new name")
        removed.add(before[0])
    written[after[0]] = _changed(there, before[1], after[1], after[0])


def _changed(there: File, before: File, after: File, path: str) -> File:
    is_link = LINK in (before.mode, after.mode)
    changes_kind = (before.mode == LINK) != (after.mode == LINK)
    mode = after.mode if before.mode != after.mode or is_link else there.mode
    if there.holds(after):
        return File(there.mode if changes_kind else mode, after.content)
    if there.holds(before):
        return File(mode, after.content)
    _require(there.mode != LINK and not is_link, path, "another kind of file")
    _require(not any(b"\0" in each.content for each in (there, before, after)), path, "not mergeable")
    return File(mode, merge(there.content, before.content, after.content))


@functools.lru_cache(maxsize=10_000)
def merge(current: bytes, base: bytes, change: bytes) -> bytes:
    """What git makes of three texts; Unfit where they conflict."""
    with tempfile.TemporaryDirectory() as name:
        for part, text in (("current", current), ("base", base), ("change", change)):
            Path(name, part).write_bytes(text)
        command = ["git", "merge-file", "-p", "-q", "--diff3", "current", "base", "change"]
        done = subprocess.run(command, cwd=name, capture_output=True)
    _require(done.returncode == 0, "text", "both sides changed the same lines")
    return done.stdout


def parents(path: str) -> Iterable[str]:
    """The folders above a path."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _require(condition: bool, path: str, reason: str) -> None:
    if not condition:
        raise Unfit(f"{path}: {reason}")
