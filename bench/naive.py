"""`python -m bench.naive PORT AGENT`: the relay that one writes first, on the host's own web stack.

A viewer's connection is an agent: each line is decoded, numbered, encoded and sent as a message of its own. Nothing is
stored, merged or offered for resumption.
"""

import itertools
import json
import sys

import anyio
import uvicorn
from anyio.abc import Process
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect


async def relay(viewer: WebSocket) -> None:
    """An agent for as long as its viewer stays."""
    await viewer.accept()
    async with await anyio.open_process([viewer.app.state.agent], stderr=None) as agent:
        async with anyio.create_task_group() as group:
            group.start_soon(_show, agent, viewer)
            try:
                await _hand_on(viewer, agent)
            except WebSocketDisconnect:
                group.cancel_scope.cancel()
        agent.kill()


async def _hand_on(viewer: WebSocket, agent: Process) -> None:
    assert agent.stdin is not None
    while True:
        await agent.stdin.send((await viewer.receive_text()).encode() + b"\n")


async def _show(agent: Process, viewer: WebSocket) -> None:
    assert agent.stdout is not None
    numbers = itertools.count(1)
    rest = b""
    async for chunk in agent.stdout:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if message.get("method") == "session/update":
                update = message["params"]["update"]
                event = {"type": update["sessionUpdate"], "text": update["content"]["text"]}
                await viewer.send_json({"seq": next(numbers), "event": event})


def main() -> None:
    """Serve until killed."""
    app = Starlette(routes=[WebSocketRoute("/", relay)])
    app.state.agent = sys.argv[2]
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        loop="asyncio",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
