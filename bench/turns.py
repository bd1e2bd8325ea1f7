"""One turn on a host, timed at a viewer that is subscribed already."""

import time
from dataclasses import dataclass

import anyio

from coder.client import Client
from coder.model.events import Record
from coder.protocol import Prompt


@dataclass(frozen=True)
class TurnTimes:
    """Milliseconds from sending the prompt, at a viewer."""

    first_text: float
    end: float


async def run_turn(client: Client, session_id: str, agent: str, text: str) -> TurnTimes:
    """Prompt an agent and see its turn to the end.

    Raises:
        SystemExit: the agent said nothing.
    """
    after = (await client.session(session_id)).last_seq
    heard: float | None = None
    with anyio.fail_after(60):
        async with client.events(session_id, after) as stream:
            begun = time.perf_counter()
            await client.prompt(session_id, Prompt(agent=agent, input=text))
            async for item in stream:
                if not isinstance(item, Record):
                    continue
                if item.event.type == "text" and heard is None:
                    heard = time.perf_counter()
                if item.event.type == "turn_ended":
                    break
    ended = time.perf_counter()
    if heard is None:
        raise SystemExit(f"{agent} said nothing to {text!r}")
    return TurnTimes((heard - begun) * 1000, (ended - begun) * 1000)


async def first_text(client: Client, session_id: str, agent: str, text: str) -> float:
    """Milliseconds from sending the prompt to the first text record at a viewer; returns after the turn's end."""
    return (await run_turn(client, session_id, agent, text)).first_text
