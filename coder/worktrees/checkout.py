"""Writing changes back into a checkout: three-way against their base, all or none."""

import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from coder.errors import CoderError, InvalidInput, MergeConflict, NotFound, PathEscape
from coder.failpoints import failpoint
from coder.model.decisions import FileSide, Plan, PlannedWrite
from coder.model.values import Json
from coder.worktrees.git import run_in_thread
from coder.worktrees.moves import EXECUTABLE, LINK, PLAIN, Move, Side, is_mergeable, merge_text
from coder.worktrees.names import shown_name, stored_name
from coder.worktrees.paths import FileState, WorktreeRoot, open_root
from coder.worktrees.shadow import Shadow

logger = logging.getLogger(__name__)

_SHOWN_LIMIT = 256 * 1024

BeforeWrite = Callable[[Plan], Awaitable[None]]


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
    merged: bytes | None = None
    """The file with git's conflict markers."""

    @property
    def shown(self) -> Json:
        return {
            "file_path": self.file_path,
            "reason": self.reason,
            "base": _shown_text(self.base),
            "checkout": _shown_text(self.checkout),
            "change": _shown_text(self.change),
            "merged": _shown_text(self.merged),
        }


_Step = _Write | _Merge | _Removal | _Clash


async def write_back(
    shadow: Shadow, place: Path, moves: Sequence[Move], *, before_write: BeforeWrite | None = None
) -> Plan | None:
    """Carry `moves` out in a checkout where it allows; returns what was written, None where nothing had to be.

    A file that is neither as the move expects it nor as it leaves it is merged. `before_write` is awaited with the plan
    before the first byte of it is written; `take_back` undoes exactly what a plan says.

    Raises:
        MergeConflict: some file does not fit; `conflicts` in `fields` has each with its sides. Nothing was written.
    """
    blobs = await shadow.read_blobs(blob for move in moves for blob in move.blobs)
    with open_root(place) as root:
        survey = _Survey(root, moves, blobs)
        steps = await run_in_thread(survey.steps)
        merged = [await _merged(shadow, step) if isinstance(step, _Merge) else step for step in steps]
        clashes = [step for step in merged if isinstance(step, _Clash)]
        if clashes:
            raise _conflict(clashes)
        writes = [step for step in merged if isinstance(step, _Write | _Removal)]
        if not writes:
            return None
        names = _BlobNames(shadow, blobs)
        plan = Plan(
            root=str(place),
            token=secrets.token_hex(8),
            writes=tuple([await _planned(step, survey.seen, names) for step in writes]),
        )
        if before_write is not None:
            await before_write(plan)
        await run_in_thread(lambda: _Execution(root, plan, survey.seen, writes).run())
        return plan


async def take_back(shadow: Shadow, plan: Plan) -> list[str]:
    """Give every path of a plan that holds what was planned what it held before; the paths that hold anything else.

    Those were edited since and are left alone. Right at every point that the writing can have got to.

    Raises:
        GitError: the shadow does not have the contents. InvalidInput: the place is gone.
    """
    sides = [side for write in plan.writes for side in (write.before, write.after) if side]
    blobs = await shadow.read_blobs(side.blob for side in sides)
    with open_root(Path(plan.root)) as root:
        return await run_in_thread(lambda: _TakingBack(root, plan, blobs).run())


