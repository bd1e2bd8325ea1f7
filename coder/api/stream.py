"""The WebSocket: what viewers see of sessions as it happens, and the commands they send."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import anyio
import orjson
from anyio.abc import TaskGroup
from pydantic import BaseModel
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from coder import __version__
from coder.api.bodies import BODY_LIMIT, parse_json
from coder.api.context import caller_of, host_of
from coder.api.errors import close_code_of, error_frame
from coder.api.idempotency import Answer, answer_once
from coder.api.metrics import Meter, meter_of
from coder.api.seats import seats_of
from coder.errors import CoderError, InvalidInput, TooLarge, TooSlow, Unavailable, UnsupportedMediaType
from coder.host import Host
from coder.journal import Batch, Lagged
from coder.json_values import NotJson, read_line
from coder.model.permissions import PermissionRequest
from coder.protocol import (
    DRAINING,
    STILL,
    SUBPROTOCOL,
    Ack,
    Cancel,
    ClientFrame,
    PermissionFrame,
    Ping,
    PingFrame,
    Pong,
    PongFrame,
    PromptFrame,
    Subscribe,
    Unsubscribe,
    Welcome,
    client_frame,
)
from coder.protocol import Lagged as LaggedFrame

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StreamLimits:
    """Seconds, counts and bytes of one socket. A batch is cut into frames of about `frame_bytes`."""

    heartbeat: float = 15.0
    send_deadline: float = 20.0
    subscriptions: int = 64
    frame_bytes: int = 256 * 1024


class Viewer:
    """One socket. Each subscription follows a session's journal with a cursor of its own; nothing is queued here."""

    def __init__(self, websocket: WebSocket, host: Host, meter: Meter, limits: StreamLimits) -> None:
        self._websocket = websocket
        self._host = host
        self._meter = meter
        self._limits = limits
        self._by = caller_of(websocket).name
        self._sending = anyio.Lock(fast_acquire=True)
        self._sending_since: float | None = None
        self._subscriptions: dict[str, anyio.CancelScope] = {}
        self._end: CoderError | None = None
        self._group: TaskGroup

    async def run(self) -> None:
        """Serve the socket until the viewer leaves, is dropped, or the host stops."""
        async with anyio.create_task_group() as self._group:
            self._group.start_soon(self._beat)
            self._group.start_soon(self._leave_when_stuck)
            self._group.start_soon(self._leave_when_closing)
            self._group.start_soon(self._tell_of_standstills)
            welcome = Welcome(version=__version__, heartbeat_s=self._limits.heartbeat, epoch=self._host.journal.epoch)
            await self._send(welcome)
            await self._receive_frames()
            self._group.cancel_scope.cancel()
        if self._end is not None:
            with anyio.move_on_after(1, shield=True), suppress(WebSocketDisconnect, WebSocketDisconnected):
                await self._websocket.close(close_code_of(self._end), str(self._end)[:100])

    async def _receive_frames(self) -> None:
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text is None:
                await self._finish(UnsupportedMediaType("frames are text"))
                return
            data = text.encode("utf-8", "surrogatepass")
            if len(data) > BODY_LIMIT:
                await self._finish(TooLarge(f"the frame is over {BODY_LIMIT} bytes"))
                return
            await self._take(data)

    async def _take(self, data: bytes) -> None:
        id: str | None = None
        try:
            frame = parse_json(client_frame, data)
            id = getattr(frame, "id", None)
            await self._obey(frame)
        except Exception as error:
            await self._send(error_frame(error, id or _id_in(data)))

    async def _obey(self, frame: ClientFrame) -> None:
        match frame:
            case Subscribe():
                self._subscribe(frame)
            case Unsubscribe():
                self._unsubscribe(frame.session_id)
            case Ping():
                await self._send(PongFrame())
            case Pong():
                pass
            case PromptFrame() | Cancel() | PermissionFrame():
                if self._host.is_draining:
                    raise Unavailable("the host is shutting down")
                await self._send(await self._carry_out(frame))

    async def _carry_out(self, frame: PromptFrame | Cancel | PermissionFrame) -> Ack:
        match frame:
            case PromptFrame():
                return Ack(id=frame.id, result=await self._host.dispatcher.submit(frame, idempotency_key=frame.id))
            case Cancel():
                return Ack(id=frame.id, result=await self._host.dispatcher.cancel(frame.task_id))
            case PermissionFrame():
                return Ack(id=frame.id, result=await self._answer_permission(frame))

    async def _answer_permission(self, frame: PermissionFrame) -> PermissionRequest:
        async def carry_out() -> Answer:
            request = await self._host.permissions.answer(frame.request_id, frame.option_id, self._by)
            return Answer(200, request.model_dump_json().encode())

        answer = await answer_once(self._host.store, "frame permission", frame.id, (frame,), carry_out)
        return PermissionRequest.model_validate_json(answer.body)

    def _subscribe(self, frame: Subscribe) -> None:
        self._unsubscribe(frame.session_id)
        if len(self._subscriptions) >= self._limits.subscriptions:
            raise InvalidInput(f"a socket follows at most {self._limits.subscriptions} sessions", code="too_many")
        scope = self._subscriptions[frame.session_id] = anyio.CancelScope()
        self._group.start_soon(self._follow, frame, scope)

    def _unsubscribe(self, session_id: str) -> None:
        scope = self._subscriptions.pop(session_id, None)
        if scope is not None:
            scope.cancel()

    async def _follow(self, frame: Subscribe, scope: anyio.CancelScope) -> None:
        with scope:
            try:
                await self._feed(frame)
            except Exception as error:
                await self._send(error_frame(error).model_copy(update={"session_id": frame.session_id}))
            if self._subscriptions.get(frame.session_id) is scope:
                del self._subscriptions[frame.session_id]

    async def _feed(self, frame: Subscribe) -> None:
        journal, session_id, after = self._host.journal, frame.session_id, frame.after
        if after is None or not await journal.is_known(session_id, after, frame.epoch):
            after = await self._send_snapshot(session_id)
        is_served = False
        while True:
            async with journal.follow(session_id, after) as follower:
                try:
                    while True:
                        batch = await follower.receive()
                        for text in event_frames(session_id, batch, self._limits.frame_bytes):
                            await self._send_text(text)
                        is_served, after = True, batch.last_seq
                except Lagged:
                    if is_served:
                        return await self._send(LaggedFrame(session_id=session_id, seq=after))
            # Too far behind from the start: a viewer that comes back after `lagged` must not be told so for ever.
            after = await self._send_snapshot(session_id)

    async def _send_snapshot(self, session_id: str) -> int:
        snapshot = await self._host.journal.snapshot(session_id)
        await self._send(snapshot)
        return snapshot.seq

    async def _send(self, frame: BaseModel) -> None:
        await self._send_text(frame.model_dump_json())

    async def _send_text(self, text: str) -> None:
        async with self._sending:
            self._sending_since = time.monotonic()
            try:
                await self._websocket.send_text(text)
            except (WebSocketDisconnect, WebSocketDisconnected):
                self._leave(None)
                await anyio.sleep_forever()
            finally:
                self._sending_since = None
        self._meter.count_frame()

    async def _finish(self, error: CoderError) -> None:
        await self._send(error_frame(error))
        self._leave(error)

    def _leave(self, reason: CoderError | None) -> None:
        self._end = self._end or reason
        self._group.cancel_scope.cancel()

    async def _beat(self) -> None:
        while True:
            await anyio.sleep(self._limits.heartbeat)
            await self._send(PingFrame())

    async def _leave_when_stuck(self) -> None:
        """A deadline for sending that costs a frame nothing; it may be a quarter late."""
        deadline, since = self._limits.send_deadline, None
        while since is None or time.monotonic() - since < deadline:
            await anyio.sleep(deadline / 4)
            since = self._sending_since
        logger.info("viewer dropped: it does not read")
        self._meter.count_dropped()
        self._leave(TooSlow("this viewer does not read"))

    async def _tell_of_standstills(self) -> None:
        while True:
            await (still := self._host.vitals.standstill).over.wait()
            await self._send(error_frame(Unavailable(f"the host stood still for {still.seconds:.1f} s", code=STILL)))

    async def _leave_when_closing(self) -> None:
        await self._host.draining.wait()
        await self._send(error_frame(Unavailable("the host is stopping; running turns may end", code=DRAINING)))
        await self._host.closing.wait()
        self._leave(Unavailable("the host is restarting"))


