"""Writing changes back into a checkout: three-way against their base, all or none."""

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from coder.errors import CoderError, GitError, InvalidInput, MergeConflict, NotFound, PathEscape
from coder.model.changes import FileDifference
from coder.model.values import Json
from coder.worktrees.git import run_in_thread
from coder.worktrees.names import stored_name
from coder.worktrees.paths import FileState, WorktreeRoot, open_root
from coder.worktrees.shadow import Shadow

logger = logging.getLogger(__name__)

MERGE_LIMIT = 8 * 1024 * 1024
"""Bytes of the largest text that is merged; larger files are taken or refused whole."""

_SHOWN_LIMIT = 256 * 1024
_LINK = "120000"
_EXECUTABLE = "100755"


@dataclass(frozen=True)
class Side:
    """A file as one of the trees has it."""

    path: str
    mode: str
    blob: str

    @property
    def is_link(self) -> bool:
        return self.mode == _LINK


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


@dataclass(frozen=True)
class _Write:
    side: Side
    content: bytes
    mode: int | None
    """Permissions of the file that is replaced."""


@dataclass(frozen=True)
class _Merge:
    """A write whose content has yet to be merged from three."""

    move: Move
    write: _Write
    current: bytes
    base: bytes


@dataclass(frozen=True)
class _Removal:
    path: str


@dataclass(frozen=True)
class _Clash:
    file_path: str
    reason: str
    base: bytes | None
    checkout: bytes | None
    change: bytes | None


_Step = _Write | _Merge | _Removal | _Clash


async def write_back(shadow: Shadow, checkout: Path, moves: Sequence[Move]) -> None:
    """Carry `moves` out where the checkout allows.

    Raises:
        MergeConflict: some file does not fit; nothing was written.
    """
    blobs = await shadow.read_blobs(blob for move in moves for blob in move.blobs)
    with open_root(checkout) as root:
        plan = _Plan(root, moves, blobs)
        steps = await run_in_thread(plan.steps)
        merged = [await _merged(shadow, step) if isinstance(step, _Merge) else step for step in steps]
        await _carry_out(root, plan, merged)


async def overwrite(shadow: Shadow, checkout: Path, moves: Sequence[Move]) -> None:
    """Carry `moves` out whatever the files hold.

    Raises:
        MergeConflict: a folder is in the way; nothing was written.
    """
    blobs = await shadow.read_blobs(move.after.blob for move in moves if move.after)
    with open_root(checkout) as root:
        plan = _Plan(root, moves, blobs)
        await _carry_out(root, plan, await run_in_thread(plan.forced_steps))


