"""A JSON-RPC 2.0 peer over lines: order, back-pressure, deadlines, and patience with what agents really write.

Everything that arrives is handled in order by one task. Notifications are awaited one after the other, so a consumer
that waits holds up the reading and with it the agent. An answer takes effect (`on_answer`) before what follows it is
looked at. Only requests of the agent go on in tasks of their own, once `on_request` has taken note of them in order.
"""

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from coder.backends.wire import Fields, encode, fields, text
from coder.errors import AgentError, AgentProtocolError, AgentTimeout, AuthRequired, CoderError
from coder.json_values import NotJson, read_line
from coder.model.values import Json

logger = logging.getLogger(__name__)

METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
AUTH_REQUIRED = -32000
NOT_FOUND = -32002
REQUEST_CANCELLED = -32800

_OPEN_LIMIT = 128
"""Requests of an agent that may be open at once."""
_JUNK_KEPT = 20
_JUNK_LENGTH = 200
_CANCEL = "$/cancel_request"
_BREATH = 64
"""Messages handled before other tasks get their turn, however fast the agent writes."""


@dataclass(frozen=True)
class Wire:
    """Both directions of a stream of lines. `send` writes all it is given or raises AgentError."""

    receive_lines: Callable[[], Awaitable[list[bytes]]]
    send: Callable[[bytes], Awaitable[None]]


