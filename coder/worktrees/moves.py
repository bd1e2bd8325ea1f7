"""What a decision does to a file: from one side to the other, in a tree or, by `checkout`, on the disk."""

import os
import tempfile
from collections.abc import Collection, Iterable, KeysView, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

from coder.errors import GitError, MergeConflict
from coder.model.changes import FileDifference
from coder.model.values import Json
from coder.worktrees.names import stored_name
from coder.worktrees.shadow import Shadow

MERGE_LIMIT = 8 * 1024 * 1024
"""Bytes of the largest text that is merged; larger files are taken or refused whole."""

LINK = "120000"
EXECUTABLE = "100755"
PLAIN = "100644"
_NAMED_PATHS = 200
"""More files than this are looked up by listing the whole tree."""


@dataclass(frozen=True)
class Side:
    """A file as one of the trees has it."""

    path: str
    mode: str
    blob: str

    @property
    def is_link(self) -> bool:
        return self.mode == LINK


@dataclass(frozen=True)
class Move:
    """What a change does to a checkout: `before` becomes `after`; None is no file."""

    file_path: str
    before: Side | None
    after: Side | None

    @classmethod
    def forward(cls, difference: FileDifference) -> Self:
        """From the base to the new side."""
        base = _side(difference.old_path or difference.file_path, difference.base_mode, difference.base_blob)
        new = _side(difference.file_path, difference.new_mode, difference.new_blob)
        return cls(difference.file_path, base, new)

    @classmethod
    def backward(cls, difference: FileDifference) -> Self:
        """From the new side to the base."""
        move = cls.forward(difference)
        return cls(move.file_path, move.after, move.before)

    @property
    def blobs(self) -> tuple[str, ...]:
        return tuple(side.blob for side in (self.before, self.after) if side)

    @property
    def vacated(self) -> str | None:
        """The path where the move leaves nothing behind."""
        return self.before.path if self.before and (not self.after or self.after.path != self.before.path) else None


async def merge_text(shadow: Shadow, current: bytes, base: bytes, change: bytes) -> tuple[bytes, bool]:
    """Three texts merged, and whether that went without conflict: otherwise the text holds git's markers."""
    with tempfile.TemporaryDirectory(prefix="coder-merge-") as name:
        folder = Path(name)
        for part, text in (("yours", current), ("base", base), ("change", change)):
            (folder / part).write_bytes(text)
        options = ("merge-file", "--stdout", "--quiet", "--diff3", "yours", "base", "change")
        try:
            return await shadow.git(*options, cwd=folder), True
        except GitError as error:
            # the status counts the conflicts
            if not 0 < int(str(error.fields.get("status", 255))) <= 127:
                raise
            return await shadow.git(*options, cwd=folder, accepted=range(1, 128)), False


async def move_in_tree(shadow: Shadow, tree: str, moves: Sequence[Move]) -> str:
    """`tree` with `moves` carried out; a file that is on neither side of its move is merged.

    Raises:
        MergeConflict: some file does not fit.
    """
    paths = {side.path for move in moves for side in (move.before, move.after) if side}
    found = _Tree(shadow, await _entries(shadow, tree, paths), moves)
    wanted: dict[str, Side | None] = {}
    for move in moves:
        for path, side in (await found.after(move)).items():
            # what one move leaves, another may fill
            if side is not None or path not in wanted:
                wanted[path] = side
    _refuse_nested(moves, wanted)
    made = await replace_in_tree(shadow, tree, wanted)
    if wanted.keys() - found.paths:
        await _refuse_replaced(shadow, tree, made, moves, wanted)
    return made


async def chain_moves(shadow: Shadow, sets: Sequence[Sequence[Move]]) -> list[Move]:
    """One set that does what these do one after another; what is in one set is done at once.

    Raises:
        MergeConflict: a move does not fit what an earlier one leaves.
    """
    moves: list[Move] = []
    for each in sets:
        moves = await _chained(shadow, moves, each)
    return moves


async def replace_in_tree(shadow: Shadow, tree: str, wanted: Mapping[str, Side | None]) -> str:
    """`tree` with these paths as they are given; None is no file."""
    if not wanted:
        return tree
    index = shadow.git_dir / f"index.{os.urandom(8).hex()}"
    entries = b"".join(_index_entries(wanted, len(tree)))
    try:
        await shadow.git("read-tree", tree, index=index)
        await shadow.git("update-index", "--replace", "-z", "--index-info", index=index, input=entries)
        return (await shadow.git("write-tree", index=index)).decode().strip()
    finally:
        index.unlink(missing_ok=True)


def is_mergeable(content: bytes) -> bool:
    """Whether three-way merging by lines makes sense."""
    return len(content) <= MERGE_LIMIT and b"\0" not in content[:8000]


