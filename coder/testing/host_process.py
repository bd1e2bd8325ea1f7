"""`coder up` as a process of its own, for tests that kill it."""

import os
import re
import signal
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import anyio
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

from coder.client import Client

START_SECONDS = 60.0
END_SECONDS = 40.0
_LOGIN = re.compile(r"(http://\S+)/#token=(\S+)")


@dataclass
class HostProcess:
    """A host that answers at `url`."""

    process: Process
    url: str
    token: str

    @property
    def pid(self) -> int:
        return self.process.pid

    def client(self) -> Client:
        return Client(self.url, self.token)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal the host and wait for its end; gives its exit status."""
        self.process.send_signal(number)
        with anyio.fail_after(END_SECONDS):
            return await self.process.wait()


@asynccontextmanager
async def open_host_process(
    home: Path,
    *flags: str,
    environment: Mapping[str, str] | None = None,
    failpoints: Sequence[str] = (),
    log: IO[bytes] | None = None,
) -> AsyncGenerator[HostProcess]:
    """Start `coder up` on a free port and wait until it answers; leaving stops it if it still runs.

    It ends itself at the last of the `failpoints`. `log` takes its standard error.
    """
    program = ["coder.testing.doomed", ",".join(failpoints)] if failpoints else ["coder"]
    command = [sys.executable, "-m", *program, "up", "--home", str(home), "--port", "auto", *flags]
    # tests look at the processes and folders of agents, and kill them by number
    usual = {
        "CODER_PROVIDERS_PATH": str(home / "coder-providers.json"),
        "CODER_SANDBOX": "off",
        "CODER_SPARE_SESSIONS": "0",
    }
    process = await anyio.open_process(
        command, stderr=log, env={**os.environ, **usual, **(environment or {})}, start_new_session=True
    )
    try:
        with anyio.fail_after(START_SECONDS):
            url, token = await _read_login(process)
        yield HostProcess(process, url, token)
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.terminate()
                with anyio.move_on_after(END_SECONDS):
                    await process.wait()
            if process.returncode is None:
                process.kill()
            await process.aclose()


async def _read_login(process: Process) -> tuple[str, str]:
    assert process.stdout is not None
    printed = ""
    async for text in TextReceiveStream(process.stdout):
        printed += text
        if found := _LOGIN.search(printed):
            return found[1], found[2]
    raise AssertionError(f"the host ended with {await process.wait()} before it was ready: {printed!r}")