class _Survey:
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
        changed = self._change(move, before, after, source)
        if not changed:
            moved = _Write(after, source.content, source.mode)
            changed.append(self._keeping_bits(moved, source, changes_mode=before.mode != after.mode))
        return changed if isinstance(changed[0], _Clash) else [_Removal(before.path), *changed]

    def _change(self, move: Move, before: Side, after: Side, there: FileState) -> list[_Step]:
        """From what is there to `after`; nothing to do when it is that already."""
        changes_kind = before.is_link != after.is_link
        changes_mode = before.mode != after.mode and not changes_kind
        mode = there.mode if there.kind == "file" and not changes_kind else None
        wanted = _Write(after, self._blobs[after.blob], mode)
        if self._holds(there, after):
            is_right = not changes_mode or bool(there.mode & 0o100) == (after.mode == EXECUTABLE)
            return [] if is_right else [wanted]
        if self._holds(there, before):
            return [self._keeping_bits(wanted, there, changes_mode=changes_mode)]
        if there.kind != "file" or before.is_link or after.is_link:
            return [self._clash(move, "it is not the same kind of file any more", there)]
        base, new = self._blobs[before.blob], wanted.content
        if not all(is_mergeable(text) for text in (base, new, there.content)):
            return [self._clash(move, "both sides changed a file that cannot be merged", there)]
        write = self._keeping_bits(wanted, there, changes_mode=changes_mode)
        return [_Merge(move, write, there.content, base)]

    def _keeping_bits(self, write: _Write, there: FileState, *, changes_mode: bool) -> _Write:
        """The checkout's own executable bit stays unless the change is about it."""
        if changes_mode or write.side.is_link or there.kind != "file":
            return write
        mode = EXECUTABLE if there.mode & 0o100 else PLAIN
        return _Write(Side(write.side.path, mode, write.side.blob), write.content, write.mode)

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
    merged, is_clean = await merge_text(shadow, step.current, step.base, content)
    if is_clean:
        return _Write(step.write.side, merged, step.write.mode)
    reason = "both sides changed the same lines"
    return _Clash(step.move.file_path, reason, step.base, step.current, content, merged)


def _conflict(clashes: Sequence[_Clash]) -> MergeConflict:
    names = ", ".join(clash.file_path for clash in clashes[:5])
    return MergeConflict(
        f"does not fit the checkout: {names} ({clashes[0].reason})",
        files=[clash.file_path for clash in clashes],
        conflicts=[clash.shown for clash in clashes],
    )


class _BlobNames:
    """The object ids of contents; what the shadow does not hold yet is written into it."""

    def __init__(self, shadow: Shadow, blobs: Mapping[str, bytes]) -> None:
        self._shadow = shadow
        self._known = {content: blob for blob, content in blobs.items()}

    async def of(self, content: bytes) -> str:
        if content not in self._known:
            self._known[content] = await self._shadow.write_blob(content)
        return self._known[content]


async def _planned(step: _Write | _Removal, seen: Mapping[str, FileState | None], names: _BlobNames) -> PlannedWrite:
    path = step.side.path if isinstance(step, _Write) else step.path
    there = seen.get(path)
    before = None
    if there is not None and there.kind in ("file", "link"):
        before = FileSide(mode=_mode_of(there), blob=await names.of(there.content), permissions=there.mode)
    after = None
    if isinstance(step, _Write):
        after = FileSide(mode=step.side.mode, blob=await names.of(step.content), permissions=step.mode)
    return PlannedWrite(path=shown_name(os.fsencode(path)), before=before, after=after)


class _Execution:
    """Writes everything beside its place, looks once more, then moves it in; a failure half-way is undone."""

    def __init__(
        self, root: WorktreeRoot, plan: Plan, seen: Mapping[str, FileState | None], steps: Sequence[_Write | _Removal]
    ) -> None:
        self._root = root
        self._plan = plan
        self._seen = seen
        self._writes = [step for step in steps if isinstance(step, _Write)]
        self._removals = [step.path for step in steps if isinstance(step, _Removal)]
        self._cleared = frozenset(self._removals)
        self._touched: list[str] = []

    def run(self) -> None:
        prepared: list[tuple[str, str]] = []
        try:
            for write in self._writes:
                prepared.append((self._prepare(write), write.side.path))
                failpoint("write.prepared")
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
            is_executable=write.side.mode == EXECUTABLE,
            mode=write.mode,
            token=self._plan.token,
            cleared=self._cleared,
        )

    def _look_again(self) -> None:
        moved = [path for path, state in self._seen.items() if self._stamp(path) != (state.stamp if state else None)]
        if moved:
            conflicts: list[Json] = [{"file_path": path, "reason": "edited at this very moment"} for path in moved]
            raise MergeConflict(f"edited at this very moment: {', '.join(moved[:5])}", files=moved, conflicts=conflicts)

    def _stamp(self, path: str) -> tuple[int, ...] | None:
        try:
            return self._root.stamp(path)
        except (InvalidInput, PathEscape):
            return None

    def _commit(self, prepared: Sequence[tuple[str, str]]) -> None:
        try:
            for path in self._removals:
                self._touched.append(path)
                self._root.remove(path)
                failpoint("write.removed")
            for temporary, path in prepared:
                self._touched.append(path)
                self._root.move_in(temporary, path)
                failpoint("write.moved")
        except (OSError, CoderError) as error:
            self._undo()
            raise MergeConflict(f"the checkout cannot be written: {error}", files=[], conflicts=[]) from error

    def _undo(self) -> None:
        for path in reversed(self._touched):
            state = self._seen.get(path)
            try:
                if state is None or state.kind == "folder":
                    self._drop(path)
                else:
                    _put(self._root, path, state.content, _mode_of(state), state.mode, self._plan.token)
            except (OSError, CoderError):
                logger.exception("half-written file could not be put back", extra={"path": path})

    def _drop(self, path: str) -> None:
        try:
            self._root.remove(path)
        except NotFound:
            return
        except (OSError, CoderError):
            logger.warning("left behind in the checkout", extra={"path": path}, exc_info=True)


