"""What has to be done in a checkout so that moves are made there: read and decided file by file, nothing is changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from coder.errors import InvalidInput, MergeConflict, PathEscape
from coder.model.values import Json
from coder.worktrees.moves import EXECUTABLE, PLAIN, Move, Side, is_mergeable, merge_text
from coder.worktrees.paths import FileState, WorktreeRoot
from coder.worktrees.shadow import Shadow

_SHOWN_LIMIT = 256 * 1024


@dataclass(frozen=True)
class Write:
    """A file that shall be as `side` is."""

    side: Side
    content: bytes
    mode: int | None
    """Permissions of the file that is replaced."""


@dataclass(frozen=True)
class Merge:
    """A write whose content has yet to be merged from three."""

    move: Move
    write: Write
    current: bytes
    base: bytes


@dataclass(frozen=True)
class Removal:
    """A file that shall be gone."""

    path: str


@dataclass(frozen=True)
class Clash:
    """A file that does not fit, with its sides."""

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


Step = Write | Merge | Removal | Clash


class Survey:
    """Decides file by file what has to be done; reads the checkout and changes nothing."""

    def __init__(self, root: WorktreeRoot, moves: Sequence[Move], blobs: Mapping[str, bytes]) -> None:
        self._root = root
        self._moves = moves
        self._blobs = blobs
        self._vacated = {move.vacated for move in moves if move.vacated is not None}
        self.seen: dict[str, FileState | None] = {}
        """What was found at every path that may be touched."""

    def steps(self) -> list[Step]:
        return [step for move in self._moves for step in self._decide(move)]

    def _decide(self, move: Move) -> list[Step]:
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

    def _create(self, move: Move, after: Side) -> list[Step]:
        there = self._look(after.path)
        if there is not None and self._holds(there, after):
            return []
        if self._is_blocked(after.path):
            return [self._clash(move, "a file is where a folder has to be", None)]
        if there is not None and not self._will_be_free(after.path, there):
            return [self._clash(move, "something else is there already", there)]
        return [Write(after, self._blobs[after.blob], None)]

    def _delete(self, move: Move, before: Side) -> list[Step]:
        there = self._look(before.path)
        if there is None or there.kind == "folder":
            return []
        if not self._holds(there, before):
            return [self._clash(move, "the file was edited", there)]
        return [Removal(before.path)]

    def _edit(self, move: Move, before: Side, after: Side) -> list[Step]:
        there = self._look(before.path)
        if there is None:
            return [self._clash(move, "the file is gone", None)]
        return self._change(move, before, after, there)

    def _rename(self, move: Move, before: Side, after: Side) -> list[Step]:
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
            moved = Write(after, source.content, source.mode)
            changed.append(self._keeping_bits(moved, source, changes_mode=before.mode != after.mode))
        return changed if isinstance(changed[0], Clash) else [Removal(before.path), *changed]

    def _change(self, move: Move, before: Side, after: Side, there: FileState) -> list[Step]:
        """From what is there to `after`; nothing to do when it is that already."""
        changes_kind = before.is_link != after.is_link
        changes_mode = before.mode != after.mode and not changes_kind
        mode = there.mode if there.kind == "file" and not changes_kind else None
        wanted = Write(after, self._blobs[after.blob], mode)
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
        return [Merge(move, write, there.content, base)]

    def _keeping_bits(self, write: Write, there: FileState, *, changes_mode: bool) -> Write:
        """The checkout's own executable bit stays unless the change is about it."""
        if changes_mode or write.side.is_link or there.kind != "file":
            return write
        mode = EXECUTABLE if there.mode & 0o100 else PLAIN
        return Write(Side(write.side.path, mode, write.side.blob), write.content, write.mode)

    def _look(self, path: str) -> FileState | None:
        if path not in self.seen:
            try:
                self.seen[path] = self._root.state(path)
            except PathEscape:
                # a link where a folder should be: fine when this very set of changes clears it away
                if not self._vacated.intersection(parents_of(path)):
                    raise
                self.seen[path] = None
        return self.seen[path]

    def _is_blocked(self, path: str) -> bool:
        """Whether something that is no folder stands, and will stand, where a folder has to be."""
        for parent in parents_of(path):
            there = self._root.state(parent)
            if there is None or there.kind != "folder":
                # nothing below it is reached as things are
                return there is not None and parent not in self._vacated
        return False

    def _will_be_free(self, path: str, there: FileState) -> bool:
        if there.kind != "folder":
            return path in self._vacated
        return all(self._will_be_free(child, state) for child, state in self._children(path))

    def _children(self, path: str) -> list[tuple[str, FileState]]:
        paths = [f"{path}/{name}" for name in self._root.list_folder(path)]
        return [(child, state) for child in paths if (state := self._root.state(child)) is not None]

    def _holds(self, there: FileState, side: Side) -> bool:
        return there.kind == ("link" if side.is_link else "file") and there.content == self._blobs[side.blob]

    def _clash(self, move: Move, reason: str, there: FileState | None) -> Clash:
        content = there.content if there is not None and there.kind in ("file", "link") else None
        base = self._blobs.get(move.before.blob) if move.before else None
        change = self._blobs.get(move.after.blob) if move.after else None
        return Clash(move.file_path, reason, base, content, change)


async def merged_step(shadow: Shadow, step: Merge) -> Write | Clash:
    """The write with its content merged, or why it cannot be."""
    content = step.write.content
    merged, is_clean = await merge_text(shadow, step.current, step.base, content)
    if is_clean:
        return Write(step.write.side, merged, step.write.mode)
    reason = "both sides changed the same lines"
    return Clash(step.move.file_path, reason, step.base, step.current, content, merged)


def refusal_of(clashes: Sequence[Clash]) -> MergeConflict:
    """What is said of a request with files that do not fit."""
    names = ", ".join(clash.file_path for clash in clashes[:5])
    return MergeConflict(
        f"does not fit the checkout: {names} ({clashes[0].reason})",
        files=[clash.file_path for clash in clashes],
        conflicts=[clash.shown for clash in clashes],
    )


def parents_of(path: str) -> list[str]:
    """The folders above a path, the outermost first."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _shown_text(content: bytes | None) -> str | None:
    if content is None or b"\0" in content or len(content) > _SHOWN_LIMIT:
        return None
    return content.decode(errors="replace")
