"""The pipes of a child: what it says as bytes or lines, the tail of its stderr, and bytes into it."""

import asyncio
import os

import anyio

from coder.errors import AgentDied, AgentTimeout, LineTooLong

CHUNK = 256 * 1024
"""Bytes asked for in one read: what has piled up comes in one go."""

_HIGH_WATER = 1024 * 1024
"""Bytes held for a receiver that is busy; above it the pipe fills and the child waits."""


class PipeReader:
    """Bytes as they arrive, for one receiver."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self._chunks: list[bytes] = []
        self._size = 0
        self._has_ended = False
        self._is_reading = False
        self._is_last = False
        self._is_discarding = False
        self._arrived: asyncio.Future[None] | None = None
        os.set_blocking(fd, False)
        self._resume()

    async def receive(self) -> bytes:
        """All bytes that have arrived, at least one.

        Raises:
            anyio.EndOfStream: the child has closed its end or has exited, and all was delivered.
        """
        while not self._size:
            if self._has_ended:
                raise anyio.EndOfStream
            self._arrived = self._loop.create_future()
            await self._arrived
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._empty()
        return data

    def finish(self) -> None:
        """The child has exited: what is in the pipe is the rest, even if a grandchild holds it open."""
        self._is_last = True
        self._pump_soon()

    def discard(self) -> None:
        """From now on drop what nobody is waiting for: a child that shall end must not be held up by a full pipe."""
        self._is_discarding = True
        self._empty()

    def close(self) -> None:
        self._end()
        os.close(self._fd)

    def _empty(self) -> None:
        self._chunks = []
        self._size = 0
        self._resume()

    def _resume(self) -> None:
        if not self._is_reading and not self._has_ended:
            self._is_reading = True
            self._loop.add_reader(self._fd, self._pump)
            if self._is_last:
                self._pump_soon()

    def _pause(self) -> None:
        if self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(self._fd)

    def _pump_soon(self) -> None:
        # after the exit an empty pipe that a grandchild holds open never becomes readable
        self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        if not self._is_reading:
            return
        try:
            chunk = os.read(self._fd, CHUNK)
        except BlockingIOError:
            if self._is_last:
                self._end()
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._end()
            return
        if self._is_last:
            self._pump_soon()
        if not self._is_discarding or self._arrived is not None:
            self._add(chunk)

    def _add(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size >= _HIGH_WATER:
            self._pause()
        self._wake()

    def _end(self) -> None:
        self._pause()
        self._has_ended = True
        self._wake()

    def _wake(self) -> None:
        arrived, self._arrived = self._arrived, None
        if arrived is not None and not arrived.done():
            arrived.set_result(None)


class LineReader:
    """Whole lines of a pipe, all that are there at a time."""

    def __init__(self, pipe: PipeReader, limit: int) -> None:
        self._pipe = pipe
        self._limit = limit
        self._rest: list[bytes] = []
        self._rest_size = 0

    async def receive_lines(self) -> list[bytes]:
        """Every complete line that has arrived, at least one, without its newline.

        What follows the last newline is delivered when the stream ends.

        Raises:
            anyio.EndOfStream: the child has closed its end or has exited, and all was delivered.
            LineTooLong: the next line is over the limit; the stream cannot be used any more.
        """
        while self._rest_size <= self._limit:
            try:
                chunk = await self._pipe.receive()
            except anyio.EndOfStream:
                if not self._rest:
                    raise
                chunk = b"\n"
            self._rest.append(chunk)
            self._rest_size += len(chunk)
            if b"\n" in chunk and (lines := self._split()):
                return lines
        raise LineTooLong(f"the agent sent a line of more than {self._limit} bytes", limit=self._limit)

    def _split(self) -> list[bytes]:
        data = self._rest[0] if len(self._rest) == 1 else b"".join(self._rest)
        lines = data.split(b"\n")
        rest = lines.pop()
        self._rest = [rest] if rest else []
        self._rest_size = len(rest)
        if len(data) <= self._limit:
            return lines
        for number, line in enumerate(lines):
            if len(line) > self._limit:
                self._rest_size = len(line)
                return lines[:number]
        return lines


class TailReader:
    """Drains a pipe for ever and keeps its last `limit` bytes."""

    def __init__(self, fd: int, limit: int) -> None:
        self._fd = fd
        self._limit = limit
        self._tail = bytearray()
        self._is_open = True
        self._loop = asyncio.get_running_loop()
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._drain)

    def text(self) -> str:
        """What is kept, invalid UTF-8 replaced."""
        self._drain()
        return self._tail[-self._limit :].decode(errors="replace")

    def close(self) -> None:
        if self._is_open:
            self._drain()
        if self._is_open:
            self._end()

    def _end(self) -> None:
        self._is_open = False
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _drain(self) -> None:
        if not self._is_open:
            return
        try:
            chunk = os.read(self._fd, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        self._tail += chunk
        if len(self._tail) > 2 * self._limit:
            del self._tail[: -self._limit]
        if not chunk:
            self._end()


class PipeWriter:
    """Bytes into a child, whole messages in the order of the calls, each within a deadline."""

    def __init__(self, fd: int, timeout: float) -> None:
        self._fd = fd
        self._timeout = timeout
        self._lock = anyio.Lock(fast_acquire=True)
        self._is_open = True
        os.set_blocking(fd, False)

    async def send(self, data: bytes) -> None:
        """Write all of `data`. A message cut short by a deadline or a cancellation closes the pipe.

        Raises:
            AgentTimeout: the child did not read within the deadline. AgentDied: nobody reads any more.
        """
        async with self._lock:
            written = self._write(data)
            if written < len(data):
                await self._send_rest(memoryview(data)[written:])

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            anyio.notify_closing(self._fd)
            os.close(self._fd)

    async def _send_rest(self, rest: memoryview) -> None:
        try:
            with anyio.fail_after(self._timeout):
                while rest:
                    await anyio.wait_writable(self._fd)
                    rest = rest[self._write(rest) :]
        except TimeoutError as error:
            raise AgentTimeout(f"the agent did not read its input for {self._timeout:g} s") from error
        except anyio.ClosedResourceError as error:
            raise AgentDied("the agent ended while it was written to") from error
        finally:
            if rest:
                self.close()

    def _write(self, data: bytes | memoryview) -> int:
        if not self._is_open:
            raise AgentDied("the agent's input is closed")
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise AgentDied("the agent does not read its input any more") from error
