"""Figures for Prometheus. One registry per application, nothing global."""

from collections.abc import Generator
from contextlib import contextmanager

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import Scope

from coder.api.context import host_of
from coder.api.operations import raw
from coder.host import Host
from coder.store import tasks

TEMPLATE = "coder.template"
"""Where the scope holds the path template of the route that took the request."""


class Meter:
    """What is counted as it happens, and gauges that are read when somebody asks."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "coder_http_requests_total",
            "HTTP requests answered",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "coder_http_request_seconds", "Seconds from request to the end of its answer", registry=self.registry
        )
        self._viewers = Gauge("coder_viewers", "Open WebSockets and event streams", registry=self.registry)
        self._dropped = Counter("coder_viewers_dropped_total", "Viewers that stopped reading", registry=self.registry)
        self._frames = Counter("coder_frames_sent_total", "WebSocket frames sent", registry=self.registry)
        self._pool = Gauge("coder_pool_slots", "Agents by state", ("state",), registry=self.registry)
        self._tasks = Gauge("coder_tasks", "Tasks that wait or run", ("state",), registry=self.registry)
        self._unstored = Gauge("coder_journal_unstored_bytes", "Shown, not stored yet", registry=self.registry)
        self._notify = Gauge("coder_dispatcher_notify", "1 with NOTIFY, 0 when polling", registry=self.registry)

    def count_request(self, scope: Scope, status: int, seconds: float) -> None:
        """One request was answered; `status` 0 when its answer never began."""
        route = str(scope.get(TEMPLATE, "other"))
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "PATCH", "DELETE") else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.observe(seconds)

    def count_frame(self) -> None:
        """One frame went out."""
        self._frames.inc()

    def count_dropped(self) -> None:
        """A viewer was let go because it did not read."""
        self._dropped.inc()

    @contextmanager
    def viewer(self) -> Generator[None]:
        """Counts one viewer for as long as the context lasts."""
        with self._viewers.track_inprogress():
            yield

    async def read(self, host: Host) -> bytes:
        """The text of all figures, with the gauges read now."""
        pool = host.pool.health()
        for state, count in (("warm", pool.warm), ("leased", pool.leased), ("all", pool.size), ("limit", pool.limit)):
            self._pool.labels(state).set(count)
        async with host.store.connection() as connection:
            self._tasks.labels("pending").set(await tasks.pending_count(connection))
        self._tasks.labels("running").set(host.dispatcher.running)
        self._unstored.set(host.journal.unstored_bytes())
        self._notify.set(1 if host.dispatcher.mode == "notify" else 0)
        return generate_latest(self.registry)


def meter_of(connection: HTTPConnection) -> Meter:
    """The application's meter."""
    meter: Meter = connection.app.state.meter
    return meter


async def metrics(request: Request) -> Response:
    text = await meter_of(request).read(host_of(request))
    return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})


routes = [
    raw("GET", "/metrics", metrics, "Figures for Prometheus", tag="host", media_types=(CONTENT_TYPE_LATEST,)),
]
