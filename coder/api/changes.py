"""Routes of pending changes: look, apply, reject, revert."""

from collections.abc import Awaitable, Callable

from coder.api.operations import Call, Nothing, Operation, command, read
from coder.api.queries import PageQuery
from coder.errors import InvalidInput
from coder.host import Host
from coder.model.changes import Change, ChangeDetail, ChangeStatus
from coder.protocol import ChangeDecision, Page


class ChangesQuery(PageQuery):
    status: ChangeStatus | None = None


async def list_changes(host: Host, call: Call[Nothing, ChangesQuery]) -> Page[Change]:
    return await host.changes.list(call.path["id"], call.query.status, call.query.cursor, call.query.limit)


async def get_change(host: Host, call: Call[Nothing, Nothing]) -> ChangeDetail:
    return await host.changes.get(call.path["id"])


async def apply_change(host: Host, call: Call[ChangeDecision, Nothing]) -> Change:
    _refuse_hunks(call.body)
    return (await host.changes.apply([call.path["id"]], call.by, call.body.reason))[0]


async def reject_change(host: Host, call: Call[ChangeDecision, Nothing]) -> Change:
    _refuse_hunks(call.body)
    return (await host.changes.reject([call.path["id"]], call.by, call.body.reason))[0]


async def revert_change(host: Host, call: Call[ChangeDecision, Nothing]) -> Change:
    _refuse_hunks(call.body)
    return (await host.changes.revert([call.path["id"]], call.by, call.body.reason))[0]


async def apply_changes(host: Host, call: Call[ChangeDecision, Nothing]) -> Page[Change]:
    _refuse_hunks(call.body)
    return Page(items=await host.changes.apply_all(call.path["id"], call.by, call.body.reason))


async def reject_changes(host: Host, call: Call[ChangeDecision, Nothing]) -> Page[Change]:
    _refuse_hunks(call.body)
    return Page(items=await host.changes.reject_all(call.path["id"], call.by, call.body.reason))


def _refuse_hunks(decision: ChangeDecision) -> None:
    if decision.hunks:
        raise InvalidInput("single hunks cannot be decided yet; decide the whole change", code="hunks_not_supported")


def _decide_one(
    word: str, run: Callable[[Host, Call[ChangeDecision, Nothing]], Awaitable[Change]], does: str
) -> Operation:
    path = f"/api/changes/{{id}}/{word}"
    return command(
        "POST", path, run, does, tag="changes", body=ChangeDecision, query=Nothing, answer=Change, status=200
    )


def _decide_all(
    word: str, run: Callable[[Host, Call[ChangeDecision, Nothing]], Awaitable[Page[Change]]], does: str
) -> Operation:
    path = f"/api/sessions/{{id}}/changes/{word}"
    return command(
        "POST", path, run, does, tag="changes", body=ChangeDecision, query=Nothing, answer=Page[Change], status=200
    )


routes = [
    read(
        "/api/sessions/{id}/changes",
        list_changes,
        "The changes of a session",
        tag="changes",
        query=ChangesQuery,
        answer=Page[Change],
    ),
    _decide_all("apply", apply_changes, "Apply whatever is pending in a session"),
    _decide_all("reject", reject_changes, "Reject whatever is pending in a session"),
    read(
        "/api/changes/{id}", get_change, "One change with its diff", tag="changes", query=Nothing, answer=ChangeDetail
    ),
    _decide_one("apply", apply_change, "Write the change into the project's checkout; a conflict writes nothing"),
    _decide_one("reject", reject_change, "Put the base content back into the worktree"),
    _decide_one("revert", revert_change, "Take an applied change out of the checkout again"),
]
