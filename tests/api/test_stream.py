"""The WebSocket and its twin: what viewers see, in which order, and what happens to those who do not read."""

import re
import socket as sockets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_hex
from urllib.parse import urlsplit

import anyio
import httpx2
import orjson
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.uri import parse_uri

from coder.api.stream import StreamLimits
from coder.client import Client
from coder.compaction import Compaction
from coder.journal import LAG_LIMIT
from coder.model.events import Record, Text
from coder.model.permissions import PermissionRequest
from coder.model.sessions import Session
from coder.model.tasks import Task
from coder.protocol import DRAINING, Ack, ErrorFrame, EventsFrame, ServerFrame, SnapshotFrame, Welcome
from coder.testing.harness import LiveHost, open_live_host
from tests.api.wire import good_headers, next_frame, open_request, open_socket, open_test_session, send_raw


@asynccontextmanager
async def open_scene(
    folder: Path, database_url: str, limits: StreamLimits | None = None
) -> AsyncGenerator[tuple[LiveHost, Client, Session]]:
    """A live host with an open session."""
    async with open_live_host(folder / "home", database_url, stream_limits=limits) as live, live.client() as client:
        yield live, client, await open_test_session(client, folder / "repo")


async def say(live: LiveHost, session: Session, *texts: str) -> int:
    seq = 0
    for text in texts:
        event = Text(text=text, message_id=token_hex(4))  # each a record of its own
        seq = await live.host.journal.append(session.id, event, agent="demo")
    return seq


async def subscribe(socket: ClientConnection, session_id: str, after: int | None, epoch: str | None = None) -> None:
    frame = {"type": "subscribe", "session_id": session_id, "after": after, "epoch": epoch}
    await socket.send(orjson.dumps(frame).decode())


async def read_until(socket: ClientConnection, seq: int) -> list[Record]:
    """Records up to number `seq`."""
    records: list[Record] = []
    while not records or records[-1].seq < seq:
        frame = await next_frame(socket)
        assert isinstance(frame, EventsFrame), frame
        records += frame.records
    return records


def texts_of(records: list[Record]) -> list[str]:
    return [record.event.text for record in records if isinstance(record.event, Text)]


@pytest.mark.scenario("stream: A snapshot, then every record after it")
async def test_a_new_viewer_gets_a_snapshot_and_then_every_record_once(tmp_path: Path, database_url: str):
    async with open_scene(tmp_path, database_url) as (live, _, session), open_socket(live) as socket:
        welcome = await next_frame(socket)
        assert isinstance(welcome, Welcome)
        assert welcome.epoch == live.host.journal.epoch
        await say(live, session, "before")
        await live.host.journal.flush(session.id)
        await subscribe(socket, session.id, None)
        snapshot = await next_frame(socket)
        assert isinstance(snapshot, SnapshotFrame)
        assert (snapshot.session.id, texts_of(list(snapshot.events))) == (session.id, ["before"])
        last = await say(live, session, *(f"word {number}" for number in range(500)))
        records = await read_until(socket, last)
        assert [record.seq for record in records] == list(range(snapshot.seq + 1, last + 1))
        assert texts_of(records) == [f"word {number}" for number in range(500)]


@pytest.mark.scenario("stream: A viewer that comes back misses nothing")
async def test_a_viewer_that_resumes_by_number_gets_what_it_missed(tmp_path: Path, database_url: str):
    async with open_scene(tmp_path, database_url) as (live, _, session):
        first = await say(live, session, "a", "b", "c", "d")
        for after in (0, first - 2, first - 1):
            async with open_socket(live) as socket:
                await next_frame(socket)
                await subscribe(socket, session.id, after, live.host.journal.epoch)
                assert [record.seq for record in await read_until(socket, first)] == list(range(after + 1, first + 1))
        async with open_socket(live) as socket:
            await next_frame(socket)
            await subscribe(socket, session.id, first)
            last = await say(live, session, "e")
            assert [record.seq for record in await read_until(socket, last)] == [last]


@pytest.mark.scenario("stream: All viewers see the same")
async def test_two_viewers_get_the_same_bytes_of_each_record(tmp_path: Path, database_url: str):
    async with open_scene(tmp_path, database_url) as (live, _, session), open_socket(live) as one:
        async with open_socket(live) as other:
            seen: list[str] = []
            for socket in (one, other):
                await next_frame(socket)
                await subscribe(socket, session.id, 0)
            last = await say(live, session, *(f"grüße {number}" for number in range(50)))
            for socket in (one, other):
                texts = ""
                while f'"seq":{last},' not in texts:
                    with anyio.fail_after(10):
                        message = str(await socket.recv())
                    texts += message.partition('"records":[')[2].removesuffix("]}") + ","
                seen.append(texts)
            assert seen[0] == seen[1]


