"""Git out: commits on the session's branch, the default branch brought in, patches, a branch that is kept."""

import shutil
import subprocess
from pathlib import Path

import anyio
import pytest

from coder.errors import Conflict, InvalidInput, MergeConflict, UnsavedWork, WrongState
from coder.model.changes import ChangeStatus
from coder.model.events import HostNote
from coder.protocol import BranchIncoming, NewComment
from coder.testing.repositories import commit_files, git, write_files
from coder.testing.rooms import Room, open_room

MERGE, REBASE = BranchIncoming(how="merge"), BranchIncoming(how="rebase")
LINES = "".join(f"line {n}\n" for n in range(9))


def branch(room: Room) -> str:
    assert room.session.branch is not None
    return room.session.branch


def status_of(folder: Path) -> list[str]:
    """What git says of a folder; the host's writes and the stat cache are of no account."""
    git(folder, "update-index", "-q", "--really-refresh")
    return git(folder, "status", "--porcelain").splitlines()


@pytest.mark.scenario("branches: What was applied is committed")
async def test_what_was_applied_is_committed_and_the_rest_stays_pending(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("edit README.md Sample => Example; write new.txt fresh")
        readme, new = await room.changes()
        await room.apply(readme.file_path)

        made = await room.host.branches.commit(room.session.id, "Say it better", "applied", "test")

        assert git(room.repository, "rev-parse", branch(room)) == made.commit
        assert git(room.repository, "diff-tree", "-r", "--no-commit-id", "--name-only", made.commit) == "README.md"
        body = git(room.repository, "show", "-s", "--format=%an%n%B", made.commit)
        assert body.startswith("Test\nSay it better\n\nCo-authored-by: ")
        assert "<demo@noreply.coder.invalid>" in body
        assert status_of(room.worktree) == ["?? new.txt"]
        assert [change.id for change in await room.changes()] == [new.id]
        assert (await room.host.changes.get(readme.id)).commit == made.commit
        with pytest.raises(Conflict) as refused:
            await room.host.branches.commit(room.session.id, "Again", "applied", "test")
        assert refused.value.stable_code == "nothing_to_commit"


@pytest.mark.scenario("branches: A commit of everything applies what is pending")
async def test_everything_is_committed_and_its_rows_are_applied_to_the_branch(
    tmp_path: Path, database_url: str
) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("edit README.md Sample => Example; write new.txt fresh")
        write_files(room.worktree, {"by-hand.txt": "mine\n"})

        made = await room.host.branches.commit(room.session.id, "Everything", "all", "test")

        assert (made.files, made.agents) == (3, ("demo",))
        assert status_of(room.worktree) == []
        assert await room.changes() == []
        applied = await room.changes(ChangeStatus.APPLIED)
        assert [(change.file_path, change.agent) for change in applied] == [
            ("README.md", "demo"),
            ("by-hand.txt", "user"),
            ("new.txt", "demo"),
        ]
        assert {(change.target, change.commit) for change in applied} == {("branch", made.commit)}
        assert "Sample" in (room.repository / "README.md").read_text()
        await room.prompt("say nothing more")
        assert await room.changes() == []


async def test_commits_follow_one_another_in_the_same_place(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        for number, word in enumerate(("one", "two", "three")):
            await room.prompt(f"write note.txt {word}")
            await room.apply()
            made = await room.host.branches.commit(room.session.id, f"Say {word}", "applied", "test")
            assert git(room.repository, "show", f"{made.commit}:note.txt").strip() == word
            assert git(room.repository, "rev-list", "--count", f"main..{branch(room)}") == str(number + 1)


@pytest.mark.scenario("branches: What an agent committed itself counts as committed")
async def test_commits_of_the_agent_are_kept_and_not_made_twice(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("write note.txt agent's")
        await room.apply()
        theirs = commit_files(room.worktree, {"note.txt": "agent's later\n"}, "By the agent")
        await room.prompt("write more.txt more")

        made = await room.host.branches.commit(room.session.id, "The rest", "all", "test")

        assert made.parent == theirs
        assert git(room.repository, "diff-tree", "-r", "--no-commit-id", "--name-only", made.commit) == "more.txt"
        assert await room.changes() == []


async def test_a_commit_that_the_host_could_not_note_is_noted_by_the_next(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("write note.txt here")
        theirs = commit_files(room.worktree, {}, "As if the host had been killed after its commit")

        made = await room.host.branches.commit(room.session.id, "Again", "all", "test")

        assert (made.commit, made.files, len(made.changes)) == (theirs, 0, 1)
        assert await room.changes() == []


@pytest.mark.scenario("branches: The branch is shown beside the default branch")
async def test_the_status_counts_commits_and_files(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        first = await room.host.branches.status(room.session.id)
        assert (first.ahead, first.behind, first.uncommitted, first.problem) == (0, 0, 0, None)
        await room.prompt("write a.txt a; write b.txt b")
        await room.apply((await room.changes())[0].file_path)
        await room.host.branches.commit(room.session.id, "One", "applied", "test")
        await room.prompt("write c.txt c")
        ((change),) = [change for change in await room.changes() if change.file_path == "c.txt"]
        await room.apply(change.file_path)
        incoming = commit_files(room.repository, {"elsewhere.txt": "x\n"})

        found = await room.host.branches.status(room.session.id)

        assert (found.ahead, found.behind, found.uncommitted, found.applied) == (1, 1, 2, 1)
        assert (found.default_branch, found.default_head, found.merge_base) == ("main", incoming, first.head)
        git(room.worktree, "checkout", "--quiet", "--detach")
        elsewhere = await room.host.branches.status(room.session.id)
        assert elsewhere.problem is not None
        assert elsewhere.problem.code == "branch_not_checked_out"
        git(room.repository, "branch", "--move", "main", "trunk")
        assert (await room.host.branches.status(room.session.id)).default_head is None


@pytest.mark.scenario("branches: The default branch is merged into branch, base and worktree")
@pytest.mark.parametrize("wish", [MERGE, REBASE])
async def test_the_default_branch_comes_in_and_pending_changes_stay_what_they_were(
    tmp_path: Path, database_url: str, wish: BranchIncoming
) -> None:
    async with open_room(tmp_path, database_url) as room:
        commit_files(room.repository, {"long.txt": LINES})
        await room.host.branches.update(room.session.id, wish, "test")
        assert (room.worktree / "long.txt").read_text() == LINES
        await room.prompt("edit README.md Sample => Example; write committed.txt c")
        await room.host.branches.commit(room.session.id, "Ours", "all", "test")
        await room.prompt("edit long.txt line 1 => pending 1; write new.txt fresh")
        before = await room.changes()
        incoming = commit_files(room.repository, {"long.txt": LINES.replace("line 7", "main 7"), "src/x.py": "x\n"})

        done = await room.host.branches.update(room.session.id, wish, "test")

        assert (done.outcome, done.conflicts, done.incoming) == (
            "merged" if wish.how == "merge" else "rebased",
            (),
            incoming,
        )
        text = (room.worktree / "long.txt").read_text()
        assert "pending 1" in text
        assert "main 7" in text
        assert (room.worktree / "src/x.py").read_text() == "x\n"
        assert sorted(status_of(room.worktree)) == [" M long.txt", "?? new.txt"]
        parents = git(room.repository, "show", "-s", "--format=%P", branch(room)).split()
        assert len(parents) == (2 if wish.how == "merge" else 1)
        assert incoming in parents
        after = await room.changes()
        assert [(change.file_path, change.agent) for change in after] == [("long.txt", "demo"), ("new.txt", "demo")]
        assert after[1].id == before[1].id
        assert (after[0].added_lines, after[0].deleted_lines) == (1, 1)
        status = await room.host.branches.status(room.session.id)
        assert (status.ahead, status.behind) == (2 if wish.how == "merge" else 1, 0)
        again = await room.host.branches.update(room.session.id, wish, "test")
        assert (again.outcome, again.files) == ("up_to_date", 0)
        assert (await room.host.sessions.get(room.session.id)).base_commit == incoming


async def test_a_session_without_commits_is_brought_forward(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("write new.txt fresh")
        incoming = commit_files(room.repository, {"data/logo.bin": b"\0other", "run.sh": "#!/bin/sh\n"})

        done = await room.host.branches.update(room.session.id, MERGE, "test")

        assert (done.outcome, done.head, done.files) == ("fast_forward", incoming, 2)
        assert (room.worktree / "data/logo.bin").read_bytes() == b"\0other"
        assert status_of(room.worktree) == ["?? new.txt"]
        assert [change.file_path for change in await room.changes()] == ["new.txt"]


@pytest.mark.scenario("branches: An update is in the ledger and can be undone")
async def test_an_update_is_recorded_told_and_undone(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("edit README.md small => pending; write new.txt fresh")
        (room.worktree / "new.txt").write_text("fresh and mine\n")
        ids = {change.file_path: change.id for change in await room.changes()}
        wish = NewComment(line=3, body="why?")
        thread = await room.host.comments.begin(ids["README.md"], wish, "me")
        text = (room.repository / "README.md").read_text()
        commit_files(room.repository, {"README.md": "Before it all\n" + text, "theirs.txt": "t\n"})

        await room.host.branches.update(room.session.id, MERGE, "me")

        assert (await room.host.comments.get(thread.id)).line == 4
        after = {change.file_path: (change.id, change.agent, change.contributors) for change in await room.changes()}
        assert after["README.md"] == (ids["README.md"], "demo", ())
        assert after["new.txt"][1:] == ("user", ("demo",))
        (decision,) = (await room.host.decisions.list(room.session.id, None, None, 1)).items
        assert (decision.verb, decision.by, decision.state) == ("update", "me", "done")
        (saved,) = (await room.host.checkpoints.list(room.session.id, None, 1)).items
        assert saved.kind == "update"

        await room.host.checkpoints.restore(saved.id, by="me")

        assert not (room.worktree / "theirs.txt").exists()
        assert (room.worktree / "README.md").read_text() == text.replace("small", "pending")
        assert (room.worktree / "new.txt").read_text() == "fresh and mine\n"
        await room.prompt("say on we go")
        (note,) = [event for event in await room.events() if isinstance(event, HostNote)]
        assert "default branch was brought in" in note.text


@pytest.mark.scenario("branches: What was applied and went on in the checkout is no conflict")
async def test_what_a_person_made_of_an_applied_change_is_taken(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("edit README.md Sample => Example")
        await room.apply()
        text = (room.repository / "README.md").read_text()
        commit_files(room.repository, {"README.md": text.replace("Example", "Better example")})
        await room.prompt("write later.txt later")

        await room.host.branches.update(room.session.id, MERGE, "test")

        assert "Better example" in (room.worktree / "README.md").read_text()
        assert [change.file_path for change in await room.changes()] == ["later.txt"]


@pytest.mark.scenario("branches: A merge that somebody made by hand is noted")
async def test_a_merge_by_hand_in_the_worktree_leaves_only_the_sessions_own_changes(
    tmp_path: Path, database_url: str
) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("write own.txt own")
        commit_files(room.repository, {"theirs.txt": "t\n"})
        git(room.worktree, "merge", "--quiet", "main")
        await room.prompt("write more.txt more")
        assert [change.file_path for change in await room.changes()] == ["more.txt", "own.txt", "theirs.txt"]

        done = await room.host.branches.update(room.session.id, MERGE, "test")

        assert done.outcome == "up_to_date"
        assert [change.file_path for change in await room.changes()] == ["more.txt", "own.txt"]


@pytest.mark.scenario("branches: A conflict is refused and nothing is changed")
@pytest.mark.parametrize("wish", [MERGE, REBASE])
@pytest.mark.parametrize("is_committed", [True, False])
async def test_a_conflict_is_shown_with_both_sides_and_writes_nothing(
    tmp_path: Path, database_url: str, wish: BranchIncoming, is_committed: bool
) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("edit README.md Sample => Example; write quiet.txt q")
        if is_committed:
            await room.host.branches.commit(room.session.id, "Ours", "all", "test")
        commit_files(room.repository, {"README.md": "# Other\n\nA small project.\n", "calm.txt": "c\n"})
        head = git(room.repository, "rev-parse", branch(room))
        pending = await room.changes()

        with pytest.raises(MergeConflict) as refused:
            await room.host.branches.update(room.session.id, wish, "test")

        (conflict,) = refused.value.fields["conflicts"]  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]: a list of objects
        assert conflict["file_path"] == "README.md"
        assert "Example" in conflict["checkout"]
        assert "Other" in conflict["change"]
        assert "<<<<<<< session\n" in conflict["merged"]
        assert git(room.repository, "rev-parse", branch(room)) == head
        assert not (room.worktree / "calm.txt").exists()
        assert await room.changes() == pending


@pytest.mark.scenario("branches: A conflict is left to an agent")
@pytest.mark.parametrize("how", ["merge", "rebase"])
@pytest.mark.parametrize("is_committed", [True, False])
async def test_the_agent_finds_markers_and_a_prompt_that_names_the_files(
    tmp_path: Path, database_url: str, how: str, is_committed: bool
) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("edit README.md Sample => Example; write quiet.txt q")
        if is_committed:
            await room.host.branches.commit(room.session.id, "Ours", "all", "test")
        incoming = commit_files(room.repository, {"README.md": "# Other\n\nA small project.\n", "calm.txt": "c\n"})

        wish = BranchIncoming.model_validate({"how": how, "on_conflict": "agent", "agent": "demo"})
        done = await room.host.branches.update(room.session.id, wish, "test")

        assert done.conflicts == ("README.md",)
        assert done.task is not None
        assert "- README.md\n" in done.task.input
        assert (room.worktree / "README.md").read_text() == (
            "<<<<<<< session\n# Example\n=======\n# Other\n>>>>>>> incoming\n\nA small project.\n"
        )
        assert (room.worktree / "calm.txt").read_text() == "c\n"
        await room.host.dispatcher.cancel(done.task.id)
        await room.ended(done.task)
        assert git(room.repository, "merge-base", branch(room), "main") == incoming
        assert "README.md" in [change.file_path for change in await room.changes()]
        (room.worktree / "README.md").write_text("# Example and other\n\nA small project.\n")
        made = await room.host.branches.commit(room.session.id, "Resolved", "all", "test")
        assert git(room.repository, "show", f"{made.commit}:README.md").startswith("# Example and other")
        assert status_of(room.worktree) == []


@pytest.mark.scenario("branches: An update runs nothing of the repository's own")
@pytest.mark.parametrize("wish", [MERGE, REBASE])
async def test_updates_run_no_driver_and_convert_line_ends(
    tmp_path: Path, database_url: str, wish: BranchIncoming
) -> None:
    async with open_room(tmp_path, database_url) as room:
        mark, id = tmp_path / "owned", room.session.id
        repo, script = room.repository, room.repository / ".git/attack"
        attributes = "*.txt text eol=crlf filter=evil diff=evil merge=evil\n"
        commit_files(repo, {".gitattributes": attributes, "long.txt": LINES})
        script.write_text(f"#!/bin/sh\ntouch {mark}\ncat\n")
        script.chmod(0o755)
        for key in ("filter.evil.clean", "filter.evil.smudge", "merge.evil.driver", "diff.evil.command"):
            git(repo, "config", key, str(script))
        for name in ("post-checkout", "pre-commit", "post-commit", "post-merge", "reference-transaction"):
            shutil.copy(script, repo / ".git/hooks" / name)
        await room.host.branches.update(id, wish, "test")
        first = (room.worktree / "long.txt").read_bytes()
        assert first in (LINES.encode(), LINES.replace("\n", "\r\n").encode())
        (room.worktree / "long.txt").write_bytes(first.replace(b"line 1", b"own 1"))
        made = await room.host.branches.commit(id, "Own", "all", "test")
        assert made.files == 1
        main = git(repo, "rev-parse", "main")
        change = git(repo, "hash-object", "-w", "--no-filters", str(write_text(tmp_path, LINES.replace("7", "seven"))))
        git(repo, "update-index", "--cacheinfo", f"100644,{change},long.txt")
        commit = git(repo, "commit-tree", "-p", main, "-m", "Theirs", git(repo, "write-tree"))
        mark.unlink(missing_ok=True)
        git(repo, "-c", "core.hooksPath=/dev/null", "update-ref", "refs/heads/main", commit)

        await room.host.branches.update(id, wish, "test")

        assert not mark.exists()
        wanted = LINES.replace("line 1", "own 1").replace("7", "seven")
        assert (room.worktree / "long.txt").read_bytes() == wanted.replace("\n", "\r\n").encode()
        assert git(repo, "cat-file", "blob", f"{branch(room)}:long.txt") + "\n" == wanted
        assert await room.changes() == []
        found = await room.host.branches.status(id)
        assert (found.behind, found.uncommitted) == (0, 0)


def write_text(folder: Path, text: str) -> Path:
    path = folder / "text"
    path.write_text(text)
    return path


@pytest.mark.scenario("branches: An update that cannot be made is refused by name")
async def test_updates_that_cannot_be_made_are_refused(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        id = room.session.id
        with pytest.raises(InvalidInput):
            await room.host.branches.update(id, BranchIncoming(on_conflict="agent"), "test")
        running = await room.submit("hang")
        await room.saw("turn_started")
        for attempt in (
            room.host.branches.update(id, MERGE, "test"),
            room.host.branches.commit(id, "While it works", "all", "test"),
        ):
            with pytest.raises(Conflict) as refused:
                await attempt
            assert refused.value.stable_code == "turn_running"
        await room.host.dispatcher.cancel(running.id)
        await room.ended(running)
        commit_files(room.repository, {"x.txt": "x\n"})
        git(room.repository, "config", "user.email", "")
        with pytest.raises(Conflict) as refused:
            await room.host.branches.update(id, MERGE, "test")
        assert refused.value.stable_code == "identity_missing"
        git(room.repository, "branch", "--move", "main", "trunk")
        with pytest.raises(Conflict) as refused:
            await room.host.branches.update(id, MERGE, "test")
        assert refused.value.stable_code == "default_branch_missing"


@pytest.mark.scenario("branches: A lost worktree or repository is told by name")
async def test_a_worktree_or_repository_that_is_gone_is_told_by_name(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        aside = room.worktree.rename(tmp_path / "aside")
        with pytest.raises(Conflict) as refused:
            await room.host.branches.commit(room.session.id, "Where", "all", "test")
        assert refused.value.stable_code == "worktree_gone"
        aside.rename(room.worktree)
        room.repository.rename(tmp_path / "moved")
        for attempt in (room.host.branches.status(room.session.id), room.host.branches.patch(room.session.id, None)):
            with pytest.raises(Conflict) as refused:
                await attempt
            assert refused.value.stable_code == "repository_gone"
        (tmp_path / "moved").rename(room.repository)
        assert (await room.host.branches.status(room.session.id)).problem is None


@pytest.mark.scenario("branches: A patch takes a fresh clone to the worktree's content")
async def test_a_patch_applies_to_a_fresh_clone(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt(
            "edit README.md Sample => Example; delete data/logo.bin; rename src/hello.py => src/hi.py; write é.txt x"
        )
        write_files(room.worktree, {"pixel.bin": bytes(range(255, -1, -1)), "no-end": "no line end"})
        (room.worktree / "link").symlink_to("README.md")
        (room.worktree / "run.sh").write_text("#!/bin/sh\n")
        (room.worktree / "run.sh").chmod(0o755)

        patch = await room.host.branches.patch(room.session.id, None)

        clone = tmp_path / "clone"
        git(tmp_path, "clone", "--quiet", str(room.repository), str(clone))
        apply(clone, patch)
        assert contents_of(clone) == contents_of(room.worktree)
        (readme,) = [change for change in await room.changes() if change.file_path == "README.md"]
        await room.apply(readme.file_path)
        applied = await room.host.branches.patch(room.session.id, ChangeStatus.APPLIED)
        pending = await room.host.branches.patch(room.session.id, ChangeStatus.PENDING)
        assert b"README.md" in applied
        assert b"pixel.bin" not in applied
        assert b"README.md" not in pending.replace(b"+README.md", b"")
        shutil.rmtree(clone)
        git(tmp_path, "clone", "--quiet", str(room.repository), str(clone))
        for part in (applied, pending):
            apply(clone, part)
        assert contents_of(clone) == contents_of(room.worktree)


def apply(clone: Path, patch: bytes) -> None:
    subprocess.run(["git", "apply", "--binary", "-"], cwd=clone, input=patch, check=True)


def contents_of(folder: Path) -> dict[str, tuple[str, bool]]:
    """Every file with what is in it and whether it can be run."""
    found = [path for path in folder.rglob("*") if ".git" not in path.parts and (path.is_symlink() or path.is_file())]
    return {
        str(path.relative_to(folder)): (
            str(path.readlink()) if path.is_symlink() else path.read_bytes().hex(),
            bool(path.lstat().st_mode & 0o100),
        )
        for path in found
    }


@pytest.mark.scenario("branches: A kept branch outlives its session")
async def test_a_branch_is_kept_with_its_commits(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("write note.txt here")
        with pytest.raises(UnsavedWork):
            await room.host.sessions.close(room.session.id, force=False, keep_branch=True)
        made = await room.host.branches.commit(room.session.id, "Keep this", "all", "test")
        with pytest.raises(UnsavedWork):
            await room.host.sessions.close(room.session.id, force=False)

        await room.host.sessions.close(room.session.id, force=False, keep_branch=True)

        assert git(room.repository, "rev-parse", branch(room)) == made.commit
        assert not room.worktree.exists()
        assert len(git(room.repository, "worktree", "list").splitlines()) == 1


async def test_commits_off_the_kept_branch_are_unsaved_work(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        git(room.worktree, "checkout", "--quiet", "--detach")
        git(room.worktree, "commit", "--quiet", "--allow-empty", "--message", "Nowhere else")
        with pytest.raises(UnsavedWork):
            await room.host.sessions.close(room.session.id, force=False, keep_branch=True)


@pytest.mark.scenario("branches: Two commits at once make one")
async def test_of_two_commits_at_once_one_is_made(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("write note.txt here")
        codes: list[str] = []

        async def attempt() -> None:
            try:
                await room.host.branches.commit(room.session.id, "One of two", "all", "test")
                codes.append("made")
            except (Conflict, WrongState) as error:
                codes.append(error.stable_code)

        async with anyio.create_task_group() as group:
            group.start_soon(attempt)
            group.start_soon(attempt)
        assert sorted(codes) == ["made", "nothing_to_commit"]
        assert git(room.repository, "rev-list", "--count", f"main..{branch(room)}") == "1"
