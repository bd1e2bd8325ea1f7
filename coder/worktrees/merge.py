"""Merging trees in the host's own git directory: no driver, attribute or configuration of the repository counts."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from coder.errors import MergeConflict
from coder.model.values import Json
from coder.worktrees.hunks import has_change
from coder.worktrees.moves import EXECUTABLE, PLAIN, Side, is_mergeable, replace_in_tree
from coder.worktrees.names import shown_name
from coder.worktrees.shadow import Shadow

NOBODY = {
    "GIT_AUTHOR_NAME": "coder",
    "GIT_AUTHOR_EMAIL": "coder@localhost.invalid",
    "GIT_AUTHOR_DATE": "@0 +0000",
    "GIT_COMMITTER_NAME": "coder",
    "GIT_COMMITTER_EMAIL": "coder@localhost.invalid",
    "GIT_COMMITTER_DATE": "@0 +0000",
}
"""Who makes commits that nobody will see."""

_SHOWN_LIMIT = 256 * 1024


@dataclass(frozen=True)
class Clash:
    """A path where both sides changed the same; mode and blob of base, ours and theirs, None for no file."""

    path: bytes
    sides: tuple[tuple[str, str] | None, tuple[str, str] | None, tuple[str, str] | None]


@dataclass(frozen=True)
class Merged:
    """`tree` has markers (`<<<<<<< session`, `>>>>>>> incoming`) in the text of what clashes."""

    tree: str
    clashes: Sequence[Clash] = ()


async def merge_trees(shadow: Shadow, base: str, ours: str, theirs: str) -> Merged:
    """Merge three trees: what led from `base` to `theirs`, done to `ours`."""
    if theirs == base or ours == theirs:
        return Merged(ours)
    if ours == base:
        return Merged(theirs)
    common = await _commit(shadow, base)
    return await merge_commits(shadow, await _commit(shadow, ours, common), await _commit(shadow, theirs, common))


async def merge_commits(shadow: Shadow, ours: str, theirs: str) -> Merged:
    """Merge two commits as `git merge` would, on trees alone."""
    # their names are what stands beside the markers
    for name, commit in (("session", ours), ("incoming", theirs)):
        await shadow.git("update-ref", f"refs/heads/{name}", commit)
    question = ("merge-tree", "--write-tree", "--no-messages", "-z", "session", "incoming")
    output = await shadow.git(*question, accepted=(0, 1))
    tree, *entries = output.split(b"\0")
    sides: dict[bytes, list[tuple[str, str] | None]] = {}
    for entry in entries:
        head, _, path = entry.partition(b"\t")
        if not path:
            continue
        mode, blob, stage = head.decode().split(" ")
        sides.setdefault(path, [None, None, None])[int(stage) - 1] = (mode, blob)
    clashes = [Clash(path, (found[0], found[1], found[2])) for path, found in sides.items()]
    return Merged(tree.decode(), clashes)


async def clean_merge(shadow: Shadow, base: str, ours: str, theirs: str, *, settled_paths: Collection[str] = ()) -> str:
    """The tree of a merge that must not clash.

    Where ours has the lines of their change already among more of its own, it stays; so it does at `settled_paths`.

    Raises:
        MergeConflict: it does; `conflicts` in `fields` has each file with its sides and its text with markers.
    """
    merged = await merge_trees(shadow, base, ours, theirs)
    left = [
        clash
        for clash in merged.clashes
        if shown_name(clash.path) not in settled_paths and not await _is_there(shadow, clash)
    ]
    if left:
        raise await conflict_of(shadow, Merged(merged.tree, left))
    return await settled(shadow, merged, for_ours=True)


async def _is_there(shadow: Shadow, clash: Clash) -> bool:
    """Whether ours is a text that has all of their change to it."""
    base, ours, theirs = clash.sides
    modes = {side[0] for side in (base, ours) if side}
    if theirs is None or theirs[0] not in modes or not modes <= {PLAIN, EXECUTABLE}:
        return False
    texts = await shadow.read_blobs(side[1] for side in clash.sides if side)
    if not all(is_mergeable(text) for text in texts.values()):
        return False
    return await has_change(shadow, ours[1] if ours else None, base[1] if base else None, theirs[1])


async def settled(shadow: Shadow, merged: Merged, *, for_ours: bool = False) -> str:
    """The merged tree with their side, or ours, of everything that clashes."""
    wanted = {
        os.fsdecode(clash.path): Side(os.fsdecode(clash.path), *side) if (side := clash.sides[number]) else None
        for number, clash in ((1 if for_ours else 2, clash) for clash in merged.clashes)
    }
    return await replace_in_tree(shadow, merged.tree, wanted)


async def conflict_of(shadow: Shadow, merged: Merged, *, what: str = "the branch") -> MergeConflict:
    """The refusal that shows every file that clashes."""
    names = [shown_name(clash.path) for clash in merged.clashes]
    conflicts = [await _shown(shadow, merged.tree, clash) for clash in merged.clashes[:100]]
    message = f"both sides changed the same in {what}: {', '.join(names[:5])}"
    return MergeConflict(message, files=names, conflicts=conflicts)


async def _commit(shadow: Shadow, tree: str, *parents: str) -> str:
    arguments = [word for parent in parents for word in ("-p", parent)]
    output = await shadow.git("commit-tree", *arguments, tree, input=b"", env=NOBODY)
    return output.decode().strip()


async def _shown(shadow: Shadow, tree: str, clash: Clash) -> Json:
    base, ours, theirs = [await _text(shadow, side) for side in clash.sides]
    listed = await shadow.git(
        "--literal-pathspecs", "ls-tree", "-z", "--full-tree", tree, "--", os.fsdecode(clash.path)
    )
    entry = listed.partition(b"\t")[0].decode().split(" ")
    return {
        "file_path": shown_name(clash.path),
        "reason": _reason(clash),
        "base": base,
        "checkout": ours,
        "change": theirs,
        "merged": await _text(shadow, (entry[0], entry[2]) if len(entry) == 3 else None),
    }


def _reason(clash: Clash) -> str:
    match clash.sides:
        case (_, None, _):
            return "deleted here, changed there"
        case (_, _, None):
            return "changed here, deleted there"
        case (None, _, _):
            return "added on both sides"
        case _:
            return "both sides changed the same lines"


async def _text(shadow: Shadow, side: tuple[str, str] | None) -> str | None:
    if side is None or not side[0].startswith(("100", "120")):
        return None
    content = (await shadow.read_blobs([side[1]])).get(side[1], b"")
    if b"\0" in content or len(content) > _SHOWN_LIMIT:
        return None
    return content.decode(errors="replace")
