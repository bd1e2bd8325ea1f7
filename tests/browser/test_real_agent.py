"""A real agent's change, from the prompt to the checkout, by a person in a browser."""

import json
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from coder.testing.harness import open_live_host
from coder.testing.model_server import open_model_server
from coder.testing.real_agents import AgentMissing, real_agent
from coder.testing.repositories import make_repository
from tests.browser.pane import open_pane

PATIENCE = 90_000
"""Milliseconds: a real agent takes its time to start."""


@pytest.mark.scenario("pane: A real agent's change is applied in the browser")
async def test_a_real_agents_change_is_allowed_and_applied_in_the_browser(
    tmp_path: Path, database_url: str, browser: Browser
) -> None:
    repository = make_repository(tmp_path / "sample")
    home = tmp_path / "home"
    home.mkdir()
    with open_model_server() as model_url:
        try:
            agent = real_agent("opencode", tmp_path / "agent-home", model_url)
        except AgentMissing as missing:
            pytest.skip(str(missing))
        agent.prepare()
        providers = {"providers": {"opencode": agent.provider_entry()}}
        (home / "coder-providers.json").write_text(json.dumps(providers))
        async with open_live_host(home, database_url) as live:
            async with open_pane(browser, live) as page:
                await page.get_by_label("Repository path").fill(str(repository))
                await page.get_by_label("Name").fill("Real work")
                await page.get_by_role("button", name="Open session").click()
                await expect(page.get_by_role("heading", name="Real work", level=1)).to_be_visible()
                await page.get_by_label("Agent", exact=True).select_option("opencode")
                (session,) = (await live.host.sessions.list(None, None, 10)).items
                file = json.dumps({"path": f"{session.worktree_path}/note.txt", "content": "from a real agent\n"})
                box = page.get_by_role("textbox", name="Prompt")
                await box.fill(f"[[write {file}]]")
                await box.press("Enter")
                question = page.get_by_role("region", name="Permission request")
                await expect(question).to_be_visible(timeout=PATIENCE)
                await question.get_by_role("button", name="Allow once").click()
                changes = page.get_by_role("complementary", name="Changes")
                await changes.get_by_role("button", name="Apply note.txt").click(timeout=PATIENCE)
                await expect(changes).to_contain_text("Nothing is waiting for a decision.")
                assert (repository / "note.txt").read_text() == "from a real agent\n"
