"""Figures for Prometheus. One registry per application, nothing global.

What happens often is counted in plain numbers where it happens (`coder.tallies`); they get names here, when asked for.
"""

import math
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import Scope

from coder import __version__
from coder.api.context import host_of
from coder.api.operations import raw
from coder.errors import CoderError
from coder.host import Host
from coder.store import figures
from coder.tallies import Spread

TEMPLATE = "coder.template"
"""Where the scope holds the path template of the route that took the request."""

_LEASE = ("provider", "agent")
_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "DELETE"})


class Meter:
    """What the API itself counts."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, str]] = Counter()
        self.seconds = Spread()
        self.viewers = 0
        self.dropped = 0
        self.frames = 0

    def count_request(self, scope: Scope, status: int, seconds: float) -> None:
        """One request was answered; `status` 0 when its answer never began."""
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.requests[method, str(scope.get(TEMPLATE, "other")), str(status)] += 1
        self.seconds.note(seconds)

    def count_frame(self) -> None:
        """One frame went out."""
        self.frames += 1

    def count_dropped(self) -> None:
        """A viewer was let go because it did not read."""
        self.dropped += 1

    @contextmanager
    def viewer(self) -> Generator[None]:
        """Counts one viewer for as long as the context lasts."""
        self.viewers += 1
        try:
            yield
        finally:
            self.viewers -= 1

    async def read(self, host: Host) -> bytes:
        """The text of all figures as they are now; without the database, those that are not in it."""
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        troubles = {trouble.reason for trouble in await host.vitals.troubles()}
        try:
            async with host.store.connection() as connection:
                rows = await figures.read(connection)
        except CoderError:
            rows = None
        registry.register(_Page([*_of_api(self), *_of_host(host), *_of_health(host, troubles), *_of_rows(rows)]))
        return generate_latest(registry)


class _Page(Collector):
    """Families that were read already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _of_api(meter: Meter) -> Iterator[Metric]:
    yield _counters(
        "coder_http_requests", "HTTP requests answered", ("method", "route", "status"), dict(meter.requests)
    )
    yield _histogram("coder_http_request_seconds", "From a request to the end of its answer", {(): meter.seconds})
    yield _gauge("coder_viewers", "Open WebSockets and event streams", meter.viewers)
    yield _counter("coder_viewers_dropped", "Viewers that stopped reading", meter.dropped)
    yield _counter("coder_frames_sent", "WebSocket frames sent", meter.frames)


def _of_host(host: Host) -> Iterator[Metric]:
    pool, health = host.pool.tally, host.pool.health()
    slots = {("warm",): health.warm, ("leased",): health.leased, ("all",): health.size, ("limit",): health.limit}
    yield _gauges("coder_pool_slots", "Agents by state", ("state",), slots)
    leases = pool.leases.values()
    warm, cold = Spread.together(each.warm for each in leases), Spread.together(each.cold for each in leases)
    words = "How long a turn waited for its agent, by whether it was open already"
    yield _histogram("coder_pool_lease_seconds", words, {("warm",): warm, ("cold",): cold}, ("agent",))
    found = {(id, "warm"): each.warm.count for id, each in pool.leases.items()}
    found |= {(id, "cold"): each.cold.count for id, each in pool.leases.items()}
    yield _counters("coder_pool_leases", "Turns by provider, and whether its agent was open", _LEASE, found)
    yield _counters("coder_pool_evicted", "Idle agents that were ended, by reason", ("reason",), _single(pool.evicted))
    held = _single(host.pool.resident_bytes())
    words = "Memory that agents and all they started held at the last look"
    yield _gauges("coder_pool_resident_bytes", words, ("provider",), held)
    budget = host.pool.totals().memory_budget_bytes
    yield _gauge("coder_pool_memory_budget_bytes", "How much they may hold before idle ones are ended", budget)
    opened = host.sessions.tally
    ways = {("hit",): opened.hit, ("stale",): opened.stale, ("miss",): opened.miss}
    words = "How long opening a session took, by whether one was made ahead: taken, none that fits, none"
    yield _histogram("coder_session_open_seconds", words, ways, ("spare",))
    starts = {("fresh",): pool.fresh_starts, ("resumed",): pool.resumed_starts}
    yield _histogram("coder_agent_start_seconds", "How long agents took to start", starts, ("conversation",))
    yield _counter("coder_agent_starts_failed", "Agents that did not start", pool.failed_starts)
    yield _counter("coder_agents_crashed", "Agents that died by themselves", pool.crashed)
    yield _counter("coder_agents_restarted", "Starts of an agent that had died before", pool.restarts)
    turns = host.turns.tally
    yield _counters("coder_turns", "Turns that ended, by state and code of the error", ("state", "code"), turns.ends)
    yield _histogram("coder_turn_seconds", "From the beginning of a turn to its recorded end", {(): turns.seconds})
    yield _histogram("coder_task_queued_seconds", "How long tasks waited for their turn", {(): turns.queued})
    yield _gauge("coder_turns_running", "Turns that run", host.dispatcher.running)
    yield _gauge("coder_dispatcher_notify", "1 with NOTIFY, 0 when polling", host.dispatcher.mode == "notify")
    journal = host.journal
    yield _counter("coder_journal_records", "Records stored", journal.tally.records)
    yield _counter("coder_journal_batches", "Batches of records that went to the database", journal.tally.batches)
    yield _counter("coder_journal_batches_refused", "Batches to be stored again", journal.tally.refused_batches)
    yield _gauge("coder_journal_unstored_bytes", "Shown, not stored yet", journal.unstored_bytes())
    yield _gauge("coder_journal_lag_seconds", "Age of the oldest record that is not stored yet", journal.lag_seconds())
    asked = host.permissions
    outcomes = _single(asked.tally.outcomes)
    yield _counters("coder_permissions", "Requests for permission that were decided", ("outcome",), outcomes)
    yield _histogram("coder_permission_wait_seconds", "How long they waited for that", {(): asked.tally.waits})
    yield _gauge("coder_permissions_waiting", "Requests for permission that wait", asked.waiting)
    yield _counter("coder_database_reconnects", "How often the database was back", max(0, host.store.reconnects))


