"""Commands about sessions and their worktrees."""

from functools import partial
from typing import Annotated

import typer
from pydantic import BaseModel

from coder.client import Client
from coder.commands.calls import all_pages, call, project_id
from coder.commands.reach import JsonFlag, group
from coder.commands.shown import show, show_one
from coder.errors import InvalidInput
from coder.terminal.text import visible_line

commands = group()
sessions = group("Sessions and their worktrees.")
commands.add_typer(sessions, name="sessions")


@sessions.command(name="list")
def list_sessions(
    context: typer.Context, project: Annotated[str | None, typer.Option()] = None, as_json: JsonFlag = False
) -> None:
    """Sessions, of one project or of all."""
    found = call(context, lambda client: all_pages(partial(client.sessions, project)))
    show(
        as_json,
        found,
        ("ID", "NAME", "STATE", "BRANCH", "WORKTREE"),
        lambda session: (session.id, session.name, session.state, session.branch or "", session.worktree_path or ""),
    )


@sessions.command(name="open")
def open_session(
    context: typer.Context,
    project: Annotated[str, typer.Argument(help="A project's id, or the path of a repository.")],
    name: Annotated[str | None, typer.Option()] = None,
    base: Annotated[str | None, typer.Option(help="What to start from; default the repository's HEAD.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Open a session: a worktree of its own on a branch of its own."""

    async def run(client: Client) -> BaseModel:
        return await client.open_session(await project_id(client, project), name, base)

    session = call(context, run)
    show_one(as_json, session, str(session.model_dump()["id"]))


@sessions.command(name="edit")
def edit_session(
    context: typer.Context,
    id: str,
    name: Annotated[str | None, typer.Option()] = None,
    auto_apply: Annotated[
        bool | None, typer.Option("--auto-apply/--no-auto-apply", help="Apply what a turn made at its end.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Name a session anew, or have its changes applied by themselves."""
    if name is None and auto_apply is None:
        raise InvalidInput("say what is to change: --name, --auto-apply or --no-auto-apply")
    session = call(context, lambda client: client.edit_session(id, name=name, auto_apply=auto_apply))
    show_one(as_json, session, f"{visible_line(session.name)}, auto-apply {'on' if session.auto_apply else 'off'}")


@sessions.command(name="close")
@commands.command(name="close")
def close_session(
    context: typer.Context,
    id: str,
    force: Annotated[bool, typer.Option("--force")] = False,
    keep_branch: Annotated[bool, typer.Option("--keep-branch", help="Leave its branch and commits.")] = False,
) -> None:
    """Close a session and remove its worktree; unsaved work is refused unless forced."""
    call(context, lambda client: client.close_session(id, force=force, keep_branch=keep_branch))
