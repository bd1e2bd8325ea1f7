"""The probe cache: what was found out about agents, kept between starts."""

from asyncpg import Connection

from coder.model.providers import AvailableAgent
from coder.store.rows import found
from coder.store.statements import sql


async def all_agents(c: Connection) -> tuple[AvailableAgent, ...]:
    """Everything that is known."""
    return tuple(AvailableAgent.model_validate(dict(row)) for row in await c.fetch(sql("all_available_agents")))


async def upsert(c: Connection, agent: AvailableAgent) -> AvailableAgent:
    """Keep what a probe found."""
    row = await c.fetchrow(
        sql("upsert_available_agent"),
        agent.id,
        agent.install_path,
        agent.version,
        None if agent.probe is None else agent.probe.model_dump(mode="json"),
        agent.probed_at,
    )
    return AvailableAgent.model_validate(dict(found(row, "available agent", agent.id)))


async def delete(c: Connection, id: str) -> None:
    """Forget one, if it is there."""
    await c.execute(sql("delete_available_agent"), id)
