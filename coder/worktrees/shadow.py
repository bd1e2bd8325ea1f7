"""The host's own git directory beside a worktree: the repository's objects to read, nothing else of theirs.

No configuration, hook or attribute of the repository is read here, so no command that somebody has put there can run.
Files are taken byte for byte, without line-end conversion: what is compared is what is on the disk.
"""

import logging
import os
import re
import shutil
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coder.errors import CoderError, GitError
from coder.settings import inherited_environment
from coder.worktrees.fingerprints import Fingerprints
from coder.worktrees.git import run_at_once, run_git, run_in_thread
from coder.worktrees.paths import open_root
from coder.worktrees.refusals import REMOVED_SUBMODULE, LeftOut, left_out

logger = logging.getLogger(__name__)

_RAW_ATTRIBUTES = "* -text !eol -ident -filter !working-tree-encoding !diff !merge\n"
_CONVERSION = re.compile(rb"filter|ident|working-tree-encoding|crlf", re.IGNORECASE)
_EXCLUDES = re.compile(r'^    excludesFile = "(.*)"$', re.MULTILINE)
_CONFIG = """\
[core]
    repositoryFormatVersion = {version}
    bare = false
    autoCrlf = false
    eol = lf
    fileMode = true
    symlinks = true
    logAllRefUpdates = false
    attributesFile = {null}
{excludes}
[extensions]
{extensions}
"""


@dataclass(frozen=True)
class Shadow:
    """A worktree, the repository it belongs to, and the git directory that the host keeps for it."""

    git_dir: Path
    repo: Path
    worktree: Path
    fingerprints: Fingerprints | None = field(default=None, compare=False, repr=False)
    """Where the last snapshot is remembered, so that the next one need not ask git."""

    async def git(
        self,
        *args: str,
        cwd: Path | None = None,
        index: Path | None = None,
        input: bytes | None = None,
        accepted: Collection[int] = (0,),
        env: Mapping[str, str] | None = None,
    ) -> bytes:
        """Run git on the host's own directory and index, with the worktree or `cwd` as its working tree."""
        work_tree = cwd or self.worktree
        environment = {
            "GIT_DIR": os.fspath(self.git_dir),
            "GIT_WORK_TREE": os.fspath(work_tree),
            "GIT_INDEX_FILE": os.fspath(index or self.git_dir / "index"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            **(env or {}),
        }
        return await run_git(*args, cwd=work_tree, env=environment, input=input, accepted=accepted)

    async def read_blobs(self, blobs: Iterable[str]) -> dict[str, bytes]:
        """The content of each blob. Raises GitError for one that is missing."""
        wanted = sorted(set(blobs))
        if not wanted:
            return {}
        output = await self.git("cat-file", "--batch", input="".join(f"{blob}\n" for blob in wanted).encode())
        found: dict[str, bytes] = {}
        position = 0
        for blob in wanted:
            end = output.index(b"\n", position)
            head = output[position:end].split(b" ")
            if len(head) != 3:
                raise GitError(f"object {blob} is missing", blob=blob)
            start, size = end + 1, int(head[2])
            found[blob] = output[start : start + size]
            position = start + size + 1
        return found

    async def write_blob(self, content: bytes) -> str:
        """Keep `content`; its object id."""
        return (await self.git("hash-object", "-w", "--stdin", input=content)).decode().strip()

    async def forget(self, names: Sequence[bytes]) -> None:
        """Take names out of the index."""
        if names:
            entries = b"".join(name + b"\0" for name in names)
            await self.git("update-index", "--force-remove", "-z", "--stdin", input=entries)

    async def learn(self, names: Sequence[bytes]) -> None:
        """Take files into the index as they are now; names that have no file any more go out of it."""
        if names:
            entries = b"".join(name + b"\0" for name in names)
            await self.git("update-index", "--add", "--remove", "--replace", "-z", "--stdin", input=entries)


async def create_shadow(shadow: Shadow) -> None:
    """Make the git directory of a worktree that is there."""
    await lay_out(shadow)
    await seed(shadow)


async def seed(shadow: Shadow) -> bool:
    """Start from the worktree's own index, whose stat cache spares reading every file.

    Only where no conversion lies between its blobs and the files. False when the shadow's index is another: it has no
    submodules, which are never entered, or it has yet to be made.
    """
    try:
        return await _seed(shadow)
    except (CoderError, OSError):
        logger.warning("snapshots start without a stat cache", extra={"worktree": str(shadow.worktree)}, exc_info=True)
        await run_in_thread(lambda: (shadow.git_dir / "index").unlink(missing_ok=True))
        return False


async def settle(shadow: Shadow) -> None:
    """Write a seeded index again, once, in a later second than its files.

    Git compares times in seconds: as long as index and files are of the same second it reads every file each time.
    """
    marker, index = shadow.git_dir / "unsettled", shadow.git_dir / "index"

    def is_due() -> bool:
        return marker.exists() and int(index.stat().st_mtime) < int(time.time())

    if await run_in_thread(is_due):
        await shadow.git("update-index", "--force-write-index")
        await run_in_thread(marker.unlink)


def removed_submodules(shadow: Shadow) -> list[LeftOut]:
    """The submodules that the worktree began with and whose folders are gone. Blocks."""
    known = _submodules(shadow)
    names = known.read_bytes().split(b"\0") if known.exists() else []
    root = os.fsencode(shadow.worktree)
    return [
        left_out(name, REMOVED_SUBMODULE)
        for name in names
        if name and not os.path.lexists(os.path.join(root, name))  # noqa: PTH118
    ]


def _submodules(shadow: Shadow) -> Path:
    return shadow.git_dir / "submodules"


async def write_index_tree(shadow: Shadow) -> str:
    """The index as a tree; git is asked only when the index is another than the last time."""

    def known() -> str | None:
        record = _last_tree(shadow)
        tree, _, checksum = (record.read_text() if record.exists() else "").partition(" ")
        return tree if checksum == index_checksum(shadow) else None

    written = await run_in_thread(known)
    if written is None:
        written = _text(await shadow.git("write-tree"))
        await remember_tree(shadow, written)
    return written


async def remember_tree(shadow: Shadow, tree: str) -> None:
    """Note that `tree` is what the index holds as it is now."""
    await run_in_thread(lambda: _last_tree(shadow).write_text(f"{tree} {index_checksum(shadow)}"))


def _last_tree(shadow: Shadow) -> Path:
    return shadow.git_dir / "last-tree"


def index_checksum(shadow: Shadow) -> str:
    """Git ends an index with the digest of everything before; a note about it cannot fit another one."""
    index = shadow.git_dir / "index"
    if not index.exists():
        return "none"
    with index.open("rb") as file:
        file.seek(-20, os.SEEK_END)
        return file.read().hex()


def excludes_file(shadow: Shadow) -> Path:
    """The person's own file of what is ignored: the one that was set when the shadow was made, else git's default."""
    found = _EXCLUDES.search((shadow.git_dir / "config").read_text(errors="surrogateescape"))
    if found is None:
        return configuration_home() / "git/ignore"
    # git runs in the worktree
    return shadow.worktree / re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], found[1])


