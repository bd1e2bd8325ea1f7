"""Routes of a worktree's files: find by name, read."""

from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from coder.api.bodies import parse_query
from coder.api.context import host_of
from coder.api.operations import Call, Nothing, raw, read
from coder.host import Host
from coder.model.files import Folder, FoundFile
from coder.model.values import Input
from coder.protocol import Page


class FilesQuery(Input):
    query: Annotated[str, Field(max_length=500)] = ""
    limit: Annotated[int, Field(ge=1, le=500)] = 50


class FileQuery(Input):
    path: Annotated[str, Field(max_length=4096)] = ""


async def find_files(host: Host, call: Call[Nothing, FilesQuery]) -> Page[FoundFile]:
    return await host.files.find(call.path["id"], call.query.query, call.query.limit)


async def list_folder(host: Host, call: Call[Nothing, FileQuery]) -> Folder:
    return await host.files.folder(call.path["id"], call.query.path)


async def read_file(request: Request) -> Response:
    path = parse_query(FileQuery, request.scope["query_string"]).path
    return PlainTextResponse(await host_of(request).files.read(request.path_params["id"], path))


routes = [
    read(
        "/api/sessions/{id}/files",
        find_files,
        "Files of the worktree by letters of their names, the best first; ignored ones and `.git` are left out",
        tag="files",
        query=FilesQuery,
        answer=Page[FoundFile],
    ),
    read(
        "/api/sessions/{id}/folder",
        list_folder,
        "What is directly in one folder of the worktree; ignored files and `.git` are left out",
        tag="files",
        query=FileQuery,
        answer=Folder,
    ),
    raw(
        "GET",
        "/api/sessions/{id}/file",
        read_file,
        "The text of one file of the worktree",
        tag="files",
        query=FileQuery,
        media_types=("text/plain",),
    ),
]