def _of_health(host: Host, troubles: set[str]) -> Iterator[Metric]:
    reasons = ("database_away", "dispatcher_stopped", "journal_not_writing", "loop_stalled", "disk_nearly_full")
    found = {(reason,): reason in troubles for reason in reasons}
    yield _gauges("coder_trouble", "1 for each reason why the host is not healthy", ("reason",), found)
    still = host.vitals.standstill
    yield _counter("coder_loop_standstills", "How often the event loop stood still", still.count)
    yield _gauge("coder_loop_lag_seconds", "How late the loop's last beat was", still.lag)
    yield _gauge("coder_disk_free_bytes", "Room on the home's disk", host.vitals.space.free())
    yield _gauges("coder_build_info", "Which version runs", ("version",), {(__version__,): 1})


def _of_rows(rows: figures.Figures | None) -> Iterator[Metric]:
    yield _gauge("coder_database_up", "Whether the database answers", rows is not None)
    if rows is not None:
        tasks = {("pending",): rows.pending, ("running",): rows.running, ("blocked",): rows.blocked}
        yield _gauges("coder_tasks", "Tasks that have not ended", ("state",), tasks)
        yield _gauge("coder_queue_oldest_seconds", "How long the oldest waiting task has waited", rows.oldest_seconds)
        yield _gauge("coder_queue_longest", "The most tasks that wait in one session", rows.longest_queue)
        yield _gauge("coder_sessions", "Open sessions", rows.sessions)
        yield _gauge("coder_spare_sessions", "Sessions made ahead that nobody has asked for yet", rows.spares)
        yield _gauge("coder_changes_pending", "Changes that wait for a decision", rows.pending_changes)


def _single(figures: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    return {(name,): figure for name, figure in figures.items()}


def _gauge(name: str, words: str, figure: float) -> Metric:
    return GaugeMetricFamily(name, words, value=float(figure))


def _counter(name: str, words: str, figure: float) -> Metric:
    return CounterMetricFamily(name, words, value=float(figure))


def _gauges(name: str, words: str, labels: tuple[str, ...], figures: Mapping[tuple[str, ...], float]) -> Metric:
    family = GaugeMetricFamily(name, words, labels=labels)
    for values, figure in figures.items():
        family.add_metric(values, float(figure))
    return family


def _counters(name: str, words: str, labels: tuple[str, ...], figures: Mapping[tuple[str, ...], float]) -> Metric:
    family = CounterMetricFamily(name, words, labels=labels)
    for values, figure in figures.items():
        family.add_metric(values, float(figure))
    return family


def _histogram(
    name: str, words: str, spreads: Mapping[tuple[str, ...], Spread], labels: tuple[str, ...] = ()
) -> Metric:
    family = HistogramMetricFamily(name, words, labels=labels)
    for values, spread in spreads.items():
        buckets = [
            ("+Inf" if math.isinf(bound) else str(float(bound)), float(count)) for bound, count in spread.cumulated()
        ]
        family.add_metric(values, buckets, spread.sum)
    return family


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
