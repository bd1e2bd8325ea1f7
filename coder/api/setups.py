"""Routes of setups: what a repository asks for in a new worktree, and the word of a person that it may."""

from coder.api.operations import Call, Nothing, command, read
from coder.host import Host
from coder.model.setups import Setup, TrustedSetup
from coder.protocol import SetupAction, TrustSetup


async def get_setup(host: Host, call: Call[Nothing, Nothing]) -> Setup:
    return await host.setups.get(call.path["id"])


async def act_on_setup(host: Host, call: Call[SetupAction, Nothing]) -> Setup:
    match call.body.action:
        case "run":
            return await host.setups.run(call.path["id"])
        case "skip":
            return await host.setups.skip(call.path["id"])


async def trust_setup(host: Host, call: Call[TrustSetup, Nothing]) -> TrustedSetup:
    return await host.setups.trust(call.path["id"], call.body.digest, call.by)


routes = [
    read(
        "/api/sessions/{id}/setup",
        get_setup,
        "The setup of a session's worktree: what it would run, whether it may, how it went",
        tag="setups",
        query=Nothing,
        answer=Setup,
    ),
    command(
        "POST",
        "/api/sessions/{id}/setup",
        act_on_setup,
        "Run the setup, also once more, or let prompts go without it",
        tag="setups",
        body=SetupAction,
        query=Nothing,
        answer=Setup,
        status=200,
    ),
    command(
        "POST",
        "/api/projects/{id}/trust",
        trust_setup,
        "Agree that the setup file of this digest may run commands in the project's worktrees",
        tag="setups",
        body=TrustSetup,
        query=Nothing,
        answer=TrustedSetup,
        status=200,
    ),
]
