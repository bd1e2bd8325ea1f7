"""The first exchange: who we are, which version of the protocol is spoken, what the agent can, how it signs in.

The host offers the newest version that it speaks and its entry in the catalogue allows; the agent answers with that
or an older one. Version 1 ignores what version 2 calls `info` and `capabilities`, so one message says both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from coder import __version__
from coder.backends.wire import Fields, fields, objects, text, whole
from coder.errors import AgentProtocolError
from coder.model.providers import AuthMethod, Provider
from coder.model.values import Json

Protocol = Literal[1, 2]


@dataclass(frozen=True)
class Introduction:
    """What an agent says of itself in its answer to `initialize`."""

    protocol: Protocol = 1
    name: str | None = None
    version: str | None = None
    can_load: bool = False
    can_resume: bool = False
    can_close: bool = False
    accepts_images: bool = False
    accepts_audio: bool = False
    accepts_resources: bool = False
    can_steer: bool = False
    """Whether input can join a running turn by `_session/steering`."""
    auth: tuple[AuthMethod, ...] = ()


def initialize_params(provider: Provider, protocol: int) -> Fields:
    """Offers of files and terminals are the catalogue's choice: some agents fail when they are made."""
    ourselves: dict[str, Json] = {"name": "coder", "title": "coder", "version": __version__}
    newer: dict[str, Json] = {"info": ourselves, "capabilities": {"auth": {"terminal": {}}}}
    return {
        "protocolVersion": protocol,
        **(newer if protocol == 2 else {}),
        "clientCapabilities": {
            "fs": {"readTextFile": provider.offer_fs, "writeTextFile": provider.offer_fs},
            "terminal": provider.offer_terminal,
            "session": {"configOptions": {"boolean": {}}},
            "auth": {"terminal": True},
        },
        "clientInfo": ourselves,
    }


def read_introduction(result: Fields, command: tuple[str, ...]) -> Introduction:
    """What the agent can; `command` is what a login in a terminal is built from.

    Raises:
        AgentProtocolError: it speaks another version of the protocol.
    """
    version = _version(result.get("protocolVersion"))
    if "agentCapabilities" in result and "capabilities" not in result:
        # one agent repeats whatever number it is offered
        version = 1
    return _READERS[version](result, command)


def _read_first(result: Fields, command: tuple[str, ...]) -> Introduction:
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
        can_steer=_can_steer(result),
        auth=_auth_methods(result, "id", command),
    )


def _read_second(result: Fields, command: tuple[str, ...]) -> Introduction:
    info = fields(result.get("info"))
    prompts = fields(fields(fields(result.get("capabilities")).get("session")).get("prompt"))
    return Introduction(
        protocol=2,
        name=text(info.get("title")) or text(info.get("name")),
        version=text(info.get("version")),
        # every agent of version 2 can resume, with a replay or without, and close
        can_load=True,
        can_resume=True,
        can_close=True,
        accepts_images=_is_offered(prompts.get("image")),
        accepts_audio=_is_offered(prompts.get("audio")),
        accepts_resources=_is_offered(prompts.get("embeddedContext")),
        can_steer=_can_steer(result),
        auth=_auth_methods(result, "methodId", command),
    )


_READERS: dict[Protocol, Callable[[Fields, tuple[str, ...]], Introduction]] = {1: _read_first, 2: _read_second}


def _version(answer: Json) -> Protocol:
    if answer is None:
        # agents that say nothing are older than the field
        return 1
    match int(answer) if isinstance(answer, str) and answer.isdigit() else whole(answer):
        case 1:
            return 1
        case 2:
            return 2
        case _:
            words = f"the agent speaks protocol version {answer}, this host speaks 1 and 2"
            raise AgentProtocolError(words, version=answer)


def _can_steer(result: Fields) -> bool:
    return fields(fields(result.get("_meta")).get("steering")).get("supported") is True


def _is_offered(marker: Json) -> bool:
    return marker is True or isinstance(marker, dict)


def _auth_methods(result: Fields, key: str, command: tuple[str, ...]) -> tuple[AuthMethod, ...]:
    listed = objects(result.get("authMethods"))
    return tuple(_auth_method(item, id, command) for item in listed if (id := text(item.get(key))))


def _auth_method(item: Fields, id: str, command: tuple[str, ...]) -> AuthMethod:
    # one agent keeps the type and arguments of the standard in its `_meta`
    described = item if item.get("type") else fields(item.get("_meta"))
    args = described.get("args")
    login = (*command, *(arg for arg in args if isinstance(arg, str))) if isinstance(args, list) else command
    return AuthMethod(
        id=id,
        name=text(item.get("name")) or id,
        description=text(item.get("description")),
        command=login if described.get("type") == "terminal" else None,
    )
