"""Comments on lines of changes: kept, followed, and sent to an agent as one review."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from coder.comments import OPEN_LIMIT
from coder.errors import Conflict, InvalidInput, NotFound, WrongState
from coder.host import open_host
from coder.model.comments import Comment, CommentStatus, Side
from coder.model.decisions import Pick
from coder.model.tasks import Task
from coder.protocol import NewComment, Review
from coder.testing.rooms import Room, open_room, room_settings

TEN = "".join(f"line {number}\\n" for number in range(1, 11))


async def comment(room: Room, line: int, body: str = "why?", side: Side = "new", path: str = "a.txt") -> Comment:
    """A thread of `me` on a pending change of the file."""
    (change,) = [change for change in await room.changes() if change.file_path == path]
    return await room.host.comments.begin(change.id, NewComment(line=line, body=body, side=side), "me")


async def listed(room: Room, status: CommentStatus | None = None) -> Sequence[Comment]:
    return (await room.host.comments.list(room.session.id, status, None, 500)).items


async def finish(room: Room, task: Task) -> None:
    """Answer what the agent asks in the turn, and wait for its end."""
    asked = await room.seen(lambda record: record.event.type == "permission_requested" and record.task_id == task.id)
    assert asked.event.type == "permission_requested"
    await room.host.permissions.answer(asked.event.request.id, "no", "me")
    assert (await room.ended(task)).state == "completed"


async def sent(room: Room, wish: Review) -> str:
    """What the agent is asked by a review, once it has done its turn."""
    task = await room.host.comments.review(room.session.id, wish)
    await finish(room, task)
    return task.input


@pytest.mark.scenario("comments: A line of a change is commented on")
async def test_a_thread_with_its_replies_survives_a_restart(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt(f"write a.txt {TEN}")
        begun = await comment(room, 5, "is this right?")
        assert (begun.line, begun.text, begun.by, begun.status) == (5, "line 5", "me", "open")
        assert (begun.before, begun.after) == (("line 2", "line 3", "line 4"), ("line 6", "line 7", "line 8"))
        await room.host.comments.reply(begun.id, "yes", "you")
        whole = await room.host.comments.reply(begun.id, "sure?", "me")
        assert [(reply.body, reply.by, reply.thread_id) for reply in whole.replies] == [
            ("yes", "you", begun.id),
            ("sure?", "me", begun.id),
        ]
    async with open_host(room_settings(tmp_path / "home", database_url), "token") as host:
        assert await host.comments.get(begun.id) == whole
        assert (await host.comments.list(room.session.id, CommentStatus.OPEN, None, 10)).items == (whole,)


@pytest.mark.scenario("comments: Viewers hear of comments")
async def test_every_step_of_a_thread_is_recorded_and_open_ones_are_in_the_snapshot(
    tmp_path: Path, database_url: str
) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt(f"write a.txt {TEN}")
        first, second = await comment(room, 1), await comment(room, 2)
        replied = await room.host.comments.reply(first.id, "so", "you")
        settled = await room.host.comments.settle(second.id, CommentStatus.RESOLVED, "me")
        told = [event.comment for event in await room.events() if event.type == "comment_updated"]
        expected = [first, second, replied, settled]
        assert [each.model_dump_json() for each in told] == [each.model_dump_json() for each in expected]
        assert (await room.host.journal.snapshot(room.session.id)).comments == (replied,)


@pytest.mark.scenario("comments: A place that is not there is refused")
async def test_places_that_are_not_there_are_refused_by_code(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt(f"write a.txt {TEN}; edit README.md Sample => Example; delete src/hello.py; write empty.txt")
        (room.worktree / "data/logo.bin").write_bytes(b"\0\1")
        (room.worktree / "link").symlink_to("a.txt")
        (room.worktree / "huge.txt").write_text("word\n" * 1_000_000)
        await room.prompt("say done")
        for path, line, side, code in (
            ("a.txt", 11, "new", "no_such_line"),
            ("a.txt", 1, "base", "no_such_side"),
            ("src/hello.py", 1, "new", "no_such_side"),
            ("src/hello.py", 3, "base", "no_such_line"),
            ("empty.txt", 1, "new", "no_such_line"),
            ("data/logo.bin", 1, "new", "not_text"),
            ("link", 1, "new", "not_text"),
            ("huge.txt", 1, "new", "not_text"),
        ):
            with pytest.raises(InvalidInput) as caught:
                await comment(room, line, side="base" if side == "base" else "new", path=path)
            assert (path, caught.value.stable_code) == (path, code)
        with pytest.raises(NotFound):
            await room.host.comments.begin("nobody", NewComment(line=1, body="x"), "me")
        with pytest.raises(NotFound):
            await room.host.comments.reply("nobody", "x", "me")
        with pytest.raises(NotFound):
            await room.host.comments.settle("nobody", CommentStatus.RESOLVED, "me")
        assert await listed(room) == ()
        assert (await comment(room, 1, side="base", path="README.md")).text == "# Sample"
        assert (await comment(room, 2, side="base", path="src/hello.py")).text == '    return "hello"'


@pytest.mark.scenario("comments: A decided change takes no comments")
async def test_a_decided_change_takes_no_comments(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt(f"write a.txt {TEN}")
        (change,) = await room.changes()
        await room.apply()
        with pytest.raises(WrongState):
            await room.host.comments.begin(change.id, NewComment(line=1, body="late"), "me")


@pytest.mark.scenario("comments: A thread is resolved and opened again")
async def test_a_thread_is_settled_once_and_can_be_opened_again(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt(f"write a.txt {TEN}")
        begun = await comment(room, 1)
        resolved = await room.host.comments.settle(begun.id, CommentStatus.RESOLVED, "you")
        assert (resolved.status, resolved.resolved_by, resolved.resolved_at is None) == ("resolved", "you", False)
        with pytest.raises(WrongState):
            await room.host.comments.settle(begun.id, CommentStatus.RESOLVED, "me")
        assert await room.host.comments.settle(begun.id, CommentStatus.OPEN, "me") == begun
        with pytest.raises(WrongState):
            await room.host.comments.settle(begun.id, CommentStatus.OPEN, "me")


async def test_a_session_has_so_many_open_threads_and_no_more(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("write a.txt one")
        begun = await comment(room, 1)
        for _ in range(OPEN_LIMIT - 1):
            await comment(room, 1)
        with pytest.raises(Conflict) as caught:
            await comment(room, 1)
        assert caught.value.stable_code == "too_many_comments"
        await room.host.comments.settle(begun.id, CommentStatus.RESOLVED, "me")
        await comment(room, 1)


@pytest.mark.scenario("comments: Open comments are sent as one prompt")
async def test_a_review_is_one_prompt_of_all_open_threads(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt(f"write b.txt {TEN}; write a.txt x\\n```y```\\nz; edit README.md Sample => Example")
        second = await comment(room, 9, "Split this.", path="b.txt")
        await room.host.comments.reply(second.id, "In two.", "you")
        first = await comment(room, 2, "Quote it.")
        base = await comment(room, 1, "Keep the old title.", "base", "README.md")
        done = await comment(room, 1, "Never mind.", path="b.txt")
        await room.host.comments.settle(done.id, CommentStatus.RESOLVED, "me")
        task = await room.host.comments.review(room.session.id, Review(agent="demo", input="say Then run the tests."))
        assert task.input == REVIEW
        assert {thread.task_id for thread in await listed(room, CommentStatus.OPEN)} == {task.id}
        assert (await room.host.comments.get(second.id)).sent_replies == 1
        assert (await room.host.comments.get(done.id)).task_id is None
        told = [event.comment for event in await room.events() if event.type == "comment_updated"]
        assert {each.id for each in told if each.sent_at} == {first.id, second.id, base.id}
        await finish(room, task)


@pytest.mark.scenario("comments: A comment moves with its line")
async def test_a_thread_moves_with_its_line_on_either_side(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt(f"write a.txt {TEN}; edit README.md Sample => Example")
        new, base = await comment(room, 5), await comment(room, 3, side="base", path="README.md")
        await room.prompt("edit a.txt line 2\\n => line 2\\nand a half\\n; edit a.txt line 9 => line nine")
        moved = await room.host.comments.get(new.id)
        assert (moved.status, moved.line, moved.text) == ("open", 6, "line 5")
        assert moved.before == ("and a half", "line 3", "line 4")
        assert await room.host.comments.get(base.id) == base
        told = [event.comment.line for event in await room.events() if event.type == "comment_updated"]
        assert told == [5, 3, 6]
        await room.prompt("say nothing new")
        assert await room.host.comments.get(new.id) == moved


@pytest.mark.scenario("comments: A comment is resolved when its lines change")
async def test_a_thread_whose_line_is_gone_is_resolved_by_the_host(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt(f"write a.txt {TEN}; write b.txt one")
        edited, kept, gone = await comment(room, 5), await comment(room, 6), await comment(room, 1, path="b.txt")
        await room.prompt("edit a.txt line 5 => line five; delete b.txt")
        assert [each.id for each in await listed(room, CommentStatus.OPEN)] == [kept.id]
        for id in (edited.id, gone.id):
            thread = await room.host.comments.get(id)
            assert (thread.status, thread.resolved_by, thread.reason) == ("resolved", "host", "the lines have changed")
        await room.host.comments.settle(edited.id, CommentStatus.OPEN, "me")
        await room.prompt("say nothing new")
        assert (await room.host.comments.get(edited.id)).status == "open"
        await room.prompt("edit a.txt line five => line 5; edit a.txt line 1\\n => \\s")
        assert (await room.host.comments.get(edited.id)).line == 4


@pytest.mark.scenario("comments: A comment follows a renamed file")
async def test_a_thread_follows_its_file_to_a_new_name(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("edit src/hello.py hello() => hello(name)")
        new = await comment(room, 2, path="src/hello.py")
        base = await comment(room, 1, side="base", path="src/hello.py")
        await room.prompt("edit src/hello.py hello(name) => hello(); rename src/hello.py => src/hi.py")
        for id, line in ((new.id, 2), (base.id, 1)):
            thread = await room.host.comments.get(id)
            assert (thread.status, thread.file_path, thread.line) == ("open", "src/hi.py", line)


@pytest.mark.scenario("comments: Deciding settles what it takes away")
async def test_deciding_resolves_the_threads_of_lines_that_it_takes_away(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt("edit README.md Sample => Example; write a.txt one")
        old = await comment(room, 1, side="base", path="README.md")
        context = await comment(room, 3, side="base", path="README.md")
        new, rejected = await comment(room, 1, path="README.md"), await comment(room, 1)
        readme, added = (await room.changes())[0].id, (await room.changes())[1].id
        await room.host.decisions.apply([Pick(change_id=readme)], by="me")
        assert {each.id for each in await listed(room, CommentStatus.OPEN)} == {context.id, new.id, rejected.id}
        assert (await room.host.comments.get(old.id)).reason == "the lines have changed"
        await room.host.decisions.reject([Pick(change_id=added)], by="me")
        assert {each.id for each in await listed(room, CommentStatus.OPEN)} == {context.id, new.id}


@pytest.mark.scenario("comments: A file that is no text any more")
async def test_a_thread_of_a_file_that_became_binary_is_outdated(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt(f"write a.txt {TEN}")
        begun = await comment(room, 5)
        (room.worktree / "a.txt").write_bytes(b"line 5\n\0")
        await room.prompt("say done")
        thread = await room.host.comments.get(begun.id)
        assert (thread.status, thread.reason) == ("outdated", "the file cannot be read as text any more")
        await room.host.comments.settle(begun.id, CommentStatus.RESOLVED, "me")


REVIEW = f"""\
Your changes were reviewed: 3 comments. Please go through all of them.

