"""Commands about the life of a host: a second one, backup, restore, reset."""

import os
from pathlib import Path

import pytest

from coder.testing.harness import open_live_host
from tests.api.test_cli import coder


@pytest.mark.scenario("life: A second host on a home")
async def test_a_second_host_on_a_home_is_refused_by_the_first_ones_process(tmp_path: Path, database_url: str) -> None:
    home = tmp_path / "home"
    async with open_live_host(home, database_url) as live, live.client() as client:
        nowhere = "postgresql://nobody@127.0.0.1:1/none"
        refused = await coder("--home", str(home), "up", "--port", "auto", "--database-url", nowhere)
        assert (refused.code, refused.out) == (1, "")
        assert f"another host (pid {os.getpid()}) uses {home}" in refused.err
        assert "(home_in_use)" in refused.err
        assert (await client.health()).status == "ok"
    async with open_live_host(home, database_url) as live, live.client() as client:
        assert (await client.health()).status == "ok"
