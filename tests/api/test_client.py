"""The Python client: a stream that survives lost connections, and errors as the host raised them."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as server
from websockets.typing import Subprotocol

from coder.client import Client
from coder.errors import UNREACHABLE, InvalidInput, NotAuthenticated, NotFound, Unavailable, UnusableRepository
from coder.event_stream import EventStream
from coder.model.events import Record, Text
from coder.model.values import now
from coder.protocol import SUBPROTOCOL, ErrorFrame, EventsFrame, Prompt, SnapshotFrame, Subscribe, TaskPatch, Welcome
from coder.testing.harness import LiveHost, open_live_host
from coder.tokens import load_token
from tests.api.wire import open_test_session


@dataclass
class Wire:
    """A way to a host that can be cut, and laid to another host."""

    url: str
    target: str = ""
    connections: list[anyio.CancelScope] = field(default_factory=list[anyio.CancelScope])

    def cut(self) -> None:
        while self.connections:
            self.connections.pop().cancel()

    async def carry(self, near: SocketStream) -> None:
        host, _, port = self.target.removeprefix("http://").partition(":")
        if not port:
            await near.aclose()
            return
        with anyio.CancelScope() as scope:
            self.connections.append(scope)
            with suppress(OSError, anyio.BrokenResourceError):
                async with near, await anyio.connect_tcp(host, int(port)) as far:
                    async with anyio.create_task_group() as group:
                        group.start_soon(_pump, near, far)
                        await _pump(far, near)
                        group.cancel_scope.cancel()


async def _pump(source: SocketStream, sink: SocketStream) -> None:
    with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        while True:
            await sink.send(await source.receive())


@asynccontextmanager
async def open_wire() -> AsyncGenerator[Wire]:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(SocketAttribute.local_port)
        wire = Wire(f"http://127.0.0.1:{port}")
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, wire.carry)
            yield wire
            group.cancel_scope.cancel()


async def say(live: LiveHost, session_id: str, *texts: str) -> int:
    seq = 0
    for text in texts:
        seq = await live.host.journal.append(session_id, Text(text=text))
    return seq


async def read_until(items: EventStream, seq: int) -> list[int]:
    numbers: list[int] = []
    with anyio.fail_after(15):
        while not numbers or numbers[-1] < seq:
            item = await items.receive()
            assert isinstance(item, Record)
            numbers.append(item.seq)
    return numbers


@pytest.mark.scenario("stream: A lost connection is made again without gap or repeat")
async def test_a_stream_goes_on_after_its_connection_was_cut(tmp_path: Path, database_url: str):
    async with open_wire() as wire:
        async with open_live_host(tmp_path / "home", database_url, allowed_hosts=("127.0.0.1",)) as live:
            wire.target = live.url
            async with Client(wire.url, live.token) as client:
                session = await open_test_session(client, tmp_path / "repo")
                async with client.events(session.id, 0) as items:
                    numbers = await read_until(items, await say(live, session.id, "a", "b"))
                    for words in (("c",), ("d", "e", "f")):
                        wire.cut()
                        numbers += await read_until(items, await say(live, session.id, *words))
        assert numbers == list(range(1, numbers[-1] + 1))


@pytest.mark.scenario("stream: A viewer outlives a restart of the host")
async def test_a_stream_goes_on_after_the_host_was_restarted(tmp_path: Path, database_url: str):
    home, hosts = tmp_path / "home", ("127.0.0.1",)
    async with open_live_host(home, database_url) as live, live.client() as client:
        session = await open_test_session(client, tmp_path / "repo")
    numbers: list[int] = []
    async with open_wire() as wire, Client(wire.url, load_token(home)) as client, client.events(session.id, 0) as items:
        for words in (("a", "b"), ("c", "d")):
            async with open_live_host(home, database_url, allowed_hosts=hosts) as live:
                wire.target = live.url
                numbers += await read_until(items, await say(live, session.id, *words))
    assert numbers == list(range(1, numbers[-1] + 1))


async def test_a_stream_without_a_number_begins_with_a_snapshot(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        session = await open_test_session(client, tmp_path / "repo")
        async with client.events(session.id) as items:
            with anyio.fail_after(10):
                assert isinstance(await items.receive(), SnapshotFrame)


async def test_a_stream_that_cannot_be_says_why(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        with anyio.fail_after(10):
            async with client.events("ses_nobody") as items:
                with pytest.raises(NotFound):
                    await items.receive()
            async with Client(live.url, "wrong" * 10) as stranger, stranger.events("ses_nobody") as items:
                with pytest.raises(NotAuthenticated):
                    await items.receive()


async def test_what_the_caller_raises_inside_a_stream_comes_out_as_it_is(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        session = await open_test_session(client, tmp_path / "repo")
        with pytest.raises(KeyError):
            async with client.events(session.id):
                raise KeyError("the caller's own")


async def test_errors_are_raised_as_the_host_raised_them(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        with pytest.raises(NotFound):
            await client.session("ses_nobody")
        with pytest.raises(UnusableRepository):
            await client.register_project(str(tmp_path))
        with pytest.raises(InvalidInput) as caught:
            await client.prompt("ses_nobody", Prompt.model_construct(agent="demo", input=""))
        assert "errors" in caught.value.fields
        async with Client(live.url, "wrong" * 10) as stranger:
            with pytest.raises(NotAuthenticated):
                await stranger.projects()


async def test_a_host_that_is_not_there_is_unreachable():
    async with Client("http://127.0.0.1:9", "x" * 43) as client:
        with pytest.raises(Unavailable) as caught:
            await client.health()
        assert caught.value.stable_code == UNREACHABLE
        async with client.events("ses_nobody", patience=0.1) as items:
            with anyio.fail_after(10), pytest.raises(Unavailable):
                await items.receive()


@pytest.mark.scenario("dispatch: waiting prompts are reordered and edited")
async def test_a_waiting_prompt_is_edited_and_moved_over_http(tmp_path: Path, database_url: str):
    async with open_live_host(tmp_path, database_url) as live, live.client() as client:
        session = await open_test_session(client, tmp_path / "repo")
        running = await client.prompt(session.id, Prompt(agent="demo", input="hang"))
        first = await client.prompt(session.id, Prompt(agent="demo", input="say a"))
        second = await client.prompt(session.id, Prompt(agent="demo", input="say b"))
        assert (await client.edit_task(first.id, TaskPatch(input="say c"))).place == first.place
        moved = await client.edit_task(second.id, TaskPatch(before=first.id))
        assert moved.place < first.place
        assert (await client.edit_task(second.id, TaskPatch(before=None))).place > first.place
        with pytest.raises(NotFound):
            await client.edit_task("tsk_none", TaskPatch(input="x"))
        await client.cancel_task(running.id)
        assert (await client.wait_for_task(first.id)).output_summary == "c"


async def test_a_refusal_by_another_life_of_the_host_does_not_lend_it_the_numbers_of_the_one_before():
    asked: list[Subscribe] = []

    async def serve(socket: ServerConnection) -> None:
        """The first connection is of one life; the second of another, which cannot answer yet; the third can."""
        number = len(asked)
        await socket.send(Welcome(version="x", heartbeat_s=15, epoch="one" if number == 0 else "two").model_dump_json())
        asked.append(Subscribe.model_validate_json(await socket.recv()))
        if number == 1:
            refusal = ErrorFrame(code="unavailable", message="the database is away", retryable=True)
            await socket.send(refusal.model_dump_json())
        else:
            record = Record(seq=number + 1, at=now(), agent=None, task_id=None, event=Text(text="x"))
            await socket.send(EventsFrame(session_id="ses_1", records=(record,)).model_dump_json())
        await socket.close()

    async with server(serve, "127.0.0.1", 0, subprotocols=[Subprotocol(SUBPROTOCOL)]) as served:
        port = next(iter(served.sockets)).getsockname()[1]
        async with Client(f"http://127.0.0.1:{port}", "token") as client, client.events("ses_1", 0) as items:
            with anyio.fail_after(10):
                await items.receive()
                while len(asked) < 3:
                    await anyio.sleep(0.01)
    assert [(frame.after, frame.epoch) for frame in asked[1:3]] == [(1, "one"), (1, "one")]
