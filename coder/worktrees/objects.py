"""Git's objects made without git: files and the trees above them, for a few files at a time.

A tree is kept as what its folders hold, so that only the folders above a change are made again.
"""

import hashlib
import os
import secrets
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

TREE = b"40000"

Entry = tuple[bytes, bytes]
"""Mode, as trees have it, and object id."""

Content = Mapping[bytes, Mapping[bytes, Entry]]
"""What is in each folder of a tree; the root's name is empty."""


@dataclass(frozen=True)
class Object:
    kind: bytes
    content: bytes
    id: bytes


@dataclass(frozen=True)
class Made:
    """A tree made from another, with the objects that it needs and the other had not."""

    tree: bytes
    content: Content
    objects: tuple[Object, ...]


def make_object(kind: bytes, content: bytes, *, id_length: int) -> Object:
    """`id_length` bytes of an id say by which digest: 20 is SHA-1, 32 SHA-256."""
    digest = hashlib.sha1(usedforsecurity=False) if id_length == 20 else hashlib.sha256()
    digest.update(b"%s %d\0" % (kind, len(content)))
    digest.update(content)
    return Object(kind, content, digest.digest())


def parse_listing(tree: str, listing: bytes) -> Content:
    """What `ls-tree -r -t -z` says. Raises ValueError: there is something else than files, links and folders."""
    content: dict[bytes, dict[bytes, Entry]] = {b"": {}}
    for line in listing.split(b"\0")[:-1]:
        head, _, path = line.partition(b"\t")
        mode, kind, id = head.split(b" ")
        folder, _, name = path.rpartition(b"/")
        if kind == b"tree":
            content[path] = {}
        elif kind != b"blob":
            raise ValueError(f"{tree} holds a {kind.decode()}")
        content[folder][name] = (mode.lstrip(b"0"), bytes.fromhex(id.decode()))
    return content


def file_names(content: Content) -> Iterable[bytes]:
    """All files of a tree."""
    for folder, entries in content.items():
        prefix = folder + b"/" if folder else b""
        yield from (prefix + name for name, (mode, _) in entries.items() if mode != TREE)


def find_entry(content: Content, path: bytes) -> Entry | None:
    folder, _, name = path.rpartition(b"/")
    return content.get(folder, {}).get(name)


def make_tree(tree: bytes, content: Content, wanted: Mapping[bytes, Entry | None]) -> Made:
    """`tree` with these files as they are given; None is no file.

    Raises:
        ValueError: `content` is not what the tree holds.
    """
    fresh: dict[bytes, dict[bytes, Entry]] = {}
    for path in wanted:
        for folder in ancestors(path):
            fresh.setdefault(folder, dict(content.get(folder, {})))
    _check(tree, content, fresh)
    for path, entry in wanted.items():
        folder, _, name = path.rpartition(b"/")
        if entry is None:
            fresh[folder].pop(name, None)
        else:
            fresh[folder][name] = entry
    objects = list(_close(fresh, len(tree)))
    empty = {folder for folder, entries in fresh.items() if not entries and folder}
    merged = {folder: entries for folder, entries in ({**content, **fresh}).items() if folder not in empty}
    return Made(objects[-1].id if objects else tree, merged, tuple(objects))


def store_objects(folder: Path, objects: Iterable[Object]) -> None:
    """Keep objects in a repository's folder of them, as loose files; each is there whole or not at all. Blocks."""
    # plain text: a path object costs as much as the writing
    root, temporary = os.fspath(folder), f"{os.fspath(folder)}/tmp_obj_{secrets.token_hex(8)}"
    for each in objects:
        name = each.id.hex()
        place = f"{root}/{name[:2]}/{name[2:]}"
        if os.path.exists(place):  # noqa: PTH110
            continue
        packed = zlib.compress(b"%s %d\0%s" % (each.kind, len(each.content), each.content), 1)
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
            with os.fdopen(fd, "wb") as file:
                file.write(packed)
            _move(temporary, place)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def _move(temporary: str, place: str) -> None:
    try:
        os.rename(temporary, place)  # noqa: PTH104
    except FileNotFoundError:
        Path(place).parent.mkdir(exist_ok=True)
        os.rename(temporary, place)  # noqa: PTH104


def ancestors(path: bytes) -> Iterable[bytes]:
    """The folders above a file, the root first."""
    yield b""
    position = path.find(b"/")
    while position >= 0:
        yield path[:position]
        position = path.find(b"/", position + 1)


def _check(tree: bytes, content: Content, folders: Iterable[bytes]) -> None:
    for folder in folders:
        entries = content.get(folder)
        if entries is None:
            continue
        recorded = (TREE, tree) if not folder else find_entry(content, folder)
        if recorded != (TREE, _tree_object(entries, len(tree)).id):
            raise ValueError(f"not what the tree holds: {folder!r}")


def _close(fresh: Mapping[bytes, dict[bytes, Entry]], id_length: int) -> Iterable[Object]:
    """The trees of these folders, the innermost first; each is entered above, an empty one is taken out there."""
    for folder in sorted(fresh, key=lambda name: (name.count(b"/") + bool(name), name), reverse=True):
        entries = fresh[folder]
        above, _, name = folder.rpartition(b"/")
        if entries or not folder:
            made = _tree_object(entries, id_length)
            yield made
            if folder:
                fresh[above][name] = (TREE, made.id)
        elif fresh[above].get(name, (b"",))[0] == TREE:
            # a file may stand in its place by now
            del fresh[above][name]


def _tree_object(entries: Mapping[bytes, Entry], id_length: int) -> Object:
    # git sorts a folder as if its name ended with a slash
    ordered = sorted(entries.items(), key=lambda item: item[0] + b"/" if item[1][0] == TREE else item[0])
    content = b"".join(b"%s %s\0%s" % (mode, name, id) for name, (mode, id) in ordered)
    return make_object(b"tree", content, id_length=id_length)
