"""A session's work taken to another machine: another path, another clone."""

import os
from pathlib import Path

import pytest

from coder.testing.repositories import commit_files, git, make_repository
from coder.worktrees import tree
from coder.worktrees.opening import open_worktree
from coder.worktrees.parcels import missing, pack, unpack
from coder.worktrees.shadow import Shadow

BRANCH = "coder/0123456789"
FILES = {
    "kept.txt": "kept\n",
    "edited.txt": "old\n",
    "deleted.txt": "gone\n",
    ".gitignore": "*.log\n",
    "forced.log": "f\n",
}


def content_of(folder: Path) -> dict[str, bytes | str]:
    """Every file and link below a folder, git's own left out."""
    paths = [path for path in folder.rglob("*") if ".git" not in path.parts and not path.is_dir()]
    return {
        str(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in paths
    }


@pytest.mark.scenario("life: Work is taken to another machine")
async def test_everything_of_a_session_arrives_in_another_clone(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo", {})
    (repo / ".gitattributes").write_text("*.crlf text eol=crlf\n")
    (repo / "forced.log").write_text("f\n")
    git(repo, "add", "-f", "forced.log")
    commit_files(repo, FILES | {"windows.crlf": "a\nb\n"}, "Start")
    worktree = tmp_path / "worktrees" / "session"
    opened = await open_worktree(repo, worktree, BRANCH, None, tmp_path / "shadow.git")
    (worktree / "committed.txt").write_text("by the agent\n")
    git(worktree, "add", "committed.txt")
    git(worktree, "commit", "-q", "-m", "Agent's own")
    (worktree / "edited.txt").write_text("new\n")
    (worktree / "deleted.txt").unlink()
    (worktree / "sub").mkdir()
    (worktree / "sub" / "new.bin").write_bytes(bytes(range(256)))
    (worktree / "run.sh").write_text("#!/bin/sh\n")
    (worktree / "run.sh").chmod(0o755)
    (worktree / "link").symlink_to("kept.txt")
    # the repository has this one already, where nothing leads to it
    (worktree / "staged.txt").write_text("only in an index\n")
    git(worktree, "add", "staged.txt")
    (worktree / "ignored.log").write_text("not taken along\n")
    old = await opened.shadow.write_blob(b"a side of a change")
    before = content_of(worktree)
    del before["ignored.log"]

    folder = tmp_path / "parcel"
    folder.mkdir()
    parcel = await pack(opened.shadow, BRANCH, [old, opened.base_tree, "0" * 40], folder)
    there = tmp_path / "elsewhere" / "clone"
    git(tmp_path, "clone", "-q", str(repo), str(there))
    assert await missing(there, BRANCH, parcel) == []
    shadow = Shadow(tmp_path / "elsewhere" / "shadow.git", there, tmp_path / "elsewhere" / "session")
    await unpack(shadow, BRANCH, parcel, folder)

    assert content_of(shadow.worktree) == before
    assert os.access(shadow.worktree / "run.sh", os.X_OK)
    assert git(there, "rev-parse", BRANCH) == git(repo, "rev-parse", BRANCH)
    assert (await shadow.read_blobs([old]))[old] == b"a side of a change"
    assert await tree.snapshot(shadow) == parcel.tree
    changed = {each.file_path for each in await tree.differences(shadow, opened.base_tree, parcel.tree)}
    assert changed == {"committed.txt", "edited.txt", "deleted.txt", "sub/new.bin", "run.sh", "link", "staged.txt"}
    git(shadow.worktree, "fsck", "--connectivity-only")


async def test_a_repository_without_the_commits_or_with_another_branch_is_told_of(tmp_path: Path) -> None:
    repo = make_repository(tmp_path / "repo")
    opened = await open_worktree(repo, tmp_path / "session", BRANCH, None, tmp_path / "shadow.git")
    (folder := tmp_path / "parcel").mkdir()
    parcel = await pack(opened.shadow, BRANCH, [], folder)
    other = make_repository(tmp_path / "other", {"a": "b"})
    assert await missing(other, BRANCH, parcel) == [f"commit {parcel.needs[0]} is not there"]
    git(repo, "worktree", "remove", "--force", str(tmp_path / "session"))
    commit_files(repo, {"more": "x"})
    git(repo, "branch", "--force", BRANCH, "main")
    assert await missing(repo, BRANCH, parcel) == [f"the branch {BRANCH} is there and stands elsewhere"]
