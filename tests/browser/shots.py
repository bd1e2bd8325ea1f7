"""The pictures of the user guide: `python -m tests.browser.shots [NAME]...` takes them anew into docs/pane."""

import sys
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import anyio
from playwright.async_api import Browser, Page, expect

from coder.client import Client
from coder.model.events import PermissionRequested, Record
from coder.protocol import Prompt
from coder.store.embedded import open_embedded
from coder.testing.harness import LiveHost, open_live_host
from coder.testing.repositories import commit_files, make_repository
from tests.browser.pane import open_browser, open_pane

FOLDER = Path(__file__).parents[2] / "docs" / "pane"
WIDE, NARROW, PHONE = (1440, 900), (1024, 720), (390, 780)
STORE = """import sqlite3
from pathlib import Path


class Store:
    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path)

    def get(self, key: str) -> str | None:
        row = self._connection.execute("SELECT value FROM items WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def put(self, key: str, value: str) -> None:
        self._connection.execute("INSERT OR REPLACE INTO items VALUES (?, ?)", (key, value))
        self._connection.commit()

    def keys(self) -> list[str]:
        return [row[0] for row in self._connection.execute("SELECT key FROM items ORDER BY key")]

    def close(self) -> None:
        self._connection.close()
"""
QUERY = """        row = self._connection.execute("SELECT value FROM items WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None
"""
CACHED_QUERY = """        if key not in self._cache:
            row = self._connection.execute("SELECT value FROM items WHERE key = ?", (key,)).fetchone()
            self._cache[key] = row[0] if row else None
        return self._cache[key]
"""
OPENED, WRITTEN = "sqlite3.connect(path)\n", "self._connection.commit()\n"
CACHED = (
    STORE.replace(QUERY, CACHED_QUERY)
    .replace(OPENED, f"{OPENED}        self._cache: dict[str, str | None] = {{}}\n")
    .replace(WRITTEN, f"{WRITTEN}        self._cache[key] = value\n")
)
FILES = {
    "README.md": "# Shop\n\nA small shop.\n",
    "src/shop/store.py": STORE,
    "src/shop/cart.py": "def total(prices: list[float]) -> float:\n    return sum(prices)\n",
    "src/shop/api/routes.py": "ROUTES = ('/items', '/cart')\n",
    "tests/test_store.py": "def test_a_value_is_kept() -> None: ...\n",
}
WORK = "; ".join(
    (
        "think Every read goes to the database. A dictionary beside it is enough, as long as writes go through it",
        "plan +Look at the store, >Keep what was read, Measure it",
        "delegate explore Find who reads the store",
        "tool search Store( in src",
        "tool read src/shop/cart.py",
        r"report Only cart.py and api/routes.py read it\; both through get()",
        "tool read src/shop/store.py",
        f"write src/shop/store.py {CACHED.replace(chr(10), chr(92) + 'n')}",
        r"write src/shop/notes.md # Cache\n\nReads are kept until the process ends.\n",
        "terminal echo 5 passed in 0.31 s",
        r"say Reads of the store are kept in memory now.\n\n| | before | after |\n| - | - | - |\n"
        r"| `get` | 41 µs | 0.2 µs |\n\nWrites go through the cache, so that a read never sees an old value:\n\n"
        r"```python\nself._connection.commit()\nself._cache[key] = value\n```\n",
        "usage 34000 200000",
    )
)


@dataclass(frozen=True)
class Stage:
    """A host with some work in it."""

    live: LiveHost
    client: Client
    browser: Browser
    repository: Path
    sessions: dict[str, str]

    @asynccontextmanager
    async def pane(
        self, size: tuple[int, int], scheme: Literal["light", "dark"] = "light", session: str | None = None
    ) -> AsyncGenerator[Page]:
        """A pane of this size, at a session where one is named."""

        async def prepare(page: Page) -> None:
            await page.set_viewport_size({"width": size[0], "height": size[1]})
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")

        async with open_pane(self.browser, self.live, before=prepare) as page:
            if session is not None:
                await page.goto(f"{self.live.url}/#/sessions/{self.sessions[session]}")
                await expect(page.get_by_role("heading", name=session, level=1)).to_be_visible()
            yield page


async def first_run(stage: Stage, save: "Save") -> None:
    async with stage.pane(NARROW) as page:
        await page.get_by_role("button", name="New session").first.click()
        await page.get_by_role("dialog", name="New session").get_by_label("Name").fill("Add a cache to the store")
        await save("new-session", page)
        await page.keyboard.press("Escape")
        await page.keyboard.press("Alt+g")
        await page.get_by_role("heading", name="Agents", level=1).wait_for()
        await page.get_by_role("button", name="Diagnose").first.wait_for()
        await save("agents", page)


async def conversation(stage: Stage, save: "Save") -> None:
    for scheme in ("light", "dark"):
        async with stage.pane(WIDE, scheme, CACHE) as page:
            changes = page.get_by_role("complementary", name="Changes")
            await changes.get_by_role("button", name="Modified src/shop/store.py").click()
            await changes.get_by_role("grid").first.wait_for()
            await page.get_by_role("button", name="Find who reads the store").click()
            await page.get_by_role("log").evaluate("log => { log.scrollTop = log.scrollHeight }")
            await save("session" if scheme == "light" else "session-dark", page)
    async with stage.pane(WIDE, session=CACHE) as page:
        await page.keyboard.press("Control+k")
        await page.get_by_role("dialog", name="Commands").get_by_role("combobox").fill("sh")
        await save("palette", page)


