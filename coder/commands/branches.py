"""Commands that take a session's work out by git."""

import sys
from typing import Annotated

import typer

from coder.commands.calls import call
from coder.commands.reach import JsonFlag, group
from coder.commands.shown import show_one
from coder.errors import InvalidInput
from coder.model.branches import BranchStatus
from coder.terminal.text import visible_line

commands = group()


@commands.command(name="branch")
def show_branch(context: typer.Context, session: str, as_json: JsonFlag = False) -> None:
    """Where a session's branch stands beside the default branch."""
    found = call(context, lambda client: client.branch(session))
    show_one(as_json, found, _branch_text(found))


@commands.command()
def commit(
    context: typer.Context,
    session: str,
    message: Annotated[str, typer.Option("--message", "-m", help="The commit's message; - reads standard input.")],
    everything: Annotated[bool, typer.Option("--all", help="Also what is pending, which applies it.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Commit on a session's branch what was applied."""
    text = sys.stdin.read() if message == "-" else message
    made = call(context, lambda client: client.commit(session, text, "all" if everything else "applied"))
    show_one(as_json, made, made.commit)


@commands.command()
def update(
    context: typer.Context,
    session: str,
    rebase: Annotated[bool, typer.Option("--rebase", help="Rebase instead of merge.")] = False,
    agent: Annotated[str | None, typer.Option(help="Who resolves conflicts; without, they write nothing.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Bring the project's default branch into a session."""
    how, otherwise = "rebase" if rebase else "merge", "agent" if agent else "abort"
    done = call(context, lambda client: client.update_branch(session, how, otherwise, agent))
    lines = [f"{done.outcome} {done.head}", *(f"conflict {visible_line(name)}" for name in done.conflicts)]
    show_one(as_json, done, "\n".join(lines))


@commands.command(name="patch")
def show_patch(
    context: typer.Context,
    session: str,
    which: Annotated[str, typer.Option("--changes", help="applied, pending or all.")] = "all",
) -> None:
    """A session's changes as a patch for git apply, byte for byte."""
    if which not in ("applied", "pending", "all"):
        raise InvalidInput("--changes is applied, pending or all")
    sys.stdout.buffer.write(call(context, lambda client: client.patch(session, which)))


def _branch_text(found: BranchStatus) -> str:
    lines = [f"{found.branch} {found.head or 'gone'}"]
    if found.default_branch is not None:
        lines.append(f"{found.default_branch} {found.default_head or 'gone'}")
    if found.ahead is not None:
        lines.append(f"{found.ahead} ahead, {found.behind} behind")
    if found.uncommitted is not None:
        lines.append(f"{found.uncommitted} files differ from the branch, {found.applied} of what was applied")
    if found.problem is not None:
        lines.append(visible_line(found.problem.message))
    return "\n".join(lines)