1. README.md:1 (as it was before the change)
```
> 1 | # Sample
  2 |{" "}
  3 | A small project.
```

Keep the old title.

2. a.txt:2
````
  1 | x
> 2 | ```y```
  3 | z
````

Quote it.

3. b.txt:9
```
   6 | line 6
   7 | line 7
   8 | line 8
>  9 | line 9
  10 | line 10
```

Split this.

Reply: In two.

say Then run the tests."""


@pytest.mark.scenario("comments: Only what the agent has not heard is sent")
async def test_a_second_review_holds_what_is_new_to_its_agent(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt(f"write a.txt {TEN}")
        one, two = await comment(room, 1, "First."), await comment(room, 2, "Second.")
        await sent(room, Review(agent="demo"))
        with pytest.raises(InvalidInput) as caught:
            await room.host.comments.review(room.session.id, Review(agent="demo"))
        assert caught.value.stable_code == "no_open_comments"
        await room.host.comments.reply(two.id, "Still.", "me")
        again = await sent(room, Review(agent="demo"))
        assert ("First." in again, "Second." in again, "Still." in again) == (False, True, True)
        chosen = await sent(room, Review(agent="demo", comments=(one.id, one.id)))
        assert chosen.count("First.") == 1
        assert "Second." not in chosen
        await room.add_provider("other", room.host.providers.require_usable("demo").command)
        other = await sent(room, Review(agent="other"))
        assert ("First." in other, "Second." in other) == (True, True)


@pytest.mark.scenario("comments: A review that was not carried out can be sent again")
async def test_a_cancelled_review_is_sent_again(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt(f"write a.txt {TEN}")
        await comment(room, 1, "First.")
        running = await room.submit("say begun; hang")
        await room.saw("text")
        lost = await room.host.comments.review(room.session.id, Review(agent="demo"))
        await room.host.dispatcher.cancel(lost.id)
        await room.host.dispatcher.cancel(running.id)
        assert "First." in await sent(room, Review(agent="demo"))


@pytest.mark.scenario("comments: A review needs an open comment")
async def test_a_review_of_nothing_makes_no_task(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        await room.prompt(f"write a.txt {TEN}")
        other = await room.host.sessions.open(room.session.project_id, None, None)
        settled, begun = await comment(room, 1), await comment(room, 2)
        await room.host.comments.settle(settled.id, CommentStatus.RESOLVED, "me")
        for session, wish, kind in (
            (other.id, Review(agent="demo"), InvalidInput),
            (other.id, Review(agent="demo", comments=(begun.id,)), NotFound),
            (room.session.id, Review(agent="demo", comments=(begun.id, "nobody")), NotFound),
            (room.session.id, Review(agent="demo", comments=(settled.id,)), WrongState),
            (room.session.id, Review(agent="nobody"), NotFound),
            (room.session.id, Review(agent="demo", input="x" * 256 * 1024), InvalidInput),
            ("nobody", Review(agent="demo"), NotFound),
        ):
            with pytest.raises(kind):
                await room.host.comments.review(session, wish)
        assert (await room.host.comments.get(begun.id)).task_id is None
        assert len((await room.host.dispatcher.list(None, (), None, 10)).items) == 1