async def question(stage: Stage, save: "Save") -> None:
    async with stage.pane(NARROW, session=GUIDE) as page:
        await page.get_by_role("region", name="Permission request").wait_for()
        await save("permission", page)
    async with stage.pane(PHONE, "dark", GUIDE) as page:
        await page.get_by_role("region", name="Permission request").wait_for()
        await save("phone", page)


async def review(stage: Stage, save: "Save") -> None:
    async with stage.pane(WIDE, session=CACHE) as page:
        changes = page.get_by_role("complementary", name="Changes")
        await changes.get_by_role("button", name="Changes over the whole window").click()
        await changes.get_by_role("button", name="Split view").click()
        await changes.get_by_role("button", name="Modified src/shop/store.py").click()
        cell = changes.get_by_role("gridcell", name="Added line 8")
        await cell.focus()
        await page.keyboard.press("c")
        await page.keyboard.type("Does anybody else write to the database?")
        await page.keyboard.press("Enter")
        await changes.get_by_role("article").wait_for()
        await save("review", page)
    async with stage.pane(PHONE, "light", CACHE) as page:
        await page.get_by_role("navigation", name="Columns").get_by_role("button", name="Changes").click()
        await page.get_by_role("button", name="Modified src/shop/store.py").click()
        await page.get_by_role("grid").first.wait_for()
        await save("phone-review", page)


async def files(stage: Stage, save: "Save") -> None:
    async with stage.pane(NARROW, "dark", CACHE) as page:
        await page.keyboard.press("Alt+f")
        item = page.get_by_role("tree").get_by_role("treeitem")
        for name in ("src", "shop"):
            await item.filter(has_text=name).first.click()
        await item.filter(has_text="store.py").first.wait_for()
        await save("files", page)


async def columns(stage: Stage, save: "Save") -> None:
    async with stage.pane(WIDE, session=CACHE) as page:
        await page.keyboard.press("Alt+c")
        await page.get_by_role("link", name=GUIDE).click(modifiers=["Alt"])
        await expect(page.get_by_role("textbox", name="Prompt")).to_have_count(2)
        await page.get_by_role("region", name="Permission request").wait_for()
        await save("columns", page)


async def git_out(stage: Stage, save: "Save") -> None:
    moved = STORE.replace(QUERY, QUERY.replace("row[0]", "str(row[0])"))
    commit_files(stage.repository, {"src/shop/store.py": moved}, "Give texts")
    async with stage.pane(NARROW, session=CACHE) as page:
        await page.keyboard.press("Alt+c")
        line = page.get_by_role("region", name="Branch")
        await line.get_by_role("button", name="Commit").click()
        await page.get_by_label("Message").fill("Keep what was read in memory")
        await save("commit", page)
        await page.keyboard.press("Escape")
        await line.get_by_role("button", name="Update").click()
        dialog = page.get_by_role("dialog", name="Update from")
        await dialog.get_by_role("button", name="Merge").click()
        await dialog.get_by_role("region", name="Conflict in").wait_for()
        await save("update", page)


CACHE, GUIDE = "Add a cache to the store", "Write the guide"
SCENES: tuple[Callable[[Stage, "Save"], Awaitable[None]], ...] = (
    first_run,
    conversation,
    question,
    review,
    files,
    columns,
    git_out,
)
Save = Callable[[str, Page], Awaitable[None]]


@asynccontextmanager
async def open_stage(home: Path) -> AsyncGenerator[Stage]:
    repository = make_repository(home / "shop", FILES)
    async with (
        open_embedded(home / "database") as url,
        open_live_host(home / "home", url) as live,
        live.client() as client,
        open_browser() as browser,
    ):
        project = await client.register_project(str(repository))
        cache, guide = [await client.open_session(project.id, name) for name in (CACHE, GUIDE)]
        task = await client.prompt(cache.id, Prompt(agent="demo", input=WORK))
        await client.wait_for_task(task.id)
        asks = r"say I would like to write the guide now.; ask Write docs/guide.md; write docs/guide.md # Guide\n"
        await client.prompt(guide.id, Prompt(agent="demo", input=asks))
        async with client.events(guide.id, after=0) as records:
            async for record in records:
                if isinstance(record, Record) and isinstance(record.event, PermissionRequested):
                    break
        yield Stage(live, client, browser, repository, {CACHE: cache.id, GUIDE: guide.id})


async def main(names: list[str]) -> None:
    async def save(name: str, page: Page) -> None:
        await page.evaluate("Promise.all(document.getAnimations().map((move) => move.finished.catch(() => 0)))")
        await page.screenshot(path=FOLDER / f"{name}.png")

    with tempfile.TemporaryDirectory(prefix="coder-shots-") as folder:
        async with open_stage(Path(folder)) as stage:
            for scene in SCENES:
                if not names or scene.__name__ in names:
                    await scene(stage, save)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1:])
