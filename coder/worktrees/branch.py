"""A session's branch in the user's repository: commits are made beside it and carried in, then the branch is moved.

Nothing of the repository's own runs: no hook, no filter it defines, no signing program. Files are not touched.
"""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from coder.errors import CoderError, Conflict, GitError
from coder.failpoints import failpoint
from coder.model.decisions import BranchMove
from coder.worktrees.conversion import committed_tree, git_folder, keep_raw, own_folders, raw_tree
from coder.worktrees.git import run_git, run_in_thread
from coder.worktrees.merge import NOBODY
from coder.worktrees.shadow import Shadow
from coder.worktrees.tree import differences
from coder.worktrees.worktree import without_filters

_UNPACKED = 200
"""Objects up to this number are stored one by one, as git does with what it fetches."""

_INTERRUPTED = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "rebase-merge", "rebase-apply")
_ABSENT = b"000000"
_MOVER = {name: value for name, value in NOBODY.items() if not name.endswith("DATE")}
_ADDRESS = "noreply.coder.invalid"
_IDENTITY = re.compile(r"(?P<name>.*) <(?P<email>[^<>]*)> \d+ [-+]\d{4}")


@dataclass(frozen=True)
class Tip:
    """Where a branch stands. `tree` is the commit's own tree, `raw` what the shadow makes of a fresh checkout of it."""

    branch: str
    commit: str
    tree: str
    raw: str


async def read_tip(shadow: Shadow, branch: str) -> Tip:
    """The commit that the worktree's branch stands on.

    Raises:
        Conflict: `worktree_gone`; `branch_not_checked_out`, its HEAD is elsewhere; `git_underway`, a merge or rebase
            was begun there and has not ended; `branch_missing`.
    """
    folder = await git_folder(shadow)

    def look() -> tuple[str, list[str]]:
        return (folder / "HEAD").read_text().strip(), [name for name in _INTERRUPTED if (folder / name).exists()]

    head, interrupted = await run_in_thread(look)
    if interrupted:
        raise Conflict(
            f"git is in the middle of something in the worktree ({interrupted[0]}): finish or abort it first",
            code="git_underway",
        )
    if head != f"ref: refs/heads/{branch}":
        where = head.removeprefix("ref: refs/heads/")
        raise Conflict(
            f"the worktree is not on its branch {branch} but on {where}; check the branch out again",
            code="branch_not_checked_out",
            branch=branch,
            head=where,
        )
    commit = await find_commit(shadow, f"refs/heads/{branch}")
    if commit is None:
        raise Conflict(f"the branch {branch} is gone", code="branch_missing", branch=branch)
    tree = (await shadow.git("rev-parse", "--verify", f"{commit}^{{tree}}")).decode().strip()
    return Tip(branch, commit, tree, await raw_tree(shadow, commit))


async def find_tip(shadow: Shadow, branch: str) -> str | None:
    """The raw tree of what the branch holds, if the worktree is on it and `read_tip` has nothing against it."""
    try:
        return (await read_tip(shadow, branch)).raw
    except Conflict:
        return None


async def find_commit(shadow: Shadow, ref: str) -> str | None:
    """The commit that a ref of the repository leads to."""
    question = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    return (await run_git(*question, cwd=shadow.repo, accepted=(0, 1, 128))).decode().strip() or None


async def read_author(repo: Path) -> Mapping[str, str]:
    """The user's name and address, from git's configuration, as environment for git.

    Raises:
        Conflict: `identity_missing`, it says what to set.
    """
    config = {"user.useConfigOnly": "true"}
    found = await run_git("var", "GIT_AUTHOR_IDENT", cwd=repo, config=config, accepted=(0, 128))
    match = _IDENTITY.fullmatch(found.decode(errors="surrogateescape").strip())
    if match is None or not match["name"].strip() or not match["email"].strip():
        raise Conflict(
            "git does not know who you are: set it with `git config --global user.name NAME` and "
            "`git config --global user.email ADDRESS`",
            code="identity_missing",
        )
    return {f"GIT_{role}_{part}": match[part.lower()] for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}


def co_author(id: str, label: str) -> str:
    """The trailer that names an agent. The address exists nowhere."""
    name = " ".join(re.sub(r"[<>\x00-\x1f\x7f]", " ", label).split()) or id
    return f"Co-authored-by: {name} <{re.sub(r'[^A-Za-z0-9._-]', '-', id)}@{_ADDRESS}>"


async def write_commit(shadow: Shadow, tip: Tip, raw: str, message: str, trailers: Sequence[str] = ()) -> str:
    """Make the commit of a raw tree on top of `tip` and carry it into the repository, where no ref leads to it yet.

    Raises:
        Conflict: `identity_missing`.
    """
    author = await read_author(shadow.repo)
    tree = await committed_tree(shadow, tip.commit, raw, await differences(shadow, tip.raw, raw))
    words = await with_trailers(shadow, message, trailers)
    commit = await make_commit(shadow, tree, [tip.commit], words, author)
    await keep_raw(shadow, commit, raw)
    await carry(shadow, commit, [tip.commit])
    return commit


async def with_trailers(shadow: Shadow, message: str, trailers: Sequence[str]) -> bytes:
    """The message with its trailers, each once."""
    words = "\n".join(line.rstrip() for line in message.splitlines()).strip("\n") + "\n"
    text = words.encode(errors="surrogateescape")
    if not trailers:
        return text
    options = ("--no-divider", "--where=end", "--if-exists=addIfDifferent")
    added = [word for trailer in trailers for word in ("--trailer", trailer)]
    return await shadow.git("interpret-trailers", *options, *added, input=text)


