"""Commands about the points that a session's files can be brought back to."""

from typing import Annotated

import typer

from coder.commands.calls import call
from coder.commands.reach import CANCELLED, JsonFlag, Reason, group
from coder.commands.shown import print_json, show, show_one
from coder.model.checkpoints import Checkpoint, CheckpointDetail
from coder.terminal.diffs import counts_text, name_text
from coder.terminal.text import moment

commands = group()
checkpoint = group("One point that a session's files can be brought back to.")
commands.add_typer(checkpoint, name="checkpoint")


@commands.command(name="checkpoints")
def list_checkpoints(context: typer.Context, session: str, as_json: JsonFlag = False) -> None:
    """The points that a session's files can be brought back to, newest first."""
    found = call(context, lambda client: client.checkpoints(session))
    show(as_json, found, ("ID", "WHEN", "KIND", "AGENT", "TASK"), _checkpoint_row)


@checkpoint.command(name="show")
def show_checkpoint(context: typer.Context, id: str, as_json: JsonFlag = False) -> None:
    """What a restore would change in the worktree now."""
    found = call(context, lambda client: client.checkpoint(id))
    show_one(as_json, found, _restore_text(found))


@checkpoint.command(name="restore")
def restore_checkpoint(
    context: typer.Context,
    id: str,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    reason: Reason = None,
    as_json: JsonFlag = False,
) -> None:
    """Bring the worktree's files back, and the conversation where the agent can; shown first, can be undone."""
    found = call(context, lambda client: client.checkpoint(id))
    typer.echo(_restore_text(found), err=True)
    if _changes_something(found) and not yes and not typer.confirm("Restore this?", err=True):
        raise typer.Exit(CANCELLED)
    saved = call(context, lambda client: client.restore_checkpoint(id, reason=reason))
    if as_json:
        print_json([saved])
    else:
        typer.echo(f"restored {len(found.differences)} files; undo it with `coder checkpoint restore {saved.id}`")


def _checkpoint_row(found: Checkpoint) -> tuple[str, ...]:
    return (found.id, moment(found.created_at), found.kind, found.agent or "", found.task_id or "")


def _restore_text(found: CheckpointDetail) -> str:
    if not _changes_something(found):
        return "everything is as it was then"
    lines = [f"  {counts_text(each):<20} {name_text(each)}" for each in found.differences]
    lines += [f"  bring back the conversation with {agent}" for agent in found.conversations]
    return "\n".join(["a restore would", *lines])


def _changes_something(found: CheckpointDetail) -> bool:
    return bool(found.differences or found.conversations)