class _Plan:
    """Decides file by file what has to be done; reads the checkout and changes nothing."""

    def __init__(self, root: WorktreeRoot, moves: Sequence[Move], blobs: Mapping[str, bytes]) -> None:
        self._root = root
        self._moves = moves
        self._blobs = blobs
        self._vacated = {move.vacated for move in moves if move.vacated is not None}
        self.seen: dict[str, FileState | None] = {}
        """What was found at every path that may be touched."""

    def steps(self) -> list[_Step]:
        return [step for move in self._moves for step in self._decide(move)]

    def forced_steps(self) -> list[_Step]:
        steps: list[_Step] = []
        filled = {move.after.path for move in self._moves if move.after}
        for move in self._moves:
            try:
                there = self._look(move.vacated) if move.vacated is not None else None
                if move.vacated is not None and move.vacated not in filled and there and there.kind != "folder":
                    steps.append(_Removal(move.vacated))
                if move.after is not None:
                    steps.extend(self._place(move, move.after, self._look(move.after.path)))
            except (InvalidInput, PathEscape) as error:
                steps.append(self._clash(move, str(error), None))
        return steps

    def _decide(self, move: Move) -> list[_Step]:
        try:
            match move.before, move.after:
                case None, Side() as after:
                    return self._create(move, after)
                case Side() as before, None:
                    return self._delete(move, before)
                case Side() as before, Side() as after if before.path == after.path:
                    return self._edit(move, before, after)
                case Side() as before, Side() as after:
                    return self._rename(move, before, after)
                case _:
                    return []
        except (InvalidInput, PathEscape) as error:
            return [self._clash(move, str(error), None)]

    def _create(self, move: Move, after: Side) -> list[_Step]:
        there = self._look(after.path)
        if there is not None and self._holds(there, after):
            return []
        if self._is_blocked(after.path):
            return [self._clash(move, "a file is where a folder has to be", None)]
        if there is not None and not self._will_be_free(after.path, there):
            return [self._clash(move, "something else is there already", there)]
        return [_Write(after, self._blobs[after.blob], None)]

    def _delete(self, move: Move, before: Side) -> list[_Step]:
        there = self._look(before.path)
        if there is None or there.kind == "folder":
            return []
        if not self._holds(there, before):
            return [self._clash(move, "the file was edited", there)]
        return [_Removal(before.path)]

    def _edit(self, move: Move, before: Side, after: Side) -> list[_Step]:
        there = self._look(before.path)
        if there is None:
            return [self._clash(move, "the file is gone", None)]
        return self._change(move, before, after, there)

    def _rename(self, move: Move, before: Side, after: Side) -> list[_Step]:
        source, target = self._look(before.path), self._look(after.path)
        if source is None:
            if target is not None and self._holds(target, after):
                return []
            return [self._clash(move, "the file is gone", None)]
        if self._is_blocked(after.path):
            return [self._clash(move, "a file is where a folder has to be", None)]
        if target is not None and not self._will_be_free(after.path, target):
            return [self._clash(move, "something else is at the new name", target)]
        changed = self._change(move, before, after, source) or [_Write(after, source.content, source.mode)]
        return changed if isinstance(changed[0], _Clash) else [_Removal(before.path), *changed]

    def _change(self, move: Move, before: Side, after: Side, there: FileState) -> list[_Step]:
        """From what is there to `after`; nothing to do when it is that already."""
        changes_kind = before.is_link != after.is_link
        changes_mode = before.mode != after.mode and not changes_kind
        mode = there.mode if there.kind == "file" and not changes_kind else None
        wanted = _Write(after, self._blobs[after.blob], mode)
        if self._holds(there, after):
            is_right = not changes_mode or bool(there.mode & 0o100) == (after.mode == _EXECUTABLE)
            return [] if is_right else [wanted]
        if self._holds(there, before):
            return [self._keeping_bits(wanted, there, changes_mode=changes_mode)]
        if there.kind != "file" or before.is_link or after.is_link:
            return [self._clash(move, "it is not the same kind of file any more", there)]
        base, new = self._blobs[before.blob], wanted.content
        if not all(_is_mergeable(text) for text in (base, new, there.content)):
            return [self._clash(move, "both sides changed a file that cannot be merged", there)]
        write = self._keeping_bits(wanted, there, changes_mode=changes_mode)
        return [_Merge(move, write, there.content, base)]

    def _keeping_bits(self, write: _Write, there: FileState, *, changes_mode: bool) -> _Write:
        """The checkout's own executable bit stays unless the change is about it."""
        if changes_mode or write.side.is_link or there.kind != "file":
            return write
        mode = _EXECUTABLE if there.mode & 0o100 else "100644"
        return _Write(Side(write.side.path, mode, write.side.blob), write.content, write.mode)

    def _place(self, move: Move, after: Side, there: FileState | None) -> list[_Step]:
        if self._is_blocked(after.path):
            return [self._clash(move, "a file is where a folder has to be", None)]
        if there is not None and there.kind == "folder" and not self._will_be_free(after.path, there):
            return [self._clash(move, "a folder is in the way", there)]
        mode = there.mode if there is not None and there.kind == "file" and not after.is_link else None
        return [_Write(after, self._blobs[after.blob], mode)]

    def _look(self, path: str) -> FileState | None:
        if path not in self.seen:
            try:
                self.seen[path] = self._root.state(path)
            except PathEscape:
                # a link where a folder should be: fine when this very set of changes clears it away
                if not self._vacated.intersection(_parents(path)):
                    raise
                self.seen[path] = None
        return self.seen[path]

    def _is_blocked(self, path: str) -> bool:
        """Whether something that is no folder stands, and will stand, where a folder has to be."""
        states = ((parent, self._root.state(parent)) for parent in _parents(path))
        return any(state and state.kind != "folder" and parent not in self._vacated for parent, state in states)

    def _will_be_free(self, path: str, there: FileState) -> bool:
        if there.kind != "folder":
            return path in self._vacated
        return all(self._will_be_free(child, state) for child, state in self._children(path))

    def _children(self, path: str) -> list[tuple[str, FileState]]:
        paths = [f"{path}/{name}" for name in self._root.list_folder(path)]
        return [(child, state) for child in paths if (state := self._root.state(child)) is not None]

    def _holds(self, there: FileState, side: Side) -> bool:
        return there.kind == ("link" if side.is_link else "file") and there.content == self._blobs[side.blob]

    def _clash(self, move: Move, reason: str, there: FileState | None) -> _Clash:
        content = there.content if there is not None and there.kind in ("file", "link") else None
        base = self._blobs.get(move.before.blob) if move.before else None
        change = self._blobs.get(move.after.blob) if move.after else None
        return _Clash(move.file_path, reason, base, content, change)


