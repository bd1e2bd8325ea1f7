"""What every command shares: which host is meant, common options, exit codes. Imports nothing that costs time."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

FAILED, BAD_INPUT, CANCELLED, NO_HOST = 1, 2, 3, 4

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, one value a line.")]
Reason = Annotated[str | None, typer.Option(help="For the record.")]


@dataclass(frozen=True)
class Reach:
    """Which host is meant, as far as flags say."""

    home: Path | None
    url: str | None


def reach_of(context: typer.Context) -> Reach:
    """As the flags before the command said."""
    found: Any = context.obj
    assert isinstance(found, Reach)
    return found


def group(does: str | None = None) -> typer.Typer:
    """An empty group of commands."""
    return typer.Typer(help=does, no_args_is_help=True, add_completion=False, rich_markup_mode=None)