@pytest.mark.scenario("stream: Records that are ready travel together")
async def test_a_burst_comes_in_few_frames(tmp_path: Path, database_url: str):
    async with open_scene(tmp_path, database_url) as (live, _, session):
        last = await say(live, session, *(f"word {number}" for number in range(2000)))
        async with open_socket(live) as socket:
            await next_frame(socket)
            await subscribe(socket, session.id, 0)
            frames, seq = 0, 0
            while seq < last:
                frame = await next_frame(socket)
                assert isinstance(frame, EventsFrame)
                frames, seq = frames + 1, frame.records[-1].seq
            assert frames <= 10


@pytest.mark.scenario("stream: A number that means nothing here is answered with a snapshot")
async def test_a_number_of_another_life_is_answered_with_a_snapshot(tmp_path: Path, database_url: str):
    async with open_scene(tmp_path, database_url) as (live, _, session):
        last = await say(live, session, "a", "b")
        for after, epoch in ((last + 1000, live.host.journal.epoch), (2**53, None)):
            async with open_socket(live) as socket:
                await next_frame(socket)
                await subscribe(socket, session.id, after, epoch)
                assert (await next_frame(socket)).type == "snapshot"
    async with open_live_host(tmp_path / "home", database_url) as live, open_socket(live) as socket:
        await next_frame(socket)
        await subscribe(socket, session.id, last + 1, "another life")
        assert (await next_frame(socket)).type == "snapshot"


async def test_a_viewer_that_is_too_far_behind_starts_over_from_a_snapshot(tmp_path: Path, database_url: str):
    async with open_scene(tmp_path, database_url) as (live, _, session), open_socket(live) as socket:
        last = await say(live, session, *("x" for _ in range(LAG_LIMIT + 10)))
        await live.host.journal.flush(session.id)
        await next_frame(socket)
        await subscribe(socket, session.id, 0)
        snapshot = await next_frame(socket)
        assert isinstance(snapshot, SnapshotFrame)
        assert (snapshot.seq, snapshot.has_more, snapshot.events[-1].seq) == (last, True, last)
        assert texts_of(await read_until(socket, await say(live, session, "on"))) == ["on"]


@pytest.mark.scenario("stream: A viewer that stops reading is dropped and slows nobody")
async def test_a_viewer_that_stops_reading_is_dropped_while_another_goes_on(tmp_path: Path, database_url: str):
    limits = StreamLimits(send_deadline=0.5)
    async with open_scene(tmp_path, database_url, limits) as (live, _, session), open_socket(live) as reader:
        await next_frame(reader)
        await subscribe(reader, session.id, 0)
        with deaf_viewer(live) as deaf:
            await anyio.to_thread.run_sync(greet, deaf, live, session.id)
            last = await say(live, session, *("x" * 100_000 for _ in range(200)))
            records = await read_until(reader, last)
            assert [record.seq for record in records] == list(range(1, last + 1))
            with anyio.fail_after(10):
                while (
                    await figure(live, "coder_viewers_dropped_total") != 1 or await figure(live, "coder_viewers") != 1
                ):
                    await anyio.lowlevel.checkpoint()
        assert texts_of(await read_until(reader, await say(live, session, "still here"))) == ["still here"]


@pytest.mark.scenario("stream: Commands are acknowledged once they are stored")
async def test_a_prompt_frame_is_acknowledged_and_its_id_makes_it_safe_to_repeat(tmp_path: Path, database_url: str):
    async with open_scene(tmp_path, database_url) as (live, client, session), open_socket(live) as socket:
        await next_frame(socket)

        async def prompt(text: str) -> ServerFrame:
            frame = {"type": "prompt", "id": "key", "session_id": session.id, "agent": "demo", "input": text}
            await socket.send(orjson.dumps(frame).decode())
            return await next_frame(socket)

        first, again, other = await prompt("say hi"), await prompt("say hi"), await prompt("say ho")
        assert isinstance(first, Ack)
        assert isinstance(again, Ack)
        assert isinstance(first.result, Task)
        assert isinstance(again.result, Task)
        assert again.result.id == first.result.id
        assert isinstance(other, ErrorFrame)
        assert (other.id, other.code) == ("key", "idempotency_mismatch")
        assert (await client.wait_for_task(first.result.id)).state == "completed"


