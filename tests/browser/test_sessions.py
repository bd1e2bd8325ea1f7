"""The list of sessions in a real Chromium."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from coder.model.permissions import PermissionStatus
from coder.protocol import Prompt
from coder.testing.harness import open_live_host
from coder.testing.repositories import make_repository
from tests.browser.pane import open_pane
from tests.browser.steps import open_session, send

HIDE_AND_LISTEN = """
const Real = Notification;
window.calls = [];
window.Notification = class extends Real {
  constructor(title, options) {
    super(title, options);
    window.calls.push(this);
    console.info("called: " + options.body);
  }
};
let isHidden = false;
Object.defineProperty(Document.prototype, "hidden", { get: () => isHidden });
window.hide = (hidden) => {
  isHidden = hidden;
  document.dispatchEvent(new Event("visibilitychange"));
};
"""
"""What the browser is asked to show, and a tab that can be hidden: without a window none is ever behind another."""


async def calls_of(page: Page) -> list[str]:
    return await page.evaluate("calls.map((call) => call.body)")


@pytest.mark.scenario("pane: The list says what is new and who asks")
@pytest.mark.scenario("sandbox: The pane shows the sandbox of a session")
@pytest.mark.scenario("pane: The agent of a new session starts with it")
@pytest.mark.scenario("pane: One who asked for it is called while the tab is hidden")
@pytest.mark.scenario("pane: Panels keep their widths")
async def test_the_list_tells_what_is_new_and_is_searched(tmp_path: Path, database_url: str, browser: Browser):
    repository = make_repository(tmp_path / "sample")
    async with open_live_host(tmp_path / "home", database_url) as live:
        async with open_pane(browser, live, before=lambda page: page.add_init_script(HIDE_AND_LISTEN)) as page:
            await page.context.grant_permissions(["notifications"])
            await open_session(page, repository, "Mend the parser")
            await page.keyboard.press("Alt+n")
            await page.get_by_role("dialog", name="New session").get_by_label("Name").fill("Write the guide")
            await page.keyboard.press("Enter")
            await expect(page.get_by_role("heading", name="Write the guide", level=1)).to_be_visible()
            # chosen in the session before, it was started as this one was opened
            await expect(page.get_by_text("demo · warm")).to_be_visible()
            await expect(page.get_by_label("Sandbox")).to_have_text("no sandbox")
            await send(page, "ask Go on; say done")
            await expect(page.get_by_role("region", name="Permission request")).to_be_visible()
            sessions = page.get_by_role("navigation", name="Sessions")
            first, second = (sessions.get_by_role("link", name=name) for name in ("Mend the parser", "Write the guide"))
            await first.click()
            await expect(second).to_contain_text("Needs you")
            await expect(page.locator("link[rel=icon]")).to_have_attribute("href", "./favicon-asking.svg")
            await expect(page).to_have_title("(1) Mend the parser · coder")
            async with live.client() as client:
                (request,) = await client.permissions(status=PermissionStatus.PENDING)
                await client.answer_permission(request.id, request.options[0].id)
                await expect(second).to_contain_text("new")
                await expect(page.locator("link[rel=icon]")).to_have_attribute("href", "./favicon.svg")
                await second.click()
                await expect(page.get_by_role("article", name="demo says")).to_contain_text("done")
                await expect(second).not_to_contain_text("new")

                await first.click()
                await page.evaluate("hide(true)")
                ask = Prompt(agent="demo", input="ask Go on; say more")
                await client.prompt(request.session_id, ask)
                await expect(second).to_contain_text("Needs you")
                assert await calls_of(page) == []  # nobody asked for it yet
                (request,) = await client.permissions(status=PermissionStatus.PENDING)
                await client.answer_permission(request.id, request.options[0].id)
                await expect(second).to_contain_text("new")
                await expect(page.locator("link[rel=icon]")).to_have_attribute("href", "./favicon-asking.svg")
                await page.evaluate("hide(false)")
                await expect(page.locator("link[rel=icon]")).to_have_attribute("href", "./favicon.svg")
                await page.keyboard.press("Control+,")
                await page.get_by_role("radio", name="When an agent asks or ends").click()
                await expect(page.get_by_role("radio", name="When an agent asks or ends")).to_be_checked()
                await page.keyboard.press("Escape")
                await page.evaluate("hide(true)")
                async with page.expect_console_message(lambda message: message.text.startswith("called: ")):
                    await client.prompt(request.session_id, ask)
                await expect(page).to_have_title("(1) Mend the parser · coder")
                (request,) = await client.permissions(status=PermissionStatus.PENDING)
                async with page.expect_console_message(lambda message: message.text.startswith("called: ")):
                    await client.answer_permission(request.id, request.options[0].id)
            assert await calls_of(page) == ["Write the guide needs your answer.", "Write the guide is done."]
            await page.evaluate("calls[1].dispatchEvent(new Event('click'))")
            await expect(page.get_by_role("heading", name="Write the guide", level=1)).to_be_visible()
            await page.evaluate("hide(false)")
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