def event_frames(session_id: str, batch: Batch, frame_bytes: int) -> Iterator[str]:
    """The batch as ready `events` frames: one, unless it is over `frame_bytes`."""
    head = b'{"type":"events","session_id":' + orjson.dumps(session_id) + b',"records":['
    for records in _cut(batch.encoded, frame_bytes):
        yield (head + b",".join(records) + b"]}").decode()


def _cut(records: Sequence[bytes], limit: int) -> Iterator[Sequence[bytes]]:
    first = size = 0
    for index, record in enumerate(records):
        size += len(record)
        if size > limit and index > first:
            yield records[first:index]
            first, size = index, len(record)
    yield records[first:]


def _id_in(data: bytes) -> str | None:
    try:
        value = read_line(data)
    except NotJson:
        return None
    id = value.get("id") if isinstance(value, dict) else None
    return id if isinstance(id, str) and len(id) <= 200 else None


async def stream(websocket: WebSocket) -> None:
    """`/api/ws`: see `coder.protocol` for the frames."""
    host = host_of(websocket)
    offered = websocket.scope["subprotocols"]
    if host.is_draining:
        raise Unavailable("the host is restarting")
    if any(not offer.startswith("coder.token.") for offer in offered) and SUBPROTOCOL not in offered:
        raise InvalidInput(f"the subprotocol is {SUBPROTOCOL}")
    meter = meter_of(websocket)
    with seats_of(websocket).seat(), meter.viewer():
        await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        await Viewer(websocket, host, meter, websocket.app.state.stream_limits).run()


routes = [WebSocketRoute("/api/ws", stream)]
