"""Picking hunks and lines out of a diff, for any two texts."""

import asyncio
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from coder.model.changes import FileDifference, HunkChoice
from coder.worktrees.hunks import Parts, cut_apply, cut_reject, pick, text_diff
from coder.worktrees.shadow import Shadow
from tests.worktrees.room import open_room

texts = st.lists(st.sampled_from([b"a", b"b", b"\r", b"", b"caf\xe9", b"@@ -1 +1 @@"]), max_size=14).flatmap(
    lambda lines: st.sampled_from([b"\n".join(lines), b"\n".join(lines) + b"\n"])
)


async def difference_of(shadow: Shadow, base: bytes, new: bytes) -> FileDifference:
    return FileDifference(
        file_path="file",
        operation="edit",
        base_blob=await shadow.write_blob(base),
        new_blob=await shadow.write_blob(new),
        base_mode="100644",
        new_mode="100644",
    )


def test_every_choice_cuts_a_change_into_two_that_make_it_whole(tmp_path: Path) -> None:
    room = asyncio.run(open_room(tmp_path, {"README.md": "x\n"}))

    @given(base=texts, new=texts, data=st.data())
    @settings(max_examples=30, deadline=None)
    def check(base: bytes, new: bytes, data: st.DataObject) -> None:
        asyncio.run(check_cuts(room.shadow, base, new, data))

    check()


async def check_cuts(shadow: Shadow, base: bytes, new: bytes, data: st.DataObject) -> None:
    difference = await difference_of(shadow, base, new)
    diff = await text_diff(shadow, difference)
    everything = {hunk.id: hunk.changed for hunk in diff.hunks}
    assert pick(base, new, diff.hunks, everything) == new
    assert pick(base, new, diff.hunks, {}) == base
    if not diff.hunks:
        return
    hunk = data.draw(st.sampled_from(diff.hunks))
    lines = data.draw(st.sets(st.sampled_from(sorted(hunk.changed)), min_size=1))
    choice = [HunkChoice(id=hunk.id, lines=tuple(lines))]
    applied = await cut_apply(shadow, difference, choice)
    rejected = await cut_reject(shadow, difference, choice)
    assert joins(applied.chosen, applied.left, difference)
    assert rejected.left is None or joins(rejected.left, rejected.chosen, difference)
    for parts in (applied, rejected):
        await check_counts(shadow, parts)


def joins(first: FileDifference, second: FileDifference | None, whole: FileDifference) -> bool:
    """Whether the one begins where the whole does, the other where the one ends, and ends where the whole does."""
    if second is None:
        return first == whole
    return (first.base_blob, first.new_blob, second.new_blob) == (whole.base_blob, second.base_blob, whole.new_blob)


async def check_counts(shadow: Shadow, parts: Parts) -> None:
    if parts.left is None:
        return
    for part in (parts.chosen, parts.left):
        lines = [line[:1] for hunk in (await text_diff(shadow, part)).hunks for line in hunk.lines]
        assert (part.added_lines, part.deleted_lines) == (lines.count(b"+"), lines.count(b"-"))


async def test_an_empty_file_is_a_change_without_hunks(tmp_path: Path) -> None:
    room = await open_room(tmp_path, {"README.md": "x\n"})
    (room.worktree / "empty").touch()
    (difference,) = await room.differences()
    diff = await text_diff(room.shadow, difference)
    assert diff.hunks == ()
    assert "new file mode 100644" in diff.shown
