"""A real Chromium looking at a real host, for the tests of this folder."""

import os
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from coder import resources
from coder.testing.harness import LiveHost
from coder.testing.host_process import HostProcess

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium_path() -> str:
    """The Chromium to drive: `CODER_CHROMIUM`, else the one on PATH; skips the test where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("CODER_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip("no Chromium: `apt-get install chromium`, or name one in CODER_CHROMIUM")
    if not (resources.ui_path() / "index.html").is_file():
        pytest.skip("the pane is not built: `./dev setup`, or `npm ci && npm run build` in web/")
    return found


@asynccontextmanager
async def open_browser() -> AsyncGenerator[Browser]:
    """A Chromium whose profiles are gone afterwards."""
    path = chromium_path()
    expect.set_options(timeout=15_000)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def open_pane(
    browser: Browser, live: LiveHost | HostProcess, *, before: Callable[[Page], Awaitable[object]] | None = None
) -> AsyncGenerator[Page]:
    """A signed-in pane in a profile of its own; `before` sees the page while it is empty.

    Leaving it fails the test if the page threw or broke its content policy.
    """
    profile = await browser.new_context(viewport={"width": 1440, "height": 900})
    try:
        page = await profile.new_page()
        page.set_default_timeout(15_000)
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if "Content Security" in message.text else None)
        if before is not None:
            await before(page)
        await page.goto(f"{live.url}/#token={live.token}")
        await page.get_by_role("navigation").first.wait_for(state="attached")
        yield page
        assert not faults, faults
    finally:
        await profile.close()
