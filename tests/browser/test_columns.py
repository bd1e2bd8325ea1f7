"""Sessions side by side in a real Chromium."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, Page, WebSocket, expect

from coder.testing.harness import open_live_host
from coder.testing.repositories import make_repository
from tests.browser.axe import faults_of
from tests.browser.pane import open_pane
from tests.browser.steps import open_session, send


def column(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name).and_(page.locator("[data-column]"))


async def has_keys(page: Page, name: str) -> None:
    await expect(column(page, name)).to_have_attribute("aria-current", "true")
    await expect(page.locator("[data-column][aria-current]")).to_have_count(1)


@pytest.mark.scenario("pane: Two sessions work side by side")
@pytest.mark.scenario("pane: Keys go to the column that has them")
@pytest.mark.scenario("pane: Columns are there after a reload, and one on a phone")
async def test_sessions_stand_side_by_side(tmp_path: Path, database_url: str, browser: Browser):
    repository = make_repository(tmp_path / "sample")
    async with open_live_host(tmp_path / "home", database_url) as live:
        sockets: list[WebSocket] = []

        async def count(page: Page) -> None:
            page.on("websocket", lambda socket: sockets.append(socket))

        async with open_pane(browser, live, before=count) as page, live.client() as client:
            await open_session(page, repository, "Left")
            await send(page, "write a.txt a\\n; ask Go on; say left is through")
            await expect(page.get_by_role("region", name="Permission request")).to_be_visible()
            await page.keyboard.press("Alt+b")
            await page.get_by_role("combobox", name="Search sessions to open beside").press("Enter")
            name = page.get_by_role("dialog", name="New session beside this one").get_by_label("Name")
            await name.fill("Right")
            await name.press("Enter")
            left, right = column(page, "Left"), column(page, "Right")
            await has_keys(page, "Right")
            await expect(right.get_by_role("textbox", name="Prompt")).to_be_focused()
            await right.get_by_label("Agent", exact=True).select_option("demo")
            await page.keyboard.press("Alt+p")
            await page.keyboard.type("say right has begun; hang")
            await page.keyboard.press("Enter")
            await expect(right.get_by_role("article", name="demo says")).to_contain_text("right has begun")
            await expect(page.get_by_role("complementary", name="Changes")).not_to_contain_text("a.txt")
            assert await faults_of(page) == []

            await page.keyboard.press("Alt+w")
            await has_keys(page, "Left")
            await expect(left.get_by_role("textbox", name="Prompt")).to_be_focused()
            await page.keyboard.press("Alt+1")
            await expect(left.get_by_role("article", name="demo says")).to_contain_text("left is through")
            await expect(page.get_by_role("complementary", name="Changes")).to_contain_text("a.txt")
            await page.keyboard.press("Escape")
            await expect(right.get_by_role("button", name="Stop")).to_be_visible()
            await right.get_by_role("log").click()
            await has_keys(page, "Right")
            await page.keyboard.press("Escape")
            await expect(right.get_by_role("group", name="Turn ended: Stopped")).to_be_visible()

            (project,) = (await client.projects()).items
            await client.open_session(project.id, "Third")
            sessions = page.get_by_role("navigation", name="Sessions")
            await sessions.get_by_role("link", name="Third").click(modifiers=["Alt"])
            await has_keys(page, "Third")
            await sessions.get_by_role("link", name="Left").click()
            await has_keys(page, "Left")
            await expect(page.locator("[data-column]")).to_have_count(3)
            await page.set_viewport_size({"width": 800, "height": 900})
            await page.keyboard.press("Alt+Shift+w")
            await has_keys(page, "Third")
            await expect(column(page, "Third").get_by_role("button", name="Close this column")).to_be_in_viewport(
                ratio=1
            )
            await page.set_viewport_size({"width": 1440, "height": 900})
            await sessions.get_by_role("link", name="Left").click()
            divider = page.get_by_role("separator", name="Width of column 1")
            await divider.press("ArrowRight")
            await expect(divider).to_have_attribute("aria-valuenow", "54")
            assert len(sockets) == 1

            await page.reload()
            await has_keys(page, "Left")
            await expect(page.locator("[data-column]")).to_have_count(3)
            await expect(divider).to_have_attribute("aria-valuenow", "54")
            await expect(left.get_by_role("article", name="demo says")).to_contain_text("left is through")
            await page.set_viewport_size({"width": 390, "height": 844})
            await expect(page.locator("[data-column]")).to_have_count(1)
            await expect(page.get_by_role("heading", name="Left", level=1)).to_be_visible()
            await page.set_viewport_size({"width": 1440, "height": 900})
            await left.get_by_role("button", name="Close this column").click()
            await has_keys(page, "Right")
            await page.keyboard.press("Alt+x")
            await expect(page.locator("[data-column]")).to_have_count(1)
            await expect(page.get_by_role("heading", level=1)).to_have_text("Third")
            await page.go_back()
            await has_keys(page, "Right")
