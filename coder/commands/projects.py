"""Commands about registered repositories."""

from pathlib import Path
from typing import Annotated

import typer

from coder.commands.calls import all_pages, call
from coder.commands.reach import JsonFlag, group
from coder.commands.shown import show, show_one

commands = group()
projects = group("Registered repositories.")
commands.add_typer(projects, name="projects")


@projects.command(name="list")
def list_projects(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Every registered repository."""
    found = call(context, lambda client: all_pages(client.projects))
    show(as_json, found, ("ID", "NAME", "PATH"), lambda project: (project.id, project.name, project.repo_path))


@projects.command(name="add")
def add_project(
    context: typer.Context, path: Path, name: Annotated[str | None, typer.Option()] = None, as_json: JsonFlag = False
) -> None:
    """Register the repository at a path."""
    project = call(context, lambda client: client.register_project(str(path.expanduser().absolute()), name))
    show_one(as_json, project, project.id)


@projects.command(name="rm")
def remove_project(context: typer.Context, id: str) -> None:
    """Forget a project; its repository is not touched."""
    call(context, lambda client: client.remove_project(id))
