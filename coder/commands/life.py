"""Keeping a host's state: backup and restore."""

from pathlib import Path
from typing import Annotated

import anyio
import typer

from coder.backup import write_backup
from coder.commands.calls import settings_of
from coder.commands.reach import group
from coder.errors import InvalidInput
from coder.restore import restore_backup
from coder.terminal.text import visible_line

commands = group()


@commands.command()
def backup(context: typer.Context, file: Annotated[Path, typer.Argument(help="Must not exist.")]) -> None:
    """Write the host's state into one file, also while it runs."""
    written = anyio.run(write_backup, settings_of(context), file)
    for words in written.warnings:
        typer.echo(f"note: {visible_line(words)}", err=True)
    for id in written.was_running:
        typer.echo(f"note: a turn runs in {id}: it is interrupted in the backup", err=True)
    records = written.tables["events"].rows if "events" in written.tables else 0
    typer.echo(f"{file}: {len(written.parcels)} sessions, {records} records, {file.stat().st_size} bytes")


@commands.command()
def restore(
    context: typer.Context,
    file: Path,
    repo: Annotated[list[str] | None, typer.Option(help="OLD=NEW: a repository's path then and now.")] = None,
) -> None:
    """Put a backup back into an empty home; nothing is written over."""
    moved: dict[Path, Path] = {}
    for pair in repo or ():
        old, mark, new = pair.partition("=")
        if not mark or not Path(old).is_absolute() or not Path(new).is_absolute():
            raise InvalidInput(f"--repo takes OLD=NEW with absolute paths, not {pair}")
        moved[Path(old)] = Path(new)
    restored = anyio.run(restore_backup, settings_of(context), file, moved)
    for name in restored.kept:
        typer.echo(f"note: {visible_line(name)} was there and stays as it is", err=True)
    count = len(restored.backup.parcels)
    typer.echo(
        f"restored {count} sessions of {restored.backup.made_at:%Y-%m-%d %H:%M} UTC; start the host with `coder up`"
    )