class RequestRefused(Exception):
    """Raised while answering a request of the agent: becomes its error answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Reply:
    """How a request of the agent is answered. `cancelled` is the result when it is cancelled; None answers -32800."""

    run: Callable[[], Awaitable[Json]]
    cancelled: Json = None


OnNotification = Callable[[str, Fields], Awaitable[None]]
OnRequest = Callable[[str, Fields], Awaitable[Reply | None]]
"""Takes note of a request, in order; None when the method is unknown."""
OnPause = Callable[[], Awaitable[None]]
"""What has arrived together is handled."""


class Pending:
    """A request that waits for its answer."""

    def __init__(self, method: str, on_answer: "OnAnswer | None") -> None:
        self.method = method
        self.on_answer = on_answer
        self.error: AgentError | None = None
        self.result: Json = None
        self._settled = anyio.Event()

    async def wait(self) -> Json:
        """The result.

        Raises:
            AgentProtocolError: the answer is an error. AgentDied: there will be no answer.
        """
        await self._settled.wait()
        if self.error:
            raise self.error
        return self.result

    def settle(self) -> None:
        self._settled.set()


OnAnswer = Callable[[Pending], Awaitable[None]]


@dataclass
class Junk:
    """What the agent wrote that is no protocol: how much, and the last of it."""

    count: int = 0
    tail: deque[str] = field(default_factory=lambda: deque[str](maxlen=_JUNK_KEPT))

    def add(self, line: bytes) -> None:
        self.count += 1
        self.tail.append(line[:_JUNK_LENGTH].decode(errors="replace"))


@dataclass(frozen=True)
class _Open:
    method: str
    scope: anyio.CancelScope


class Peer:
    """One end of a connection; `run` reads it."""

    def __init__(
        self, wire: Wire, *, on_notification: OnNotification, on_request: OnRequest, on_pause: OnPause | None = None
    ) -> None:
        self._wire = wire
        self._on_notification = on_notification
        self._on_pause = on_pause
        self._on_request = on_request
        self._pending: dict[str, Pending] = {}
        self._open: dict[str, _Open] = {}
        self._last_id = 0
        self._end: AgentError | None = None
        self.junk = Junk()
        self.order = anyio.Lock(fast_acquire=True)
        """Held while arrived messages are handled; others who emit events take it too."""

    # What we ask

    async def request(self, method: str, params: Fields, *, timeout: float, on_answer: OnAnswer | None = None) -> Json:
        """Send a request and wait for its result.

        Raises:
            AgentTimeout: no answer within `timeout` seconds. AgentProtocolError: the answer is an error.
            AgentDied: the agent is gone.
        """
        pending: Pending | None = None
        try:
            with anyio.fail_after(timeout):
                pending = await self.begin(method, params, on_answer)
                return await pending.wait()
        except TimeoutError as error:
            raise AgentTimeout(f"the agent has not answered {method} for {timeout:g} s", method=method) from error
        finally:
            if pending:
                self.forget(pending)

    async def begin(self, method: str, params: Fields, on_answer: OnAnswer | None = None) -> Pending:
        """Send a request; `on_answer` runs in order with what arrives before and after the answer.

        Raises:
            AgentError: it could not be written.
        """
        self._raise_if_ended()
        self._last_id += 1
        pending = self._pending[str(self._last_id)] = Pending(method, on_answer)
        try:
            await self._wire.send(
                encode({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": dict(params)})
            )
        except BaseException:
            self.forget(pending)
            raise
        return pending

    async def notify(self, method: str, params: Fields) -> None:
        """Send a notification.

        Raises:
            AgentError: it could not be written.
        """
        self._raise_if_ended()
        await self._wire.send(encode({"jsonrpc": "2.0", "method": method, "params": dict(params)}))

    def forget(self, pending: Pending) -> None:
        """An answer that still comes is ignored."""
        self._pending = {id: other for id, other in self._pending.items() if other is not pending}

    def fail(self, error: AgentError) -> None:
        """The agent is gone: every waiting request fails at once, and later ones too."""
        self._end = self._end or error
        pending, self._pending = self._pending, {}
        for each in pending.values():
            each.error = self._end
            each.settle()

    # What we are asked

    def cancel_requests(self, *methods: str) -> None:
        """Answer open requests of the agent as cancelled."""
        for request in list(self._open.values()):
            if request.method in methods:
                request.scope.cancel()

    # What arrives

    async def run(self) -> None:
        """Handle what arrives until the stream ends; then open requests of the agent are dropped.

        Raises:
            CoderError: the stream broke, or what arrived could not be passed on.
        """
        failure: CoderError | None = None
        async with anyio.create_task_group() as group:
            try:
                while True:
                    await self._handle_lines(await self._wire.receive_lines(), group)
            except anyio.EndOfStream:
                pass
            except CoderError as error:
                failure = error
            group.cancel_scope.cancel()
        if failure:
            raise failure

    async def _handle_lines(self, lines: list[bytes], group: TaskGroup) -> None:
        for start in range(0, len(lines), _BREATH):
            async with self.order:
                try:
                    for line in lines[start : start + _BREATH]:
                        await self._handle_line(line, group)
                finally:
                    if self._on_pause:
                        await self._on_pause()
            if start + _BREATH < len(lines):
                await anyio.lowlevel.checkpoint()

    async def _handle_line(self, line: bytes, group: TaskGroup) -> None:
        try:
            message = read_line(line)
        except NotJson:
            if line.strip():
                self.junk.add(line)
            return
        if isinstance(message, dict):
            await self._handle(message, line, group)
        elif isinstance(message, list) and any(isinstance(item, dict) for item in message):
            for item in message:
                if isinstance(item, dict):
                    await self._handle(item, line, group)
        else:
            self.junk.add(line)

    async def _handle(self, message: Fields, line: bytes, group: TaskGroup) -> None:
        method = message.get("method")
        if isinstance(method, str):
            params = fields(message.get("params"))
            id = message.get("id")
            if id is not None:
                await self._take_request(id, method, params, group)
            elif method == _CANCEL:
                self._cancel(params.get("requestId"))
            else:
                await self._on_notification(method, params)
        elif (pending := self._pending.pop(_key(message.get("id")), None)) is not None:
            await _settle(pending, message)
        else:
            self.junk.add(line)

    async def _take_request(self, id: Json, method: str, params: Fields, group: TaskGroup) -> None:
        key = _key(id)
        if len(self._open) >= _OPEN_LIMIT or key in self._open:
            await self._refuse(id, RequestRefused(INTERNAL_ERROR, "too many requests are open, or this id is"))
            return
        try:
            reply = await self._on_request(method, params)
        except RequestRefused as error:
            await self._refuse(id, error)
            return
        if reply is None:
            logger.debug("agent asked for an unknown method", extra={"method": method})
            await self._refuse(id, RequestRefused(METHOD_NOT_FOUND, f"Method not found: {method}"))
            return
        scope = anyio.CancelScope()
        self._open[key] = _Open(method, scope)
        group.start_soon(self._answer, id, key, reply, scope)

    async def _answer(self, id: Json, key: str, reply: Reply, scope: anyio.CancelScope) -> None:
        result = reply.cancelled
        refusal: RequestRefused | None = None
        try:
            with scope:
                result = await reply.run()
        except RequestRefused as error:
            refusal = error
        except Exception:
            logger.exception("answering the agent failed", extra={"method": self._open[key].method})
            refusal = RequestRefused(INTERNAL_ERROR, "internal error")
        finally:
            self._open.pop(key, None)
        if scope.cancelled_caught and reply.cancelled is None:
            refusal = RequestRefused(REQUEST_CANCELLED, "request cancelled")
        if refusal:
            await self._refuse(id, refusal)
        else:
            await self._send_answer({"jsonrpc": "2.0", "id": id, "result": result})

    def _cancel(self, id: Json) -> None:
        if request := self._open.get(_key(id)):
            request.scope.cancel()

    async def _refuse(self, id: Json, error: RequestRefused) -> None:
        await self._send_answer({"jsonrpc": "2.0", "id": id, "error": {"code": error.code, "message": str(error)}})

    async def _send_answer(self, message: Fields) -> None:
        try:
            await self._wire.send(encode(message))
        except AgentError as error:
            logger.debug("answer not written: %s", error)

    def _raise_if_ended(self) -> None:
        if self._end:
            raise self._end


async def _settle(pending: Pending, message: Fields) -> None:
    error = message.get("error")
    if error is None:
        pending.result = message.get("result")
    else:
        pending.error = refusal_of(pending.method, error)
    try:
        if pending.on_answer:
            await pending.on_answer(pending)
    finally:
        pending.settle()


def refusal_of(method: str, error: Json) -> AgentProtocolError:
    """What the agent says went wrong, as an error of ours."""
    detail = fields(error)
    words = text(detail.get("message")) or text(error) or "no reason given"
    more = text(fields(detail.get("data")).get("details")) or text(detail.get("data"))
    if more and more not in words:
        words = f"{words}: {more}"
    rpc_code = detail.get("code")
    code = AuthRequired.code if rpc_code == AUTH_REQUIRED else None
    return AgentProtocolError(words, code=code, method=method, rpc_code=rpc_code, data=detail.get("data"))


def _key(id: Json) -> str:
    """Ids are compared as text: some agents give back "1" for 1."""
    if isinstance(id, float) and id.is_integer():
        id = int(id)
    return str(id) if isinstance(id, str | int) and not isinstance(id, bool) else ""