async def make_commit(
    shadow: Shadow, tree: str, parents: Sequence[str], message: bytes, author: Mapping[str, str]
) -> str:
    """A commit object in the shadow."""
    arguments = [word for parent in parents for word in ("-p", parent)]
    return (await shadow.git("commit-tree", *arguments, tree, input=message, env=author)).decode().strip()


async def carry(shadow: Shadow, commit: str, known: Sequence[str]) -> None:
    """Bring a commit of the shadow with everything it needs into the repository, which has the `known` ones."""
    wanted = f"{commit}\n" + "".join(f"^{each}\n" for each in known)
    listed = await shadow.git("rev-list", "--objects", "--stdin", input=wanted.encode())
    pack = await shadow.git("pack-objects", "--revs", "--stdout", "--quiet", input=wanted.encode())
    few = listed.count(b"\n") <= _UNPACKED
    receive = ("unpack-objects", "-q") if few else ("index-pack", "--stdin")
    await run_git(*receive, cwd=shadow.repo, input=pack)


async def move_branch(shadow: Shadow, move: BranchMove) -> None:
    """Let the branch stand on another commit, if it is where it was; the worktree's index follows, its files stay.

    What was staged in the worktree for a file that the commits change otherwise stays staged.

    Raises:
        Conflict: `branch_moved`; `index_locked`, another git is writing the worktree's index.
    """
    places = _own_places(shadow, await git_folder(shadow))
    # first the index: cut off here, the worktree shows as staged what is about to be committed
    paths = await _bring_index(shadow, places, move.old, move.new)
    failpoint("branch.staged")
    try:
        await _set_ref(shadow, move, places)
    except Conflict:
        with suppress(CoderError):
            await _bring_index(shadow, places, move.new, move.old, paths)
        raise


async def take_branch_back(shadow: Shadow, move: BranchMove) -> bool:
    """Let the branch stand where it stood before the move; False where somebody has moved it since: it is left alone.

    Right at every point that `move_branch` can have got to. The worktree's index follows where it is on the branch.

    Raises:
        Conflict: as `move_branch`; `worktree_gone`.
    """
    head = await find_commit(shadow, move.ref)
    if head not in (move.old, move.new):
        return False
    places = _own_places(shadow, await git_folder(shadow))
    on = await run_in_thread(Path(places["GIT_DIR"], "HEAD").read_text)
    if on.strip() == f"ref: {move.ref}":
        await _bring_index(shadow, places, move.new, move.old)
    if head == move.new:
        await _set_ref(shadow, move.back, places)
    return True


async def _set_ref(shadow: Shadow, move: BranchMove, places: Mapping[str, str]) -> None:
    arguments = ("update-ref", "-m", "coder: move the session's branch", move.ref, move.new, move.old)
    try:
        await run_git(*arguments, cwd=shadow.repo, env=places)
    except GitError as error:
        raise Conflict(
            f"the branch {move.branch} was moved meanwhile; look again and repeat",
            code="branch_moved",
            branch=move.branch,
        ) from error


def _own_places(shadow: Shadow, folder: Path) -> Mapping[str, str]:
    """The worktree's own index and files."""
    return {**own_folders(folder), "GIT_WORK_TREE": os.fspath(shadow.worktree), **_MOVER}


async def _bring_index(
    shadow: Shadow, places: Mapping[str, str], old: str, new: str, among: Collection[bytes] | None = None
) -> Collection[bytes]:
    """Move the worktree's own index from one commit to another, entry by entry, where it holds what `old` has.

    Only paths `among` these; answers the paths that were moved.
    """
    changed = await shadow.git("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", old, new)
    fields = changed.split(b"\0")[:-1]
    staged = await _staged(shadow, places)
    entries: dict[bytes, bytes] = {}
    for head, path in zip(fields[::2], fields[1::2], strict=True):
        old_mode, new_mode, old_blob, new_blob, _ = head[1:].split(b" ")
        expected = [] if old_mode == _ABSENT else [old_mode + b" " + old_blob + b" 0"]
        if staged.get(path, []) == expected and (among is None or path in among):
            mode = b"0" if new_mode == _ABSENT else new_mode
            entries[path] = mode + b" " + new_blob + b"\t" + path + b"\0"
    if entries:
        # removals first: a file may stand where another's folder was
        removals = [line for line in entries.values() if line.startswith(b"0 ")]
        lines = b"".join([*removals, *(line for line in entries.values() if not line.startswith(b"0 "))])
        try:
            update = ("update-index", "--replace", "-z", "--index-info")
            # writing an index compares files that changed in the same second, through their filters
            config = await without_filters(shadow.worktree, places)
            await run_git(*update, cwd=shadow.worktree, env=places, config=config, input=lines)
        except GitError as error:
            raise Conflict(f"the worktree's index cannot be written: {error}", code="index_locked") from error
    return entries.keys()


async def _staged(shadow: Shadow, places: Mapping[str, str]) -> Mapping[bytes, list[bytes]]:
    """What the worktree's own index holds for each path, `mode blob stage`."""
    staged: dict[bytes, list[bytes]] = {}
    for entry in (await run_git("ls-files", "--stage", "-z", cwd=shadow.worktree, env=places)).split(b"\0")[:-1]:
        head, _, path = entry.partition(b"\t")
        staged.setdefault(path, []).append(head)
    return staged
