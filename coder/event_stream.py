"""The records of a session as they come, over as many connections as it takes."""

from collections.abc import AsyncIterator, Mapping

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from coder import errors
from coder.errors import UNREACHABLE, CoderError, Unavailable
from coder.model.events import Record
from coder.problems import error_class
from coder.protocol import (
    DRAINING,
    STILL,
    SUBPROTOCOL,
    ErrorFrame,
    EventsFrame,
    Lagged,
    PingFrame,
    Pong,
    SnapshotFrame,
    Subscribe,
    Welcome,
    server_frame,
)

FINAL_CLOSE_CODES: Mapping[int, type[CoderError]] = {
    4401: errors.NotAuthenticated,
    4403: errors.Forbidden,
    4404: errors.NotFound,
}


class EventStream:
    """The records of one session in order, without gap or duplicate, over as many connections as it takes.

    A `SnapshotFrame` comes first when no number was given, and again whenever the host cannot go on from the last one:
    what was built from the records before is then to be replaced by it.
    """

    def __init__(self, items: MemoryObjectReceiveStream[SnapshotFrame | Record]) -> None:
        self._items = items
        self.error: CoderError | None = None

    async def receive(self) -> SnapshotFrame | Record:
        """The next item. Raises CoderError: the stream ended for good."""
        try:
            return await self._items.receive()
        except anyio.EndOfStream:
            raise self.error or Unavailable("the stream ended", code=UNREACHABLE) from None

    async def __aiter__(self) -> AsyncIterator[SnapshotFrame | Record]:
        while True:
            yield await self.receive()


class Following:
    """The loop behind an EventStream: connect, subscribe from the last number, pass records on, connect again."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        session_id: str,
        after: int | None,
        patience: float,
        items: MemoryObjectSendStream[SnapshotFrame | Record],
    ) -> None:
        self._url = "ws" + url.removeprefix("http") + "/api/ws"
        self._headers = headers
        self._session_id = session_id
        self._after = after
        self._epoch: str | None = None
        self._patience = patience
        self._items = items
        self._lost_at: float | None = None

    async def run(self, stream: EventStream) -> None:
        with self._items:
            try:
                await self._follow()
            except CoderError as error:
                stream.error = error
            except anyio.BrokenResourceError:
                pass

    async def _follow(self) -> None:
        pause = 0.1
        while True:
            try:
                async with connect(
                    self._url,
                    additional_headers=self._headers,
                    subprotocols=[Subprotocol(SUBPROTOCOL)],
                    compression=None,
                    max_size=None,
                    proxy=None,
                    open_timeout=5,
                    close_timeout=1,
                ) as socket:
                    await self._listen(socket)
            except ConnectionClosed as error:
                code = error.rcvd.code if error.rcvd else 0
                if code in FINAL_CLOSE_CODES:
                    raise FINAL_CLOSE_CODES[code](error.rcvd.reason if error.rcvd else "") from error
            except (OSError, InvalidHandshake, TimeoutError):
                pass
            now = anyio.current_time()
            self._lost_at = self._lost_at if self._lost_at is not None else now
            pause = 0.1 if self._lost_at == now else min(pause * 2, 2.0)
            if now - self._lost_at > self._patience:
                raise Unavailable("the host does not answer any more", code=UNREACHABLE)
            await anyio.sleep(pause)

    async def _listen(self, socket: ClientConnection) -> None:
        welcome: Welcome | None = None
        async for text in socket:
            frame = server_frame.validate_json(text)
            match frame:
                case Welcome():
                    await self._subscribe(socket)
                    welcome = frame
                case EventsFrame():
                    self._confirm(welcome)
                    await self._pass_on(socket, frame)
                case SnapshotFrame():
                    self._confirm(welcome)
                    self._after = frame.seq
                    await self._items.send(frame)
                case Lagged():
                    await self._subscribe(socket)
                case PingFrame():
                    await socket.send(Pong().model_dump_json())
                case ErrorFrame(code=code) if code in (DRAINING, STILL):
                    pass
                case ErrorFrame(retryable=True):
                    return
                case ErrorFrame():
                    raise error_class(frame.code)(frame.message, code=frame.code)
                case _:
                    pass

    def _confirm(self, welcome: Welcome | None) -> None:
        """The host has answered: from here on the last number is one of its own life. Before, it was of another's."""
        self._lost_at = None
        if welcome is not None:
            self._epoch = welcome.epoch

    async def _subscribe(self, socket: ClientConnection) -> None:
        frame = Subscribe(session_id=self._session_id, after=self._after, epoch=self._epoch)
        await socket.send(frame.model_dump_json())

    async def _pass_on(self, socket: ClientConnection, frame: EventsFrame) -> None:
        for record in frame.records:
            if self._after is not None and record.seq <= self._after:
                continue
            if self._after is not None and record.begins != self._after + 1:
                await self._subscribe(socket)
                return
            self._after = record.seq
            await self._items.send(record)
