"""Routes of decisions: the ledger of a session, and taking back what is only queued."""

from coder.api.operations import Call, Nothing, command, read
from coder.api.queries import PageQuery
from coder.host import Host
from coder.model.decisions import Decision, DecisionState
from coder.protocol import Page


class DecisionsQuery(PageQuery):
    state: DecisionState | None = None


async def list_decisions(host: Host, call: Call[Nothing, DecisionsQuery]) -> Page[Decision]:
    return await host.decisions.list(call.path["id"], call.query.state, call.query.cursor, call.query.limit)


async def withdraw_decision(host: Host, call: Call[Nothing, Nothing]) -> Decision:
    return await host.rejections.withdraw(call.path["id"], call.by)


routes = [
    read(
        "/api/sessions/{id}/decisions",
        list_decisions,
        "What people decided in a session, newest first",
        tag="changes",
        query=DecisionsQuery,
        answer=Page[Decision],
    ),
    command(
        "DELETE",
        "/api/decisions/{id}",
        withdraw_decision,
        "Withdraw a decision that waits for the end of a turn",
        tag="changes",
        body=Nothing,
        query=Nothing,
        answer=Decision,
        status=200,
    ),
]
