"""The JSON-RPC peer over memory: order, deadlines, and patience with odd messages."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import orjson
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream

from coder.backends.acp.peer import OnNotification, OnRequest, Peer, Pending, Reply, RequestRefused, Wire
from coder.backends.wire import Fields
from coder.errors import AgentDied, AgentProtocolError, AgentTimeout
from coder.model.values import Json


@dataclass
class Agent:
    """The other end: feeds lines, sees what was written."""

    peer: Peer
    feed: Callable[[list[bytes]], Awaitable[None]]
    hang_up: Callable[[], None]
    written: MemoryObjectReceiveStream[bytes]
    heard: list[tuple[str, Fields]]

    async def say(self, *messages: Json) -> None:
        """All messages in one read."""
        await self.feed([orjson.dumps(message) for message in messages])

    async def next_written(self) -> dict[str, Json]:
        with anyio.fail_after(5):
            return orjson.loads(await self.written.receive())


@asynccontextmanager
async def open_agent(
    on_notification: OnNotification | None = None, on_request: OnRequest | None = None
) -> AsyncGenerator[Agent]:
    to_peer, lines = anyio.create_memory_object_stream[list[bytes]](100)
    from_peer, written = anyio.create_memory_object_stream[bytes](1000)
    heard: list[tuple[str, Fields]] = []

    async def note(method: str, params: Fields) -> None:
        heard.append((method, params))

    async def refuse(method: str, params: Fields) -> Reply | None:
        return None

    wire = Wire(lines.receive, from_peer.send)
    peer = Peer(wire, on_notification=on_notification or note, on_request=on_request or refuse)
    async with to_peer, lines, from_peer, written, anyio.create_task_group() as group:
        group.start_soon(peer.run)
        yield Agent(peer, to_peer.send, to_peer.close, written, heard)
        group.cancel_scope.cancel()


def update(n: Json) -> Json:
    return {"jsonrpc": "2.0", "method": "session/update", "params": {"n": n}}


def answer(id: Json, result: Json = None, **more: Json) -> Json:
    return {"jsonrpc": "2.0", "id": id, "result": result, **more}


@pytest.mark.parametrize("id", [1, "1", 1.0], ids=["number", "text", "float"])
async def test_an_answer_is_matched_by_its_id_whatever_type_it_comes_back_as(id: Json) -> None:
    async with open_agent() as agent:
        pending = await agent.peer.begin("initialize", {})
        assert (await agent.next_written())["id"] == 1
        await agent.say(answer(id, {"ok": True}))
        with anyio.fail_after(5):
            assert await pending.wait() == {"ok": True}


async def test_an_answer_takes_effect_between_the_updates_around_it() -> None:
    order: list[Json] = []

    async def note(method: str, params: Fields) -> None:
        await anyio.lowlevel.checkpoint()
        order.append(params["n"])

    async def answered(pending: Pending) -> None:
        order.append("answer")

    async with open_agent(note) as agent:
        pending = await agent.peer.begin("session/prompt", {}, answered)
        await agent.say(update(1), update(2), answer(1), update(3))
        await agent.say(update(4))
        with anyio.fail_after(5):
            await pending.wait()
            await agent.say({"jsonrpc": "2.0", "id": 9, "method": "sync"})
            await agent.written.receive()
            await agent.written.receive()
        assert order == [1, 2, "answer", 3, 4]


async def test_nothing_more_is_handled_while_an_update_waits_to_be_taken() -> None:
    gate, order = anyio.Event(), list[Json]()

    async def note(method: str, params: Fields) -> None:
        order.append(params["n"])
        await gate.wait()

    async with open_agent(note) as agent:
        await agent.say(*[update(n) for n in range(100)])
        await anyio.wait_all_tasks_blocked()
        assert order == [0]
        gate.set()
        await anyio.wait_all_tasks_blocked()
        assert order == list(range(100))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("boom", "boom"),
        ({"code": -32603, "message": "bad", "data": {"details": "no key"}}, "bad: no key"),
        ({"code": 400}, "no reason given"),
        ([1], "no reason given"),
    ],
    ids=["text", "details", "no message", "array"],
)
async def test_an_error_of_any_shape_fails_the_request_in_words(error: Json, words: str) -> None:
    async with open_agent() as agent:
        pending = await agent.peer.begin("session/new", {})
        await agent.say({"jsonrpc": "2.0", "id": 1, "error": error})
        with anyio.fail_after(5), pytest.raises(AgentProtocolError, match=words):
            await pending.wait()


async def test_a_request_that_is_not_answered_in_time_fails_and_a_late_answer_is_ignored() -> None:
    async with open_agent() as agent:
        with pytest.raises(AgentTimeout, match="session/new"):
            await agent.peer.request("session/new", {}, timeout=0.01)
        await agent.say(answer(1), update("after"))
        await anyio.wait_all_tasks_blocked()
        assert agent.heard == [("session/update", {"n": "after"})]
        assert agent.peer.junk.count == 1


async def test_all_waiting_requests_fail_at_once_when_the_agent_is_gone() -> None:
    async with open_agent() as agent:
        waiting = [await agent.peer.begin("a", {}), await agent.peer.begin("b", {})]
        agent.peer.fail(AgentDied("exit code 3"))
        for pending in waiting:
            with pytest.raises(AgentDied, match="exit code 3"):
                await pending.wait()
        with pytest.raises(AgentDied, match="exit code 3"):
            await agent.peer.begin("c", {})


async def test_lines_that_are_no_messages_are_counted_and_their_last_kept() -> None:
    async with open_agent() as agent:
        await agent.feed(
            [b"npm warn old", b"", b"  ", b"42", b'"text"', b"[1]", b"null", b"{}", b'{"id":[1],"result":1}']
        )
        await agent.feed([b"\xff" * 1000, orjson.dumps(update("fine"))])
        await anyio.wait_all_tasks_blocked()
        assert agent.heard == [("session/update", {"n": "fine"})]
        assert agent.peer.junk.count == 8
        assert agent.peer.junk.tail[0] == "npm warn old"
        assert len(agent.peer.junk.tail[-1]) == 200


@pytest.mark.scenario("acp-backend: Text is made fit to be stored")
@pytest.mark.parametrize(
    ("line", "value"),
    [
        (rb'"a\u0000b"', "a\ufffdb"),
        (rb'"a\ud800b"', "a\ufffdb"),
        (rb'"\ud83d\ude00"', "\U0001f600"),
        (b'"a\xffb"', "a\ufffdb"),
        (b'"a\x01b"', "a\x01b"),
        (b'"a\x00b"', "a\ufffdb"),
        (b"NaN", None),
        (rb'{"k\u0000":1}', {"k\ufffd": 1}),
    ],
)
async def test_text_that_could_not_be_stored_is_replaced(line: bytes, value: Json) -> None:
    async with open_agent() as agent:
        await agent.feed([b'{"method":"session/update","params":{"n":%s}}' % line])
        await anyio.wait_all_tasks_blocked()
        assert agent.heard == [("session/update", {"n": value})]


async def test_messages_in_an_array_are_taken_one_by_one() -> None:
    async with open_agent() as agent:
        await agent.say([update(1), 7, update(2)])
        await anyio.wait_all_tasks_blocked()
        assert [params["n"] for _, params in agent.heard] == [1, 2]


async def test_meta_never_becomes_a_parameter() -> None:
    async with open_agent() as agent:
        params: Json = {"sessionId": "mine", "_meta": {"sessionId": "other", "n": 1}}
        await agent.say({"jsonrpc": "2.0", "method": "session/update", "params": params})
        await anyio.wait_all_tasks_blocked()
        assert agent.heard == [("session/update", params)]


async def test_a_request_of_unknown_method_is_refused_by_its_own_id() -> None:
    async with open_agent() as agent:
        await agent.say({"jsonrpc": "2.0", "id": "x-1", "method": "craft/something", "params": [1]})
        refused = await agent.next_written()
        assert refused["id"] == "x-1"
        assert refused["error"] == {"code": -32601, "message": "Method not found: craft/something"}


@dataclass
class Desk:
    """Takes requests and answers when told to."""

    gate: anyio.Event = field(default_factory=anyio.Event)
    cancelled: Json = None

    async def accept(self, method: str, params: Fields) -> Reply | None:
        return Reply(self._answer, self.cancelled)

    async def _answer(self) -> Json:
        await self.gate.wait()
        return {"done": True}


async def test_updates_go_on_while_a_request_of_the_agent_is_open() -> None:
    desk = Desk()
    async with open_agent(on_request=desk.accept) as agent:
        await agent.say({"jsonrpc": "2.0", "id": 7, "method": "ask"}, update("after"))
        await anyio.wait_all_tasks_blocked()
        assert agent.heard == [("session/update", {"n": "after"})]
        desk.gate.set()
        assert await agent.next_written() == {"jsonrpc": "2.0", "id": 7, "result": {"done": True}}


@pytest.mark.parametrize("outcome", [None, {"outcome": "cancelled"}], ids=["no outcome", "outcome"])
async def test_the_agent_can_take_a_request_back(outcome: Json) -> None:
    desk = Desk(cancelled=outcome)
    async with open_agent(on_request=desk.accept) as agent:
        await agent.say({"jsonrpc": "2.0", "id": 7, "method": "ask"})
        await agent.say({"jsonrpc": "2.0", "method": "$/cancel_request", "params": {"requestId": "7"}})
        written = await agent.next_written()
        assert written["id"] == 7
        assert written.get("result") == outcome
        assert ("error" in written) == (outcome is None)
        if outcome is None:
            assert written["error"] == {"code": -32800, "message": "request cancelled"}


async def test_a_fault_while_answering_is_an_error_answer_not_the_end() -> None:
    async def accept(method: str, params: Fields) -> Reply | None:
        async def run() -> Json:
            raise RequestRefused(-32602, "no such file") if method == "refused" else KeyError("bug")

        return Reply(run)

    async with open_agent(on_request=accept) as agent:
        await agent.say({"jsonrpc": "2.0", "id": 1, "method": "refused"})
        assert (await agent.next_written())["error"] == {"code": -32602, "message": "no such file"}
        await agent.say({"jsonrpc": "2.0", "id": 2, "method": "buggy"})
        assert (await agent.next_written())["error"] == {"code": -32603, "message": "internal error"}


async def test_more_open_requests_than_can_be_held_are_refused() -> None:
    desk = Desk()
    async with open_agent(on_request=desk.accept) as agent:
        for number in range(129):
            await agent.say({"jsonrpc": "2.0", "id": number, "method": "ask"})
        refused = await agent.next_written()
        assert refused["id"] == 128
        assert "error" in refused
