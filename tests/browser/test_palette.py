"""The pane by keyboard alone, in a real Chromium."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from coder.testing.harness import open_live_host
from coder.testing.repositories import make_repository
from tests.browser.pane import open_pane
from tests.browser.steps import open_session, send


@pytest.mark.scenario("pane: Every action is found by its name")
@pytest.mark.scenario("pane: A shortcut is chosen anew and kept")
async def test_actions_are_found_by_name_and_get_other_keys(tmp_path: Path, database_url: str, browser: Browser):
    repository = make_repository(tmp_path / "sample")
    async with open_live_host(tmp_path / "home", database_url) as live:
        async with open_pane(browser, live) as page:
            await open_session(page, repository)
            commands = page.get_by_role("dialog", name="Commands")
            await page.get_by_role("textbox", name="Prompt").press("Control+k")
            rename = commands.get_by_role("option", name="Rename session")
            await expect(rename).to_contain_text("F2")
            await commands.get_by_role("combobox").fill("rename")
            await expect(commands.get_by_role("option").first).to_contain_text("Rename session")
            await page.keyboard.press("Enter")
            await expect(page.get_by_role("dialog", name="Rename session")).to_be_visible()
            await page.keyboard.press("Escape")

            await page.keyboard.press("Control+,")
            shortcut = page.get_by_role("button", name="Shortcut of Show all commands")
            await shortcut.click()
            await page.keyboard.press("Alt+q")
            await expect(shortcut).to_contain_text("Alt+Q")
            await page.keyboard.press("Escape")
            await page.reload()
            await page.get_by_role("textbox", name="Prompt").press("Alt+q")
            await commands.get_by_role("combobox").fill("dark")
            await page.keyboard.press("Enter")
            await expect(page.locator("html")).to_have_attribute("data-theme", "dark")


@pytest.mark.scenario("pane: A permission is answered and the session changed without leaving the prompt")
async def test_one_who_writes_answers_and_steps_through_sessions_by_keys(
    tmp_path: Path, database_url: str, browser: Browser
):
    repository = make_repository(tmp_path / "sample")
    async with open_live_host(tmp_path / "home", database_url) as live:
        async with open_pane(browser, live) as page:
            await open_session(page, repository, "Asking")
            await send(page, "ask Write a.txt; write a.txt a\\n; say done with it")
            await expect(page.get_by_role("region", name="Permission request")).to_be_visible()
            await page.keyboard.press("Alt+n")
            await page.get_by_role("dialog", name="New session").get_by_label("Name").fill("Second")
            await page.keyboard.press("Enter")
            await expect(page.get_by_role("heading", name="Second", level=1)).to_be_visible()
            await page.keyboard.press("Alt+j")
            await expect(page.get_by_role("heading", name="Asking", level=1)).to_be_visible()
            box = page.get_by_role("textbox", name="Prompt")
            await box.fill("1 is no answer")
            await expect(page.get_by_role("region", name="Permission request")).to_be_visible()
            await box.press("Alt+1")
            await expect(page.get_by_role("article", name="demo says")).to_contain_text("done with it")
            await box.press("Alt+ArrowUp")
            await expect(page.get_by_role("heading", name="Second", level=1)).to_be_visible()
