"""Routes of pending changes: look, apply, reject, revert."""

from typing import Annotated

from pydantic import Field

from coder.api.operations import Call, Nothing, command, read
from coder.api.queries import PageQuery
from coder.host import Host
from coder.model.changes import Change, ChangeDetail, ChangeLines, ChangeStatus, HunkChoice
from coder.model.comments import Side
from coder.model.decisions import Pick
from coder.model.values import Input
from coder.protocol import (
    ApplyChange,
    ApplyChanges,
    Chosen,
    Hunks,
    Page,
    RejectChange,
    RejectChanges,
    RevertChange,
)

LINES_AT_ONCE = 5000


class ChangesQuery(PageQuery):
    status: ChangeStatus | None = None


class LinesQuery(Input):
    side: Side = "new"
    first: Annotated[int, Field(ge=1, le=10**9)] = 1
    count: Annotated[int, Field(ge=1, le=LINES_AT_ONCE)] = 20


async def list_changes(host: Host, call: Call[Nothing, ChangesQuery]) -> Page[Change]:
    return await host.changes.list(call.path["id"], call.query.status, call.query.cursor, call.query.limit)


async def get_change(host: Host, call: Call[Nothing, Nothing]) -> ChangeDetail:
    return await host.changes.get(call.path["id"])


async def get_lines(host: Host, call: Call[Nothing, LinesQuery]) -> ChangeLines:
    query = call.query
    return await host.changes.lines(call.path["id"], query.side, query.first, query.count)


async def apply_change(host: Host, call: Call[ApplyChange, Nothing]) -> Change:
    pick = _pick(call.path["id"], call.body.hunks)
    body = call.body
    return (await host.decisions.apply([pick], by=call.by, reason=body.reason, target=body.target))[0]


async def reject_change(host: Host, call: Call[RejectChange, Nothing]) -> Change:
    pick = _pick(call.path["id"], call.body.hunks)
    return (await host.decisions.reject([pick], by=call.by, reason=call.body.reason))[0]


async def revert_change(host: Host, call: Call[RevertChange, Nothing]) -> Change:
    return (await host.decisions.revert([call.path["id"]], by=call.by, reason=call.body.reason))[0]


async def apply_changes(host: Host, call: Call[ApplyChanges, Nothing]) -> Page[Change]:
    picks, body = await _picks(host, call.path["id"], call.body.changes), call.body
    if not picks:
        return Page(items=())
    return Page(items=await host.decisions.apply(picks, by=call.by, reason=body.reason, target=body.target))


async def reject_changes(host: Host, call: Call[RejectChanges, Nothing]) -> Page[Change]:
    picks = await _picks(host, call.path["id"], call.body.changes)
    if not picks:
        return Page(items=())
    return Page(items=await host.decisions.reject(picks, by=call.by, reason=call.body.reason))


async def _picks(host: Host, session_id: str, chosen: Chosen | None) -> list[Pick]:
    if chosen is None:
        return await host.decisions.pending_picks(session_id)
    picks = [_pick(each.id, each.hunks) for each in chosen]
    await host.decisions.require_own(session_id, picks)
    return picks


def _pick(id: str, hunks: Hunks | None) -> Pick:
    if hunks is None:
        return Pick(change_id=id)
    choices = [
        HunkChoice(id=each) if isinstance(each, str) else HunkChoice(id=each.id, lines=each.lines) for each in hunks
    ]
    return Pick(change_id=id, hunks=tuple(choices))


def _one(word: str) -> str:
    return f"/api/changes/{{id}}/{word}"


def _all(word: str) -> str:
    return f"/api/sessions/{{id}}/changes/{word}"


routes = [
    read(
        "/api/sessions/{id}/changes",
        list_changes,
        "The changes of a session",
        tag="changes",
        query=ChangesQuery,
        answer=Page[Change],
    ),
    command(
        "POST",
        _all("apply"),
        apply_changes,
        "Apply what is pending in a session, or the chosen part of it; all or nothing",
        tag="changes",
        body=ApplyChanges,
        query=Nothing,
        answer=Page[Change],
        status=200,
    ),
    command(
        "POST",
        _all("reject"),
        reject_changes,
        "Reject what is pending in a session, or the chosen part of it; all or nothing",
        tag="changes",
        body=RejectChanges,
        query=Nothing,
        answer=Page[Change],
        status=200,
    ),
    read(
        "/api/changes/{id}", get_change, "One change with its diff", tag="changes", query=Nothing, answer=ChangeDetail
    ),
    read(
        _one("lines"),
        get_lines,
        "Lines of one side of a change, also those between its hunks",
        tag="changes",
        query=LinesQuery,
        answer=ChangeLines,
    ),
    command(
        "POST",
        _one("apply"),
        apply_change,
        "Write the change, or some hunks or lines of it, into the checkout or the branch; a conflict writes nothing",
        tag="changes",
        body=ApplyChange,
        query=Nothing,
        answer=Change,
        status=200,
    ),
    command(
        "POST",
        _one("reject"),
        reject_change,
        "Put the base content of the change, or of some hunks or lines of it, back into the worktree",
        tag="changes",
        body=RejectChange,
        query=Nothing,
        answer=Change,
        status=200,
    ),
    command(
        "POST",
        _one("revert"),
        revert_change,
        "Take an applied change out again",
        tag="changes",
        body=RevertChange,
        query=Nothing,
        answer=Change,
        status=200,
    ),
]
