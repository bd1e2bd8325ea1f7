"""Files of a worktree as they are found by name."""

from typing import Literal

from coder.model.values import Value

Kind = Literal["folder", "file"]


class FoundFile(Value):
    """`path` is relative to the worktree, in the form in which changes name files."""

    path: str


class FolderEntry(Value):
    """What is directly in a folder; `path` as in `FoundFile`, `name` its last part."""

    path: str
    name: str
    kind: Kind


class Folder(Value):
    """A folder of a worktree, folders first; `more` entries are left out. The root's path is empty."""

    path: str
    entries: tuple[FolderEntry, ...]
    more: int = 0
