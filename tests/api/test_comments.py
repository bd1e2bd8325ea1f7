"""Comments over HTTP, and as viewers see them."""

from pathlib import Path

import orjson
import pytest

from coder.client import Client
from coder.errors import InvalidInput, NotFound, WrongState
from coder.model.comments import CommentStatus
from coder.model.sessions import Session
from coder.protocol import Problem, Prompt, SnapshotFrame
from coder.testing.harness import open_live_host
from tests.api.wire import JSON, good_headers, next_frame, open_socket, open_test_session, send_raw


async def changed(client: Client, folder: Path) -> tuple[Session, str]:
    """A session with one pending change of three lines."""
    session = await open_test_session(client, folder)
    task = await client.prompt(session.id, Prompt(agent="demo", input="write a.txt one\\ntwo\\nthree\\n"))
    await client.wait_for_task(task.id)
    (change,) = (await client.changes(session.id)).items
    return session, change.id


async def test_a_thread_is_begun_replied_to_settled_and_sent(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        session, change = await changed(client, tmp_path / "repo")
        begun = await client.begin_comment(change, 2, "why?")
        assert (begun.text, begun.by, begun.side) == ("two", "api", "new")
        replied = await client.reply_to_comment(begun.id, "because")
        assert await client.comment(begun.id) == replied
        other = await client.begin_comment(change, 3, "and this?")
        assert (await client.resolve_comment(other.id)).status == "resolved"
        assert (await client.comments(session.id, CommentStatus.OPEN)).items == (replied,)
        assert (await client.reopen_comment(other.id)).resolved_at is None
        first = await client.comments(session.id, limit=1)
        second = await client.comments(session.id, None, first.next, 1)
        assert [each.id for each in (*first.items, *second.items)] == [other.id, begun.id]
        task = await client.review(session.id, "demo", comments=[begun.id], input="Thanks.", key="k")
        assert await client.review(session.id, "demo", comments=[begun.id], input="Thanks.", key="k") == task
        assert (await client.comment(begun.id)).task_id == task.id
        assert (await client.comment(other.id)).task_id is None
        await client.cancel_task(task.id)


async def test_refusals_have_their_codes(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        session, change = await changed(client, tmp_path / "repo")
        begun = await client.begin_comment(change, 1, "why?")
        await client.resolve_comment(begun.id)
        for body in (
            b"{}",
            b'{"line":1,"body":" \\n"}',
            b'{"line":"1","body":"x"}',
            b'{"line":1,"side":"left","body":"x"}',
        ):
            reply = await send_raw(
                live.url, "POST", f"/api/changes/{change}/comments", [*good_headers(live), JSON], body
            )
            assert (reply.status, Problem.model_validate_json(reply.body).code) == (422, "invalid_input"), body
        long = orjson.dumps({"body": "x" * 4001})
        reply = await send_raw(live.url, "POST", f"/api/comments/{begun.id}/replies", [*good_headers(live), JSON], long)
        assert reply.status == 422
        with pytest.raises(InvalidInput, match="3 lines") as caught:
            await client.begin_comment(change, 4, "x")
        assert (caught.value.stable_code, caught.value.fields) == ("no_such_line", {"lines": 3})
        with pytest.raises(InvalidInput) as caught:
            await client.review(session.id, "demo")
        assert caught.value.stable_code == "no_open_comments"
        with pytest.raises(WrongState):
            await client.review(session.id, "demo", comments=[begun.id])
        with pytest.raises(NotFound):
            await client.review(session.id, "demo", comments=["nobody"])


async def test_a_viewer_sees_open_comments_at_once_and_new_ones_as_they_come(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        session, change = await changed(client, tmp_path / "repo")
        begun = await client.begin_comment(change, 1, "why?")
        async with open_socket(live) as socket:
            await socket.send(orjson.dumps({"type": "subscribe", "session_id": session.id}).decode())
            assert (await next_frame(socket)).type == "welcome"
            snapshot = await next_frame(socket)
            assert isinstance(snapshot, SnapshotFrame)
            assert [each.id for each in snapshot.comments] == [begun.id]
            replied = await client.reply_to_comment(begun.id, "because")
            frame = await next_frame(socket)
            assert frame.type == "events"
            event = frame.records[0].event
            assert event.type == "comment_updated"
            assert event.comment == replied
