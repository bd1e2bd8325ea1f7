"""Traps: what a hostile repository or agent lays so that a git command of the host runs a program of theirs."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from coder.testing.repositories import FILES, git, make_repository, write_files


class Place(Protocol):
    """Where a trap is laid: a repository and a worktree of it."""

    @property
    def repo(self) -> Path: ...

    @property
    def worktree(self) -> Path: ...


class Trap:
    """A program that leaves a file behind when it runs."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.sprung = folder / "sprung"
        self.program = folder / "trap"
        caller = "$(tr '\\0' ' ' < /proc/$PPID/cmdline)"
        self.program.write_text(f'#!/bin/sh\necho "$* by {caller}" >> {self.sprung}\ncat 2>/dev/null\nexit 0\n')
        self.program.chmod(0o755)


def filters(room: Place, trap: Trap) -> None:
    for name in ("clean", "smudge"):
        git(room.worktree, "config", f"filter.evil.{name}", str(trap.program))
    write_files(room.worktree, {".gitattributes": "* filter=evil\n"})


def filter_process(room: Place, trap: Trap) -> None:
    git(room.worktree, "config", "filter.evil.process", str(trap.program))
    git(room.worktree, "config", "filter.evil.required", "true")
    write_files(room.worktree, {".gitattributes": "* filter=evil\n"})


def filters_by_include(room: Place, trap: Trap) -> None:
    write_files(room.repo, {".git/more": f'[filter "evil"]\n\tclean = {trap.program}\n\tsmudge = {trap.program}\n'})
    git(room.worktree, "config", "include.path", "more")
    write_files(room.worktree, {".gitattributes": "* filter=evil\n"})


def diff_drivers(room: Place, trap: Trap) -> None:
    for key in ("diff.evil.command", "diff.evil.textconv", "diff.external", "merge.evil.driver"):
        git(room.worktree, "config", key, str(trap.program))
    write_files(room.worktree, {".gitattributes": "* diff=evil merge=evil\n"})


def fsmonitor(room: Place, trap: Trap) -> None:
    git(room.worktree, "config", "core.fsmonitor", str(trap.program))


def hooks(room: Place, trap: Trap) -> None:
    for name in ("post-checkout", "post-index-change", "reference-transaction", "pre-auto-gc", "post-commit"):
        (room.repo / ".git" / "hooks").mkdir(exist_ok=True)
        (room.repo / ".git" / "hooks" / name).symlink_to(trap.program)
    git(room.worktree, "config", "core.hooksPath", str(room.repo / ".git" / "hooks"))


def programs(room: Place, trap: Trap) -> None:
    for key in ("core.pager", "core.editor", "core.sshCommand", "core.askPass", "gpg.program", "pager.diff"):
        git(room.worktree, "config", key, str(trap.program))
    git(room.worktree, "config", "commit.gpgSign", "true")
    git(room.worktree, "config", "alias.status", f"!{trap.program}")


def nested_repository(room: Place, trap: Trap) -> None:
    nested = make_repository(room.worktree / "nested", {**FILES, ".gitattributes": "* filter=evil\n"})
    for key in ("filter.evil.clean", "filter.evil.smudge", "core.fsmonitor"):
        git(nested, "config", key, str(trap.program))
    (nested / "README.md").write_text("changed\n")


def nested_bare_repository(room: Place, trap: Trap) -> None:
    git(room.worktree, "init", "--quiet", "--bare", "src/bare")
    git(room.worktree / "src" / "bare", "config", "core.fsmonitor", str(trap.program))


def worktree_configuration(room: Place, trap: Trap) -> None:
    git(room.worktree, "config", "extensions.worktreeConfig", "true")
    for key in ("filter.evil.clean", "filter.evil.smudge", "core.fsmonitor"):
        git(room.worktree, "config", "--worktree", key, str(trap.program))
    write_files(room.worktree, {".gitattributes": "* filter=evil\n"})


def swapped_git_file(room: Place, trap: Trap) -> None:
    other = make_repository(room.worktree.parent / "other")
    for key in ("filter.evil.clean", "filter.evil.smudge", "core.fsmonitor", "core.pager"):
        git(other, "config", key, str(trap.program))
    (room.worktree / ".git").write_text(f"gitdir: {other / '.git'}\n")
    write_files(room.worktree, {".gitattributes": "* filter=evil\n"})


def partial_clone(room: Place, trap: Trap) -> None:
    for key, value in {
        "remote.origin.url": f"ext::{trap.program}",
        "remote.origin.promisor": "true",
        "remote.origin.uploadpack": str(trap.program),
        "extensions.partialClone": "origin",
        "protocol.ext.allow": "always",
        "protocol.allow": "always",
    }.items():
        git(room.worktree, "config", key, value)


def common_folder_swapped(room: Place, trap: Trap) -> None:
    other = make_repository(room.worktree.parent.parent / "common")
    for key in ("filter.evil.clean", "filter.evil.smudge", "core.fsmonitor", "core.pager", "merge.evil.driver"):
        git(other, "config", key, str(trap.program))
    (_own_folder(room) / "commondir").write_text(f"{other / '.git'}\n")
    write_files(room.worktree, {".gitattributes": "* filter=evil merge=evil\n"})


