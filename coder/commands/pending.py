"""Commands about what is pending in a session: look at it, and decide by file, hunk or line."""

from collections.abc import Sequence
from typing import Annotated, Literal

import anyio
import typer

from coder.client import Client
from coder.commands.calls import all_pages, call
from coder.commands.changes import show_decided
from coder.commands.reach import JsonFlag, Reason, group
from coder.commands.shown import print_json
from coder.errors import InvalidInput, NotFound
from coder.model.changes import Change, ChangeDetail, ChangeStatus, Target
from coder.protocol import ChosenChange
from coder.terminal.choices import HunkQuestions, named_hunks
from coder.terminal.diffs import diff_text, stat_text
from coder.terminal.text import visible_line

_AHEAD = 8
"""So many changes are fetched at a time."""

Paths = Annotated[list[str] | None, typer.Argument(metavar="PATH", help="Files or folders; without, everything.")]
PatchFlag = Annotated[bool, typer.Option("--patch", "-p", help="Ask about each hunk.")]
HunkIds = Annotated[
    list[str] | None, typer.Option("--hunk", metavar="ID[:LINES]", help="Only this hunk; may be given again.")
]

commands = group()


@commands.command()
def diff(
    context: typer.Context,
    session: str,
    paths: Paths = None,
    stat: Annotated[bool, typer.Option("--stat", help="Only how much changed in which file.")] = False,
    hunks: Annotated[bool, typer.Option("--hunks", help="With hunk ids and numbered lines, for --hunk.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """What is pending in a session, as a unified diff."""

    async def run(client: Client) -> None:
        found = await _pending(client, session, paths)
        if stat and not as_json and found:
            typer.echo(stat_text(found))
        elif stat:
            print_json(found)
        else:
            for at in range(0, len(found), _AHEAD):
                for change in await _details(client, found[at : at + _AHEAD]):
                    typer.echo(change.model_dump_json() if as_json else diff_text(change, with_ids=hunks))

    call(context, run)


@commands.command()
def apply(
    context: typer.Context,
    session: str,
    paths: Paths = None,
    patch: PatchFlag = False,
    hunk: HunkIds = None,
    target: Annotated[Target, typer.Option(help="Where to: the project's checkout, or the branch.")] = "checkout",
    reason: Reason = None,
    as_json: JsonFlag = False,
) -> None:
    """Apply what is pending to the project's checkout or the session's branch, all or nothing."""
    chosen = _chosen(context, session, "apply", paths, patch, hunk)
    if chosen is None or chosen:
        decided = call(
            context, lambda client: client.apply_changes(session, changes=chosen, target=target, reason=reason)
        )
        show_decided(as_json, decided)


@commands.command()
def reject(
    context: typer.Context,
    session: str,
    paths: Paths = None,
    patch: PatchFlag = False,
    hunk: HunkIds = None,
    reason: Annotated[str | None, typer.Option(help="For the record, and told to the agent.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Take what is pending out of the worktree, all or nothing; while a turn runs, at its end."""
    chosen = _chosen(context, session, "reject", paths, patch, hunk)
    if chosen is None or chosen:
        decided = call(context, lambda client: client.reject_changes(session, changes=chosen, reason=reason))
        show_decided(as_json, decided)


def _chosen(
    context: typer.Context,
    session: str,
    verb: Literal["apply", "reject"],
    paths: Sequence[str] | None,
    patch: bool,
    hunks: Sequence[str] | None,
) -> list[ChosenChange] | None:
    """What is meant; None is everything."""
    if patch and hunks:
        raise InvalidInput("--patch and --hunk exclude each other")
    if not (paths or patch or hunks):
        return None
    if not (patch or hunks):
        return [ChosenChange(id=change.id) for change in call(context, lambda client: _pending(client, session, paths))]

    async def find(client: Client) -> list[ChangeDetail]:
        found = await _pending(client, session, paths)
        pieces = [await _details(client, found[at : at + _AHEAD]) for at in range(0, len(found), _AHEAD)]
        return [change for piece in pieces for change in piece]

    details = call(context, find)
    chosen = named_hunks(details, hunks) if hunks else HunkQuestions(verb).choose(details)
    if not chosen:
        typer.echo("nothing is chosen" if details else "nothing is pending", err=True)
    return chosen


async def _pending(client: Client, session: str, paths: Sequence[str] | None) -> list[Change]:
    """By name. Raises NotFound: nothing is pending at one of the paths."""
    found = await all_pages(lambda cursor: client.changes(session, ChangeStatus.PENDING, cursor=cursor))
    for path in paths or ():
        if not any(_is_at(change, path) for change in found):
            raise NotFound(f"nothing is pending at {visible_line(path)}")
    wanted = [change for change in found if not paths or any(_is_at(change, path) for path in paths)]
    return sorted(wanted, key=lambda change: change.file_path)


def _is_at(change: Change, path: str) -> bool:
    wanted = path.removeprefix("./").rstrip("/")
    return wanted in ("", ".") or any(name == wanted or name.startswith(f"{wanted}/") for name in change.paths)


async def _details(client: Client, changes: Sequence[Change]) -> list[ChangeDetail]:
    found: dict[str, ChangeDetail] = {}

    async def fetch(id: str) -> None:
        found[id] = await client.change(id)

    async with anyio.create_task_group() as fetching:
        for change in changes:
            fetching.start_soon(fetch, change.id)
    return [found[change.id] for change in changes]
