"""One turn on a host, timed at a viewer that is subscribed already."""

import time

import anyio

from coder.client import Client
from coder.model.events import Record
from coder.protocol import Prompt


async def first_text(client: Client, session_id: str, agent: str, text: str) -> float:
    """Milliseconds from sending the prompt to the first text record at a viewer; returns after the turn's end."""
    after = (await client.session(session_id)).last_seq
    heard = 0.0
    with anyio.fail_after(60):
        async with client.events(session_id, after) as stream:
            begun = time.perf_counter()
            await client.prompt(session_id, Prompt(agent=agent, input=text))
            async for item in stream:
                if not isinstance(item, Record):
                    continue
                if item.event.type == "text" and not heard:
                    heard = time.perf_counter()
                if item.event.type == "turn_ended":
                    break
    return (heard - begun) * 1000