def linked_git_file(room: Place, trap: Trap) -> None:
    other = make_repository(room.worktree.parent.parent / "linked")
    for key in ("filter.evil.clean", "filter.evil.smudge", "core.fsmonitor"):
        git(other, "config", key, str(trap.program))
    (room.worktree / ".git").unlink()
    (room.worktree / ".git").symlink_to(other / ".git")
    write_files(room.worktree, {".gitattributes": "* filter=evil\n"})


def attributes_of_the_repository(room: Place, trap: Trap) -> None:
    for name in ("clean", "smudge"):
        git(room.worktree, "config", f"filter.evil.{name}", str(trap.program))
    write_files(room.repo, {".git/info/attributes": "* filter=evil diff=evil merge=evil\n"})
    for key in ("diff.evil.textconv", "merge.evil.driver"):
        git(room.worktree, "config", key, str(trap.program))


def attributes_by_configuration(room: Place, trap: Trap) -> None:
    write_files(room.repo, {".git/attributes": "* filter=evil\n"})
    git(room.worktree, "config", "core.attributesFile", str(room.repo / ".git/attributes"))
    for name in ("clean", "smudge", "process"):
        git(room.worktree, "config", f"filter.evil.{name}", str(trap.program))


def committing_hooks(room: Place, trap: Trap) -> None:
    names = ("pre-commit", "commit-msg", "prepare-commit-msg", "post-commit", "pre-rebase", "post-rewrite")
    names += ("post-merge", "pre-merge-commit", "applypatch-msg", "post-applypatch", "push-to-checkout", "update")
    folder = room.repo / ".git" / "hooks"
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(trap.program)


def signing(room: Place, trap: Trap) -> None:
    for key in ("gpg.program", "gpg.ssh.program", "gpg.x509.program", "gpg.ssh.defaultKeyCommand"):
        git(room.worktree, "config", key, str(trap.program))
    for key, value in {
        "commit.gpgSign": "true",
        "tag.gpgSign": "true",
        "gpg.format": "ssh",
        "log.showSignature": "true",
    }.items():
        git(room.worktree, "config", key, value)


def credentials_and_transports(room: Place, trap: Trap) -> None:
    for key in ("core.gitProxy", "core.askPass", "core.sshCommand", "uploadpack.packObjectsHook"):
        git(room.worktree, "config", key, str(trap.program))
    git(room.worktree, "config", "credential.helper", f"!{trap.program}")
    git(room.worktree, "config", f"url.ext::{trap.program} .insteadOf", "https://")
    git(room.worktree, "config", "protocol.allow", "always")


def tools_and_aliases(room: Place, trap: Trap) -> None:
    for key in ("sequence.editor", "interactive.diffFilter", "trailer.evil.command", "trailer.evil.cmd", "diff.tool"):
        git(room.worktree, "config", key, str(trap.program))
    for name in ("status", "diff", "add", "commit", "merge", "rev-parse", "worktree", "cat-file", "write-tree"):
        git(room.worktree, "config", f"alias.{name}", f"!{trap.program}")


def submodule_that_updates_itself(room: Place, trap: Trap) -> None:
    inner = make_repository(room.worktree.parent.parent / "inner")
    text = f'[submodule "evil"]\n\tpath = evil\n\turl = {inner}\n\tupdate = !{trap.program}\n'
    write_files(room.worktree, {".gitmodules": text})
    git(room.worktree, "config", "submodule.evil.update", f"!{trap.program}")
    git(room.worktree, "config", "submodule.recurse", "true")


def merge_driver_for_everything(room: Place, trap: Trap) -> None:
    git(room.worktree, "config", "merge.evil.driver", f"{trap.program} %O %A %B")
    git(room.worktree, "config", "merge.default", "evil")
    write_files(room.worktree, {".gitattributes": "* merge=evil\n"})


def names_that_are_options(room: Place, trap: Trap) -> None:
    names = ("--output=owned", "--upload-pack=" + trap.program.name, "-c", "--exec=x", ":(exclude)*", "!x")
    write_files(room.worktree, dict.fromkeys(names, "x\n"))
    tip = git(room.repo, "rev-parse", "HEAD")
    (room.repo / ".git/refs/heads").mkdir(exist_ok=True)
    (room.repo / ".git/refs/heads/--output=owned").write_text(f"{tip}\n")


def _own_folder(room: Place) -> Path:
    """The worktree's own git folder."""
    return Path((room.worktree / ".git").read_text().removeprefix("gitdir: ").strip())


TRAPS: tuple[Callable[[Place, Trap], None], ...] = (
    filters,
    filter_process,
    filters_by_include,
    diff_drivers,
    fsmonitor,
    hooks,
    programs,
    nested_repository,
    nested_bare_repository,
    worktree_configuration,
    swapped_git_file,
    partial_clone,
    common_folder_swapped,
    linked_git_file,
    attributes_of_the_repository,
    attributes_by_configuration,
    committing_hooks,
    signing,
    credentials_and_transports,
    tools_and_aliases,
    submodule_that_updates_itself,
    merge_driver_for_everything,
    names_that_are_options,
)
