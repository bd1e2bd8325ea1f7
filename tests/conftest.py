"""PostgreSQL for tests: one embedded server for a whole run, a clone of a template database for each test.

The server belongs to the process that the run started with (the xdist controller, or the only one there is). It starts
when the first test asks for a database, so a run that needs none starts none.
"""

import os
import re
import secrets
import shutil
import tempfile
import threading
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Protocol, cast

import asyncpg
import hypothesis
import pytest
from anyio.from_thread import start_blocking_portal

from coder.store.database import apply_schema
from coder.store.embedded import open_embedded

TEMPLATE = "template_coder"
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}


# A shared machine is no reason to fail; what lands is tried with the same examples as what was tried before.
hypothesis.settings.register_profile("shared", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("shared")


class _Node(Protocol):
    """A worker as its controller sees it."""

    config: pytest.Config
    workerinput: dict[str, str]


class _WorkerConfig(Protocol):
    workerinput: dict[str, str]


class RunServer:
    """The run's server, started by the first `url` and stopped by `close`."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self._url: str | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="coder-tests-"))
        self._stack.callback(shutil.rmtree, self._folder, ignore_errors=True)

    def url(self) -> str:
        """Where the server is; a template database with the schema is in it."""
        with self._lock:
            if self._url is None:
                portal = self._stack.enter_context(start_blocking_portal())
                opened = portal.wrap_async_context_manager(open_embedded(self._folder / "database", options=FAST))
                url = self._stack.enter_context(opened)
                portal.call(_make_template, url)
                self._url = url
            return self._url

    def open_door(self) -> str:
        """Let other processes ask for the URL; returns the path of the socket to ask at."""
        listener = Listener(str(self._folder / "door"), "AF_UNIX")
        self._stack.callback(listener.close)
        threading.Thread(target=self._answer, args=(listener,), daemon=True).start()
        return str(self._folder / "door")

    def close(self) -> None:
        self._stack.close()

    def _answer(self, listener: Listener) -> None:
        while True:
            try:
                visitor = cast("Connection[str, str]", listener.accept())
            except OSError:
                return
            with visitor:
                try:
                    visitor.send(self.url())
                except Exception as error:
                    visitor.send(f"error: {error}")


_server = pytest.StashKey[RunServer]()
_door = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-agents", action="store_true", help="also run every real agent (./dev test --all-agents)")
    parser.addoption("--ledger", action="store_true", help="the ledger's machine at full length (./dev test --ledger)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs every real agent, unless it is asked for."""
    if not config.getoption("--all-agents"):
        left_out = [item for item in items if item.get_closest_marker("all_agents")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.stash[_server] = RunServer()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: _Node) -> None:
    stash = node.config.stash
    if _door not in stash:
        stash[_door] = stash[_server].open_door()
    node.workerinput["database_door"] = stash[_door]


def pytest_unconfigure(config: pytest.Config) -> None:
    if _server in config.stash:
        config.stash[_server].close()


@pytest.fixture(scope="session")
def database_server(request: pytest.FixtureRequest) -> str:
    """The URL of the run's server, for tests that make databases themselves."""
    if _server in request.config.stash:
        return request.config.stash[_server].url()
    door = cast("_WorkerConfig", request.config).workerinput["database_door"]
    with cast("Connection[str, str]", Client(door, "AF_UNIX")) as server:
        url = server.recv()
    if url.startswith("error: "):
        pytest.fail(f"the test server does not start: {url}")
    return url


@pytest.fixture
async def database_url(database_server: str) -> AsyncGenerator[str]:
    """A database of this test alone, with the schema applied; gone afterwards."""
    name = f"test_{secrets.token_hex(6)}"
    await _administrate(database_server, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy")
    yield database_named(database_server, name)
    await _administrate(database_server, f"DROP DATABASE {name} WITH (FORCE)")


def database_named(url: str, name: str) -> str:
    """The URL of another database on the same server."""
    return re.sub(r"/[a-z_0-9]+\?", f"/{name}?", url)


async def _make_template(url: str) -> None:
    await _administrate(url, f"CREATE DATABASE {TEMPLATE}")
    connection = await asyncpg.connect(database_named(url, TEMPLATE))
    await apply_schema(connection)
    await connection.close()


async def _administrate(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
