"""A whole host for tests: real database, real sockets, in the test's own loop. A context manager, never a fixture."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coder.api.connections import ConnectionLimits
from coder.api.server import bind
from coder.api.stream import StreamLimits
from coder.app import open_serving
from coder.client import Client
from coder.host import Host
from coder.settings import Settings


@dataclass(frozen=True)
class LiveHost:
    """A host that answers at `url`."""

    host: Host
    url: str

    @property
    def token(self) -> str:
        return self.host.token

    def client(self) -> Client:
        """A client that is signed in; enter it as a context manager."""
        return Client(self.url, self.token, timeout=20)


@asynccontextmanager
async def open_live_host(
    home: Path,
    database_url: str,
    *,
    stream_limits: StreamLimits | None = None,
    connection_limits: ConnectionLimits | None = None,
    **settings: Any,
) -> AsyncGenerator[LiveHost]:
    """Open a host on a free port of 127.0.0.1.

    Its override file lies in `home` and its agents are in no sandbox unless the settings say otherwise.
    """
    usual: dict[str, Any] = {
        "providers_path": home / "coder-providers.json",
        "shutdown_grace": 1.0,
        "sandbox": "off",
        "spare_sessions": 0,
    }
    given = usual | settings
    chosen = Settings(home=home, database_url=database_url, **given)
    async with open_serving(
        chosen,
        listener=bind("127.0.0.1", 0),
        stream_limits=stream_limits,
        connection_limits=connection_limits,
    ) as serving:
        yield LiveHost(serving.host, serving.url)
