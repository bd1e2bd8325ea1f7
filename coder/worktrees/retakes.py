"""The next snapshot of a worktree out of what is remembered of the last one, without git as far as that is certain.

What git found holds as long as nothing that it looked at has changed: `looks` says so, and where it cannot, the content
of a file does. A few files that were edited, added or removed are read and hashed here. With anything else git looks.

The shadow's index gets the names of files that come and go. What it says of their content may be older than the tree
that is made here, which git finds out by itself.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from coder.errors import CoderError
from coder.worktrees.fingerprints import LONG_REST, SHORT_REST, Fingerprint, Fingerprints
from coder.worktrees.git import run_at_once, run_in_thread
from coder.worktrees.looks import STAMPED, Look, TooMany, Unclear, filesystem, is_rule, take_look
from coder.worktrees.objects import (
    Entry,
    Made,
    Object,
    file_names,
    find_entry,
    make_object,
    make_tree,
    parse_listing,
    store_objects,
)
from coder.worktrees.paths import open_root
from coder.worktrees.refusals import refusal, unlisted
from coder.worktrees.shadow import Shadow, excludes_file, index_checksum, removed_submodules

_READ_FILES = 64
_READ_BYTES = 1024 * 1024
"""More files, or a larger one, are left to git."""
_DECIDER_LIMIT = 64 * 1024
_INDEX_BYTES = 160
"""An entry of an index is seldom larger."""
_HINTED = 500

# of other names git alone says whether it takes them
_PLAIN = re.compile(rb"[\x20-\x7d]+")
_ODD = re.compile(rb"[:\\]")


@dataclass(frozen=True)
class News:
    """How a look differs from what is remembered: files by name, and folders that are new."""

    doubtful: frozenset[bytes]
    gone: frozenset[bytes]
    added: frozenset[bytes]
    folders: frozenset[bytes]

    @property
    def names(self) -> frozenset[bytes]:
        return self.doubtful | self.gone | self.added


@dataclass(frozen=True)
class View:
    """A worktree as it was found before anybody else looked at it.

    `before` is what is remembered and `news` what is new to that, where the look could be compared with it.
    """

    known: Fingerprints
    look: Look
    deciders: tuple[bytes | None, ...]
    before: Fingerprint | None = None
    news: News | None = None


async def take_view(shadow: Shadow) -> View | None:
    """Look at the worktree; None where nothing is remembered of it and nothing could be."""
    known = shadow.fingerprints
    if known is None or known.is_resting(shadow.git_dir):
        return None
    before, hint = known.find(shadow.git_dir), known.hint(shadow.git_dir)
    try:
        return await run_in_thread(lambda: _view(shadow, known, before, hint))
    except TooMany as error:
        ignored = hint | await _hints(shadow, error.folders)
        # with what is new in it the next look may come to an end
        known.drop(shadow.git_dir, ignored=ignored, rest=LONG_REST if ignored <= hint else 0)
    except (Unclear, OSError):
        known.drop(shadow.git_dir, ignored=hint, rest=SHORT_REST)
    return None


async def retake(shadow: Shadow, view: View) -> str | None:
    """The tree of the worktree as it is now; None where git has to look."""
    if view.before is None or view.news is None:
        return None
    try:
        kept = await _retake(shadow, view, view.before, view.news)
    except (Unclear, CoderError, OSError, ValueError):
        return None
    view.known.keep(shadow.git_dir, kept)
    return kept.tree.hex()


async def remember(shadow: Shadow, view: View, tree: str) -> None:
    """Keep that git has made `tree` of what was seen before it looked, if every file of it was seen, and no other."""
    look = view.look
    if any(is_rule(name) and look.moment.is_racy(stamp) for name, stamp in look.files.items()):
        return
    try:
        view.known.keep(shadow.git_dir, await _compared(shadow, view, tree))
    except (Unclear, CoderError, OSError, ValueError):
        view.known.drop(shadow.git_dir, rest=SHORT_REST)


async def _retake(shadow: Shadow, view: View, before: Fingerprint, news: News) -> Fingerprint:
    look, ignored = view.look, before.ignored
    if news.added or news.gone or news.folders:
        folders = frozenset(folder + b"/" for folder in news.folders)
        found = await _find_ignored(shadow, news.added | news.gone | folders)
        if any(name in found or name + b"/" in found for name in news.gone):
            raise Unclear("known though it would be ignored")
        ignored, look = ignored | found, look.without(found)
        news = _news(before.look, look)
    if len(news.names) > _READ_FILES or len(ignored) > view.known.file_limit or not all(map(_is_plain, news.added)):
        raise Unclear("to be left to git")
    kept = replace(before, look=look, ignored=ignored)
    if not news.names:
        return kept
    read = await run_in_thread(lambda: _read(shadow, kept, news))
    if not read and not news.gone:
        return kept
    done: list[Made] = []

    async def make() -> None:
        done.append(await run_in_thread(lambda: _made(shadow, kept, news, read)))

    await run_at_once(make, lambda: _name(shadow, news))
    (made,) = done
    deciders = await run_in_thread(lambda: _deciders(shadow))
    if deciders[1:] != view.deciders[1:]:
        raise Unclear("other files are ignored than before")
    return replace(kept, deciders=deciders, tree=made.tree, content=made.content)


async def _name(shadow: Shadow, news: News) -> None:
    """Make the index hold all names of the tree, whatever it says of their content: a file that is known stays known
    when it would be ignored."""
    await shadow.forget(sorted(news.gone))
    await shadow.learn(sorted(news.added))


async def _compared(shadow: Shadow, view: View, tree: str) -> Fingerprint:
    """Of what was seen and the tree that git has made, which must be of one mind."""
    content = parse_listing(tree, await shadow.git("ls-tree", "-r", "-t", "-z", "--full-tree", tree))
    strangers = [name for name in view.look.files if find_entry(content, name) is None]
    folders = [*view.look.folders.keys() - content.keys(), *view.look.closed]
    ignored = await _find_ignored(shadow, [*strangers, *(folder + b"/" for folder in folders)])
    look = view.look.without(ignored)
    seen = {name for name in look.files if not is_rule(name) or find_entry(content, name)}
    if seen != set(file_names(content)) or any(folder + b"/" not in ignored for folder in view.look.closed):
        raise Unclear("files came or went meanwhile")
    deciders = await run_in_thread(lambda: _deciders(shadow))
    if deciders[1:] != view.deciders[1:]:
        raise Unclear("other files are ignored than before")
    return Fingerprint(look, ignored, deciders, bytes.fromhex(tree), content)


def _view(shadow: Shadow, known: Fingerprints, before: Fingerprint | None, hint: frozenset[bytes]) -> View:
    index = shadow.git_dir / "index"
    if index.exists() and index.stat().st_size > _INDEX_BYTES * known.file_limit:
        raise TooMany(())
    if removed_submodules(shadow):
        raise Unclear("a submodule was removed")
    moment = known.moment()
    deciders = _deciders(shadow)
    if before and before.deciders == deciders and not moment.is_set_back(before.look.moment):
        look = take_look(shadow.worktree, moment, before=before.look, skipped=before.ignored, limit=known.file_limit)
        news = _news(before.look, look)
        if _is_comparable(before.look, look, news):
            return View(known, look, deciders, before, news)
    elif filesystem(shadow.worktree) not in STAMPED:
        raise Unclear("no filesystem whose times can be believed")
    look = take_look(shadow.worktree, moment, skipped=hint, limit=known.file_limit)
    return View(known, look, deciders)


def _deciders(shadow: Shadow) -> tuple[bytes | None, ...]:
    """Beside the worktree: the index, and what says which files are ignored. Blocks."""
    folder, excludes = shadow.git_dir, excludes_file(shadow)
    places = [folder / "config", folder / "info" / "exclude", folder / "info" / "attributes", excludes]
    # written once, when the shadow was made: in another one the objects are not there
    made = (folder / "HEAD").stat()
    born = b"%d %d" % (made.st_ino, made.st_ctime_ns)
    return (index_checksum(shadow).encode(), born, *(_content(place) for place in places))


def _content(place: Path) -> bytes | None:
    try:
        with place.open("rb") as file:
            content = file.read(_DECIDER_LIMIT + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if len(content) > _DECIDER_LIMIT:
        raise Unclear(f"too large: {place}")
    return content


def _is_comparable(before: Look, now: Look, news: News) -> bool:
    """Whether the same is ignored, and no ignored folder has been opened or closed."""
    is_same = all(now.closed.get(name, mode) == mode for name, mode in before.closed.items())
    return is_same and not any(is_rule(name) for name in news.names)


def _news(before: Look, now: Look) -> News:
    doubtful = frozenset(
        name
        for name, stamp in now.files.items()
        if (old := before.files.get(name)) is not None and (old != stamp or before.moment.is_racy(stamp))
    )
    gone, added = before.files.keys() - now.files.keys(), now.files.keys() - before.files.keys()
    return News(doubtful, frozenset(gone), frozenset(added), frozenset(now.folders.keys() - before.folders.keys()))


async def _find_ignored(shadow: Shadow, names: Iterable[bytes]) -> frozenset[bytes]:
    """Those that git ignores, as long as it knows nothing in them; folders end with a slash."""
    asked = sorted(names)
    if not asked:
        return frozenset()
    if any(name.startswith(b":") for name in asked):
        raise Unclear("a name that means something to git")
    given = {name.rstrip(b"/"): name for name in asked}
    command = ("check-ignore", "--no-index", "--verbose", "-z", "--stdin")
    fields = (await shadow.git(*command, input=b"\0".join(given) + b"\0", accepted=(0, 1))).split(b"\0")
    # source, line, pattern, path: a pattern that takes back another is told too
    matches = zip(fields[2::4], fields[3::4], strict=False)
    return frozenset(given[path] for pattern, path in matches if not pattern.startswith(b"!"))


def _is_plain(name: bytes) -> bool:
    return _PLAIN.fullmatch(name) is not None and _ODD.search(name) is None


def _read(shadow: Shadow, kept: Fingerprint, news: News) -> dict[bytes, tuple[Entry, Object]]:
    """The files that are not as the tree has them."""
    read: dict[bytes, tuple[Entry, Object]] = {}
    with open_root(shadow.worktree) as root:
        for name in news.doubtful | news.added:
            if refusal(shadow.worktree, name) is not None or kept.look.files[name][1] > _READ_BYTES:
                raise Unclear("to be left to git")
            state = root.state(os.fsdecode(name))
            if state is None or state.kind not in ("file", "link"):
                raise Unclear("not a file any more")
            made = make_object(b"blob", state.content, id_length=len(kept.tree))
            mode = b"120000" if state.kind == "link" else b"100755" if state.mode & 0o100 else b"100644"
            if (mode, made.id) != find_entry(kept.content, name):
                read[name] = ((mode, made.id), made)
    return read


def _made(shadow: Shadow, kept: Fingerprint, news: News, read: Mapping[bytes, tuple[Entry, Object]]) -> Made:
    if unlisted(shadow.worktree, read, shadow.git_dir / "unlisted"):
        raise Unclear("something beside them cannot be taken")
    wanted: dict[bytes, Entry | None] = dict.fromkeys(news.gone)
    made = make_tree(kept.tree, kept.content, wanted | {name: entry for name, (entry, _) in read.items()})
    store_objects(shadow.git_dir / "objects", [*(blob for _, blob in read.values()), *made.objects])
    return made


async def _hints(shadow: Shadow, folders: Iterable[bytes]) -> frozenset[bytes]:
    """Those of the outermost folders that need not be entered."""
    try:
        return await _find_ignored(shadow, [folder + b"/" for folder in folders if folder][:_HINTED])
    except (Unclear, CoderError):
        return frozenset()
