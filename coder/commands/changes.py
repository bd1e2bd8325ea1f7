"""Commands about changes by their ids."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Annotated

import typer

from coder.client import Client
from coder.commands.calls import all_pages, call
from coder.commands.reach import JsonFlag, Reason, group
from coder.commands.shown import print_json, show, show_one
from coder.errors import InvalidInput
from coder.model.changes import Change, ChangeStatus, Target
from coder.terminal.diffs import counts_text, diff_text, name_text
from coder.terminal.text import visible_line

commands = group()
changes = group("What agents changed and nobody has decided yet.")
commands.add_typer(changes, name="changes")


@changes.command(name="list")
def list_changes(
    context: typer.Context,
    session: str,
    status: Annotated[ChangeStatus | None, typer.Option()] = ChangeStatus.PENDING,
    everything: Annotated[bool, typer.Option("--all", help="Decided ones too.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """The changes of a session that wait for a decision."""
    wanted = None if everything else status
    found = call(context, lambda client: all_pages(lambda cursor: client.changes(session, wanted, cursor=cursor)))
    show(as_json, found, ("ID", "STATUS", "AGENT", "CHANGE", "FILE"), _change_row)


@changes.command(name="show")
def show_change(context: typer.Context, id: str, as_json: JsonFlag = False) -> None:
    """One change with its diff."""
    change = call(context, lambda client: client.change(id))
    show_one(as_json, change, f"{change.status} {change.operation} {name_text(change)}\n{diff_text(change)}")


@changes.command(name="apply")
def apply_changes(
    context: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument()] = None,
    session: Annotated[str | None, typer.Option(help="Everything pending in this session.")] = None,
    target: Annotated[Target, typer.Option(help="Where to: the project's checkout, or the branch.")] = "checkout",
    reason: Reason = None,
    as_json: JsonFlag = False,
) -> None:
    """Write changes into the project's checkout, or commit them on the session's branch. A conflict writes nothing."""
    one = partial(Client.apply_change, target=target, reason=reason)
    every = partial(Client.apply_changes, target=target, reason=reason)
    _decide(context, ids, session, one, every, as_json)


@changes.command(name="reject")
def reject_changes(
    context: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument()] = None,
    session: Annotated[str | None, typer.Option(help="Everything pending in this session.")] = None,
    reason: Reason = None,
    as_json: JsonFlag = False,
) -> None:
    """Put the base content back into the worktree."""
    one, every = partial(Client.reject_change, reason=reason), partial(Client.reject_changes, reason=reason)
    _decide(context, ids, session, one, every, as_json)


@changes.command(name="revert")
@commands.command(name="revert")
def revert_changes(context: typer.Context, ids: list[str], reason: Reason = None, as_json: JsonFlag = False) -> None:
    """Take applied changes out again, of the checkout or of the branch."""
    _decide(context, ids, None, partial(Client.revert_change, reason=reason), None, as_json)


def show_decided(as_json: bool, decided: Sequence[Change]) -> None:
    """A line for each decided row; a row that is pending yet is one whose rejection waits."""
    if as_json:
        print_json(decided)
        return
    for change in decided:
        word = "queued" if change.status is ChangeStatus.PENDING else change.status
        part = " in part" if change.split_from else ""
        typer.echo(f"{word} {visible_line(change.file_path)}{part}")
    waiting = {each.decision_id: None for row in decided if row.status is ChangeStatus.PENDING for each in row.queued}
    if waiting:
        typer.echo(f"carried out when the turn ends; take back with `coder withdraw {list(waiting)[-1]}`", err=True)


def _decide(
    context: typer.Context,
    ids: Sequence[str] | None,
    session: str | None,
    decide: Callable[[Client, str], Awaitable[Change]],
    decide_all: Callable[[Client, str], Awaitable[Sequence[Change]]] | None,
    as_json: bool,
) -> None:
    if bool(ids) == bool(session):
        raise InvalidInput("give the ids of changes, or --session for everything that is pending in it")

    async def run(client: Client) -> Sequence[Change]:
        if session and decide_all:
            return await decide_all(client, session)
        return [await decide(client, id) for id in ids or ()]

    show_decided(as_json, call(context, run))


def _change_row(change: Change) -> Sequence[str]:
    return (change.id, change.status, change.agent, counts_text(change), change.file_path)
