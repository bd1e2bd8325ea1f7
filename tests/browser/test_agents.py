"""The list of agents in a real Chromium."""

import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from coder.protocol import NewProject
from coder.testing.harness import LiveHost, open_live_host
from coder.testing.repositories import make_repository
from coder.testing.rooms import Room
from tests.browser.axe import faults_of
from tests.browser.pane import open_pane


@pytest.mark.scenario("pane: What it is worth to keep agents warm is shown")
@pytest.mark.scenario("pane: An agent is diagnosed and another one added")
async def test_an_agent_is_diagnosed_and_one_more_is_written_down(tmp_path: Path, database_url: str, browser: Browser):
    async with open_live_host(tmp_path / "home", database_url) as live:
        async with open_pane(browser, live) as page:
            await page.keyboard.press("Alt+g")
            demo = page.get_by_role("listitem", name="Demo", exact=True)
            await _expect_figures_to_follow(page, live, tmp_path)
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


async def _expect_figures_to_follow(page: Page, live: LiveHost, folder: Path) -> None:
    """Nothing is said of warmth where nothing was used; then the figures follow while somebody looks."""
    shown = page.get_by_label("Kept warm")
    await expect(page.get_by_role("button", name="Diagnose Demo")).to_be_visible()
    await expect(shown).to_have_count(0)
    repository = make_repository(folder / "repository")
    project = await live.host.projects.register(NewProject(repo_path=str(repository)))
    room = Room(live.host, repository, await live.host.sessions.open(project.id, None, None))
    for _ in range(2):
        await room.prompt("say hello")
    await live.host.pool.sweep()
    await expect(shown).to_have_count(2)
    await expect(shown.first).to_contain_text("Warm agents1of at most 10")
    await expect(shown.first).to_contain_text(re.compile(r"ready0 % of 1opened in (< )?\d+ ms"))
    await expect(shown.last).to_contain_text(re.compile(r"Warm1Found warm50 % of 2 turnsWait for it.* warm, .* cold"))
    await expect(shown.last).to_contain_text(re.compile(r"Memory[1-9]\d* MiB"))
