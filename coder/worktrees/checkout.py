"""Writing changes back into a checkout: three-way against their base, all or none."""

import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from coder.errors import CoderError, InvalidInput, MergeConflict, NotFound, PathEscape
from coder.failpoints import failpoint
from coder.model.decisions import FileSide, Plan, PlannedWrite
from coder.model.values import Json
from coder.worktrees.git import run_in_thread
from coder.worktrees.moves import EXECUTABLE, LINK, PLAIN, Move
from coder.worktrees.names import shown_name, stored_name
from coder.worktrees.paths import FileState, WorktreeRoot, open_root
from coder.worktrees.shadow import Shadow
from coder.worktrees.steps import Clash, Merge, Removal, Survey, Write, merged_step, parents_of, refusal_of

logger = logging.getLogger(__name__)

BeforeWrite = Callable[[Plan], Awaitable[None]]


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
        survey = Survey(root, moves, blobs)
        steps = await run_in_thread(survey.steps)
        merged = [await merged_step(shadow, step) if isinstance(step, Merge) else step for step in steps]
        clashes = [step for step in merged if isinstance(step, Clash)]
        if clashes:
            raise refusal_of(clashes)
        writes = [step for step in merged if isinstance(step, Write | Removal)]
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


class _BlobNames:
    """The object ids of contents; what the shadow does not hold yet is written into it."""

    def __init__(self, shadow: Shadow, blobs: Mapping[str, bytes]) -> None:
        self._shadow = shadow
        self._known = {content: blob for blob, content in blobs.items()}

    async def of(self, content: bytes) -> str:
        if content not in self._known:
            self._known[content] = await self._shadow.write_blob(content)
        return self._known[content]


async def _planned(step: Write | Removal, seen: Mapping[str, FileState | None], names: _BlobNames) -> PlannedWrite:
    path = step.side.path if isinstance(step, Write) else step.path
    there = seen.get(path)
    before = None
    if there is not None and there.kind in ("file", "link"):
        before = FileSide(mode=_mode_of(there), blob=await names.of(there.content), permissions=there.mode)
    after = None
    if isinstance(step, Write):
        after = FileSide(mode=step.side.mode, blob=await names.of(step.content), permissions=step.mode)
    return PlannedWrite(path=shown_name(os.fsencode(path)), before=before, after=after)


class _Execution:
    """Writes everything beside its place, looks once more, then moves it in; a failure half-way is undone."""

    def __init__(
        self, root: WorktreeRoot, plan: Plan, seen: Mapping[str, FileState | None], steps: Sequence[Write | Removal]
    ) -> None:
        self._root = root
        self._plan = plan
        self._seen = seen
        self._writes = [step for step in steps if isinstance(step, Write)]
        self._removals = [step.path for step in steps if isinstance(step, Removal)]
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

    def _prepare(self, write: Write) -> str:
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
        return ["", *parents_of(stored_name(write.path))]

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
