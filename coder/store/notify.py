"""One connection that listens. A notification is a hint; whoever is woken looks at the rows."""

import logging
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Literal

import anyio
import asyncpg
from asyncpg import Connection

from coder.store.lasting import DRIVER_ERRORS, Pace, Upkeep, close_quietly, hold_connection
from coder.store.statements import sql

log = logging.getLogger(__name__)

CONNECT_TIMEOUT = 5.0


class Listener:
    """Wakes its owner at every notification, and whenever it begins to listen: some may have been missed before."""

    def __init__(self, url: str, channel: str, wake: Callable[[], None]) -> None:
        self._url = url
        self._channel = channel
        self._probe_channel = f"{channel}_probe_{secrets.token_hex(4)}"
        self._wake = wake
        self._heard = anyio.Event()
        self._is_listening = False

    @property
    def mode(self) -> Literal["notify", "polling"]:
        """`polling` while nothing would be heard; the owner's slow poll is all there is then."""
        return "notify" if self._is_listening else "polling"

    async def connect(self) -> Connection:
        """Open a connection that listens."""
        connection = await asyncpg.connect(
            self._url,
            timeout=CONNECT_TIMEOUT,
            command_timeout=CONNECT_TIMEOUT,
            server_settings={"application_name": f"coder listener {self._channel}"},
        )
        try:
            await connection.add_listener(self._channel, self._on_notification)
            await connection.add_listener(self._probe_channel, self._on_probe)
        except BaseException:
            await close_quietly(connection)
            raise
        return connection

    async def probe(self, connection: Connection) -> None:
        """Notify itself and wait until that is heard; a connection that is open but deaf does not pass."""
        self._heard = anyio.Event()
        await connection.execute(sql("notify"), self._probe_channel)
        await self._heard.wait()

    def change(self, is_listening: bool) -> None:
        """The connection came or went."""
        self._is_listening = is_listening
        if is_listening:
            self._call_wake()

    def _on_notification(self, *_: object) -> None:
        self._call_wake()

    def _on_probe(self, *_: object) -> None:
        self._heard.set()

    def _call_wake(self) -> None:
        try:
            self._wake()
        except Exception:
            log.exception("waking failed", extra={"channel": self._channel})


@asynccontextmanager
async def open_listener(
    url: str, channel: str, wake: Callable[[], None], *, pace: Pace | None = None
) -> AsyncGenerator[Listener]:
    """Listen on a channel until the context is left: through lost connections, and where there is none at first."""
    listener = Listener(url, channel, wake)
    try:
        first = await listener.connect()
    except DRIVER_ERRORS as error:
        log.warning("nothing can be heard yet: %s", error, extra={"channel": channel})
        first = None
    upkeep = Upkeep(f"{channel} listener", open=listener.connect, probe=listener.probe, changed=listener.change)
    async with hold_connection(upkeep, pace or Pace(), first=first):
        yield listener
