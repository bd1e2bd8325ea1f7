"""Requests to one server: signed in, bounded in time, errors in words."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import httpx2

from coder.backends.wire import Fields, encode, fields, text
from coder.errors import AgentDied, AgentError, AgentProtocolError, AgentTimeout
from coder.json_values import NotJson, read_line
from coder.model.values import Json

logger = logging.getLogger(__name__)

USER = "opencode"
HEARTBEAT_SECONDS = 10.0
"""The server says something on its event stream this often."""


class Http:
    """The server at `url`. Enter it as a context manager. Paths concern the worktree, named with every request."""

    def __init__(self, url: str, password: str | None, worktree: Path, *, timeout: float, silence: float) -> None:
        self._timeout, self._silence = timeout, silence
        self._client = httpx2.AsyncClient(
            base_url=url,
            auth=(USER, password) if password is not None else None,
            headers={"x-opencode-directory": quote(str(worktree))},
            timeout=httpx2.Timeout(timeout, connect=5.0),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def status(self, path: str) -> int:
        """The status of a GET, whatever it is."""
        return (await self._send("GET", path, None, self._timeout)).status_code

    async def get(self, path: str) -> Json:
        """Raises AgentError: no answer, or an answer that tells of an error."""
        return _answer(path, await self._send("GET", path, None, self._timeout))

    async def find(self, path: str) -> Fields | None:
        """The object at a path; None when there is none."""
        response = await self._send("GET", path, None, self._timeout)
        if response.status_code in (400, 404):
            return None
        return fields(_answer(path, response))

    async def post(self, path: str, body: Fields, *, timeout: float | None = None) -> Json:
        """Raises AgentError: no answer, or an answer that tells of an error."""
        return _answer(path, await self._send("POST", path, body, timeout or self._timeout))

    @asynccontextmanager
    async def events(self) -> AsyncGenerator[httpx2.Response]:
        """What happens in the worktree; the stream breaks with httpx2's errors, also when nothing comes any more."""
        timeout = httpx2.Timeout(self._silence, connect=5.0)
        async with self._client.stream("GET", "/event", timeout=timeout) as response:
            if response.status_code != 200:
                raise AgentProtocolError(f"/event answered {response.status_code}", status=response.status_code)
            yield response

    async def _send(self, method: str, path: str, body: Fields | None, timeout: float) -> httpx2.Response:
        if self._client.is_closed:
            raise AgentDied("the server is gone")
        content = encode(body) if body is not None else None
        headers = {"content-type": "application/json"} if content is not None else None
        try:
            return await self._client.request(
                method, path, content=content, headers=headers, timeout=httpx2.Timeout(timeout, connect=5.0)
            )
        except httpx2.TimeoutException as error:
            raise AgentTimeout(f"the server did not answer {_short(path)} within {timeout:g} s") from error
        except httpx2.TransportError as error:
            raise AgentDied(f"the server cannot be reached: {error or type(error).__name__}") from error


def _answer(path: str, response: httpx2.Response) -> Json:
    try:
        value = read_line(response.content) if response.content else None
    except NotJson:
        value = None
    if response.is_success:
        return value
    words = _words(fields(value)) or response.reason_phrase
    raise AgentProtocolError(
        f"the server answered {_short(path)} with {response.status_code}: {words}", status=response.status_code
    )


def _words(error: Fields) -> str | None:
    return text(fields(error.get("data")).get("message")) or text(error.get("message")) or text(error.get("name"))


def _short(path: str) -> str:
    return path.partition("?")[0]


def is_refused_sign_in(error: AgentError) -> bool:
    """Whether the server does not take our password."""
    return error.fields.get("status") == 401
