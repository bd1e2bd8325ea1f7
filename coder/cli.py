"""The `coder` command. Exit codes: 0 done, 1 failed, 2 bad input, 3 cancelled, 4 no host answers.

A command's module is imported when the command is used: a client does not wait for the host's own modules.
"""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NoReturn, Protocol, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from coder import __version__
from coder.commands.reach import BAD_INPUT, FAILED, NO_HOST, Reach
from coder.errors import UNREACHABLE, CoderError, InvalidInput, MergeConflict, NotFound
from coder.terminal.conflicts import conflicts_text
from coder.terminal.text import visible_line

COMMANDS = {
    "up": ("up", "Start the host and serve until told to stop."),
    "doctor": ("doctor", "Say what is missing for the host to work, and how to get it."),
    "backup": ("life", "Write the host's state into one file, also while it runs."),
    "restore": ("life", "Put a backup back into an empty home; nothing is written over."),
    "reset": ("life", "Empty the home and its database after saying what that removes; repositories stay."),
    "token": ("access", "Print the access token, made first where there is none."),
    "projects": ("projects", "Registered repositories."),
    "sessions": ("sessions", "Sessions and their worktrees."),
    "prompt": ("prompts", "Ask an agent for one turn and show it as it happens."),
    "changes": ("changes", "What agents changed and nobody has decided yet."),
    "diff": ("pending", "What is pending in a session, as a unified diff."),
    "apply": ("pending", "Apply what is pending to the project's checkout or the session's branch, all or nothing."),
    "reject": ("pending", "Take what is pending out of the worktree, all or nothing; while a turn runs, at its end."),
    "revert": ("changes", "Take applied changes out again, of the checkout or of the branch."),
    "decisions": ("decisions", "What people decided in a session, newest first."),
    "withdraw": ("decisions", "Take back a decision that waits for the end of a turn."),
    "checkpoints": ("checkpoints", "The points that a session's files can be brought back to, newest first."),
    "checkpoint": ("checkpoints", "One point that a session's files can be brought back to."),
    "comment": ("comments", "Comment on a line of a pending change."),
    "comments": ("comments", "The open comments of a session."),
    "reply": ("comments", "Reply to a comment."),
    "resolve": ("comments", "Settle a comment, or open it again."),
    "review": ("comments", "Send the open comments of a session to an agent as one prompt, and show the turn."),
    "branch": ("branches", "Where a session's branch stands beside the default branch."),
    "commit": ("branches", "Commit on a session's branch what was applied."),
    "update": ("branches", "Bring the project's default branch into a session."),
    "patch": ("branches", "A session's changes as a patch for git apply, byte for byte."),
    "close": ("sessions", "Close a session and remove its worktree; unsaved work is refused unless forced."),
    "setup": ("setups", "The setup of a session's worktree: what it runs, how it went, and why prompts wait."),
    "trust": ("setups", "Let the setup files that sessions of a project wait with run their commands."),
    "providers": ("providers", "Agents that the host knows how to start."),
}
"""Every command in the order of its help: the module in `coder.commands` that has it, and what it does."""


class HelpPage(Protocol):
    """What help is written on."""

    def section(self, name: str) -> AbstractContextManager[None]: ...

    def write_dl(self, rows: Sequence[tuple[str, str]]) -> None: ...


class Commands(TyperGroup):
    """The commands by their names, each from its own module."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        # the names alone: what a mistyped one is compared with
        self.commands.update({name: TyperGroup(name=name) for name in COMMANDS})

    def get_command(self, ctx: object, cmd_name: str) -> TyperCommand | TyperGroup | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"coder.commands.{COMMANDS[cmd_name][0]}")
        return cast(TyperCommand | TyperGroup, get_group(module.commands).commands[cmd_name])

    def format_commands(self, ctx: object, formatter: HelpPage) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, does) for name, (_, does) in COMMANDS.items()])


cli = typer.Typer(
    cls=Commands, help="A host for coding agents.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)


@cli.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    home: Annotated[Path | None, typer.Option(help="State folder of the host (CODER_HOME).")] = None,
    url: Annotated[str | None, typer.Option(help="Where the host answers; default from the settings.")] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(BAD_INPUT)
    context.obj = Reach(home, url)


def main() -> None:
    """The entry point: errors are one line on standard error, never a traceback."""
    try:
        cli()
    except CoderError as error:
        _fail(error)
    except BaseExceptionGroup as group:
        found, others = group.split(CoderError)
        if found is None or others is not None:
            raise
        _fail(_first(found))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(FAILED)


def _fail(error: CoderError) -> NoReturn:
    typer.echo(f"error: {visible_line(str(error))} ({error.stable_code})", err=True)
    if isinstance(error, MergeConflict) and (shown := conflicts_text(error.fields)):
        typer.echo(shown, err=True)
    if error.stable_code == UNREACHABLE:
        typer.echo("start it with `coder up`, or name it with --url", err=True)
        sys.exit(NO_HOST)
    sys.exit(BAD_INPUT if isinstance(error, InvalidInput | NotFound) else FAILED)


def _first(group: BaseExceptionGroup[CoderError]) -> CoderError:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found
