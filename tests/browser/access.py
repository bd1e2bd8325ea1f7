"""What axe-core finds on a page, in words."""

from pathlib import Path

from playwright.async_api import Page

_AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
_RUN = """async () => {
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
  const {violations} = await axe.run(document, {runOnly: tags});
  return violations.flatMap(({id, nodes}) => nodes.map((node) => `${id}: ${node.html.slice(0, 160)}`));
}"""


async def violations(page: Page) -> list[str]:
    """Everything on the page that breaks WCAG 2.2 AA or good practice, as far as axe-core can tell.

    Moves are finished first: half-way colours are nobody's.
    """
    await page.emulate_media(reduced_motion="reduce")
    await page.evaluate("Promise.all(document.getAnimations().map((move) => move.finished.catch(() => 0)))")
    await page.evaluate(_AXE.read_text())
    return await page.evaluate(_RUN)
