"""Decisions on hunks and lines, queued, in the ledger, and told to the agent."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import anyio
import pytest

from coder.decisions import AUTO
from coder.errors import Conflict, InvalidInput, MergeConflict, WrongState
from coder.model.changes import Change, ChangeStatus, HunkChoice, Target
from coder.model.decisions import DecisionState, Pick
from coder.model.events import Error, HostNote
from coder.protocol import SessionPatch
from coder.testing.rooms import Room, open_room

LINES = [f"line {number}" for number in range(30)]
TEXT = "\n".join(LINES) + "\n"


async def open_text(room: Room) -> None:
    """A long file in base, checkout and worktree."""
    await room.prompt("write long.txt " + TEXT.replace("\n", "\\n"))
    await room.apply()


async def edit_three_places(room: Room) -> Change:
    await open_text(room)
    edits = {"line 2": "second", "line 15": "middle", "line 28": "late"}
    await room.prompt("; ".join(f"edit long.txt {old}\\n => {new}\\n" for old, new in edits.items()))
    return await room.change("long.txt")


async def choices(room: Room, *numbers: int) -> Sequence[HunkChoice]:
    hunks = await room.hunks("long.txt")
    return [HunkChoice(id=hunks[number].id) for number in numbers]


def replaced(**words: str) -> str:
    """The text with some of its lines replaced."""
    named = {f"line {number[1:]}": word for number, word in words.items()}
    return "\n".join(named.get(line, line) for line in LINES) + "\n"


def in_checkout(room: Room) -> str:
    return (room.repository / "long.txt").read_text()


def in_worktree(room: Room) -> str:
    return (room.worktree / "long.txt").read_text()


@pytest.mark.scenario("changes: one hunk is applied")
@pytest.mark.scenario("changes: a hunk keeps its id while others are decided")
@pytest.mark.scenario("changes: deciding every hunk decides the change")
async def test_hunks_are_applied_one_by_one_until_nothing_is_left(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        pending = await edit_three_places(room)
        first, second, third = await room.hunks("long.txt")
        (applied,) = await room.apply("long.txt", hunks=[HunkChoice(id=second.id)])
        assert (applied.status, applied.split_from, applied.added_lines) == (ChangeStatus.APPLIED, pending.id, 1)
        assert in_checkout(room) == replaced(n15="middle")
        left = await room.change("long.txt")
        assert (left.id, left.added_lines) == (pending.id, 2)
        assert [hunk.id for hunk in await room.hunks("long.txt")] == [first.id, third.id]
        await room.apply("long.txt", hunks=[HunkChoice(id=third.id)])
        (last,) = await room.apply("long.txt", hunks=[HunkChoice(id=first.id)])
        assert (last.id, last.status) == (pending.id, ChangeStatus.APPLIED)
        assert in_checkout(room) == in_worktree(room) == replaced(n2="second", n15="middle", n28="late")
        await room.prompt("say nothing more")
        assert await room.changes() == []


@pytest.mark.scenario("changes: one hunk is rejected")
async def test_a_rejected_hunk_leaves_the_worktree_and_the_others_stay_pending(
    tmp_path: Path, database_url: str
) -> None:
    async with open_room(tmp_path, database_url) as room:
        pending = await edit_three_places(room)
        kept = [hunk.id for hunk in await room.hunks("long.txt")][::2]
        (rejected,) = await room.reject("long.txt", hunks=await choices(room, 1), reason="no")
        assert (rejected.status, rejected.split_from, rejected.reason) == ("rejected", pending.id, "no")
        assert in_worktree(room) == replaced(n2="second", n28="late")
        assert in_checkout(room) == TEXT
        left = await room.change("long.txt")
        assert (left.id, left.agent) == (pending.id, "demo")
        assert [hunk.id for hunk in await room.hunks("long.txt")] == kept
        await room.prompt("say nothing more")
        assert (await room.change("long.txt")).id == pending.id


@pytest.mark.scenario("changes: lines of a hunk are decided")
async def test_single_lines_are_applied_and_rejected(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await open_text(room)
        await room.prompt("edit long.txt line 5\\nline 6\\nline 7\\n => five\\nsix\\nseven\\n")
        (hunk,) = await room.hunks("long.txt")
        number = {line: at for at, line in enumerate(hunk.lines)}
        pair = (number["-line 6"], number["+six"])
        await room.apply("long.txt", hunks=[HunkChoice(id=hunk.id, lines=pair)])
        assert in_checkout(room) == TEXT.replace("line 6\n", "six\n")
        detail = await room.host.changes.get((await room.change("long.txt")).id)
        (hunk,) = detail.hunks
        assert "+six" not in detail.diff
        number = {line: at for at, line in enumerate(hunk.lines)}
        (rejected,) = await room.reject(
            "long.txt", hunks=[HunkChoice(id=hunk.id, lines=(number["-line 5"], number["+five"]))]
        )
        assert (rejected.added_lines, rejected.deleted_lines) == (1, 1)
        assert in_worktree(room) == TEXT.replace("line 6\nline 7\n", "six\nseven\n")


@pytest.mark.scenario("changes: a stale hunk is refused with the fresh ones")
async def test_a_hunk_that_is_gone_is_refused_and_the_present_ones_are_named(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await edit_three_places(room)
        taken = await choices(room, 0)
        await room.apply("long.txt", hunks=taken)
        before = in_checkout(room)
        with pytest.raises(Conflict) as refused:
            await room.apply("long.txt", hunks=taken)
        assert refused.value.stable_code == "stale_hunk"
        fresh = [hunk.model_dump(mode="json") for hunk in await room.hunks("long.txt")]
        assert refused.value.fields["hunks"] == fresh
        assert in_checkout(room) == before


@pytest.mark.scenario("changes: equal hunks are never mixed up")
async def test_one_of_two_equal_hunks_is_applied_once(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt(
            "write long.txt " + "0\\n1\\n2\\nb\\n4\\n5\\n6\\n7\\n8\\n0\\n1\\n2\\nb\\n4\\n5\\n6\\n7\\n8\\n"
        )
        await room.apply()
        await room.prompt("edit long.txt 2\\nb\\n4 => 2\\nB\\n4; edit long.txt 2\\nb\\n4 => 2\\nB\\n4")
        hunks = await room.hunks("long.txt")
        assert len(hunks) == 2
        assert hunks[0].lines == hunks[1].lines
        assert hunks[0].id != hunks[1].id
        await room.apply("long.txt", hunks=[HunkChoice(id=hunks[0].id)])
        with pytest.raises(Conflict):
            await room.apply("long.txt", hunks=[HunkChoice(id=hunks[0].id)])
        assert in_checkout(room).count("B") == 1


@pytest.mark.scenario("changes: what has no hunks is decided whole")
async def test_a_binary_or_empty_file_has_no_hunks_to_choose(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        (room.worktree / "data/logo.bin").write_bytes(b"\0new")
        (room.worktree / "empty.txt").touch()
        await room.prompt("rename src/hello.py => src/hi.py")
        for path in ("data/logo.bin", "empty.txt", "src/hi.py"):
            with pytest.raises(InvalidInput) as refused:
                await room.apply(path, hunks=[HunkChoice(id="0")])
            assert refused.value.stable_code == "no_hunks"


@pytest.mark.scenario("changes: created, deleted and renamed files are decided in parts")
async def test_parts_of_created_deleted_and_renamed_files_are_decided(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await open_text(room)
        await room.prompt("write new.txt one\\ntwo\\nthree\\n")
        (hunk,) = await room.hunks("new.txt")
        await room.apply("new.txt", hunks=[HunkChoice(id=hunk.id, lines=(0, 2))])
        assert (room.repository / "new.txt").read_text() == "one\nthree\n"
        await room.reject("new.txt")
        assert (room.worktree / "new.txt").read_text() == "one\nthree\n"

        await room.prompt("rename long.txt => moved.txt; edit moved.txt line 3\\n => third\\n")
        (hunk,) = await room.hunks("moved.txt")
        deleted = next(at for at, line in enumerate(hunk.lines) if line == "-line 3")
        await room.apply("moved.txt", hunks=[HunkChoice(id=hunk.id, lines=(deleted,))])
        assert not (room.repository / "long.txt").exists()
        assert (room.repository / "moved.txt").read_text() == TEXT.replace("line 3\n", "")
        await room.apply()
        assert (room.repository / "moved.txt").read_text() == replaced(n3="third")

        await room.prompt("delete new.txt")
        (hunk,) = await room.hunks("new.txt")
        await room.reject("new.txt", hunks=[HunkChoice(id=hunk.id, lines=(0,))])
        assert (room.worktree / "new.txt").read_text() == "one\n"
        assert (await room.change("new.txt")).operation == "edit"
        await room.apply()
        assert (room.repository / "new.txt").read_text() == "one\n"


@pytest.mark.scenario("changes: chosen changes are decided together")
async def test_one_file_that_does_not_fit_keeps_the_chosen_others_out(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("edit README.md Sample => Agent; write a.txt a; write b.txt b")
        readme = room.repository / "README.md"
        readme.write_text(readme.read_text().replace("Sample", "User"))
        with pytest.raises(MergeConflict) as conflict:
            await room.apply("README.md", "a.txt")
        assert not (room.repository / "a.txt").exists()
        (shown,) = cast("list[dict[str, str]]", conflict.value.fields["conflicts"])
        assert "# User" in shown["checkout"]
        assert "# Agent" in shown["change"]
        assert "<<<<<<< yours\n# User" in shown["merged"]
        await room.apply("a.txt")
        assert sorted(change.file_path for change in await room.changes()) == ["README.md", "b.txt"]


@pytest.mark.scenario("changes: the second of two panes is told what the first did")
async def test_two_decisions_at_the_same_time_have_one_winner(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("write new.txt fresh")
        pick = Pick(change_id=(await room.change("new.txt")).id)
        lost: list[WrongState] = []

        async def decide(by: str) -> None:
            try:
                await room.host.decisions.apply([pick], by=by)
            except WrongState as error:
                lost.append(error)

        async with anyio.create_task_group() as panes:
            panes.start_soon(decide, "left")
            panes.start_soon(decide, "right")
        (error,) = lost
        (winner,) = await room.changes(ChangeStatus.APPLIED)
        assert error.fields["change"] == winner.model_dump(mode="json")


@pytest.mark.scenario("changes: reject waits for the turn to end")
async def test_a_reject_during_a_turn_is_carried_out_at_its_end(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        pending = await edit_three_places(room)
        running = await room.submit("say begun; listen")
        await room.seen(lambda record: record.event.type == "text" and record.task_id == running.id)
        (shown,) = await room.reject("long.txt", hunks=await choices(room, 1), reason="later")
        assert (shown.id, shown.status) == (pending.id, ChangeStatus.PENDING)
        assert [(each.by, each.reason) for each in shown.queued] == [("test", "later")]
        assert in_worktree(room) == replaced(n2="second", n15="middle", n28="late")
        with pytest.raises(Conflict) as refused:
            await room.reject("long.txt")
        assert refused.value.stable_code == "decision_queued"
        await room.apply("long.txt", hunks=await choices(room, 0))
        await room.submit("write other.txt x", when="steer")
        await room.ended(running)
        assert in_worktree(room) == replaced(n2="second", n28="late")
        (rejected,) = await room.changes(ChangeStatus.REJECTED)
        assert (rejected.split_from, rejected.decided_by) == (pending.id, "test")
        left = await room.change("long.txt")
        assert (left.id, left.queued) == (pending.id, ())
        ledger = (await room.host.decisions.list(room.session.id, None, None, 2)).items
        assert [(each.verb, each.state) for each in ledger] == [("apply", "done"), ("reject", "done")]


@pytest.mark.scenario("changes: a queued decision is withdrawn")
async def test_a_withdrawn_reject_is_not_carried_out(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("write notes.txt agent")
        running = await room.submit("say begun; listen")
        await room.seen(lambda record: record.event.type == "text" and record.task_id == running.id)
        (shown,) = await room.reject()
        await room.host.rejections.withdraw(shown.queued[0].decision_id, "test")
        assert (await room.change("notes.txt")).queued == ()
        with pytest.raises(WrongState):
            await room.host.rejections.withdraw(shown.queued[0].decision_id, "test")
        await room.submit("say enough", when="steer")
        await room.ended(running)
        assert (room.worktree / "notes.txt").read_text() == "agent\n"


@pytest.mark.scenario("changes: a queued decision that does not fit is refused")
async def test_a_reject_whose_lines_the_agent_rewrote_is_refused(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await open_text(room)
        await room.prompt("edit long.txt line 15\\n => middle\\n")
        running = await room.submit("say begun; listen")
        await room.seen(lambda record: record.event.type == "text" and record.task_id == running.id)
        await room.reject()
        await room.submit("edit long.txt middle => centre", when="steer")
        await room.ended(running)
        assert in_worktree(room) == replaced(n15="centre")
        (refused,) = (await room.host.decisions.list(room.session.id, DecisionState.REFUSED, None, 10)).items
        assert refused.error is not None
        assert refused.error.code == "merge_conflict"
        assert any(isinstance(event, Error) and event.code == "decision_refused" for event in await room.events())
        assert (await room.change("long.txt")).queued == ()


@pytest.mark.scenario("changes: decisions are listed")
async def test_the_ledger_names_who_decided_what_and_why(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("write a.txt a; write b.txt b")
        (applied,) = await room.apply("a.txt")
        (rejected,) = await room.reject("b.txt", reason="not needed")
        (reverted,) = await room.revert(applied)
        ledger = (await room.host.decisions.list(room.session.id, None, None, 10)).items
        assert [(each.verb, each.by, each.reason, each.state) for each in ledger] == [
            ("revert", "test", None, "done"),
            ("reject", "test", "not needed", "done"),
            ("apply", "test", None, "done"),
        ]
        assert [each.id for each in ledger] == [reverted.decision_id, rejected.decision_id, applied.decision_id]


@pytest.mark.scenario("changes: hand edits belong to the user")
@pytest.mark.scenario("changes: earlier authors stay named")
async def test_what_a_person_edits_between_turns_is_theirs(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("write a.txt agent; write b.txt agent")
        (room.worktree / "mine.txt").write_text("person")
        (room.worktree / "a.txt").write_text("agent and person")
        await room.prompt("write c.txt agent; edit mine.txt person => both")
        found = {change.file_path: (change.agent, change.contributors) for change in await room.changes()}
        assert found == {
            "a.txt": ("user", ("demo",)),
            "b.txt": ("demo", ()),
            "c.txt": ("demo", ()),
            "mine.txt": ("demo", ("user",)),
        }


@pytest.mark.scenario("changes: the agent hears of a rejection")
async def test_the_agent_is_told_once_what_was_turned_down(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("write notes.txt agent")
        await room.reject(reason="we keep no notes")
        task = await room.prompt("say on we go")
        (note,) = [event for event in await room.events() if isinstance(event, HostNote)]
        assert "notes.txt" in note.text
        assert "we keep no notes" in note.text
        assert await room.text_of(task) == "on we go"
        await room.prompt("say and on")
        assert len([event for event in await room.events() if isinstance(event, HostNote)]) == 1


@pytest.mark.scenario("changes: changes are applied at the turn's end")
@pytest.mark.scenario("changes: secrets are never applied by themselves")
async def test_a_session_that_applies_by_itself_leaves_secrets_alone(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.host.sessions.patch(room.session.id, SessionPatch(auto_apply=True))
        await room.prompt("write .env KEY=1; write keys/site.PEM secret; write plain.txt text")
        await room.seen(lambda record: record.event.type == "change_decided")
        (applied,) = await room.changes(ChangeStatus.APPLIED)
        assert (applied.file_path, applied.decided_by) == ("plain.txt", AUTO)
        assert (room.repository / "plain.txt").read_text() == "text\n"
        assert [(change.file_path, change.is_secret) for change in await room.changes()] == [
            (".env", True),
            ("keys/site.PEM", True),
        ]
        assert not (room.repository / ".env").exists()


@pytest.mark.scenario("changes: what does not fit waits for a person")
async def test_applying_by_itself_leaves_a_conflict_to_a_person(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.host.sessions.patch(room.session.id, SessionPatch(auto_apply=True))
        readme = room.repository / "README.md"
        readme.write_text(readme.read_text().replace("Sample", "User"))
        await room.prompt("edit README.md Sample => Agent; write plain.txt text")
        await room.seen(lambda record: record.event.type == "change_decided")
        assert [change.file_path for change in await room.changes()] == ["README.md"]
        assert (room.repository / "plain.txt").exists()
        assert any(isinstance(event, Error) and event.code == "auto_apply_conflict" for event in await room.events())


async def test_a_revert_moves_the_base_of_a_rename_that_is_pending(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("edit README.md Sample => Example")
        (applied,) = await room.apply()
        await room.prompt("rename README.md => GUIDE.md")
        await room.revert(applied)
        (pending,) = await room.changes()
        assert (pending.file_path, pending.old_path, pending.base_blob) == ("GUIDE.md", "README.md", applied.base_blob)
        await room.apply()
        assert not (room.repository / "README.md").exists()
        assert "Example" in (room.repository / "GUIDE.md").read_text()


async def test_a_revert_finds_what_was_edited_by_hand(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("write a.txt one; write b.txt one")
        applied = await room.apply()
        for path in ("a.txt", "b.txt"):
            (room.worktree / path).write_text("mine\n")
        await room.revert(applied[0])
        pending = await room.changes()
        assert [(row.file_path, row.authors) for row in pending] == [("a.txt", ("user",)), ("b.txt", ("user",))]


async def test_a_file_is_not_applied_without_the_folder_that_it_replaces(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        for folder in (room.worktree, room.repository):
            shutil.rmtree(folder / "src")
        (room.worktree / "src").write_text("now a file\n")
        await room.prompt("say nothing")
        with pytest.raises(MergeConflict):
            await room.apply("src")
        assert [change.file_path for change in await room.changes()] == ["src", "src/hello.py"]
        await room.apply()
        assert (room.repository / "src").read_text() == "now a file\n"


@pytest.mark.parametrize("target", ["checkout", "branch"])
async def test_a_file_is_not_applied_in_the_place_of_a_part_of_its_folder(
    tmp_path: Path, database_url: str, target: Target
) -> None:
    async with open_room(tmp_path, database_url) as room:
        shutil.rmtree(room.worktree / "src")
        (room.worktree / "src").write_text("now a file\n")
        await room.prompt("say nothing")
        whole, deleted = await room.change("src"), await room.change("src/hello.py")
        (hunk,) = await room.hunks("src/hello.py")
        part = Pick(change_id=deleted.id, hunks=(HunkChoice(id=hunk.id, lines=(0,)),))
        with pytest.raises(MergeConflict, match="where its folder is"):
            await room.host.decisions.apply([Pick(change_id=whole.id), part], by="test", target=target)
        assert await room.changes() == [whole, deleted]
        assert (room.repository / "src" / "hello.py").is_file()
