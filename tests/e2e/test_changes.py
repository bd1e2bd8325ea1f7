"""Pending changes from the turn that made them to the person's decision."""

from pathlib import Path

import pytest

from coder.errors import InvalidInput, MergeConflict, UnsavedWork, WrongState
from coder.model.changes import ChangeStatus
from coder.model.decisions import Pick
from coder.testing.repositories import git
from coder.testing.rooms import Room, open_room


async def only_change(room: Room) -> str:
    (change,) = await room.changes()
    return change.id


@pytest.mark.scenario("changes: what a turn changed is recorded per file")
async def test_a_turns_files_are_recorded_with_operation_and_agent(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        task = await room.prompt(
            "write new.txt fresh; edit README.md Sample => Example; delete data/logo.bin;"
            "rename src/hello.py => src/hi.py"
        )
        found = {change.file_path: change for change in await room.changes()}
        assert {path: change.operation for path, change in found.items()} == {
            "README.md": "edit",
            "data/logo.bin": "delete",
            "new.txt": "create",
            "src/hi.py": "rename",
        }
        assert found["src/hi.py"].old_path == "src/hello.py"
        assert {(change.agent, change.task_id) for change in found.values()} == {("demo", task.id)}
        order = [record.event.type for record in await room.records()]
        assert order.index("change_recorded") < order.index("turn_ended")


@pytest.mark.scenario("changes: the user's checkout is untouched until a change is applied")
async def test_apply_writes_the_checkout_and_nothing_before_did(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("edit README.md Sample => Example")
        before = git(room.repository, "status", "--porcelain=v2", "--branch")
        assert "Sample" in (room.repository / "README.md").read_text()
        (applied,) = await room.apply()
        assert (applied.status, applied.decided_by) == (ChangeStatus.APPLIED, "test")
        assert "Example" in (room.repository / "README.md").read_text()
        assert git(room.repository, "diff", "--cached", "--name-only") == ""
        assert "# branch.head main" in before
        await room.prompt("say nothing more")
        assert await room.changes() == []


@pytest.mark.scenario("changes: a change is decided once")
async def test_a_decided_change_cannot_be_decided_again(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("write new.txt fresh")
        id = await only_change(room)
        await room.host.decisions.apply([Pick(change_id=id)], by="test")
        with pytest.raises(WrongState):
            await room.host.decisions.apply([Pick(change_id=id)], by="test")
        with pytest.raises(WrongState):
            await room.host.decisions.reject([Pick(change_id=id)], by="test")


@pytest.mark.scenario("changes: apply merges with the user's own edits")
async def test_apply_keeps_the_users_edit_in_another_place(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        lines = [f"line {n}\n" for n in range(20)]
        await room.prompt("write long.txt " + "".join(lines).replace("\n", "\\n"))
        await room.apply()
        mine = room.repository / "long.txt"
        mine.write_text(mine.read_text().replace("line 19", "mine"))
        await room.prompt("edit long.txt line 1\\n => agent's\\n")
        await room.apply()
        assert "agent's" in mine.read_text()
        assert "mine" in mine.read_text()


@pytest.mark.scenario("changes: a conflict writes nothing")
async def test_a_conflict_is_refused_and_no_file_is_written(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("edit README.md Sample => Agent; write new.txt fresh")
        readme = room.repository / "README.md"
        readme.write_text(readme.read_text().replace("Sample", "User"))
        with pytest.raises(MergeConflict) as conflict:
            await room.apply()
        assert "README.md" in str(conflict.value)
        assert "User" in readme.read_text()
        assert not (room.repository / "new.txt").exists()
        assert len(await room.changes()) == 2


@pytest.mark.scenario("changes: reject puts the base content back")
async def test_reject_restores_the_worktree(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("edit README.md Sample => Worse; write junk.txt x; delete data/logo.bin")
        await room.reject(reason="not wanted")
        assert "Sample" in (room.worktree / "README.md").read_text()
        assert not (room.worktree / "junk.txt").exists()
        assert (room.worktree / "data/logo.bin").read_bytes() == bytes(range(256))
        rejected = await room.changes(ChangeStatus.REJECTED)
        assert {change.reason for change in rejected} == {"not wanted"}


@pytest.mark.scenario("changes: reject never deletes a later edit")
async def test_reject_keeps_what_a_person_wrote_since(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("write notes.txt agent; edit README.md Sample => Example")
        (room.worktree / "notes.txt").write_text("a person's words\n")
        with pytest.raises(MergeConflict):
            await room.reject("notes.txt")
        assert (room.worktree / "notes.txt").read_text() == "a person's words\n"
        readme = room.worktree / "README.md"
        readme.write_text(readme.read_text() + "a\nperson's\nline\n")
        await room.reject("README.md")
        assert "Sample" in readme.read_text()
        assert readme.read_text().endswith("a\nperson's\nline\n")
        assert (await room.change("README.md")).agent == "user"


@pytest.mark.scenario("changes: revert takes an applied change out again")
async def test_revert_undoes_an_apply_and_the_change_is_pending_again(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("edit README.md Sample => Example; write new.txt fresh")
        await room.apply()
        applied = await room.changes(ChangeStatus.APPLIED)
        await room.revert(*applied)
        assert "Sample" in (room.repository / "README.md").read_text()
        assert not (room.repository / "new.txt").exists()
        assert {change.file_path for change in await room.changes()} == {"README.md", "new.txt"}
        await room.apply()
        assert "Example" in (room.repository / "README.md").read_text()


@pytest.mark.scenario("changes: a later turn supersedes the earlier change of a file")
async def test_a_later_turn_supersedes_the_pending_change_of_its_file(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("write a.txt one; write b.txt kept")
        first = {change.file_path: change.id for change in await room.changes()}
        await room.prompt("write a.txt two")
        second = {change.file_path: change.id for change in await room.changes()}
        assert second["b.txt"] == first["b.txt"]
        assert second["a.txt"] != first["a.txt"]
        (superseded,) = await room.changes(ChangeStatus.SUPERSEDED)
        assert superseded.id == first["a.txt"]


@pytest.mark.scenario("changes: a change shows its diff and hunks")
@pytest.mark.scenario("changes: lines between the hunks are read from either side")
async def test_a_change_has_gits_diff_its_hunks_and_the_lines_between(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("edit README.md # Sample => # Other\\n# Example")
        (room.worktree / "logo.bin").write_bytes(b"\0\1")
        await room.prompt("say done")
        found = {change.file_path: change for change in await room.changes()}
        text, binary = found["README.md"], found["logo.bin"].id
        detail = await room.host.changes.get(text.id)
        assert "-# Sample" in detail.diff
        assert "+# Example" in detail.diff
        (hunk,) = detail.hunks
        assert hunk.header.startswith("@@")
        assert "+# Example" in hunk.lines

        read = room.host.changes.lines
        new, base = await read(text.id, "new", 1, 2), await read(text.id, "base", 1, 1)
        assert (new.lines, new.total, new.blob) == (("# Other", "# Example"), base.total + 1, text.new_blob)
        assert base.lines == ("# Sample",)
        assert (await read(text.id, "new", 3, 500)).lines == (await read(text.id, "base", 2, 500)).lines != ()
        assert (await read(text.id, "new", 500, 2)).lines == ()
        assert (await read(binary, "base", 1, 2)).total == 0
        with pytest.raises(InvalidInput, match="not a text"):
            await read(binary, "new", 1, 2)


@pytest.mark.scenario("sessions: closing refuses to delete unsaved work")
async def test_closing_refuses_unsaved_work_unless_forced(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("write new.txt fresh")
        with pytest.raises(UnsavedWork):
            await room.host.sessions.close(room.session.id, force=False)
        assert (room.worktree / "new.txt").exists()
        await room.host.sessions.close(room.session.id, force=True)
        assert not room.worktree.exists()
        assert git(room.repository, "branch", "--list", "coder/*") == ""


@pytest.mark.scenario("sessions: an applied session closes without asking")
async def test_a_session_whose_changes_are_applied_closes(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("write new.txt fresh")
        await room.apply()
        await room.host.sessions.close(room.session.id, force=False)
        assert (room.repository / "new.txt").exists()
        assert git(room.repository, "worktree", "list").count("\n") == 0


@pytest.mark.scenario("sessions: closing ends what runs in it")
async def test_a_forced_close_ends_the_running_turn_and_its_agent(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.submit("say begun; hang")
        await room.submit("say never")
        await room.saw("text")
        await room.host.sessions.close(room.session.id, force=True)
        assert room.host.pool.health().size == 0
        assert room.host.dispatcher.running == 0
