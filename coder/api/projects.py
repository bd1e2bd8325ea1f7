"""Routes of projects: registered repositories."""

from coder.api.operations import Call, Nothing, command, read
from coder.api.queries import PageQuery
from coder.host import Host
from coder.model.sessions import Project
from coder.protocol import NewProject, Page, ProjectPatch


async def list_projects(host: Host, call: Call[Nothing, PageQuery]) -> Page[Project]:
    return await host.projects.list(call.query.cursor, call.query.limit)


async def register_project(host: Host, call: Call[NewProject, Nothing]) -> Project:
    return await host.projects.register(call.body)


async def get_project(host: Host, call: Call[Nothing, Nothing]) -> Project:
    return await host.projects.get(call.path["id"])


async def rename_project(host: Host, call: Call[ProjectPatch, Nothing]) -> Project:
    return await host.projects.rename(call.path["id"], call.body.name)


async def remove_project(host: Host, call: Call[Nothing, Nothing]) -> None:
    await host.projects.remove(call.path["id"])


routes = [
    read(
        "/api/projects",
        list_projects,
        "List the registered repositories",
        tag="projects",
        query=PageQuery,
        answer=Page[Project],
    ),
    command(
        "POST",
        "/api/projects",
        register_project,
        "Register a repository",
        tag="projects",
        body=NewProject,
        query=Nothing,
        answer=Project,
        status=201,
    ),
    read("/api/projects/{id}", get_project, "One project", tag="projects", query=Nothing, answer=Project),
    command(
        "PATCH",
        "/api/projects/{id}",
        rename_project,
        "Rename a project",
        tag="projects",
        body=ProjectPatch,
        query=Nothing,
        answer=Project,
        status=200,
    ),
    command(
        "DELETE",
        "/api/projects/{id}",
        remove_project,
        "Forget a project; its repository is not touched",
        tag="projects",
        body=Nothing,
        query=Nothing,
        answer=type(None),
        status=204,
    ),
]
