"""Routes of permission requests: an agent asks, a person answers."""

from coder.api.operations import Call, Nothing, command, read
from coder.api.queries import PageQuery, SomeId
from coder.host import Host
from coder.model.permissions import PermissionRequest, PermissionStatus
from coder.protocol import Page, PermissionAnswer


class PermissionsQuery(PageQuery):
    session_id: SomeId | None = None
    status: PermissionStatus | None = None


async def list_permissions(host: Host, call: Call[Nothing, PermissionsQuery]) -> Page[PermissionRequest]:
    query = call.query
    return await host.permissions.list(query.session_id, query.status, query.cursor, query.limit)


async def get_permission(host: Host, call: Call[Nothing, Nothing]) -> PermissionRequest:
    return await host.permissions.get(call.path["id"])


async def answer_permission(host: Host, call: Call[PermissionAnswer, Nothing]) -> PermissionRequest:
    return await host.permissions.answer(call.path["id"], call.body.option_id, call.by)


routes = [
    read(
        "/api/permissions",
        list_permissions,
        "List permission requests",
        tag="permissions",
        query=PermissionsQuery,
        answer=Page[PermissionRequest],
    ),
    read(
        "/api/permissions/{id}",
        get_permission,
        "One permission request",
        tag="permissions",
        query=Nothing,
        answer=PermissionRequest,
    ),
    command(
        "POST",
        "/api/permissions/{id}",
        answer_permission,
        "Answer with one of the request's own options; a second answer is refused",
        tag="permissions",
        body=PermissionAnswer,
        query=Nothing,
        answer=PermissionRequest,
        status=200,
    ),
]
