"""Commits on a session's branch: made beside the repository, carried in whole, and nothing of its own runs."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from coder.errors import Conflict, MergeConflict
from coder.model.decisions import BranchMove
from coder.testing.repositories import commit_files, git, make_repository, write_files
from coder.worktrees import tree
from coder.worktrees.branch import Tip, co_author, move_branch, read_tip, write_commit
from coder.worktrees.merge import clean_merge
from coder.worktrees.shadow import Shadow
from tests.worktrees.room import BRANCH, Room, open_room

FILES: dict[str, str | bytes] = {"a.txt": "one\ntwo\nthree\n", "kept/b.txt": "b\n", "gone.txt": "gone\n"}


async def commit_tree(shadow: Shadow, tip: Tip, raw: str, message: str, trailers: Sequence[str] = ()) -> str:
    """A tree of the shadow as the branch's newest commit."""
    commit = await write_commit(shadow, tip, raw, message, trailers)
    await move_branch(shadow, BranchMove(branch=tip.branch, old=tip.commit, new=commit))
    return commit


async def commit_worktree(room: Room, message: str = "Change things", *trailers: str) -> str:
    """What the worktree holds now, as a commit on its branch."""
    tip = await read_tip(room.shadow, BRANCH)
    return await commit_tree(room.shadow, tip, await tree.snapshot(room.shadow), message, trailers)


@pytest.mark.scenario("branches: A commit holds what was decided and is the user's")
async def test_a_tree_becomes_a_commit_and_the_worktree_is_clean(tmp_path: Path) -> None:
    room = await open_room(tmp_path, FILES)
    write_files(room.worktree, {"a.txt": "one\nTWO\nthree\n", "new/n.bin": bytes(range(256))})
    (room.worktree / "gone.txt").unlink()
    (room.worktree / "link").symlink_to("a.txt")

    commit = await commit_worktree(room, "Change things\n\nAt length.\n", co_author("demo", "Demo <x>\nagent"))

    assert git(room.repo, "rev-parse", BRANCH) == commit
    assert git(room.worktree, "status", "--porcelain") == ""
    assert git(room.repo, "show", "-s", "--format=%an <%ae> %cn%n%B", commit).splitlines() == [
        "Test <test@example.org> Test",
        "Change things",
        "",
        "At length.",
        "",
        "Co-authored-by: Demo x agent <demo@noreply.coder.invalid>",
    ]
    listed = git(room.repo, "show", "--name-status", "--format=", "--no-renames", commit)
    assert listed.splitlines() == ["M\ta.txt", "D\tgone.txt", "A\tlink", "A\tnew/n.bin"]
    assert git(room.repo, "fsck", "--strict", "--connectivity-only") == ""
    assert git(room.repo, "status", "--porcelain") == ""


@pytest.mark.scenario("branches: What is not committed stays as it is")
async def test_only_the_tree_is_committed_and_the_rest_shows_as_uncommitted(tmp_path: Path) -> None:
    room = await open_room(tmp_path, FILES)
    write_files(room.worktree, {"a.txt": "committed\n"})
    committed = await tree.snapshot(room.shadow)
    write_files(room.worktree, {"a.txt": "later\n", "kept/b.txt": "staged\n", "untracked": "u\n"})
    git(room.worktree, "add", "kept/b.txt")

    await commit_tree(room.shadow, await read_tip(room.shadow, BRANCH), committed, "First")

    assert git(room.worktree, "status", "--porcelain").splitlines() == [" M a.txt", "M  kept/b.txt", "?? untracked"]
    assert (room.worktree / "a.txt").read_text() == "later\n"
    assert git(room.repo, "show", f"{BRANCH}:a.txt") == "committed"


async def test_many_and_large_objects_are_carried_in(tmp_path: Path) -> None:
    room = await open_room(tmp_path, FILES)
    write_files(room.worktree, {f"many/{n}.txt": f"{n}\n" for n in range(400)} | {"large": os.urandom(3_000_000)})

    commit = await commit_worktree(room)

    assert git(room.repo, "show", f"{commit}:many/399.txt") == "399"
    assert len(git(room.repo, "ls-tree", "-r", "--name-only", commit).splitlines()) == 404
    assert git(room.repo, "fsck") == ""


