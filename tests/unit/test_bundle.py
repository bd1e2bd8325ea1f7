"""What a browser loads before it shows anything."""

import gzip
import re

import pytest

from coder import resources

LIMIT = 250 * 1000


@pytest.mark.scenario("pane: The first paint needs little")
def test_the_first_paint_needs_at_most_250_kb_of_scripts():
    folder = resources.ui_path()
    page = folder / "index.html"
    if not page.is_file():
        pytest.skip("the pane is not built: `./dev setup`, or `npm ci && npm run build` in web/")
    scripts = re.findall(r'(?:src|href)="\./([^"]+\.js)"', page.read_text())
    assert scripts
    sizes = {name: len(gzip.compress((folder / name).read_bytes())) for name in scripts}
    assert sum(sizes.values()) <= LIMIT, sizes
