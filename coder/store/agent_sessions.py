"""The durable row per (session, agent)."""

from asyncpg import Connection, ForeignKeyViolationError, Record

from coder.errors import NotFound
from coder.model.checkpoints import ConversationPoint
from coder.model.sessions import AGENT_SESSION_TRANSITIONS, AgentSession, AgentSessionStatus
from coder.model.values import Json
from coder.store.rows import found, wrong_state
from coder.store.statements import sql


async def upsert(
    c: Connection, agent_session: AgentSession, *, rewind: ConversationPoint | None = None
) -> AgentSession:
    """Record it as it was just opened, at that rewind; NotFound where the session is gone."""
    try:
        row = await c.fetchrow(
            sql("upsert_agent_session"),
            agent_session.session_id,
            agent_session.agent,
            agent_session.backend,
            agent_session.agent_session_id,
            agent_session.server_port,
            str(agent_session.status),
            agent_session.can_steer,
            agent_session.can_resume,
            agent_session.last_active_at,
            _point_row(rewind),
            agent_session.sandbox,
        )
    except ForeignKeyViolationError as error:
        id = agent_session.session_id
        raise NotFound(f"no such session: {id}", noun="session", id=id) from error
    return _read(found(row, "agent session", agent_session.agent))


async def find(c: Connection, session_id: str, agent: str) -> AgentSession | None:
    """The row, if this agent ever took a turn in the session."""
    row = await c.fetchrow(sql("get_agent_session"), session_id, agent)
    return _read(row) if row else None


async def get(c: Connection, session_id: str, agent: str) -> AgentSession:
    """The row; NotFound."""
    return _read(found(await c.fetchrow(sql("get_agent_session"), session_id, agent), "agent session", agent))


async def list_by_session(c: Connection, session_id: str) -> tuple[AgentSession, ...]:
    """Every agent that ever took a turn in a session, in the order they came."""
    return tuple(_read(row) for row in await c.fetch(sql("list_agent_sessions"), session_id))


async def set_status(c: Connection, session_id: str, agent: str, status: AgentSessionStatus) -> AgentSession:
    """Move to a status; being there already is fine and counts as activity.

    Raises:
        NotFound. WrongState: no transition leads there.
    """
    sources = [source for source, targets in AGENT_SESSION_TRANSITIONS.items() if status in targets or source == status]
    row = await c.fetchrow(
        sql("move_agent_session"), session_id, agent, [str(source) for source in sources], str(status)
    )
    if row is None:
        present = await get(c, session_id, agent)
        raise wrong_state("agent session", agent, present.status, sources)
    return _read(row)


async def remember_choices(
    c: Connection, session_id: str, agent: str, *, model: str | None, mode_id: str | None, thinking: str | None
) -> None:
    """Keep what was chosen last for the prompts to come; None leaves what was remembered."""
    await c.execute(sql("remember_choices"), session_id, agent, model, mode_id, thinking)


async def reset_after_crash(c: Connection) -> tuple[AgentSession, ...]:
    """At boot: what a dead host left active has crashed, what it left idle is closed. Returns the rows that moved."""
    return tuple(_read(row) for row in await c.fetch(sql("reset_agent_sessions")))


async def rewind_of(c: Connection, session_id: str, agent: str) -> ConversationPoint | None:
    """The point of a conversation that the next opening takes up instead of the newest one, where one was chosen."""
    row = await c.fetchval(sql("rewind_of"), session_id, agent)
    return ConversationPoint.model_validate(row) if row is not None else None


async def set_rewind(c: Connection, session_id: str, agent: str, point: ConversationPoint) -> None:
    """Have the next opening take up this point. What the agent heard after it is told again."""
    told = point.told if point.agent_session_id is not None else None
    await c.execute(sql("set_rewind"), session_id, agent, _point_row(point), told)


async def set_told(c: Connection, session_id: str, agent: str, ordinal: int) -> None:
    """The agent has heard of everything up to this decision."""
    await c.execute(sql("set_told"), session_id, agent, ordinal)


def _point_row(point: ConversationPoint | None) -> Json:
    return None if point is None else point.model_dump(exclude={"told"})


def _read(row: Record) -> AgentSession:
    return AgentSession.model_validate(dict(row))
