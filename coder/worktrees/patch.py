"""Patches that `git apply` takes."""

from coder.worktrees.shadow import Shadow


async def patch_between(shadow: Shadow, base: str, new: str) -> bytes:
    """What leads from one tree to the other, binary files and renames included."""
    options = ("-r", "-p", "-M", "--binary", "--full-index", "--no-ext-diff", "--no-textconv", "--no-color")
    return await shadow.git("diff-tree", *options, base, new)
