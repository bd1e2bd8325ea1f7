"""What a backup says of itself: which tables it holds, and what of each session."""

from typing import Literal

from coder.model.values import Time, Value


class Parcel(Value):
    """A session's work apart from its repository: the tree of its files, its branch, and the host's own refs.

    `needs` are the commits that a repository must have for the rest to fit into it. `left_out` names files that no
    tree holds.
    """

    tree: str
    tip: str | None
    needs: tuple[str, ...] = ()
    refs: dict[str, str] = {}
    left_out: tuple[str, ...] = ()


class CopiedTable(Value):
    columns: tuple[str, ...]
    rows: int


class Backup(Value):
    """The first file of a backup. A turn of `was_running` sessions ran meanwhile: it is `interrupted` once restored."""

    format: Literal[1] = 1
    version: str
    made_at: Time
    home: str
    tables: dict[str, CopiedTable]
    parcels: dict[str, Parcel] = {}
    """By session."""
    was_running: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
