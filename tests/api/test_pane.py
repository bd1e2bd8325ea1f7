"""How the built pane is served."""

from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette

from coder.api.pane import Pane


def open_pane(folder: Path) -> httpx2.AsyncClient:
    app = Starlette()
    app.router.default = Pane(folder)
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://127.0.0.1")


def build(folder: Path) -> Path:
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<title>pane</title>")
    (folder / "assets" / "index-abc123.js").write_text("export {}")
    (folder / "favicon.svg").write_text("<svg/>")
    (folder.parent / "secret.txt").write_text("secret")
    return folder


@pytest.mark.scenario("api: The pane is served")
async def test_paths_without_a_file_are_the_pane_and_assets_are_kept(tmp_path: Path):
    async with open_pane(build(tmp_path / "ui")) as http:
        for path in ("/", "/index.html", "/sessions/ses_1"):
            page = await http.get(path)
            assert (page.status_code, page.text) == (200, "<title>pane</title>")
            assert (page.headers["cache-control"], page.headers["content-type"][:9]) == ("no-cache", "text/html")
        asset = await http.get("/assets/index-abc123.js")
        assert asset.headers["content-type"].startswith("text/javascript")
        assert "immutable" in asset.headers["cache-control"]
        assert "immutable" not in (await http.get("/favicon.svg")).headers["cache-control"]


async def test_missing_files_and_other_methods_are_told_so(tmp_path: Path):
    async with open_pane(build(tmp_path / "ui")) as http:
        assert (await http.get("/assets/gone.js")).status_code == 404
        assert (await http.get("/api/nowhere")).status_code == 404
        assert (await http.post("/")).status_code == 405
        assert (await http.head("/")).status_code == 200


async def test_nothing_outside_the_folder_is_served(tmp_path: Path):
    folder = build(tmp_path / "ui")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    async with open_pane(folder) as http:
        for path in ("/../secret.txt", "/%2e%2e/secret.txt", "/link.txt", "//etc/passwd", "/assets/../../secret.txt"):
            assert "secret" not in (await http.get(path)).text


async def test_a_pane_that_was_never_built_says_how_to_build_it(tmp_path: Path):
    async with open_pane(tmp_path / "ui") as http:
        page = await http.get("/")
        assert (page.status_code, "./dev up" in page.text) == (503, True)