@pytest.mark.scenario("stream: A permission is answered by frame")
async def test_a_permission_frame_answers_once_and_says_so_when_repeated(tmp_path: Path, database_url: str):
    async with open_scene(tmp_path, database_url) as (live, client, session), open_socket(live) as socket:
        await next_frame(socket)
        prompt = {"type": "prompt", "id": "a", "session_id": session.id, "agent": "demo", "input": "ask\nsay done"}
        await socket.send(orjson.dumps(prompt).decode())
        task = await next_frame(socket)
        assert isinstance(task, Ack)
        assert isinstance(task.result, Task)
        request = await open_request(client, session.id)

        async def answer(id: str, option: str) -> ServerFrame:
            frame = {"type": "permission", "id": id, "request_id": request.id, "option_id": option}
            await socket.send(orjson.dumps(frame).decode())
            return await next_frame(socket)

        first, again, late = await answer("k", "yes"), await answer("k", "yes"), await answer("l", "no")
        assert isinstance(first, Ack)
        assert isinstance(first.result, PermissionRequest)
        assert first.result.option_id == "yes"
        assert again == first
        assert isinstance(late, ErrorFrame)
        assert late.code == "wrong_state"
        assert (await client.wait_for_task(task.result.id)).state == "completed"


@pytest.mark.scenario("stream: A running turn is cancelled by frame")
async def test_a_cancel_frame_ends_a_running_turn(tmp_path: Path, database_url: str):
    async with open_scene(tmp_path, database_url) as (live, client, session), open_socket(live) as socket:
        await next_frame(socket)
        prompt = {"type": "prompt", "id": "a", "session_id": session.id, "agent": "demo", "input": "ask"}
        await socket.send(orjson.dumps(prompt).decode())
        ack = await next_frame(socket)
        assert isinstance(ack, Ack)
        assert isinstance(ack.result, Task)
        await open_request(client, session.id)
        await socket.send(orjson.dumps({"type": "cancel", "id": "b", "task_id": ack.result.id}).decode())
        assert isinstance(await next_frame(socket), Ack)
        assert (await client.wait_for_task(ack.result.id)).state == "cancelled"


@pytest.mark.scenario("stream: One socket follows several sessions")
async def test_subscriptions_begin_end_and_fail_apart_from_each_other(tmp_path: Path, database_url: str):
    async with open_scene(tmp_path, database_url) as (live, client, session), open_socket(live) as socket:
        other = await client.open_session(session.project_id)
        await next_frame(socket)
        await subscribe(socket, "ses_nobody", None)
        error = await next_frame(socket)
        assert isinstance(error, ErrorFrame)
        assert (error.code, error.session_id) == ("not_found", "ses_nobody")
        for one in (session, other):
            await subscribe(socket, one.id, await say(live, one, "before"))
        await say(live, other, "for other")
        frame = await next_frame(socket)
        assert isinstance(frame, EventsFrame)
        assert (frame.session_id, texts_of(list(frame.records))) == (other.id, ["for other"])
        await socket.send(orjson.dumps({"type": "unsubscribe", "session_id": other.id}).decode())
        await socket.send('{"type": "ping"}')
        assert (await next_frame(socket)).type == "pong"
        await say(live, other, "nobody listens")
        await say(live, session, "for session")
        frame = await next_frame(socket)
        assert isinstance(frame, EventsFrame)
        assert texts_of(list(frame.records)) == ["for session"]


async def test_a_socket_is_kept_awake(tmp_path: Path, database_url: str):
    limits = StreamLimits(heartbeat=0.02)
    async with open_live_host(tmp_path, database_url, stream_limits=limits) as live, open_socket(live) as socket:
        welcome = await next_frame(socket)
        assert isinstance(welcome, Welcome)
        assert welcome.heartbeat_s == 0.02
        with anyio.fail_after(5):
            assert [str(await socket.recv()) for _ in range(2)] == ['{"type":"ping"}'] * 2


@pytest.mark.scenario("stream: Viewers are told of a restart")
async def test_a_host_that_stops_closes_its_sockets_and_takes_no_new_ones(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path, database_url) as live, open_socket(live) as socket:
        await next_frame(socket)
        await live.host.drain()
        told = await next_frame(socket)
        assert isinstance(told, ErrorFrame)
        assert told.code == DRAINING
        await live.host.finish()
        with anyio.fail_after(5), pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1012
        headers = [*good_headers(live), ("Content-Type", "application/json")]
        reply = await send_raw(live.url, "POST", "/api/projects", headers, b'{"repo_path": "/x"}')
        assert (reply.status, "retry-after" in reply.headers) == (503, True)
        health = await send_raw(live.url, "GET", "/api/health", good_headers(live))
        assert orjson.loads(health.body)["status"] == "draining"


async def test_another_subprotocol_is_refused(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path, database_url) as live, open_socket(live, subprotocols=["coder.v9"]) as socket:
        with anyio.fail_after(5), pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1002


