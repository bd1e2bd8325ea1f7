"""The compatibility table's rows as tests: what must hold for every agent that can be signed in offline.

Only with `--all-agents`: each takes a minute or two. `test_real_agents.py` covers the small agents in every run.
"""

from pathlib import Path

import pytest

from coder.testing.compatibility import Row, examine
from coder.testing.real_agents import ALL_NAMES, AgentMissing

NEVER_LETS_IN = {"auggie"}
MUST_HOLD = ("initialize", "prompt", "tool_calls", "permission", "change", "cancel", "sessions", "exit", "sandbox")
MUST_REMEMBER = {"opencode", "opencode-server", "codex", "codexrs", "claude", "claude22", "qwen"}


async def row_of(agent: str, folder: Path, database_url: str) -> Row:
    try:
        return await examine(agent, folder, database_url)
    except AgentMissing as missing:
        pytest.skip(str(missing))


@pytest.mark.all_agents
@pytest.mark.timeout(900)
@pytest.mark.scenario("compatibility: What must hold for every agent holds")
@pytest.mark.scenario("compatibility: A killed agent goes on where it was")
@pytest.mark.parametrize("agent", [name for name in ALL_NAMES if name not in NEVER_LETS_IN])
async def test_what_must_hold_for_every_agent_holds(agent: str, tmp_path: Path, database_url: str):
    row = await row_of(agent, tmp_path, database_url)

    lacking = {key: row.cells[key] for key in MUST_HOLD if row.cells[key].verdict not in ("yes", "–")}
    assert not lacking
    if agent in MUST_REMEMBER:
        assert row.cells["resume"].verdict == "yes"


@pytest.mark.all_agents
@pytest.mark.timeout(300)
@pytest.mark.scenario("compatibility: A login that is needed is shown, not an error")
async def test_an_agent_that_wants_a_login_is_shown_as_signed_out(tmp_path: Path, database_url: str):
    row = await row_of("auggie", tmp_path, database_url)

    assert row.cells["initialize"].note == "wants a login before anything else"
    assert row.cells["login"].verdict != "no"