def hostile(mark: Path):
    def prepare(repo: Path) -> None:
        script = repo / "attack"
        script.write_text(f"#!/bin/sh\ntouch {mark}\ncat\n")
        script.chmod(0o755)
        commit_files(repo, {".gitattributes": "*.txt filter=evil diff=evil merge=evil\n"})
        hooks = repo / ".git/hooks"
        hooks.mkdir(exist_ok=True)
        for name in ("pre-commit", "commit-msg", "post-commit", "reference-transaction", "post-index-change"):
            (hooks / name).write_text(script.read_text())
            (hooks / name).chmod(0o755)
        for key in ("filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "diff.evil.textconv"):
            git(repo, "config", key, str(script))
        for key in ("merge.evil.driver", "diff.evil.command", "core.fsmonitor", "gpg.program", "trailer.x.command"):
            git(repo, "config", key, str(script))
        git(repo, "config", "commit.gpgSign", "true")
        git(repo, "config", "trailer.x.key", "Signed-off-by")

    return prepare


@pytest.mark.scenario("branches: Nothing of the repository's own runs")
async def test_hooks_filters_and_signing_of_the_repository_do_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "owned"
    room = await open_room(tmp_path, FILES, hostile(mark))
    mark.unlink(missing_ok=True)
    write_files(room.worktree, {"a.txt": "one\nTWO\nthree\n", "new.txt": "n\n"})

    commit = await commit_worktree(room, "Under attack", "Co-authored-by: x <x@y>")

    assert not mark.exists()
    assert git(room.repo, "cat-file", "blob", f"{commit}:a.txt") == "one\nTWO\nthree"
    assert "gpgsig" not in git(room.repo, "cat-file", "commit", commit)


async def test_line_ends_are_committed_as_git_would_store_them(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {".gitattributes": "*.txt text eol=crlf\n", "a.txt": "one\ntwo\n", "b.txt": "b\n"}
    room = await open_room(tmp_path, files)
    assert (room.worktree / "a.txt").read_bytes() == b"one\r\ntwo\r\n"
    (room.worktree / "a.txt").write_bytes(b"one\r\nTWO\r\n")
    write_files(room.worktree, {"new.txt": b"n\r\n", "raw.bin": b"r\r\n"})

    commit = await commit_worktree(room)

    shown = git(room.repo, "diff-tree", "-r", "--no-commit-id", "--name-only", commit).splitlines()
    assert shown == ["a.txt", "new.txt", "raw.bin"]
    blobs = [git(room.repo, "cat-file", "blob", f"{commit}:{name}") for name in shown]
    assert blobs == ["one\nTWO", "n", "r\r"]
    git(room.worktree, "update-index", "--refresh")
    assert git(room.worktree, "status", "--porcelain") == ""


async def test_submodules_stay_as_the_branch_has_them(tmp_path: Path) -> None:
    def add_module(repo: Path) -> None:
        part = make_repository(tmp_path / "part")
        git(repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(part), "part")
        git(repo, "commit", "--quiet", "--message", "Add a part")

    room = await open_room(tmp_path, FILES, add_module)
    write_files(room.worktree, {"a.txt": "changed\n"})

    commit = await commit_worktree(room)

    assert git(room.repo, "diff-tree", "-r", "--no-commit-id", "--name-only", commit) == "a.txt"


@pytest.mark.scenario("branches: A branch that moved meanwhile is not overwritten")
async def test_a_branch_that_moved_is_left_where_it_is(tmp_path: Path) -> None:
    room = await open_room(tmp_path, FILES)
    tip = await read_tip(room.shadow, BRANCH)
    write_files(room.worktree, {"a.txt": "mine\n"})
    content = await tree.snapshot(room.shadow)
    theirs = commit_files(room.worktree, {"b.txt": "theirs\n"})

    with pytest.raises(Conflict) as refused:
        await commit_tree(room.shadow, tip, content, "Too late")

    assert refused.value.stable_code == "branch_moved"
    assert git(room.repo, "rev-parse", BRANCH) == theirs
    assert git(room.worktree, "status", "--porcelain") == ""


async def test_a_commit_that_was_cut_off_before_the_branch_moved_is_nothing(tmp_path: Path) -> None:
    room = await open_room(tmp_path, FILES)
    write_files(room.worktree, {"a.txt": "mine\n"})
    tip = await read_tip(room.shadow, BRANCH)
    await write_commit(room.shadow, tip, await tree.snapshot(room.shadow), "Cut off")

    assert git(room.worktree, "status", "--porcelain") == " M a.txt"
    commit = await commit_worktree(room)
    assert git(room.repo, "rev-list", "--count", f"{tip.commit}..{BRANCH}") == "1"
    await move_branch(room.shadow, BranchMove(branch=BRANCH, old=commit, new=tip.commit))
    assert git(room.worktree, "status", "--porcelain") == " M a.txt"


@pytest.mark.scenario("branches: A worktree that is not on its branch is refused")
@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("checkout", "--quiet", "--detach"), "branch_not_checked_out"),
        (("checkout", "--quiet", "-b", "other"), "branch_not_checked_out"),
        (("update-ref", "-d", f"refs/heads/{BRANCH}"), "branch_missing"),
        (("update-ref", "CHERRY_PICK_HEAD", "HEAD"), "git_underway"),
    ],
)
async def test_a_worktree_elsewhere_is_refused_by_name(tmp_path: Path, command: tuple[str, ...], code: str) -> None:
    room = await open_room(tmp_path, FILES)
    git(room.worktree, *command)

    with pytest.raises(Conflict) as refused:
        await read_tip(room.shadow, BRANCH)

    assert refused.value.stable_code == code