@pytest.mark.scenario("stream: The same records as server-sent events")
async def test_an_event_stream_gives_the_same_records_and_resumes_by_its_last_id(tmp_path: Path, database_url: str):
    async with open_scene(tmp_path, database_url) as (live, client, session):
        last = await say(live, session, "a", "b")
        url = f"{live.url}/api/sessions/{session.id}/events"
        headers = {"Authorization": f"Bearer {live.token}", "Accept": "text/event-stream"}
        async with httpx2.AsyncClient(headers=headers, trust_env=False) as http:
            for more in ({}, {"Last-Event-ID": str(last - 1)}):
                async with http.stream("GET", url, headers=more) as response:
                    assert response.headers["content-type"].startswith("text/event-stream")
                    first = int(more.get("Last-Event-ID", "0")) + 1
                    chunks = response.aiter_bytes()
                    events = await read_events(chunks, last)
                    assert [id for id, _ in events] == list(range(first, last + 1))
                    last = await say(live, session, "live")
                    assert texts_of([record for _, record in await read_events(chunks, last)])[-1] == "live"
            records = await client.records(session.id, after=0, limit=500)
            assert [record.seq for record in records] == list(range(1, last + 1))


@pytest.mark.scenario("journal: a resume from inside of a merged text, over every door")
async def test_a_merged_text_is_gone_on_with_from_any_number_over_every_door(tmp_path: Path, database_url: str):
    async with open_scene(tmp_path, database_url) as (live, client, session):
        journal, first = live.host.journal, (await client.session(session.id)).last_seq + 1
        last = first + 7
        for piece in "abcdefgh":
            await journal.append(session.id, Text(text=piece), agent="demo")
            await journal.flush(session.id)
        assert await Compaction(live.host.store, journal).compact(session.id)
        journal.forget(session.id)  # a session that was not used for long has nothing in memory
        url = f"{live.url}/api/sessions/{session.id}/events"
        headers = {"Authorization": f"Bearer {live.token}", "Accept": "text/event-stream"}
        async with httpx2.AsyncClient(headers=headers, trust_env=False) as http:
            for at, text in ((first - 1, "abcdefgh"), (first + 2, "defgh"), (last - 1, "h")):
                async with http.stream("GET", url, headers={"Last-Event-ID": str(at)}) as response:
                    [(id, record)] = await read_events(response.aiter_bytes(), last)
                assert (id, record.begins, record.seq, texts_of([record])) == (last, at + 1, last, [text])
                assert list(await client.records(session.id, at)) == [record]
                async with client.events(session.id, at) as stream:
                    assert await anext(aiter(stream)) == record
        older = await client.records(session.id, before=first + 2, limit=1)
        assert [(one.begins, one.seq) for one in older] == [(first, first + 1)]
        assert texts_of(list(older)) == ["ab"]
        assert await client.records(session.id, before=1) == ()


async def test_an_event_stream_from_an_unknown_number_begins_with_a_snapshot(tmp_path: Path, database_url: str):
    async with open_scene(tmp_path, database_url) as (live, _, session):
        headers = {"Authorization": f"Bearer {live.token}", "Accept": "text/event-stream", "Last-Event-ID": "5000"}
        url = f"{live.url}/api/sessions/{session.id}/events"
        async with httpx2.AsyncClient(headers=headers, trust_env=False) as http, http.stream("GET", url) as response:
            lines = response.aiter_lines()
            with anyio.fail_after(5):
                while (line := await anext(lines)) != "event: snapshot":
                    assert line in ("", ": welcome")


async def read_events(chunks: AsyncIterator[bytes], until: int) -> list[tuple[int, Record]]:
    events: list[tuple[int, Record]] = []
    text = b""
    with anyio.fail_after(10):
        async for chunk in chunks:
            text += chunk
            found = re.findall(rb"id: (\d+)\ndata: (.*)\n\n", text)
            events = [(int(id), Record.model_validate_json(data)) for id, data in found]
            if events and events[-1][0] >= until:
                return events
    raise AssertionError("the stream ended")


async def figure(live: LiveHost, name: str) -> float:
    text = (await send_raw(live.url, "GET", "/metrics", good_headers(live))).body.decode()
    match = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    assert match is not None, text
    return float(match[1])


def deaf_viewer(live: LiveHost) -> sockets.socket:
    """A connection that takes next to nothing before it is read from."""
    deaf = sockets.socket()
    deaf.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    deaf.connect(("127.0.0.1", urlsplit(live.url).port))
    return deaf


def greet(deaf: sockets.socket, live: LiveHost, session_id: str) -> None:
    """Open a WebSocket on it and subscribe, then read nothing more."""
    protocol = ClientProtocol(parse_uri("ws" + live.url.removeprefix("http") + "/api/ws"))
    request = protocol.connect()
    request.headers["Authorization"] = f"Bearer {live.token}"
    protocol.send_request(request)
    deaf.sendall(b"".join(protocol.data_to_send()))
    while protocol.state.name == "CONNECTING":
        protocol.receive_data(deaf.recv(1024))
    frame = {"type": "subscribe", "session_id": session_id, "after": 0}
    protocol.send_text(orjson.dumps(frame))
    deaf.sendall(b"".join(protocol.data_to_send()))
