"""Routes of drafts: what is written in a session and not sent yet."""

from coder.api.operations import Call, Nothing, command, read
from coder.host import Host
from coder.model.drafts import Draft
from coder.protocol import DraftPatch


async def get_draft(host: Host, call: Call[Nothing, Nothing]) -> Draft:
    return await host.drafts.get(call.path["id"])


async def write_draft(host: Host, call: Call[DraftPatch, Nothing]) -> Draft:
    return await host.drafts.write(call.path["id"], call.body.text)


routes = [
    read(
        "/api/sessions/{id}/draft",
        get_draft,
        "What is written in a session and not sent yet",
        tag="drafts",
        query=Nothing,
        answer=Draft,
    ),
    command(
        "PATCH",
        "/api/sessions/{id}/draft",
        write_draft,
        "Keep what is written and not sent; an empty text is none",
        tag="drafts",
        body=DraftPatch,
        query=Nothing,
        answer=Draft,
        status=200,
    ),
]
