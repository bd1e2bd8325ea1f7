"""The composition root: settings in, a serving host out."""

import contextlib
import gc
import logging
import os
import resource
import signal
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
from anyio.abc import TaskStatus

from coder.api.connections import ConnectionLimits
from coder.api.routes import build_api
from coder.api.server import bind, open_server
from coder.api.stream import StreamLimits
from coder.errors import HostConfigError
from coder.homes import hold_home
from coder.host import Host, open_host
from coder.logs import set_up
from coder.settings import Settings
from coder.tokens import load_token

logger = logging.getLogger(__name__)

FILES_WANTED = 65_536
FILES_KEPT = 256
"""Open files that connections leave to the database, agents and git."""


COLLECTED_AFTER = 10_000, 10, 20
"""Objects, and collections of the younger ones, after which Python looks for garbage of each age."""


@dataclass(frozen=True)
class Serving:
    """A host that answers at `url`."""

    host: Host
    url: str

    @property
    def login_url(self) -> str:
        """Opens the pane signed in: the token is in the fragment, which no server sees."""
        return f"{self.url}/#token={self.host.token}"


@asynccontextmanager
async def open_serving(
    settings: Settings,
    *,
    listener: socket.socket | None = None,
    stream_limits: StreamLimits | None = None,
    connection_limits: ConnectionLimits | None = None,
) -> AsyncGenerator[Serving]:
    """A host and its server. Leaving ends them in order: new work refused, turns given their grace time, agents ended,
    the journal stored, sockets closed, the database stopped. `listener` takes the place of the port in the settings.

    Raises:
        HostConfigError: it cannot start as it is set up; possibly inside an exception group.
    """
    # A home that another host uses is the better reason to give than its port.
    with hold_home(settings.home), contextlib.closing(listener or bind(settings.host, settings.port)) as bound:
        async with (
            open_host(settings, load_token(settings.home)) as host,
            open_server(
                build_api(host, stream_limits=stream_limits),
                bound,
                limits=connection_limits or ConnectionLimits(_connections_within(settings.max_connections)),
            ) as url,
        ):
            try:
                yield Serving(host, url)
            finally:
                with anyio.CancelScope(shield=True):
                    await host.finish()


async def serve(settings: Settings, announce: Callable[[Serving], None]) -> None:
    """Run a host until SIGINT or SIGTERM. A second signal ends it at once: the watchdog and the database's guard clean
    up then. `announce` is called once it answers.
    """
    stop = anyio.Event()
    async with anyio.create_task_group() as group:
        await group.start(_watch_signals, stop)
        async with open_serving(settings) as serving:
            _calm_collector()
            announce(serving)
            await stop.wait()
            logger.info("stopping: waiting for %d running turns", serving.host.dispatcher.running)
        group.cancel_scope.cancel()


def _calm_collector() -> None:
    """What the host is made of stays as long as it does: looking through all of it for garbage, time and again, would
    hold up every session for a tenth of a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED_AFTER)


async def _watch_signals(stop: anyio.Event, *, task_status: TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            if stop.is_set():
                logger.warning("second signal: ending now")
                os._exit(128 + number)
            stop.set()


def run(settings: Settings) -> None:
    """`coder up`: serve until told to stop.

    Raises:
        HostConfigError: it cannot start as it is set up.
    """
    set_up(settings.log_level, settings.log_format)
    _raise_file_limit()
    try:
        anyio.run(serve, settings, _print_login)
    except BaseExceptionGroup as group:
        raise _configuration_fault(group) or group from group


def _raise_file_limit() -> None:
    """As many open files as this account may have: what is too many for one process, others were set up to refuse."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(FILES_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _connections_within(wanted: int) -> int:
    """How many connections there may be so that files are left for everything else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else max(8, min(wanted, soft - FILES_KEPT))


def _print_login(serving: Serving) -> None:
    print(  # noqa: T201
        f"coder is ready. Open it with this link (it holds your access token):\n\n  {serving.login_url}\n", flush=True
    )


def _configuration_fault(group: BaseExceptionGroup[BaseException]) -> HostConfigError | None:
    """The fault in the set-up among what the open contexts wrapped, if that is all there is."""
    faults, others = group.split(HostConfigError)
    if faults is None or others is not None:
        return None
    first = faults.exceptions[0]
    return first if isinstance(first, HostConfigError) else _configuration_fault(first)
