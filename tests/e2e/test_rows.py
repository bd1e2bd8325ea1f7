"""What decisions leave in the rows and files of a session, without agents and turns of their own."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from coder.errors import Conflict, MergeConflict
from coder.model.branches import BranchCommit
from coder.model.changes import Change, ChangeStatus, HunkChoice, Target
from coder.model.decisions import Pick
from coder.store import session_worktrees
from coder.testing.desk import Desk, open_desk
from coder.testing.repositories import commit_files, git, make_repository, write_files

LINES = [f"line {number}\n" for number in range(30)]


def text(**words: str) -> str:
    """The long file with some of its lines replaced."""
    named = {int(name[1:]): f"{word}\n" for name, word in words.items()}
    return "".join(named.get(number, line) for number, line in enumerate(LINES))


@dataclass(frozen=True)
class Table:
    """A desk with one session, whose repository has a long file."""

    desk: Desk
    id: str
    repository: Path
    worktree: Path

    async def turn(self, files: Mapping[str, str], *, gone: str = "") -> None:
        """A turn that writes files, and may delete one."""
        await self.desk.begin_turn(self.id)
        write_files(self.worktree, files)
        if gone:
            (self.worktree / gone).unlink()
        await self.desk.end_turn(self.id)

    async def rows(self, status: ChangeStatus = ChangeStatus.PENDING) -> list[Change]:
        page = await self.desk.changes.list(self.id, status, None, 500)
        return sorted(page.items, key=lambda row: (row.decided_at or row.created_at, row.file_path))

    async def pick(self, number: int, path: str = "long.txt", *lines: int) -> Pick:
        """A hunk of what is pending, or lines of it."""
        (row,) = [row for row in await self.rows() if row.file_path == path]
        hunk = (await self.desk.changes.get(row.id)).hunks[number]
        return Pick(change_id=row.id, hunks=(HunkChoice(id=hunk.id, lines=lines or None),))

    async def commit(self) -> BranchCommit:
        """What was applied to the checkout."""
        return await self.desk.branches.commit(self.id, "What was applied", "applied", "test")

    async def apply(self, *picks: Pick, target: Target = "checkout") -> tuple[Change, ...]:
        chosen = picks or [Pick(change_id=row.id) for row in await self.rows()]
        return await self.desk.decisions.apply(list(chosen), by="test", target=target)

    async def revert(self, *rows: Change) -> tuple[Change, ...]:
        return await self.desk.decisions.revert([row.id for row in rows], by="test")

    def on_branch(self, path: str = "long.txt") -> str:
        """The file as the session's branch has it."""
        return git(self.repository, "show", f"coder/{self.id[-10:]}:{path}") + "\n"

    def in_checkout(self, path: str = "long.txt") -> str:
        return (self.repository / path).read_text()

    def in_worktree(self, path: str = "long.txt") -> str:
        return (self.worktree / path).read_text()


@asynccontextmanager
async def open_table(folder: Path, database_url: str) -> AsyncGenerator[Table]:
    repository = make_repository(folder / "repository")
    commit_files(repository, {"long.txt": text()})
    async with open_desk(folder / "home", database_url) as desk:
        id = await desk.open_session(repository)
        async with desk.store.connection() as connection:
            worktree = await session_worktrees.get(connection, id)
        yield Table(desk, id, repository, worktree.worktree_path)


@pytest.mark.scenario("changes: a queued decision is about what was pending when it was made")
async def test_a_queued_reject_is_of_what_was_pending_when_it_was_made(tmp_path: Path, database_url: str) -> None:
    async with open_table(tmp_path, database_url) as table:
        await table.turn({"long.txt": text(n2="early", n28="late")})
        (early,) = await table.apply(await table.pick(0))
        await table.desk.begin_turn(table.id)
        (late,) = await table.rows()
        await table.desk.decisions.reject([Pick(change_id=late.id)], by="test")
        await table.desk.decisions.revert([early.id], by="test")
        await table.desk.end_turn(table.id)
        (rejected,) = await table.rows(ChangeStatus.REJECTED)
        assert (rejected.sides, rejected.split_from) == (late.sides, late.id)
        (left,) = await table.rows()
        assert (left.id, left.sides, left.queued) == (late.id, early.sides, ())
        assert table.in_worktree() == text(n2="early")
        assert table.in_checkout() == text()


