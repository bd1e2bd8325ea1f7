"""What the pane shows is so, whatever happens to the host and the link."""

import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, expect

from coder.testing.host_process import open_host_process
from coder.testing.repositories import make_repository
from tests.browser.pane import open_pane
from tests.browser.steps import open_session, send


@pytest.mark.scenario("pane: A host killed in the middle of a turn is told as it was")
async def test_a_killed_host_leaves_nothing_that_seems_to_work(tmp_path: Path, database_url: str, browser: Browser):
    repository = make_repository(tmp_path / "sample")
    environment = {"CODER_DATABASE_URL": database_url}
    home = tmp_path / "home"
    async with open_host_process(home, environment=environment) as host:
        async with open_pane(browser, host) as page:
            await open_session(page, repository)
            await send(page, "say begun; hang")
            await expect(page.get_by_role("article", name="demo says")).to_contain_text("begun")
            await host.end(signal.SIGKILL)
            await expect(page.get_by_role("alert").filter(has_text="What you see may be old")).to_be_visible()
            port = str(urlsplit(host.url).port)
            async with open_host_process(home, "--port", port, environment=environment) as again:
                assert again.url == host.url
                failed = page.get_by_role("group", name="Turn ended: Failed")
                await expect(failed).to_contain_text("The host stopped meanwhile", timeout=30_000)
                await expect(page.get_by_role("status", name="Connection")).to_contain_text("Connected")
                await expect(
                    page.get_by_role("link", name="First session").get_by_role("img", name="Failed")
                ).to_be_visible()
                await expect(page.get_by_role("button", name="Stop", exact=True)).to_have_count(0)
                await send(page, "say here again")
                await expect(page.get_by_role("article", name="demo says").last).to_contain_text("here again")
