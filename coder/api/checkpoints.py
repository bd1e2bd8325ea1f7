"""Routes of checkpoints: list, look at what a restore would change, restore."""

from coder.api.operations import Call, Nothing, command, read
from coder.api.queries import PageQuery
from coder.host import Host
from coder.model.checkpoints import Checkpoint, CheckpointDetail
from coder.protocol import Page, RestoreCheckpoint


async def list_checkpoints(host: Host, call: Call[Nothing, PageQuery]) -> Page[Checkpoint]:
    return await host.checkpoints.list(call.path["id"], call.query.cursor, call.query.limit)


async def get_checkpoint(host: Host, call: Call[Nothing, Nothing]) -> CheckpointDetail:
    return await host.checkpoints.get(call.path["id"])


async def restore_checkpoint(host: Host, call: Call[RestoreCheckpoint, Nothing]) -> Checkpoint:
    return await host.checkpoints.restore(call.path["id"], by=call.by, reason=call.body.reason)


routes = [
    read(
        "/api/sessions/{id}/checkpoints",
        list_checkpoints,
        "The points that a session's files can be brought back to, newest first",
        tag="changes",
        query=PageQuery,
        answer=Page[Checkpoint],
    ),
    read(
        "/api/checkpoints/{id}",
        get_checkpoint,
        "One checkpoint, with what a restore would change now",
        tag="changes",
        query=Nothing,
        answer=CheckpointDetail,
    ),
    command(
        "POST",
        "/api/checkpoints/{id}/restore",
        restore_checkpoint,
        "Bring the worktree's files back; answers the checkpoint of what was there",
        tag="changes",
        body=RestoreCheckpoint,
        query=Nothing,
        answer=Checkpoint,
        status=200,
    ),
]
