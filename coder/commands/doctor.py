"""Looking for what the host needs."""

from functools import partial
from typing import Annotated

import anyio
import typer

from coder import doctor
from coder.commands.calls import call, settings_of
from coder.commands.reach import FAILED, JsonFlag, group
from coder.commands.shown import print_json
from coder.settings import inherited_environment
from coder.terminal.text import visible_line

commands = group()


@commands.command(name="doctor")
def examine(
    context: typer.Context,
    live: Annotated[
        bool, typer.Option("--live", help="Ask the running host how it is, and what nothing owns.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Say what is missing for the host to work, and how to get it."""
    settings = settings_of(context)
    if live:
        findings = call(context, partial(doctor.examine_live, settings))
    else:
        findings = anyio.run(doctor.examine, settings, inherited_environment())
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            typer.echo(f"{finding.state:<8}{finding.name:<18}{visible_line(finding.message)}")
            if finding.remedy and finding.state != "ok":
                typer.echo(f"{'':<26}-> {visible_line(finding.remedy)}")
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(FAILED)
