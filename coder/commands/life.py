"""Keeping a host's state, and giving it up: backup, restore, reset."""

from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
import typer

from coder.backup import write_backup
from coder.commands.calls import settings_of
from coder.commands.reach import CANCELLED, group
from coder.errors import InvalidInput
from coder.reset import Inventory
from coder.reset import reset as reset_home
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


@commands.command()
def reset(
    context: typer.Context,
    keep_repos: Annotated[
        bool, typer.Option("--keep-repos", help="Leave the branches of sessions with work, all of it committed.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Empty the home and its database after saying what that removes; repositories stay."""

    def confirm(inventory: Inventory) -> bool:
        _list(inventory, keep_repos=keep_repos)
        try:
            return yes or typer.confirm("Remove all of this?", err=True)
        except typer.Abort:
            return False

    if not anyio.run(partial(reset_home, settings_of(context), confirm, keep_repos=keep_repos)):
        typer.echo("nothing was removed", err=True)
        raise typer.Exit(CANCELLED)
    typer.echo("empty; the token and the settings are as they were")


def _list(inventory: Inventory, *, keep_repos: bool) -> None:
    count = f"{len(inventory.projects)} projects, {len(inventory.belongings)} sessions with all their records"
    typer.echo(f"database  {inventory.database}: {count}")
    for folder in inventory.folders:
        typer.echo(f"folder    {folder}")
    for each in inventory.belongings:
        words = f"{each.files} files not committed" if each.files else "nothing uncommitted"
        if each.has_commits:
            words += ", commits of its own"
        fate = "stays" if keep_repos and each.has_work else "is removed"
        if keep_repos and each.files:
            fate += " with them committed"
        name = visible_line(each.session.name)
        typer.echo(f"branch    {each.branch} of {visible_line(str(each.repo))} ({name}): {words}; it {fate}")
