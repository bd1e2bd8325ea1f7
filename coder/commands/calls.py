"""How commands reach the host: a client of their own for each call, and what is needed around it."""

import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio
import typer
from pydantic import BaseModel, ValidationError

from coder.client import Client
from coder.commands.reach import reach_of
from coder.errors import Conflict, InvalidInput
from coder.protocol import Page
from coder.settings import Settings, load_settings
from coder.tokens import read_token

Result = TypeVar("Result")
Item = TypeVar("Item")
Wish = TypeVar("Wish", bound=BaseModel)


def settings_of(context: typer.Context) -> Settings:
    """The settings of the host that is meant."""
    return load_settings(home=reach_of(context).home)


def url_of(context: typer.Context, settings: Settings) -> str:
    """Where that host answers."""
    return reach_of(context).url or _listening(settings)


def call(context: typer.Context, run: Callable[[Client], Awaitable[Result]]) -> Result:
    """What the host answers. Raises HostConfigError: there is no token to sign in with."""

    async def enter() -> Result:
        settings = settings_of(context)
        async with Client(url_of(context, settings), read_token(settings.home)) as client:
            return await run(client)

    return anyio.run(enter)


async def all_pages(fetch: Callable[[str | None], Awaitable[Page[Item]]]) -> list[Item]:
    """The items of every page, from the first one on."""
    page = await fetch(None)
    items = list(page.items)
    while page.next is not None:
        page = await fetch(page.next)
        items += page.items
    return items


async def project_id(client: Client, name: str) -> str:
    """The project of a repository's path, registered where it is not yet; anything else is an id."""
    path = await anyio.Path(name).expanduser()
    if not await path.is_dir():
        return name
    try:
        return (await client.register_project(str(await path.absolute()))).id
    except Conflict as error:
        if error.stable_code != "project_exists":
            raise
        return str(error.fields["project_id"])


def valid(kind: type[Wish], /, **fields: object) -> Wish:
    """A body made of what was typed. Raises InvalidInput."""
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        fault = error.errors()[0]
        raise InvalidInput(f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}") from error


def text_of(words: Sequence[str]) -> str:
    """The words as one text; `-` alone reads standard input."""
    text = " ".join(words)
    return sys.stdin.read() if text == "-" else text


def _listening(settings: Settings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"http://{host}:{9502 if settings.port == 'auto' else settings.port}"
