"""How commands print what the host answered: a table or a line for people, JSON for programs."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import typer
from pydantic import BaseModel

from coder.terminal.text import table

Shown = TypeVar("Shown", bound=BaseModel)


def show(as_json: bool, items: Sequence[Shown], head: Sequence[str], row: Callable[[Shown], Sequence[str]]) -> None:
    """A table of the items, nothing where there is none; or a line of JSON each."""
    if as_json:
        print_json(items)
    elif items:
        typer.echo(table(head, [row(item) for item in items]))


def show_one(as_json: bool, item: BaseModel, text: str) -> None:
    """The text, or the item as a line of JSON."""
    typer.echo(item.model_dump_json() if as_json else text)


def print_json(items: Sequence[BaseModel]) -> None:
    """A line of JSON for each."""
    for item in items:
        typer.echo(item.model_dump_json())
