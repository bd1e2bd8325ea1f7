"""Commands about the ledger of decisions."""

from collections.abc import Mapping
from typing import Annotated

import typer

from coder.client import Client
from coder.commands.calls import all_pages, call
from coder.commands.reach import JsonFlag, group
from coder.commands.shown import print_json, show_one
from coder.model.changes import Change
from coder.model.decisions import Decision, DecisionState, Pick
from coder.terminal.text import moment, table

_SHOWN_FILES = 3

commands = group()


@commands.command(name="decisions")
def list_decisions(
    context: typer.Context,
    session: str,
    state: Annotated[DecisionState | None, typer.Option(help="Only those that are so far.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """What people decided in a session, newest first."""

    async def run(client: Client) -> None:
        found = await client.decisions(session, state)
        if as_json:
            print_json(found)
        elif found:
            changes = await all_pages(lambda cursor: client.changes(session, cursor=cursor))
            known = {change.id: change for change in changes}
            rows = [_decision_row(each, known) for each in found]
            typer.echo(table(("ID", "WHEN", "STATE", "BY", "DECISION", "WHY"), rows))

    call(context, run)


@commands.command()
def withdraw(context: typer.Context, decision: str, as_json: JsonFlag = False) -> None:
    """Take back a decision that waits for the end of a turn."""
    withdrawn = call(context, lambda client: client.withdraw_decision(decision))
    show_one(as_json, withdrawn, f"{withdrawn.state} {withdrawn.id}")


def _decision_row(decision: Decision, known: Mapping[str, Change]) -> tuple[str, ...]:
    names = [_pick_text(decision, pick, known.get(pick.change_id)) for pick in decision.picks]
    more = [f"and {len(names) - _SHOWN_FILES} more"] if len(names) > _SHOWN_FILES else []
    what = [decision.verb, ", ".join([*names[:_SHOWN_FILES], *more]) or decision.checkpoint_id or ""]
    why = decision.error.message if decision.error else decision.reason or ""
    return (decision.id, moment(decision.created_at), decision.state, decision.by, " ".join(what), why)


def _pick_text(decision: Decision, pick: Pick, change: Change | None) -> str:
    """The file; in part where the decided part has become a row of its own."""
    if change is None:
        return pick.change_id
    is_part = pick.hunks is not None and change.decision_id != decision.id
    return change.file_path + (" in part" if is_part else "")
