"""A server that the sessions of a project share, as the catalogue says, through the whole host."""

import sys
from pathlib import Path

import anyio
import pytest

from coder.model.tasks import TaskState
from coder.model.values import Json
from coder.protocol import ProviderPatch
from coder.testing.rooms import PATIENCE, Room, open_room

AGENT = "served"


@pytest.mark.scenario("opencode-backend: What a shared server kept goes with its project")
async def test_sessions_share_the_server_of_their_project_and_its_folders_go_with_it(
    tmp_path: Path, database_url: str
) -> None:
    async with open_room(tmp_path, database_url) as one:
        await _share(one)
        project = one.session.project_id
        two = Room(one.host, one.repository, await one.host.sessions.open(project, None, None))
        tasks = [await room.prompt("write a.txt x; say hello", AGENT) for room in (one, two)]
        rows = [await one.host.sessions.agent_sessions(room.session.id) for room in (one, two)]
        assert [task.state for task in tasks] == [TaskState.COMPLETED] * 2
        assert len({row.server_port for (row,) in rows}) == 1
        kept = tmp_path / "home" / "agents" / project
        assert (kept / AGENT / "data").is_dir()
        with anyio.fail_after(PATIENCE):
            for room in (one, two):
                await one.host.sessions.close(room.session.id, force=True)
            await one.host.projects.remove(project)
        assert not kept.exists()


async def _share(room: Room) -> None:
    override: dict[str, Json] = {
        "extends": "opencode",
        "label": "Served",
        "command": [sys.executable, "-m", "coder.testing.opencode_server"],
        "share_server": True,
    }
    await room.host.providers.patch(ProviderPatch(providers={AGENT: override}), merge_fields=False, may_write_code=True)