class _TakingBack:
    """Undoes what a plan wrote, as far as it came, from the last step to the first."""

    def __init__(self, root: WorktreeRoot, plan: Plan, blobs: Mapping[str, bytes]) -> None:
        self._root = root
        self._plan = plan
        self._blobs = blobs

    def run(self) -> list[str]:
        left_alone = [write.path for write in reversed(self._in_order()) if not self._undo(write)]
        for folder in {parent for write in self._plan.writes for parent in self._parents(write)}:
            self._sweep(folder)
        return left_alone

    def _in_order(self) -> list[PlannedWrite]:
        return sorted(self._plan.writes, key=lambda write: write.after is not None)

    def _undo(self, write: PlannedWrite) -> bool:
        path = stored_name(write.path)
        try:
            there = self._look(path)
            if self._is(there, write.before):
                return True
            if not self._is(there, write.after):
                return False
            if write.before is None:
                self._root.remove(path)
            else:
                side = write.before
                content = self._blobs[side.blob]
                _put(self._root, path, content, side.mode, side.permissions, self._plan.token)
        except (OSError, CoderError):
            logger.exception("a path could not be taken back", extra={"path": write.path})
            return False
        return True

    def _look(self, path: str) -> FileState | None:
        try:
            return self._root.state(path)
        except PathEscape:
            # a link where a folder was or will be: nothing of ours is below it
            return None

    def _is(self, there: FileState | None, side: FileSide | None) -> bool:
        if there is None or there.kind == "folder":
            return side is None
        if side is None or there.kind != ("link" if side.mode == LINK else "file"):
            return False
        is_same_mode = side.mode == LINK or bool(there.mode & 0o100) == (side.mode == EXECUTABLE)
        return is_same_mode and there.content == self._blobs[side.blob]

    def _parents(self, write: PlannedWrite) -> list[str]:
        return ["", *_parents(stored_name(write.path))]

    def _sweep(self, folder: str) -> None:
        try:
            names = self._root.list_folder(folder or ".")
        except (OSError, CoderError):
            return
        for name in names:
            if name.startswith(f".coder-{self._plan.token}-"):
                with suppress(OSError, CoderError):
                    self._root.remove(f"{folder}/{name}" if folder else name)


def _put(root: WorktreeRoot, path: str, content: bytes, mode: str, permissions: int | None, token: str) -> None:
    is_link, is_executable = mode == LINK, mode == EXECUTABLE
    kept = None if is_link else permissions
    temporary = root.prepare(path, content, is_link=is_link, is_executable=is_executable, mode=kept, token=token)
    root.move_in(temporary, path)


def _mode_of(state: FileState) -> str:
    if state.kind == "link":
        return LINK
    return EXECUTABLE if state.mode & 0o100 else PLAIN


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _shown_text(content: bytes | None) -> str | None:
    if content is None or b"\0" in content or len(content) > _SHOWN_LIMIT:
        return None
    return content.decode(errors="replace")
