"""The pane behind a proxy, in a frame of another site, and with its socket elsewhere: real Chromium, real proxy."""

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Frame, Page, expect

from coder.testing.harness import open_live_host
from coder.testing.proxy import open_proxy
from coder.testing.repositories import make_repository

PREFIX = "/tools/coder/"


async def do_the_main_job(pane: Page | Frame, repository: Path) -> None:
    """Ask for a change, watch it, allow it and apply it."""
    await pane.get_by_label("Repository path").fill(str(repository))
    await pane.get_by_label("Name").fill("Embedded")
    await pane.get_by_role("button", name="Open session").click()
    await pane.get_by_label("Agent", exact=True).select_option("demo")
    box = pane.get_by_role("textbox", name="Prompt")
    await box.fill("ask Write it; write notes.md hello\\n; say it is written")
    await box.press("Enter")
    await pane.get_by_role("region", name="Permission request").get_by_role("button", name="Allow", exact=True).click()
    await expect(pane.get_by_role("article", name="demo says")).to_contain_text("it is written")
    changes = pane.get_by_role("complementary", name="Changes")
    await expect(changes).to_contain_text("notes.md")
    await changes.get_by_role("button", name="Apply all").click()
    await expect(changes).to_contain_text("Nothing is waiting for a decision.")
    assert (repository / "notes.md").read_text() == "hello\n"


@pytest.mark.scenario("pane: The pane works under a path prefix")
@pytest.mark.scenario("pane: A page of a listed origin shows the pane in a frame, no other page does")
async def test_the_main_job_is_done_in_a_frame_of_another_site_behind_a_proxy(
    tmp_path: Path, database_url: str, browser: Browser
):
    repository = make_repository(tmp_path / "sample")
    async with open_proxy(PREFIX) as proxy:
        inside, outside, stranger = map(proxy.origin, ("localhost", "127.0.0.1", "stranger.localhost"))
        settings: dict[str, Any] = {
            "allowed_hosts": ("localhost",),
            "allowed_origins": (inside,),
            "frame_origins": (outside,),
        }
        async with open_live_host(tmp_path / "home", database_url, **settings) as live:
            proxy.lead_to(live.url)
            proxy.page = f'<h1>Tools</h1><iframe src="{inside}{PREFIX}" width=1400 height=800></iframe>'
            page = await browser.new_page(viewport={"width": 1440, "height": 900})
            await page.goto(outside)
            frame = page.frames[-1]
            await frame.get_by_label("Login link or token").fill(live.token)
            await frame.get_by_role("button", name="Log in").click()
            await do_the_main_job(frame, repository)
            await page.reload()
            frame = page.frames[-1]
            assert frame.url.startswith(inside)
            await expect(frame.get_by_role("link", name="Embedded")).to_be_visible()

            async with page.expect_console_message(lambda message: "frame-ancestors" in message.text):
                await page.goto(stranger)
            await expect(page.frame_locator("iframe").get_by_role("heading", name="Log in to coder")).to_have_count(0)
            await page.goto(f"{inside}{PREFIX}")
            await expect(page.get_by_label("Login link or token")).to_be_visible()


@pytest.mark.scenario("pane: The live link is on another origin")
async def test_the_socket_of_a_pane_may_be_on_another_origin(tmp_path: Path, database_url: str, browser: Browser):
    repository = make_repository(tmp_path / "sample")
    async with (
        open_proxy(PREFIX, passes_sockets=False) as pages,
        open_proxy("/live/") as sockets,
    ):
        origin = pages.origin("localhost")
        settings: dict[str, Any] = {
            "allowed_hosts": ("localhost", "127.0.0.1"),
            "allowed_origins": (origin,),
            "socket_url": f"ws://127.0.0.1:{sockets.port}/live/api/ws",
        }
        async with open_live_host(tmp_path / "home", database_url, **settings) as live:
            pages.lead_to(live.url)
            sockets.lead_to(live.url)
            page = await browser.new_page(viewport={"width": 1440, "height": 900})
            await page.goto(f"{origin}{PREFIX}#token={live.token}")
            await do_the_main_job(page, repository)
            await expect(page.get_by_role("status", name="Connection")).to_contain_text("Connected")
