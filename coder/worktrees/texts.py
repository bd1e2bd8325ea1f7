"""Texts of files as blobs: looked up in a tree and read as lines, where they are text and not too large."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice

from coder.errors import InvalidInput, TooLarge
from coder.worktrees.anchors import Lines, lines_of
from coder.worktrees.git import run_in_thread
from coder.worktrees.names import shown_name, stored_name
from coder.worktrees.shadow import Shadow

TEXT_LIMIT = 4 * 1024 * 1024
"""Bytes of the largest file whose lines are counted."""

_PATHS_AT_ONCE = 200


@dataclass(frozen=True)
class Blob:
    """A file's content by its id, and its size in bytes."""

    id: str
    size: int


async def blobs_at(shadow: Shadow, tree: str, paths: Collection[str]) -> dict[str, Blob]:
    """The files of a tree that are at these paths; what is no file there is left out."""
    found: dict[str, Blob] = {}
    names = iter(sorted(set(paths)))
    while some := list(islice(names, _PATHS_AT_ONCE)):
        stored = [stored_name(name) for name in some]
        output = await shadow.git("--literal-pathspecs", "ls-tree", "-l", "-z", "--full-tree", tree, "--", *stored)
        found.update(_entries(output))
    return found


async def shown_lines(shadow: Shadow, id: str) -> list[str]:
    """Every line of a blob without its end, as a diff shows it.

    Raises:
        InvalidInput: `not_text`. TooLarge: it is over `TEXT_LIMIT`. GitError: it is not there.
    """
    if await blob_size(shadow, id) > TEXT_LIMIT:
        raise TooLarge(f"the file is over {TEXT_LIMIT} bytes", limit=TEXT_LIMIT)
    content = (await shadow.read_blobs([id]))[id]
    if b"\0" in content:
        raise InvalidInput("not a text", code="not_text")
    lines = content.decode(errors="replace").split("\n")
    return lines if lines[-1] else lines[:-1]


async def blob_size(shadow: Shadow, id: str) -> int:
    """Bytes of a blob. Raises GitError: it is not there."""
    return int(await shadow.git("cat-file", "-s", id))


async def read_lines(shadow: Shadow, blobs: Collection[Blob]) -> dict[str, Lines | None]:
    """The lines of each blob by its id; None for what is no text or over the limit."""
    contents = await shadow.read_blobs(blob.id for blob in blobs if blob.size <= TEXT_LIMIT)

    def count() -> dict[str, Lines | None]:
        return {blob.id: lines_of(contents[blob.id]) if blob.id in contents else None for blob in blobs}

    return await run_in_thread(count)


def _entries(output: bytes) -> Iterator[tuple[str, Blob]]:
    for entry in output.split(b"\0")[:-1]:
        head, _, name = entry.partition(b"\t")
        _, kind, id, size = head.split()
        if kind == b"blob":
            yield shown_name(name), Blob(id.decode(), int(size))