async def _merged(shadow: Shadow, step: _Merge) -> _Write | _Clash:
    content = step.write.content
    with tempfile.TemporaryDirectory(prefix="coder-merge-") as name:
        folder = Path(name)
        for part, text in (("checkout", step.current), ("base", step.base), ("change", content)):
            (folder / part).write_bytes(text)
        arguments = ("merge-file", "--stdout", "--quiet", "checkout", "base", "change")
        try:
            merged = await shadow.git(*arguments, cwd=folder)
        except GitError as error:
            if not 0 < int(str(error.fields.get("status", 255))) <= 127:
                raise
            reason = "both sides changed the same lines"
            return _Clash(step.move.file_path, reason, step.base, step.current, content)
    return _Write(step.write.side, merged, step.write.mode)


async def _carry_out(root: WorktreeRoot, plan: _Plan, steps: Sequence[_Step]) -> None:
    clashes = [step for step in steps if isinstance(step, _Clash)]
    if clashes:
        names = ", ".join(clash.file_path for clash in clashes[:5])
        raise MergeConflict(
            f"does not fit the checkout: {names} ({clashes[0].reason})", conflicts=[_shown(clash) for clash in clashes]
        )
    await run_in_thread(lambda: _Execution(root, plan.seen, steps).run())


class _Execution:
    """Writes everything beside its place, looks once more, then moves it in; a failure half-way is undone."""

    def __init__(self, root: WorktreeRoot, seen: Mapping[str, FileState | None], steps: Sequence[_Step]) -> None:
        self._root = root
        self._seen = seen
        self._writes = [step for step in steps if isinstance(step, _Write)]
        self._removals = [step.path for step in steps if isinstance(step, _Removal)]
        self._touched: list[str] = []

    def run(self) -> None:
        prepared: list[tuple[str, str]] = []
        try:
            for write in self._writes:
                prepared.append((self._prepare(write), write.side.path))
            self._look_again()
            self._commit(prepared)
        finally:
            for temporary, _ in prepared:
                self._drop(temporary)

    def _prepare(self, write: _Write) -> str:
        return self._root.prepare(
            write.side.path,
            write.content,
            is_link=write.side.is_link,
            is_executable=write.side.mode == _EXECUTABLE,
            mode=write.mode,
        )

    def _look_again(self) -> None:
        moved = [path for path, state in self._seen.items() if self._stamp(path) != (state.stamp if state else None)]
        if moved:
            conflicts: list[Json] = [{"file_path": path, "reason": "edited at this very moment"} for path in moved]
            raise MergeConflict(f"edited at this very moment: {', '.join(moved[:5])}", conflicts=conflicts)

    def _stamp(self, path: str) -> tuple[int, ...] | None:
        try:
            return self._root.stamp(path)
        except InvalidInput:
            return None

    def _commit(self, prepared: Sequence[tuple[str, str]]) -> None:
        try:
            for path in self._removals:
                self._touched.append(path)
                self._root.remove(path)
            for temporary, path in prepared:
                self._touched.append(path)
                self._root.move_in(temporary, path)
        except (OSError, CoderError) as error:
            self._undo()
            raise MergeConflict(f"the checkout cannot be written: {error}", conflicts=[]) from error

    def _undo(self) -> None:
        for path in reversed(self._touched):
            state = self._seen.get(path)
            try:
                if state is None or state.kind == "folder":
                    self._drop(path)
                    continue
                is_link, is_executable = state.kind == "link", bool(state.mode & 0o100)
                temporary = self._root.prepare(
                    path, state.content, is_link=is_link, is_executable=is_executable, mode=state.mode
                )
                self._root.move_in(temporary, path)
            except (OSError, CoderError):
                logger.exception("half-written file could not be put back", extra={"path": path})

    def _drop(self, path: str) -> None:
        try:
            self._root.remove(path)
        except NotFound:
            return
        except (OSError, CoderError):
            logger.warning("left behind in the checkout", extra={"path": path}, exc_info=True)


def _side(path: str, mode: str | None, blob: str | None) -> Side | None:
    return Side(stored_name(path), mode, blob) if mode is not None and blob is not None else None


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _is_mergeable(content: bytes) -> bool:
    return len(content) <= MERGE_LIMIT and b"\0" not in content[:8000]


def _shown(clash: _Clash) -> Json:
    return {
        "file_path": clash.file_path,
        "reason": clash.reason,
        "base": _shown_text(clash.base),
        "checkout": _shown_text(clash.checkout),
        "change": _shown_text(clash.change),
    }


def _shown_text(content: bytes | None) -> str | None:
    if content is None or b"\0" in content or len(content) > _SHOWN_LIMIT:
        return None
    return content.decode(errors="replace")
