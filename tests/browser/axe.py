"""What axe-core finds wrong with a page."""

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page

SCRIPT = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


async def faults_of(page: Page) -> list[str]:
    """Every violation of WCAG 2.2 AA and of good practice on the page as it is shown; skips the test without axe.

    Moves are finished first: half-way colours are nobody's.
    """
    if not SCRIPT.is_file():
        pytest.skip("axe-core is not installed: `npm ci` in web/")
    await page.emulate_media(reduced_motion="reduce")
    await page.evaluate("Promise.all(document.getAnimations().map((move) => move.finished.catch(() => 0)))")
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(SCRIPT.read_text())
    # of what passes only the first element is described, which takes most of the time
    run = "rules => axe.run(document, { runOnly: rules, resultTypes: ['violations'] })"
    found: dict[str, Any] = await page.evaluate(run, RULES)
    return [
        f"{violation['id']}: {violation['help']}: {node['html'][:300]} {node['failureSummary']}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]
