"""Commands about what a repository asks for in a new worktree."""

import shlex
from collections.abc import Sequence
from functools import partial
from typing import Annotated

import typer

from coder.client import Client
from coder.commands.calls import all_pages, call, project_id
from coder.commands.reach import CANCELLED, JsonFlag, group
from coder.commands.shown import show_one
from coder.errors import InvalidInput, NotFound
from coder.model.setups import Setup, SetupState
from coder.terminal.text import visible, visible_line

commands = group()


@commands.command()
def setup(
    context: typer.Context,
    session: str,
    run: Annotated[bool, typer.Option("--run", help="Run it, also once more.")] = False,
    skip: Annotated[bool, typer.Option("--skip", help="Let prompts go without it.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """The setup of a session's worktree: what it runs, how it went, and why prompts wait."""
    if run and skip:
        raise InvalidInput("--run and --skip exclude each other")
    act = Client.run_setup if run else Client.skip_setup if skip else Client.setup
    found = call(context, lambda client: act(client, session))
    show_one(as_json, found, _setup_text(found))


@commands.command()
def trust(
    context: typer.Context,
    project: Annotated[str, typer.Argument(help="A project's id, or the path of a repository.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    digest: Annotated[str | None, typer.Option(help="Trust this content only, and do not ask.")] = None,
) -> None:
    """Let the setup files that sessions of a project wait with run their commands."""

    async def find(client: Client) -> tuple[str, Sequence[Setup]]:
        id = await project_id(client, project)
        found = [await client.setup(each.id) for each in await all_pages(partial(client.sessions, id))]
        return id, [each for each in found if each.state is SetupState.UNTRUSTED]

    id, waiting = call(context, find)
    by_digest = {str(each.digest): each for each in waiting}
    if digest is not None:
        by_digest = {digest: by_digest[digest]} if digest in by_digest else {}
    if not by_digest:
        raise NotFound("no session of this project waits for such a setup file to be trusted")
    for chosen, each in by_digest.items():
        typer.echo(_setup_text(each))
        if not (yes or digest) and not typer.confirm("Trust this?"):
            raise typer.Exit(CANCELLED)
        call(context, partial(Client.trust_setup, project_id=id, digest=chosen))


def _setup_text(setup: Setup) -> str:
    """What a worktree's setup would run, how it stands, and the end of its log."""
    lines = [f"setup {setup.state}" + (", prompts wait for it" if setup.holds else "")]
    if setup.error:
        lines.append(f"error {setup.error.message}")
    if setup.source:
        lines.append(f"file {setup.source} sha256:{setup.digest}")
    if recipe := setup.recipe:
        steps = {"setup": recipe.setup, "teardown": recipe.teardown}
        lines += [f"{name} command: {_command(step.command)}" for name, step in steps.items() if step]
        lines += [f"variable {name}={value}" for name, value in recipe.env.items()]
    lines += [f"port {name}={port}" for name, port in setup.ports.items()]
    shown = "\n".join(visible_line(line) for line in lines)
    return f"{shown}\n{visible(setup.log)}".rstrip("\n")


def _command(command: str | Sequence[str]) -> str:
    return command if isinstance(command, str) else shlex.join(command)
