"""Asking an agent for a turn."""

from pathlib import Path
from typing import Annotated

import typer

from coder.client import Client
from coder.commands.calls import call, project_id, text_of, valid
from coder.commands.reach import CANCELLED, FAILED, JsonFlag, group
from coder.errors import InvalidInput
from coder.model.tasks import TaskState
from coder.protocol import Prompt
from coder.terminal.turns import Turn

ENDINGS = {TaskState.COMPLETED: 0, TaskState.CANCELLED: CANCELLED}
"""Exit codes of how a turn ended; any other end failed."""

commands = group()


@commands.command()
def prompt(
    context: typer.Context,
    words: Annotated[list[str], typer.Argument(metavar="[SESSION] TEXT", help="TEXT - reads standard input.")],
    agent: Annotated[str, typer.Option(help="Which agent is asked.")],
    project: Annotated[Path | None, typer.Option(help="Open a new session on this repository.")] = None,
    model: Annotated[str | None, typer.Option()] = None,
    mode: Annotated[str | None, typer.Option()] = None,
    thinking: Annotated[str | None, typer.Option()] = None,
    when: Annotated[str, typer.Option(help="While a turn runs: queue, steer or interrupt.")] = "queue",
    allow: Annotated[bool, typer.Option("--allow", help="Allow whatever the agent asks.")] = False,
    deny: Annotated[bool, typer.Option("--deny", help="Refuse whatever the agent asks.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Ask an agent for one turn and show it as it happens."""
    turn = Turn(allow=allow, deny=deny, as_json=as_json)
    if len(words) < (1 if project else 2):
        raise InvalidInput("give a session and a text, or --project and a text")
    session, said = (None, words) if project else (words[0], words[1:])
    wish = valid(
        Prompt,
        agent=agent,
        input=text_of(said),
        model=model,
        mode_id=mode,
        thinking_option_id=thinking,
        when=when,
    )

    async def run(client: Client) -> TaskState:
        return await turn.run(client, session or await _new_session(client, str(project)), wish)

    state = call(context, run)
    raise typer.Exit(ENDINGS.get(state, FAILED))


async def _new_session(client: Client, path: str) -> str:
    session = await client.open_session(await project_id(client, path))
    typer.echo(f"session {session.id}", err=True)
    return session.id