async def lay_out(shadow: Shadow) -> None:
    """Make the git directory, without an index; the worktree need not be there yet."""
    paths = ("--show-object-format", "--git-path", "objects", "--git-path", "info/exclude")
    output, excludes = await run_at_once(
        lambda: run_git("rev-parse", "--path-format=absolute", *paths, cwd=shadow.repo),
        lambda: run_git("config", "--type=path", "--get", "core.excludesFile", cwd=shadow.repo, accepted=(0, 1)),
    )
    object_format, objects, exclude = _text(output).splitlines()
    ignores = _text(excludes)
    config = _CONFIG.format(
        version=0 if object_format == "sha1" else 1,
        null=os.devnull,
        excludes=f"    excludesFile = {_quoted(ignores)}" if ignores else "",
        extensions="" if object_format == "sha1" else f"    objectFormat = {object_format}",
    )

    def write() -> None:
        for folder in ("refs", "objects/info", "objects/pack", "info"):
            (shadow.git_dir / folder).mkdir(parents=True, exist_ok=True)
        shadow.git_dir.chmod(0o700)
        (shadow.git_dir / "objects/info/alternates").write_bytes(os.fsencode(objects) + b"\n")
        (shadow.git_dir / "info/attributes").write_text(_RAW_ATTRIBUTES)
        if Path(exclude).is_file():
            shutil.copyfile(exclude, shadow.git_dir / "info/exclude")
        (shadow.git_dir / "config").write_text(config)
        # git takes the folder for a repository only from here on
        (shadow.git_dir / "HEAD").write_text("ref: refs/heads/none\n")

    await run_in_thread(write)
    # the other side of a diff where there is no file
    await shadow.git("hash-object", "-w", "--stdin", cwd=shadow.git_dir, input=b"")


async def _seed(shadow: Shadow) -> bool:
    if await has_conversion(shadow):
        return False
    index = await run_git("rev-parse", "--path-format=absolute", "--git-path", "index", cwd=shadow.worktree)
    # its time is part of what makes the cache safe
    await run_in_thread(lambda: shutil.copy2(_text(index), shadow.git_dir / "index"))
    entries = (await shadow.git("ls-files", "--stage", "-z")).split(b"\0")
    submodules = [entry.partition(b"\t")[2] for entry in entries if entry.startswith(b"160000 ")]
    await run_in_thread(lambda: _submodules(shadow).write_bytes(b"\0".join(submodules)))
    await shadow.forget(submodules)
    await run_in_thread((shadow.git_dir / "unsettled").touch)
    return not submodules


async def has_conversion(shadow: Shadow) -> bool:
    """Whether git may keep a file of this worktree otherwise than it is on the disk: line ends, filters, `$Id$`."""
    question = ("config", "--null", "--get-regexp", r"^core\.(autocrlf|eol|attributesfile|splitindex)$")
    place = ("rev-parse", "--path-format=absolute", "--git-path", "info/attributes")
    settings, tracked, local = await run_at_once(
        lambda: run_git(*question, cwd=shadow.worktree, accepted=(0, 1)),
        lambda: run_git("ls-files", "-z", "--", ":(glob)**/.gitattributes", cwd=shadow.worktree),
        lambda: run_git(*place, cwd=shadow.worktree),
    )
    harmless = {b"", b"core.autocrlf\ninput", b"core.autocrlf\nfalse", b"core.eol\nlf", b"core.splitindex\nfalse"}
    if not harmless.issuperset(settings.lower().split(b"\0")):
        return True

    def search() -> bool:
        if any(_converts(path) for path in (Path(_text(local)), configuration_home() / "git/attributes")):
            return True
        with open_root(shadow.worktree) as root:
            names = [os.fsdecode(name) for name in tracked.split(b"\0") if name]
            return any(_CONVERSION.search(root.read_bytes(name)) for name in names)

    return await run_in_thread(search)


def configuration_home() -> Path:
    """Where git looks for what a person has set, beside its configuration."""
    environment = inherited_environment()
    home = environment.get("XDG_CONFIG_HOME")
    return Path(home) if home else Path(environment.get("HOME", "/"), ".config")


def _converts(path: Path) -> bool:
    return path.is_file() and _CONVERSION.search(path.read_bytes()) is not None


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _text(output: bytes) -> str:
    return output.decode(errors="surrogateescape").rstrip("\n")
