"""Routes of git out: the session's branch, commits on it, the default branch brought in, patches."""

from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from coder.api.bodies import parse_query
from coder.api.context import host_of
from coder.api.operations import Call, Nothing, command, raw, read
from coder.host import Host
from coder.model.branches import BranchCommit, BranchStatus, BranchUpdate
from coder.model.changes import ChangeStatus
from coder.model.values import Input
from coder.protocol import BranchIncoming, NewCommit

PATCH_TYPE = "text/x-patch"


class PatchQuery(Input):
    changes: Literal["applied", "pending", "all"] = "all"


async def get_branch(host: Host, call: Call[Nothing, Nothing]) -> BranchStatus:
    return await host.branches.status(call.path["id"])


async def commit(host: Host, call: Call[NewCommit, Nothing]) -> BranchCommit:
    return await host.branches.commit(call.path["id"], call.body.message, call.body.changes, call.by, call.body.reason)


async def update_branch(host: Host, call: Call[BranchIncoming, Nothing]) -> BranchUpdate:
    return await host.branches.update(call.path["id"], call.body, call.by)


async def get_patch(request: Request) -> Response:
    what = parse_query(PatchQuery, request.scope["query_string"]).changes
    wanted = None if what == "all" else ChangeStatus(what)
    return Response(await host_of(request).branches.patch(request.path_params["id"], wanted), media_type=PATCH_TYPE)


routes = [
    read(
        "/api/sessions/{id}/branch",
        get_branch,
        "Where the session's branch stands beside the project's default branch",
        tag="branches",
        query=Nothing,
        answer=BranchStatus,
    ),
    command(
        "POST",
        "/api/sessions/{id}/commit",
        commit,
        "Commit what was applied, or all that the worktree holds, on the session's branch",
        tag="branches",
        body=NewCommit,
        query=Nothing,
        answer=BranchCommit,
        status=201,
    ),
    command(
        "POST",
        "/api/sessions/{id}/branch/update",
        update_branch,
        "Bring the project's default branch into the session; a conflict writes nothing, or is left to an agent",
        tag="branches",
        body=BranchIncoming,
        query=Nothing,
        answer=BranchUpdate,
        status=200,
    ),
    raw(
        "GET",
        "/api/sessions/{id}/patch",
        get_patch,
        "The session's changes as a patch for `git apply`",
        tag="branches",
        query=PatchQuery,
        media_types=(PATCH_TYPE,),
    ),
]
