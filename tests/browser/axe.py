"""What axe-core finds wrong with a page."""

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page

SCRIPT = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"


async def faults_of(page: Page) -> list[str]:
    """Every violation of WCAG 2.2 AA on the page as it is shown; skips the test where axe is not installed."""
    if not SCRIPT.is_file():
        pytest.skip("axe-core is not installed: `npm ci` in web/")
    await page.evaluate(SCRIPT.read_text())
    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
    found: dict[str, Any] = await page.evaluate("rules => axe.run(document, { runOnly: rules })", rules)
    return [
        f"{violation['id']}: {violation['help']}: {node['html'][:300]} {node['failureSummary']}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]
