"""The first exchange: who we are, what the agent is and can, how it signs in."""

from dataclasses import dataclass

from coder import __version__
from coder.backends.acp.wire import Fields, fields, objects, text, whole
from coder.errors import AgentProtocolError
from coder.model.providers import AuthMethod, Provider
from coder.model.values import Json

PROTOCOL_VERSION = 1


@dataclass(frozen=True)
class Introduction:
    """What an agent says of itself in its answer to `initialize`."""

    name: str | None = None
    version: str | None = None
    can_load: bool = False
    can_resume: bool = False
    can_close: bool = False
    accepts_images: bool = False
    accepts_audio: bool = False
    accepts_resources: bool = False
    auth: tuple[AuthMethod, ...] = ()


def initialize_params(provider: Provider) -> Fields:
    """Offers of files and terminals are the catalogue's choice: some agents fail when they are made."""
    return {
        "protocolVersion": PROTOCOL_VERSION,
        "clientCapabilities": {
            "fs": {"readTextFile": provider.offer_fs, "writeTextFile": provider.offer_fs},
            "terminal": provider.offer_terminal,
            "session": {"configOptions": {"boolean": {}}},
            "auth": {"terminal": True},
        },
        "clientInfo": {"name": "coder", "title": "coder", "version": __version__},
    }


def read_introduction(result: Fields, command: tuple[str, ...]) -> Introduction:
    """What the agent can; `command` is what a login in a terminal is built from.

    Raises:
        AgentProtocolError: it speaks another version of the protocol.
    """
    _check_version(result.get("protocolVersion"))
    info = fields(result.get("agentInfo"))
    can = fields(result.get("agentCapabilities"))
    prompts, sessions = fields(can.get("promptCapabilities")), fields(can.get("sessionCapabilities"))
    return Introduction(
        name=text(info.get("title")) or text(info.get("name")),
        version=text(info.get("version")),
        can_load=can.get("loadSession") is True,
        can_resume=_is_offered(sessions.get("resume")),
        can_close=_is_offered(sessions.get("close")),
        accepts_images=prompts.get("image") is True,
        accepts_audio=prompts.get("audio") is True,
        accepts_resources=prompts.get("embeddedContext") is True,
        auth=tuple(_auth_method(item, command) for item in objects(result.get("authMethods")) if text(item.get("id"))),
    )


def _check_version(answer: Json) -> None:
    # agents that say nothing are older than the field
    version = int(answer) if isinstance(answer, str) and answer.isdigit() else whole(answer)
    if answer is not None and version != PROTOCOL_VERSION:
        raise AgentProtocolError(
            f"the agent speaks protocol version {answer}, this host speaks {PROTOCOL_VERSION}", version=answer
        )


def _is_offered(marker: Json) -> bool:
    return marker is True or isinstance(marker, dict)


def _auth_method(item: Fields, command: tuple[str, ...]) -> AuthMethod:
    # one agent keeps the type and arguments of the standard in its `_meta`
    described = item if item.get("type") else fields(item.get("_meta"))
    args = described.get("args")
    login = (*command, *(arg for arg in args if isinstance(arg, str))) if isinstance(args, list) else command
    id = text(item.get("id")) or ""
    return AuthMethod(
        id=id,
        name=text(item.get("name")) or id,
        description=text(item.get("description")),
        command=login if described.get("type") == "terminal" else None,
    )
