"""What a person does first in most tests of the pane."""

from pathlib import Path

from playwright.async_api import Page, expect


async def open_session(page: Page, repository: Path, name: str = "First session") -> None:
    """Register the repository in a fresh pane and open a session in it."""
    await page.get_by_label("Repository path").fill(str(repository))
    await page.get_by_label("Name").fill(name)
    await page.get_by_role("button", name="Open session").click()
    await expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()
    await page.get_by_label("Agent", exact=True).select_option("demo")


async def send(page: Page, text: str) -> None:
    box = page.get_by_role("textbox", name="Prompt")
    await box.fill(text)
    await box.press("Enter")
    await expect(box).to_have_value("")