@pytest.mark.scenario("branches: Without a name and an address there is no commit")
async def test_an_unknown_user_is_told_what_to_set(tmp_path: Path) -> None:
    room = await open_room(tmp_path, FILES)
    git(room.repo, "config", "user.name", "")
    write_files(room.worktree, {"a.txt": "mine\n"})

    with pytest.raises(Conflict) as refused:
        await commit_worktree(room)

    assert refused.value.stable_code == "identity_missing"
    assert "user.email" in str(refused.value)


async def test_a_locked_index_is_refused_before_the_branch_moves(tmp_path: Path) -> None:
    room = await open_room(tmp_path, FILES)
    tip = await read_tip(room.shadow, BRANCH)
    Path(git(room.worktree, "rev-parse", "--git-path", "index.lock")).touch()
    write_files(room.worktree, {"a.txt": "mine\n"})

    with pytest.raises(Conflict) as refused:
        await commit_worktree(room)

    assert refused.value.stable_code == "index_locked"
    assert git(room.repo, "rev-parse", BRANCH) == tip.commit


async def test_a_pointer_that_the_agent_rewrote_is_not_followed(tmp_path: Path) -> None:
    room = await open_room(tmp_path, FILES)
    other = make_repository(tmp_path / "other")
    (room.worktree / ".git").write_text(f"gitdir: {other / '.git'}\n")
    write_files(room.worktree, {"a.txt": "mine\n"})

    commit = await commit_worktree(room)

    assert git(room.repo, "rev-parse", BRANCH) == commit
    assert git(other, "status", "--porcelain") == ""


async def test_trees_are_merged_and_conflicts_are_shown_with_markers(tmp_path: Path) -> None:
    room = await open_room(tmp_path, FILES)

    async def taken(files: dict[str, str | bytes]) -> str:
        write_files(room.worktree, files)
        return await tree.snapshot(room.shadow)

    ours, theirs = await taken({"a.txt": "ONE\ntwo\nthree\n"}), await taken({"a.txt": "one\ntwo\nTHREE\n"})
    merged = await clean_merge(room.shadow, room.base, ours, theirs)
    (change,) = await tree.differences(room.shadow, room.base, merged)
    assert (await room.shadow.read_blobs([change.new_blob or ""])).popitem()[1] == b"ONE\ntwo\nTHREE\n"

    clash = await taken({"a.txt": "uno\ntwo\nthree\n"})
    with pytest.raises(MergeConflict) as refused:
        await clean_merge(room.shadow, room.base, ours, clash)
    (conflict,) = cast(list[dict[str, str]], refused.value.fields["conflicts"])
    assert conflict["file_path"] == "a.txt"
    assert conflict["merged"].startswith("<<<<<<< session\nONE\n=======\nuno\n>>>>>>> incoming\n")
