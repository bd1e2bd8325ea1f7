"""Submodules of a new worktree, out of what the project's checkout has of them: nothing is fetched from anywhere."""

import os
import re
from pathlib import Path

import anyio

from coder.errors import GitError, InvalidInput
from coder.worktrees.git import run_git

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/ +@-]{0,199}\Z")


async def add_submodules(repo: Path, worktree: Path) -> tuple[str, ...]:
    """Check out every submodule of the worktree's commit at the commit it is pinned to; gives their paths.

    Submodules of submodules are left alone.

    Raises:
        InvalidInput: one has a name or a path that is not taken. GitError: the checkout has not got one, or not the
            commit that is needed; the message names it.
    """
    common = await run_git("rev-parse", "--path-format=absolute", "--git-common-dir", cwd=repo)
    modules = Path(os.fsdecode(common).strip("\n")) / "modules"
    done: list[str] = []
    for name, path in (await _listed(worktree)).items():
        if not _NAME.match(name) or ".." in name.split("/"):
            raise InvalidInput(f"a submodule with the name {name!r} is not set up", name=name)
        source = modules / name
        if not await anyio.Path(source / "HEAD").is_file():
            raise GitError(
                f"submodule {path} is not in the checkout; run `git submodule update --init` there, then run the setup"
                " again",
                path=path,
            )
        await _check_out(worktree, name, path, source)
        done.append(path)
    return tuple(done)


async def _listed(worktree: Path) -> dict[str, str]:
    """The paths of the submodules that the commit pins, by their names."""
    question = ("config", "--null", "--blob", "HEAD:.gitmodules", "--get-regexp", r"^submodule\..*\.path$")
    try:
        output = await run_git(*question, cwd=worktree, accepted=(0, 1))
    except GitError:
        # no such file: no submodules
        return {}
    entries = [entry.partition("\n") for entry in output.decode(errors="surrogateescape").split("\0") if entry]
    named = {path: key.removeprefix("submodule.").removesuffix(".path") for key, _, path in entries}
    pinned = await run_git("ls-tree", "-r", "-z", "HEAD", cwd=worktree)
    links = [line for line in pinned.decode(errors="surrogateescape").split("\0") if line.startswith("160000 ")]
    paths = [line.partition("\t")[2] for line in links]
    if unnamed := [path for path in paths if path not in named]:
        raise GitError(f"submodule {unnamed[0]} is not described in .gitmodules", path=unnamed[0])
    return {named[path]: path for path in paths}


async def _check_out(worktree: Path, name: str, path: str, source: Path) -> None:
    # The address is the checkout's own copy, for this one command: nothing is written into the repository's settings,
    # and the only transport that is allowed reads a folder that the host has named.
    config = {f"submodule.{name}.url": os.fspath(source), "protocol.file.allow": "always"}
    try:
        await run_git("submodule", "update", "--checkout", "--force", "--", path, cwd=worktree, config=config)
    except GitError as error:
        words = str(error.fields.get("stderr") or error).splitlines()
        raise GitError(
            f"submodule {path} could not be checked out: {words[-1] if words else error}", path=path
        ) from error
