"""The list of agents in a real Chromium."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from coder.testing.harness import open_live_host
from tests.browser.axe import faults_of
from tests.browser.pane import open_pane


@pytest.mark.scenario("pane: An agent is diagnosed and another one added")
async def test_an_agent_is_diagnosed_and_one_more_is_written_down(tmp_path: Path, database_url: str, browser: Browser):
    async with open_live_host(tmp_path / "home", database_url) as live:
        async with open_pane(browser, live) as page:
            await page.keyboard.press("Alt+g")
            demo = page.get_by_role("listitem", name="Demo", exact=True)
            await demo.get_by_role("button", name="Diagnose Demo").click()
            found = page.get_by_role("dialog", name="What the host knows of Demo")
            await expect(found).to_contain_text("coder.testing.agent")
            assert await faults_of(page) == []
            await found.get_by_role("button", name="Close").click()
            await page.get_by_role("button", name="Add an agent").click()
            adding = page.get_by_role("dialog", name="Add an agent")
            await adding.get_by_label("Name").fill("my-agent")
            await adding.get_by_label("Shown as").fill("My agent")
            await adding.get_by_placeholder("my-agent --acp").fill("my-agent --acp")
            line = adding.get_by_label("Command to run")
            await expect(line).to_have_text("coder providers add my-agent --label 'My agent' -- my-agent --acp")
            assert await faults_of(page) == []
            assert "my-agent" not in {provider.id for provider in await live.host.providers.snapshot()}
