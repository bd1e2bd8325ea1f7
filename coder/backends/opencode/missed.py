"""What an event stream may not have told of a conversation, fetched from the server."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from coder.backends.wire import Fields, fields, objects, text
from coder.model.values import Json

Get = Callable[[str], Awaitable[Json]]
"""Path -> the server's answer. Raises AgentError."""

_PAGE = 20


@dataclass(frozen=True)
class Missed:
    """How a conversation stands. `messages` are those since a prompt, its own and then its sub-agents'."""

    status: Fields
    messages: list[Fields]
    todos: list[Fields]
    asked: list[tuple[str, Fields]]
    """The requests that are open in the worktree, by the kind of their event."""


async def fetch_missed(get: Get, session: str, prompt: str) -> Missed:
    """How the conversation stands since the message `prompt`. An idle status is no older than the messages."""
    statuses = fields(await get("/session/status"))
    return Missed(
        status=fields(statuses.get(session)) or {"type": "idle"},
        messages=await _fetch_messages(get, session, prompt),
        todos=objects(await get(f"/session/{session}/todo")),
        asked=[
            (kind, asked)
            for kind, path in (("permission.asked", "/permission"), ("question.asked", "/question"))
            for asked in objects(await get(path))
        ],
    )


async def _fetch_messages(get: Get, session: str, prompt: str) -> list[Fields]:
    found: list[Fields] = []
    conversations = [session]
    for conversation in conversations:
        messages = await _fetch_since(get, conversation, prompt)
        found += messages
        conversations += [id for id in _sub_agents(messages) if id not in conversations]
    return found


async def _fetch_since(get: Get, session: str, prompt: str) -> list[Fields]:
    """The newest page, or as much more as it takes; ids of messages sort by age in all conversations."""
    limit, messages = _PAGE, list[Fields]()
    while len(messages) < limit:
        messages = sorted(objects(await get(f"/session/{session}/message?limit={limit}")), key=_id_of)
        if len(messages) < limit or _id_of(messages[0]) < prompt:
            break
        limit *= 4
    return [message for message in messages if _id_of(message) >= prompt]


def _sub_agents(messages: list[Fields]) -> list[str]:
    """The conversations that calls in these messages have begun."""
    states = (fields(part.get("state")) for message in messages for part in objects(message.get("parts")))
    return [id for state in states if (id := text(fields(state.get("metadata")).get("sessionId")))]


def _id_of(message: Fields) -> str:
    return text(fields(message.get("info")).get("id")) or ""
