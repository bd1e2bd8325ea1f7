"""What the pool keeps warm and what it lets go, with real agents."""

from pathlib import Path

import pytest

from coder.model.events import AgentStatusChanged
from coder.testing.rooms import Room, open_room


async def beside(room: Room) -> Room:
    """One more session of the same project."""
    session = await room.host.sessions.open(room.session.project_id, None, None)
    return Room(room.host, room.repository, session)


async def cooled(room: Room) -> None:
    """Wait until the session's agent is cold."""
    await room.seen(lambda record: isinstance(record.event, AgentStatusChanged) and record.event.status == "cold")


@pytest.mark.scenario("pool: idle agents rest when all together hold too much memory")
async def test_idle_agents_over_the_memory_budget_rest_and_a_turn_is_left_alone(
    tmp_path: Path, database_url: str
) -> None:
    async with open_room(tmp_path, database_url, pool_memory_budget_mb=1) as room:
        pool, busy = room.host.pool, await beside(room)
        await room.prompt("counter")
        task = await busy.submit("say begun; sleep 60000")
        await busy.seen(lambda record: record.event.type == "text" and record.task_id == task.id)
        assert pool.share("demo").resident_bytes is None
        await pool.sweep()
        await cooled(room)
        share = pool.share("demo")
        assert (share.warm, share.leased) == (1, 1)
        assert share.resident_bytes is not None
        assert share.resident_bytes == pool.totals().resident_bytes > pool.totals().memory_budget_bytes == 2**20
        assert pool.tally.evicted == {"memory": 1}
        assert not pool.has_room_ahead("demo")
        await room.host.dispatcher.cancel(task.id)
        await busy.ended(task)
        assert "2" in await room.text_of(await room.prompt("counter"))


@pytest.mark.scenario("pool: agents of spare sessions are the first to go")
async def test_a_spare_s_agent_makes_room_before_older_ones_until_somebody_has_its_session(
    tmp_path: Path, database_url: str
) -> None:
    async with open_room(tmp_path, database_url, pool_max_live=2) as room:
        host, third = room.host, await beside(room)
        await host.dispatcher.warm(room.session.id, "demo")
        spare = await host.sessions.open_spare(room.session.project_id)
        host.pool.set_aside(spare.id)
        await host.dispatcher.warm(spare.id, "demo")
        await third.prompt("counter")
        await cooled(Room(host, room.repository, spare))
        assert host.pool.is_warm(room.session.id, "demo")

        await host.dispatcher.warm(spare.id, "demo")
        await cooled(room)
        opened = await beside(room)
        assert opened.session.id == spare.id
        await host.dispatcher.warm(room.session.id, "demo")
        await cooled(third)
        assert host.pool.is_warm(opened.session.id, "demo")
