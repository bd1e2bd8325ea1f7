"""Starting the host."""

from pathlib import Path
from typing import Annotated

import typer

from coder import app
from coder.commands.reach import group, reach_of
from coder.settings import load_settings

commands = group()


@commands.command()
def up(
    context: typer.Context,
    home: Annotated[Path | None, typer.Option(help="State folder (CODER_HOME).")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[str | None, typer.Option(help="Port, or auto.")] = None,
    database_url: Annotated[str | None, typer.Option(help="A PostgreSQL server instead of the embedded one.")] = None,
    providers_path: Annotated[Path | None, typer.Option(help="The provider override file.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    log_format: Annotated[str | None, typer.Option(help="text or json.")] = None,
    allowed_host: Annotated[list[str] | None, typer.Option(help="Further host name; may be given again.")] = None,
    allowed_origin: Annotated[list[str] | None, typer.Option(help="Further exact origin; may be given again.")] = None,
) -> None:
    """Start the host and serve until told to stop."""
    app.run(
        load_settings(
            home=home or reach_of(context).home,
            host=host,
            port=port,
            database_url=database_url,
            providers_path=providers_path,
            log_level=log_level,
            log_format=log_format,
            allowed_hosts=tuple(allowed_host) if allowed_host else None,
            allowed_origins=tuple(allowed_origin) if allowed_origin else None,
        )
    )
