"""The list of sessions in a real Chromium."""

from pathlib import Path

import pytest
from playwright.async_api import expect

from coder.testing.harness import open_live_host
from coder.testing.repositories import make_repository
from tests.browser.pane import open_browser, open_pane
from tests.browser.steps import open_session, send


@pytest.mark.scenario("pane: The list says what is new and who asks")
@pytest.mark.scenario("pane: Panels keep their widths")
async def test_the_list_tells_what_is_new_and_is_searched(tmp_path: Path, database_url: str):
    repository = make_repository(tmp_path / "sample")
    async with open_live_host(tmp_path / "home", database_url) as live, open_browser() as browser:
        async with open_pane(browser, live) as page:
            await open_session(page, repository, "Mend the parser")
            await page.keyboard.press("Alt+n")
            await page.get_by_role("dialog", name="New session").get_by_label("Name").fill("Write the guide")
            await page.keyboard.press("Enter")
            await expect(page.get_by_role("heading", name="Write the guide", level=1)).to_be_visible()
            await page.get_by_label("Agent", exact=True).select_option("demo")
            await send(page, "ask Go on; say done")
            await expect(page.get_by_role("region", name="Permission request")).to_be_visible()
            sessions = page.get_by_role("navigation", name="Sessions")
            first, second = (sessions.get_by_role("link", name=name) for name in ("Mend the parser", "Write the guide"))
            await first.click()
            await expect(second).to_contain_text("Needs you")
            await expect(page.locator("link[rel=icon]")).to_have_attribute("href", "./favicon-asking.svg")
            await expect(page).to_have_title("(1) Mend the parser · coder")
            async with live.client() as client:
                (request,) = await client.permissions()
                await client.answer_permission(request.id, request.options[0].id)
            await expect(second).to_contain_text("new")
            await expect(page.locator("link[rel=icon]")).to_have_attribute("href", "./favicon.svg")
            await second.click()
            await expect(page.get_by_role("article", name="demo says")).to_contain_text("done")
            await expect(second).not_to_contain_text("new")

            await page.keyboard.press("Alt+s")
            search = page.get_by_role("searchbox", name="Search sessions")
            await search.fill("parse")
            await expect(second).to_have_count(0)
            await search.press("Enter")
            await expect(page.get_by_role("heading", name="Mend the parser", level=1)).to_be_visible()
            await search.press("Escape")
            await expect(second).to_be_visible()

            divider = page.get_by_role("separator", name="Width of the sessions list")
            await divider.press("ArrowRight")
            await expect(divider).to_have_attribute("aria-valuenow", "272")
            await page.reload()
            await expect(divider).to_have_attribute("aria-valuenow", "272")
            await page.keyboard.press("Control+b")
            await expect(sessions).to_have_count(0)
