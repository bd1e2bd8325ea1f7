"""A session under review, and the pane that shows it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import Browser, Locator, Page

from coder.client import Client
from coder.model.events import Record, TurnEnded
from coder.protocol import Prompt
from coder.testing.harness import LiveHost, open_live_host
from coder.testing.repositories import FILES, make_repository
from tests.browser.pane import open_pane

LINES = [f"line {number}" for number in range(1, 41)]
TEXT = "\n".join([*LINES, ""])


def replaced(**lines: str) -> str:
    """The text with some lines put otherwise, by their numbers."""
    return "\n".join([*(lines.get(f"n{number}", line) for number, line in enumerate(LINES, 1)), ""])


def written(path: str, text: str) -> str:
    """The verb that has the agent write this."""
    return f"write {path} {text.replace(chr(10), chr(92) + 'n')}"


@dataclass(frozen=True)
class Review:
    """A session with changes, and the pane that shows it."""

    live: LiveHost
    client: Client
    page: Page
    repository: Path
    worktree: Path
    session_id: str

    @property
    def changes(self) -> Locator:
        return self.page.get_by_role("complementary", name="Changes")

    def file(self, path: str) -> Locator:
        return self.changes.get_by_role("listitem", name=path)

    def button(self, name: str, *, exact: bool = True) -> Locator:
        return self.changes.get_by_role("button", name=name, exact=exact)

    async def tab(self, name: str) -> None:
        await self.changes.get_by_role("tab", name=name).click()

    async def turn(self, text: str) -> None:
        """A whole turn of the agent."""
        task = await self.client.prompt(self.session_id, Prompt(agent="demo", input=text))
        async with self.client.events(self.session_id, after=0) as records:
            async for record in records:
                if (
                    isinstance(record, Record)
                    and isinstance(record.event, TurnEnded)
                    and record.event.task_id == task.id
                ):
                    return


@asynccontextmanager
async def open_review(tmp_path: Path, database_url: str, browser: Browser, verbs: str | None) -> AsyncGenerator[Review]:
    """A session where the agent has done this, in a pane."""
    repository = make_repository(tmp_path / "sample", {**FILES, "long.txt": TEXT})
    async with (
        open_live_host(tmp_path / "home", database_url) as live,
        live.client() as client,
    ):
        project = await client.register_project(str(repository))
        session = await client.open_session(project.id, "Review")
        async with open_pane(browser, live) as page:
            review = Review(live, client, page, repository, Path(session.worktree_path or ""), session.id)
            if verbs is not None:
                await review.turn(verbs)
            await page.get_by_role("link", name="Review").click()
            await page.get_by_label("Agent", exact=True).select_option("demo")
            yield review


def three_hunks() -> str:
    return written("long.txt", replaced(n3="three", n20="twenty\nand more", n38="thirty-eight"))
