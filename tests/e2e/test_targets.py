"""Changes applied to the session's branch instead of the checkout, and taken off it again."""

from pathlib import Path
from typing import cast

import pytest

from coder.errors import Conflict, InvalidInput, MergeConflict
from coder.model.changes import Change, ChangeStatus, HunkChoice
from coder.model.decisions import Pick
from coder.protocol import BranchIncoming
from coder.testing.repositories import commit_files, git
from coder.testing.rooms import Room, open_room

TEXT = "".join(f"line {number}\n" for number in range(30))
EARLY, LATE = ("line 2\n", "second\n"), ("line 28\n", "late\n")


def branch(room: Room) -> str:
    assert room.session.branch is not None
    return room.session.branch


def on_branch(room: Room, path: str = "long.txt") -> str:
    return git(room.repository, "show", f"{branch(room)}:{path}") + "\n"


def in_checkout(room: Room) -> str:
    return (room.repository / "long.txt").read_text()


def status_of(folder: Path) -> list[str]:
    git(folder, "update-index", "-q", "--really-refresh")
    return git(folder, "status", "--porcelain").splitlines()


def replaced(*pairs: tuple[str, str]) -> str:
    text = TEXT
    for old, new in pairs:
        text = text.replace(old, new)
    return text


async def edit_two_places(room: Room) -> Change:
    """A file that the checkout and the branch have, with an edit at its begin and one at its end."""
    commit_files(room.repository, {"long.txt": TEXT})
    await room.host.branches.update(room.session.id, BranchIncoming(), "test")
    edits = "; ".join(f"edit long.txt {old} => {new}" for old, new in (EARLY, LATE))
    await room.prompt(edits.replace("\n", "\\n"))
    return await room.change("long.txt")


async def hunk(room: Room, number: int) -> HunkChoice:
    return HunkChoice(id=(await room.hunks("long.txt"))[number].id)


