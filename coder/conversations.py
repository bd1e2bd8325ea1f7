"""Conversations: what agents remember, brought back with the files of a checkpoint."""

from collections.abc import Awaitable, Callable, Mapping

from asyncpg import Connection

from coder.model.checkpoints import ConversationPoint
from coder.store import agent_sessions, checkpoints
from coder.store.checkpoints import Since

CloseAgent = Callable[[str, str], Awaitable[None]]
"""Ends the agent of a session, where it runs; raises Conflict where it works."""


class Conversations:
    """Nothing is lost by going back: the agent takes up a copy, or an earlier conversation that it still has."""

    def __init__(self, close_agent: CloseAgent) -> None:
        self._close_agent = close_agent

    async def to_rewind(self, c: Connection, checkpoint_id: str) -> Mapping[str, ConversationPoint]:
        """The agents whose conversation a restore brings back, each with the point it had come to."""
        found = {since.agent: _point(since) for since in await checkpoints.conversations_since(c, checkpoint_id)}
        return {agent: point for agent, point in found.items() if point is not None}

    async def rewind(self, c: Connection, session_id: str, points: Mapping[str, ConversationPoint]) -> None:
        """Have each agent take up its point when it is opened next; `close` has it opened anew."""
        for agent, point in points.items():
            await agent_sessions.set_rewind(c, session_id, agent, point)

    async def close(self, session_id: str, points: Mapping[str, ConversationPoint]) -> None:
        """End the agents that still remember what came after."""
        for agent in points:
            await self._close_agent(session_id, agent)


def _point(since: Since) -> ConversationPoint | None:
    """Where the conversation goes back to; None where it is there, or the agent cannot go there."""
    point = since.past or ConversationPoint()
    if since.past is None and not since.was_prompted:
        return None
    if since.past is not None and point.before is None and since.was_prompted:
        if since.message_id is None:
            return None
        point = point.model_copy(update={"before": since.message_id})
    is_there = (point.agent_session_id, point.before) == (since.present.agent_session_id, since.present.before)
    return None if is_there or not since.can_resume else point