class _Tree:
    """The files of a tree that moves are about."""

    def __init__(self, shadow: Shadow, present: Mapping[str, Side], moves: Sequence[Move]) -> None:
        self._shadow = shadow
        self._present = present
        self._vacated = {move.vacated for move in moves}

    @property
    def paths(self) -> KeysView[str]:
        return self._present.keys()

    async def after(self, move: Move) -> dict[str, Side | None]:
        """What the move makes of its paths; nothing where it has been made already."""
        before, after = move.before, move.after
        there = self._present.get(before.path) if before else None
        if before is not None and there is None and (after is None or self._present.get(after.path) == after):
            return {}
        if after is None:
            # as on the disk, the executable bit alone does not keep a file
            if before and there and (there.blob, there.is_link) != (before.blob, before.is_link):
                raise _conflict(move, "the file was changed")
            return {before.path: None} if before else {}
        left: dict[str, Side | None] = {} if move.vacated is None else {move.vacated: None}
        return left | {after.path: await self._side_after(move, after, there)}

    async def _side_after(self, move: Move, after: Side, there: Side | None) -> Side:
        before = move.before
        if before is None or before.path != after.path:
            target = self._present.get(after.path)
            if target is not None and target != after and after.path not in self._vacated:
                raise _conflict(move, "something else is there already")
        if before is None or there == before:
            return after
        if there is None:
            raise _conflict(move, "the file is gone")
        mode = after.mode if after.mode != before.mode else there.mode
        if there.blob in (before.blob, after.blob):
            return Side(after.path, mode, after.blob)
        texts = await self._shadow.read_blobs((there.blob, before.blob, after.blob))
        if LINK in (there.mode, before.mode, after.mode) or not all(is_mergeable(text) for text in texts.values()):
            raise _conflict(move, "both sides changed a file that cannot be merged")
        merged, is_clean = await merge_text(self._shadow, texts[there.blob], texts[before.blob], texts[after.blob])
        if not is_clean:
            raise _conflict(move, "both sides changed the same lines")
        return Side(after.path, mode, await self._shadow.write_blob(merged))


async def _chained(shadow: Shadow, first: Sequence[Move], then: Sequence[Move]) -> list[Move]:
    filled = {move.after.path: move for move in first if move.after}
    removed = {move.vacated: move for move in first if not move.after and move.vacated not in filled}
    emptied = {move.vacated for move in first}
    present = {move.before.path: move.before for move in then if move.before and move.before.path not in emptied}
    files = _Tree(shadow, present | {path: move.after for path, move in filled.items() if move.after}, then)
    moves = list(first)
    for move in then:
        sides = await files.after(move)
        place = move.before or move.after
        if place is None or not sides or (not move.before and filled.get(place.path)):
            # the earlier ones have left it so already
            continue
        earlier = (filled if move.before else removed).get(place.path)
        if earlier:
            moves.remove(earlier)
        after = sides[move.after.path] if move.after else None
        moves.append(Move(move.file_path, earlier.before if earlier else move.before, after))
    return [move for move in moves if move.before != move.after]


def _refuse_nested(moves: Sequence[Move], wanted: Mapping[str, Side | None]) -> None:
    """A file cannot stand below another: part of a folder stays where the whole of a file is wanted in its place."""
    for move in moves:
        path = move.after.path if move.after else ""
        if any(wanted.get(str(folder)) is not None for folder in PurePosixPath(path).parents):
            raise _conflict(move, "a file is wanted where its folder is")


async def _refuse_replaced(
    shadow: Shadow, tree: str, made: str, moves: Sequence[Move], wanted: Mapping[str, Side | None]
) -> None:
    """A new file in the place of a folder, or below another file, would take along what no move is about."""
    options = ("-r", "-z", "--name-only", "--no-renames")
    changed = (await shadow.git("diff-tree", *options, tree, made)).split(b"\0")[:-1]
    gone = {os.fsdecode(name) for name in changed} - wanted.keys()
    for move in moves if gone else ():
        path = move.after.path if move.after else ""
        if any(path.startswith(f"{name}/") or name.startswith(f"{path}/") for name in gone):
            raise _conflict(move, "something else is there already")


def _conflict(move: Move, reason: str) -> MergeConflict:
    conflict: dict[str, Json] = {"file_path": move.file_path, "reason": reason}
    return MergeConflict(f"does not fit: {move.file_path} ({reason})", files=[move.file_path], conflicts=[conflict])


async def _entries(shadow: Shadow, tree: str, paths: Collection[str]) -> dict[str, Side]:
    names = [f":(literal){path}" for path in sorted(paths)] if len(paths) <= _NAMED_PATHS else ["-r"]
    found: dict[str, Side] = {}
    for entry in (await shadow.git("ls-tree", "-z", "--full-tree", tree, *names)).split(b"\0")[:-1]:
        head, _, name = entry.partition(b"\t")
        mode, kind, blob = head.decode().split(" ")
        if kind == "blob":
            found[os.fsdecode(name)] = Side(os.fsdecode(name), mode, blob)
    return found


def _index_entries(wanted: Mapping[str, Side | None], id_length: int) -> Iterable[bytes]:
    """Removals before additions: a file may stand where another's folder was."""
    for path, side in sorted(wanted.items()):
        if side is None:
            yield b"0 " + b"0" * id_length + b"\t" + os.fsencode(path) + b"\0"
    for path, side in sorted(wanted.items()):
        if side is not None:
            yield f"{side.mode} {side.blob}\t".encode() + os.fsencode(path) + b"\0"


def _side(path: str, mode: str | None, blob: str | None) -> Side | None:
    return Side(stored_name(path), mode, blob) if mode is not None and blob is not None else None
