"""A relay before a PostgreSQL socket that goes deaf, drops everybody or hides that a commit happened."""

import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import anyio
from anyio.abc import SocketStream

SOCKET = ".s.PGSQL.5432"
COMMIT = b"COMMIT;\0"
"""The end of the simple query by which a client commits."""


class Relay:
    """`url` leads through the relay. `commits` counts the commits that have passed."""

    def __init__(self, url: str, target: str) -> None:
        self.url = url
        self.commits = 0
        self._target = target
        self._gate = anyio.Event()
        self._gate.set()
        self._is_refusing = False
        self._commits_to_hide: list[tuple[bytes, int]] = []
        self._marker: bytes | None = None
        self._streams: set[SocketStream] = set()

    def go_deaf(self) -> None:
        """Connections stay open, and nothing passes until `hear_again`."""
        self._gate = anyio.Event()

    def hear_again(self) -> None:
        self._gate.set()

    def hide_commit(self, ahead: int = 0, about: str = "") -> None:
        """Carry the next commit, or one further `ahead`, to the server, and cut its connection before the answer.

        Only commits count whose transaction named what it is `about`.
        """
        self._commits_to_hide.append((about.encode(), ahead))

    def hide_answer(self, marker: bytes) -> None:
        """Carry the next question that holds the marker to the server, and cut its connection before the answer."""
        self._marker = marker

    def hide_nothing(self) -> None:
        """Let everything be heard of again."""
        self._commits_to_hide.clear()
        self._marker = None

    async def cut(self) -> None:
        """Drop every connection and refuse new ones until `restore`."""
        self._is_refusing = True
        for stream in tuple(self._streams):
            await stream.aclose()

    def restore(self) -> None:
        self._is_refusing = False

    async def serve(self, client: SocketStream) -> None:
        async with client:
            if self._is_refusing:
                return
            try:
                server = await anyio.connect_unix(self._target)
            except OSError:
                return
            async with server, anyio.create_task_group() as tasks:
                self._streams |= {client, server}
                is_hidden = False
                asked = bytearray()

                def pass_question(data: bytes) -> bool:
                    nonlocal is_hidden
                    asked.extend(data)
                    if data.endswith(COMMIT):
                        self.commits += 1
                        is_hidden = self._is_to_be_hidden(asked)
                        asked.clear()
                    if self._marker is not None and self._marker in data:
                        self._marker = None
                        is_hidden = True
                    return True

                def pass_answer(_: bytes) -> bool:
                    # The server has answered: what was asked for has happened, and nobody hears of it.
                    return not is_hidden

                tasks.start_soon(self._pump, client, server, pass_question)
                tasks.start_soon(self._pump, server, client, pass_answer)
            self._streams -= {client, server}

    def _is_to_be_hidden(self, asked: bytearray) -> bool:
        waiting = [(about, ahead - (about in asked)) for about, ahead in self._commits_to_hide]
        self._commits_to_hide = [(about, ahead) for about, ahead in waiting if ahead >= 0]
        return len(self._commits_to_hide) < len(waiting)

    async def _pump(self, source: SocketStream, sink: SocketStream, passes: Callable[[bytes], bool]) -> None:
        try:
            async for data in source:
                await self._gate.wait()
                if not passes(data):
                    break
                await sink.send(data)
            else:
                await sink.send_eof()
                return
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            pass
        await source.aclose()
        await sink.aclose()


@asynccontextmanager
async def open_relay(url: str) -> AsyncGenerator[Relay]:
    """A relay before the server of a URL that names a socket folder in its `host`."""
    parts = urlsplit(url)
    target = f"{parse_qs(parts.query)['host'][0]}/{SOCKET}"
    with tempfile.TemporaryDirectory(prefix="relay-") as folder:
        relay = Relay(f"postgresql://{parts.netloc}{parts.path}?host={folder}&port=5432", target)
        async with (
            await anyio.create_unix_listener(Path(folder, SOCKET)) as listener,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(listener.serve, relay.serve)
            yield relay
            tasks.cancel_scope.cancel()
