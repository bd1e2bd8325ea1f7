"""What a person does first in most tests of the pane."""

from pathlib import Path

from playwright.async_api import Locator, Page, expect

_READ = """async (log) => {
  const found = new Map();
  const frame = () => new Promise(requestAnimationFrame);
  log.dispatchEvent(new WheelEvent("wheel"));
  log.scrollTop = 0;
  for (let ends = 0; ends < 3; ) {
    for (let wait = 0; wait < 3; wait += 1) await frame();
    for (const row of log.querySelectorAll("[data-key]")) found.set(row.dataset.key, row.textContent);
    ends = log.scrollTop + log.clientHeight >= log.scrollHeight - 1 ? ends + 1 : 0;
    log.scrollTop += log.clientHeight / 3;
  }
  return [...found].sort(([a], [b]) => a - b).map(([, text]) => text);
}"""


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


async def read_whole(log: Locator) -> list[str]:
    """The rows of the loaded conversation from its first to its last, scrolled through as a reader would."""
    return await log.evaluate(_READ)
