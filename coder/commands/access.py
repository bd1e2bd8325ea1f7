"""The access token."""

from typing import Annotated

import typer

from coder.commands.calls import settings_of, url_of
from coder.commands.reach import group
from coder.tokens import load_token

commands = group()


@commands.command()
def token(
    context: typer.Context,
    login_url: Annotated[bool, typer.Option("--login-url", help="Print the link that opens the pane.")] = False,
) -> None:
    """Print the access token, made first where there is none."""
    settings = settings_of(context)
    secret = load_token(settings.home)
    typer.echo(f"{url_of(context, settings)}/#token={secret}" if login_url else secret)
