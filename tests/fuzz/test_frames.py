"""What agents write line by line, and what viewers send frame by frame."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coder.backends.acp.peer import Peer, Reply, RequestRefused, Wire
from coder.backends.wire import Fields
from coder.errors import AgentProtocolError
from coder.protocol import ErrorFrame, PongFrame
from coder.testing.harness import open_live_host
from tests.api.wire import next_frame, open_socket, open_test_session
from tests.fuzz.drawing import draw, errors_in, often, texts, values

some_ids: list[Any] = [1, "1", 1.0, 2, 0, -1, None, True, "", [], {}, "a", 1.5, 10**30]
ids = st.sampled_from(some_ids) | values
methods = st.sampled_from(["session/update", "session/request_permission", "$/cancel_request", "initialize"]) | values
messages = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | values,
        "id": ids,
        "method": methods,
        "params": st.dictionaries(st.sampled_from(["requestId", "sessionId", "update"]), values) | values,
        "result": values,
        "error": st.fixed_dictionaries({}, optional={"code": values, "message": values, "data": values}) | values,
    },
)
lines = st.one_of(
    messages.map(lambda message: json.dumps(message).encode("utf-8", "surrogatepass")),
    st.lists(messages | values, max_size=3).map(lambda many: json.dumps(many).encode("utf-8", "surrogatepass")),
    st.binary(max_size=40),
    st.sampled_from([b"[" * 100_000, b'{"a":' * 5000, b"9" * 5000, b"\xef\xbb\xbf{}", b'{"id":1,"id":2}', b"{}{}"]),
)


@pytest.mark.scenario("fuzz: Any line of an agent")
@often(150)
@given(said=st.lists(lines, max_size=8))
def test_a_connection_survives_whatever_its_agent_writes(said: list[bytes]) -> None:
    assert anyio.run(_converse, said) == "heard"


async def _converse(said: list[bytes]) -> str:
    """Ask something, hear `said`, then a notification; every question of the agent is answered at most once."""
    last = anyio.Event()
    answered: list[Any] = []

    async def note(method: str, params: Fields) -> None:
        if method == "last":
            last.set()

    async def answer(method: str, params: Fields) -> Reply | None:
        async def run() -> Any:
            if method == "session/request_permission":
                raise RequestRefused(-32603, "no")
            return params.get("update")

        return None if method == "initialize" else Reply(run)

    async def write(line: bytes) -> None:
        assert line.endswith(b"\n")
        answered.append(orjson.loads(line).get("id"))

    to_peer, arrived = anyio.create_memory_object_stream[list[bytes]](2)
    peer = Peer(Wire(arrived.receive, write), on_notification=note, on_request=answer)
    with anyio.fail_after(20):
        async with to_peer, arrived, anyio.create_task_group() as group:
            pending = await peer.begin("session/prompt", {})
            group.start_soon(peer.run)
            await to_peer.send(said)
            await to_peer.send([b'{"jsonrpc":"2.0","method":"last"}', b'{"jsonrpc":"2.0","id":1,"result":{}}'])
            await last.wait()
            with suppress(AgentProtocolError):
                await pending.wait()
            group.cancel_scope.cancel()
    assert len(answered) <= 1 + sum(line.count(b'"method"') for line in said)
    return "heard"


SESSION = "the session"
names = ("session_id", "id", "agent", "input", "task_id", "request_id", "option_id", "after", "epoch", "when")
some = st.sampled_from([SESSION, "demo", "say x", "k", 0, 1, -1, 2**62]) | values
kinds = st.sampled_from(["subscribe", "unsubscribe", "prompt", "cancel", "permission", "ping", "pong"]) | texts
good: list[dict[str, Any]] = [
    {"type": "subscribe", "session_id": SESSION, "after": None},
    {"type": "unsubscribe", "session_id": SESSION},
    {"type": "prompt", "id": "k", "session_id": SESSION, "agent": "demo", "input": "say x"},
]
frames = st.one_of(
    st.tuples(kinds, st.dictionaries(st.sampled_from(names), some)).map(lambda drawn: {"type": drawn[0], **drawn[1]}),
    st.sampled_from(good),
    values,
).map(json.dumps)


@pytest.mark.scenario("fuzz: Any frame of a viewer")
async def test_a_socket_survives_whatever_its_viewer_sends(
    tmp_path: Path, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    # drawn before there is a host: the drawing would hold up its loop
    drawn = draw(frames | st.text(max_size=30), 250)
    async with open_live_host(tmp_path / "home", database_url) as live, live.client() as client:
        session = await open_test_session(client, tmp_path / "repository")
        async with open_socket(live) as socket:
            for frame in drawn:
                await socket.send(frame.replace(SESSION, session.id).encode("utf-8", "replace").decode())
                await socket.send('{"type": "ping"}')
                while not isinstance(answer := await next_frame(socket), PongFrame):
                    assert not isinstance(answer, ErrorFrame) or answer.code != "internal", frame
    assert errors_in(caplog) == []
