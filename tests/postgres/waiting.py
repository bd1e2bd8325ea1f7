"""Waits on conditions that give no signal of their own."""

import inspect
from collections.abc import Awaitable, Callable

import anyio


async def eventually(condition: Callable[[], object | Awaitable[object]], seconds: float = 10) -> None:
    """Return when the condition holds; TimeoutError when it does not in time."""
    with anyio.fail_after(seconds):
        while True:
            answer = condition()
            if await answer if inspect.isawaitable(answer) else answer:
                return
            await anyio.sleep(0.01)