@pytest.mark.scenario("changes: changes are applied to the branch")
async def test_hunks_and_files_become_one_commit_of_the_person(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        pending = await edit_two_places(room)
        await room.prompt("write new.txt fresh; write other.txt later")
        tip, before = git(room.repository, "rev-parse", branch(room)), status_of(room.repository)
        early, new = await hunk(room, 0), await room.change("new.txt")
        picks = [Pick(change_id=pending.id, hunks=(early,)), Pick(change_id=new.id)]

        applied = await room.host.decisions.apply(picks, by="test", reason="Because", target="branch")

        commit = git(room.repository, "rev-parse", branch(room))
        assert git(room.repository, "rev-parse", f"{commit}^") == tip
        assert [(each.file_path, each.target, each.commit) for each in applied] == [
            ("long.txt", "branch", commit),
            ("new.txt", "branch", commit),
        ]
        assert on_branch(room) == replaced(EARLY)
        assert on_branch(room, "new.txt") == "fresh\n"
        assert git(room.repository, "show", "-s", "--format=%an %cn%n%B", commit).splitlines() == [
            "Test Test",
            "Apply changes of 2 files",
            "",
            "- long.txt",
            "- new.txt",
            "",
            "Because",
            "",
            "Co-authored-by: Demo <demo@noreply.coder.invalid>",
        ]
        assert (in_checkout(room), status_of(room.repository)) == (TEXT, before)
        assert status_of(room.worktree) == [" M long.txt", "?? other.txt"]
        left = await room.changes()
        assert [(each.id, each.added_lines) for each in left] == [(pending.id, 1), (left[1].id, 1)]
        (decision,) = (await room.host.decisions.list(room.session.id, None, None, 1)).items
        assert (decision.verb, decision.target, decision.state) == ("apply", "branch", "done")
        assert {each.decision_id for each in applied} == {decision.id}
        await room.prompt("say nothing more")
        assert await room.changes() == left


@pytest.mark.scenario("changes: what is applied to the branch fits its tip or is refused")
async def test_a_branch_that_has_moved_on_is_merged_with_or_refuses(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await edit_two_places(room)
        worktree = (room.worktree / "long.txt").read_text()
        elsewhere = ("line 15\n", "theirs\n")
        commit_files(room.worktree, {"long.txt": replaced(elsewhere)}, "By somebody else")
        await room.apply("long.txt", hunks=[await hunk(room, 0)], target="branch")
        assert on_branch(room) == replaced(elsewhere, EARLY)

        commit_files(room.worktree, {"long.txt": replaced(elsewhere, EARLY, ("line 28\n", "other\n"))}, "In its place")
        (room.worktree / "long.txt").write_text(worktree)
        tip = git(room.repository, "rev-parse", branch(room))
        with pytest.raises(MergeConflict) as refused:
            await room.apply("long.txt", target="branch")
        (shown,) = cast("list[dict[str, str]]", refused.value.fields["conflicts"])
        assert shown["file_path"] == "long.txt"
        assert "other" in shown["checkout"]
        assert "late" in shown["change"]
        assert "<<<<<<< session\nother\n=======\nlate\n>>>>>>> incoming" in shown["merged"]
        assert git(room.repository, "rev-parse", branch(room)) == tip
        assert (await room.change("long.txt")).status is ChangeStatus.PENDING

        theirs = commit_files(room.worktree, {"long.txt": replaced(elsewhere, EARLY, LATE)}, "The same")
        (applied,) = await room.apply("long.txt", target="branch")
        assert applied.commit == git(room.repository, "rev-parse", branch(room)) == theirs


@pytest.mark.scenario("changes: checkout and branch do not get into each other's way")
async def test_a_file_is_applied_in_part_to_each_target(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await edit_two_places(room)
        await room.apply("long.txt", hunks=[await hunk(room, 0)])
        await room.apply("long.txt", target="branch")
        assert in_checkout(room) == replaced(EARLY)
        assert on_branch(room) == replaced(LATE)
        assert (await room.host.branches.status(room.session.id)).applied == 1

        made = await room.host.branches.commit(room.session.id, "The rest", "applied", "test")

        assert made.files == 1
        assert on_branch(room) == replaced(EARLY, LATE)
        assert status_of(room.worktree) == []
        with pytest.raises(Conflict) as refused:
            await room.host.branches.commit(room.session.id, "Again", "all", "test")
        assert refused.value.stable_code == "nothing_to_commit"


@pytest.mark.scenario("changes: a change is taken off the branch again")
async def test_a_revert_is_a_commit_that_takes_it_out(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        pending = await edit_two_places(room)
        (applied,) = await room.apply("long.txt", hunks=[await hunk(room, 1)], target="branch")
        assert on_branch(room) == replaced(LATE)

        (reverted,) = await room.revert(applied)

        assert (reverted.status, reverted.target, reverted.commit) == ("reverted", "branch", applied.commit)
        assert on_branch(room) == TEXT
        assert git(room.repository, "show", "-s", "--format=%s", branch(room)) == "Revert a change of long.txt"
        assert (room.worktree / "long.txt").read_text() == replaced(EARLY, LATE)
        again = await room.change("long.txt")
        assert (again.id, again.added_lines, again.agent) == (pending.id, 2, "demo")
        assert status_of(room.worktree) == [" M long.txt"]
        await room.apply(target="branch")
        assert on_branch(room) == replaced(EARLY, LATE)


async def test_what_a_commit_of_everything_applied_is_reverted_on_the_branch(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await edit_two_places(room)
        await room.host.branches.commit(room.session.id, "Everything", "all", "test")
        applied = [each for each in await room.changes(ChangeStatus.APPLIED) if each.added_lines == 2]
        await room.revert(*applied)
        assert on_branch(room) == in_checkout(room) == TEXT
        assert [each.file_path for each in await room.changes()] == ["long.txt"]


async def test_one_revert_is_of_one_target(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await edit_two_places(room)
        (early,) = await room.apply("long.txt", hunks=[await hunk(room, 0)])
        (late,) = await room.apply("long.txt", target="branch")
        with pytest.raises(InvalidInput) as refused:
            await room.revert(early, late)
        assert refused.value.stable_code == "different_targets"


@pytest.mark.scenario("changes: a branch that cannot take a commit refuses")
async def test_a_branch_that_cannot_be_written_refuses_and_the_checkout_does_not(
    tmp_path: Path, database_url: str
) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("write new.txt fresh")
        git(room.repository, "config", "user.email", "")
        with pytest.raises(Conflict) as refused:
            await room.apply(target="branch")
        assert refused.value.stable_code == "identity_missing"
        git(room.worktree, "checkout", "--quiet", "--detach")
        with pytest.raises(Conflict) as refused:
            await room.apply(target="branch")
        assert refused.value.stable_code == "branch_not_checked_out"
        assert (await room.host.decisions.list(room.session.id, None, None, 10)).items == ()
        await room.apply()
        assert (room.repository / "new.txt").exists()
