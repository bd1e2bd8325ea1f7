"""Routes of a session's journal: pages of records, and the same records as server-sent events."""

import logging

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from coder.api.bodies import parse_query
from coder.api.context import host_of
from coder.api.metrics import Meter, meter_of
from coder.api.operations import JSON_TYPE, raw
from coder.api.queries import Limit, Number
from coder.api.seats import Seats, seats_of
from coder.errors import CoderError, InvalidInput
from coder.host import Host
from coder.journal import Batch, Lagged
from coder.model.events import Record
from coder.model.values import Input
from coder.protocol import Page
from coder.store.events import END

logger = logging.getLogger(__name__)

EVENT_STREAM = "text/event-stream"


class EventsQuery(Input):
    """Records after number `after`; with `before` and no `after` the newest ones before that number."""

    after: Number | None = None
    before: Number | None = None
    limit: Limit = 100


async def list_events(request: Request) -> Response:
    host = host_of(request)
    session_id = request.path_params["id"]
    query = parse_query(EventsQuery, request.scope["query_string"])
    await host.sessions.get(session_id)
    if EVENT_STREAM in request.headers.get("accept", ""):
        after = _last_event_id(request)
        return EventStream(
            host, meter_of(request), seats_of(request), session_id, query.after if after is None else after
        )
    page = await _page(host, session_id, query)
    return Response(page.model_dump_json(), media_type=JSON_TYPE)


async def _page(host: Host, session_id: str, query: EventsQuery) -> Page[Record]:
    """`next` is the number to go on from: as `after`, or as `before` for a page of older records."""
    before = END if query.before is None else query.before
    if query.before is not None and query.after is None:
        older = await host.journal.older(session_id, before, query.limit)
        return Page[Record](items=tuple(older), next=str(older[0].begins) if older and older[0].begins > 1 else None)
    records = await host.journal.page(session_id, query.after or 0, query.limit, before)
    following = str(records[-1].seq) if len(records) == query.limit else None
    return Page[Record](items=tuple(records), next=following)


class EventStream(Response):
    """A journal as server-sent events: `id` is the record's number. A snapshot comes first where it must.

    `after` None starts with the first record. A number that is not known is answered with a `snapshot` event.
    """

    heartbeat = 15.0
    send_deadline = 20.0

    def __init__(self, host: Host, meter: Meter, seats: Seats, session_id: str, after: int | None) -> None:
        super().__init__(media_type=EVENT_STREAM, headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._host = host
        self._meter = meter
        self._seats = seats
        self._session_id = session_id
        self._after = after or 0
        self._send: Send

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._send = send
        with self._seats.seat(), self._meter.viewer():
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            if scope["method"] != "HEAD":
                await self._run(receive)
        with anyio.move_on_after(1, shield=True):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _run(self, receive: Receive) -> None:
        async with anyio.create_task_group() as group:

            async def leave_when_gone() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                group.cancel_scope.cancel()

            async def leave_when_closing() -> None:
                await self._host.closing.wait()
                group.cancel_scope.cancel()

            group.start_soon(leave_when_gone)
            group.start_soon(leave_when_closing)
            try:
                await self._feed()
            except TimeoutError:
                logger.info("event stream dropped: its reader does not read", extra={"session": self._session_id})
                self._meter.count_dropped()
            except CoderError as error:
                logger.info("event stream ended: %s", error, extra={"session": self._session_id})
            group.cancel_scope.cancel()

    async def _feed(self) -> None:
        journal = self._host.journal
        after = self._after
        await self._write(b": welcome\n\n")
        if not await journal.is_known(self._session_id, after, None):
            after = await self._write_snapshot()
        while True:
            try:
                async with journal.follow(self._session_id, after) as follower:
                    while True:
                        batch: Batch | None = None
                        with anyio.move_on_after(self.heartbeat):
                            batch = await follower.receive()
                        if batch is None:
                            await self._write(b": still here\n\n")
                        else:
                            await self._write(_as_events(batch))
                            after = batch.last_seq
            except Lagged:
                after = await self._write_snapshot()

    async def _write_snapshot(self) -> int:
        snapshot = await self._host.journal.snapshot(self._session_id)
        body = snapshot.model_dump_json().encode()
        await self._write(b"event: snapshot\nid: %d\ndata: %b\n\n" % (snapshot.seq, body))
        return snapshot.seq

    async def _write(self, body: bytes) -> None:
        with anyio.fail_after(self.send_deadline):
            await self._send({"type": "http.response.body", "body": body, "more_body": True})


def _as_events(batch: Batch) -> bytes:
    numbered = zip(batch.seqs, batch.encoded, strict=True)
    return b"".join(b"id: %d\ndata: %b\n\n" % (seq, record) for seq, record in numbered)


def _last_event_id(request: Request) -> int | None:
    text = request.headers.get("last-event-id")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise InvalidInput("Last-Event-ID must be a record's number")
    return int(text)


routes = [
    raw(
        "GET",
        "/api/sessions/{id}/events",
        list_events,
        "The journal of a session: a page, or with `Accept: text/event-stream` the records as they happen",
        tag="events",
        query=EventsQuery,
        answer=Page[Record],
        media_types=(JSON_TYPE, EVENT_STREAM),
    ),
]