@pytest.mark.parametrize("target", ["checkout", "branch"])
@pytest.mark.scenario("changes: several decisions about a file are reverted at once")
async def test_parts_of_a_file_that_were_applied_one_by_one_are_reverted_together(
    tmp_path: Path, database_url: str, target: Target
) -> None:
    async with open_table(tmp_path, database_url) as table:
        await table.turn({"long.txt": text(n2="early", n15="middle", n28="late")})
        early, middle, late = [(await table.apply(await table.pick(0), target=target))[0] for _ in range(3)]
        mine = text(n2="early", n8="mine", n15="middle", n28="late")
        if target == "checkout":
            write_files(table.repository, {"long.txt": mine})
        reverted = await table.revert(late, early)
        assert {row.status for row in reverted} == {ChangeStatus.REVERTED}
        if target == "checkout":
            assert table.in_checkout() == text(n8="mine", n15="middle")
        else:
            assert table.on_branch() == text(n15="middle")
        (pending,) = await table.rows()
        assert (pending.added_lines, pending.deleted_lines) == (2, 2)
        await table.revert(middle)
        assert (await table.rows())[0].added_lines == 3


async def test_a_file_that_was_made_renamed_and_edited_is_reverted_at_once(tmp_path: Path, database_url: str) -> None:
    async with open_table(tmp_path, database_url) as table:
        for files, gone in (
            ({"new.txt": text()}, ""),
            ({"name.txt": text(n2="early")}, "new.txt"),
            ({"name.txt": text(n2="twice")}, ""),
            ({"new.txt": "another\n"}, ""),
            ({"last.txt": text(n2="twice")}, "name.txt"),
        ):
            await table.turn(files, gone=gone)
            await table.apply()
        applied = await table.rows(ChangeStatus.APPLIED)
        assert [row.operation for row in applied] == ["create", "rename", "edit", "create", "rename"]
        await table.revert(*applied)
        assert {path.name for path in table.repository.glob("*.txt")} == {"long.txt"}
        assert [row.file_path for row in await table.rows()] == ["last.txt", "new.txt"]


async def test_a_deletion_and_what_was_made_in_its_place_are_reverted_at_once(
    tmp_path: Path, database_url: str
) -> None:
    async with open_table(tmp_path, database_url) as table:
        await table.turn({}, gone="long.txt")
        await table.apply()
        await table.turn({"long.txt": "another\n"})
        await table.apply()
        await table.revert(*await table.rows(ChangeStatus.APPLIED))
        assert table.in_checkout() == text()
        assert table.in_worktree() == "another\n"


async def test_a_file_that_became_executable_after_it_was_made_is_reverted(tmp_path: Path, database_url: str) -> None:
    async with open_table(tmp_path, database_url) as table:
        await table.turn({"new.txt": "one\n"})
        (made,) = await table.apply()
        (table.worktree / "new.txt").chmod(0o755)
        await table.turn({})
        await table.apply()
        await table.revert(made)
        assert not (table.repository / "new.txt").exists()
        (pending,) = await table.rows()
        assert (pending.operation, pending.new_mode) == ("create", "100755")


@pytest.mark.scenario("branches: What was applied of an agent's own commit counts as committed")
async def test_parts_of_what_an_agent_committed_itself_are_committed_already(tmp_path: Path, database_url: str) -> None:
    async with open_table(tmp_path, database_url) as table:
        whole = "one\ntwo\nthree\n"
        await table.turn({"new.txt": whole, "long.txt": text(n2="early")})
        theirs = commit_files(table.worktree, {"new.txt": whole, "long.txt": text()}, "By the agent")
        await table.turn({"new.txt": whole + "four\n", "long.txt": text(n2="early")})
        (applied, _) = await table.apply(await table.pick(0, "new.txt", 1), await table.pick(0))
        assert table.in_checkout("new.txt") == "two\n"

        made = await table.commit()

        assert (made.parent, made.files) == (theirs, 1)
        assert (table.on_branch("new.txt"), table.on_branch()) == (whole, text(n2="early"))
        assert (await table.desk.changes.get(applied.id)).commit == made.commit
        assert [row.file_path for row in await table.rows()] == ["new.txt"]
        with pytest.raises(Conflict) as refused:
            await table.commit()
        assert refused.value.stable_code == "nothing_to_commit"

        (onward,) = await table.apply(await table.pick(0, "new.txt", 0), target="branch")
        assert (onward.commit, table.on_branch("new.txt")) == (made.commit, whole)


@pytest.mark.scenario("branches: What was applied of an agent's own commit counts as committed")
async def test_an_agents_commit_after_what_was_applied_stays_while_the_worktree_has_it(
    tmp_path: Path, database_url: str
) -> None:
    async with open_table(tmp_path, database_url) as table:
        await table.turn({"new.txt": "one\n"})
        (applied,) = await table.apply()
        await table.turn({"new.txt": "two\n"})
        theirs = commit_files(table.worktree, {"new.txt": "two\n"}, "By the agent")
        write_files(table.worktree, {"new.txt": "three\n"})
        with pytest.raises(MergeConflict):
            await table.commit()
        write_files(table.worktree, {"new.txt": "two\n"})
        made = await table.commit()
        assert (made.commit, made.files, made.changes) == (theirs, 0, ())
        assert (await table.desk.changes.get(applied.id)).commit == theirs
        assert (table.in_checkout("new.txt"), table.on_branch("new.txt")) == ("one\n", "two\n")
