"""Writing a prompt in a real Chromium."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from coder.testing.harness import open_live_host
from coder.testing.repositories import make_repository
from tests.browser.pane import open_pane
from tests.browser.steps import open_session, send

PASTE = """([name, type, text]) => {
  const files = new DataTransfer();
  files.items.add(new File([text], name, {type}));
  const paste = new ClipboardEvent("paste", {clipboardData: files, bubbles: true, cancelable: true});
  document.querySelector("textarea[aria-label=Prompt]").dispatchEvent(paste);
}"""
DROP = """([name, type, text]) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([text], name, {type}));
  const box = document.querySelector("form[aria-label=Prompt]");
  for (const kind of ["dragover", "drop"])
    box.dispatchEvent(new DragEvent(kind, {dataTransfer, bubbles: true, cancelable: true}));
}"""


async def written(page: Page, text: str, *keys: str) -> None:
    box = page.get_by_role("textbox", name="Prompt")
    await box.press_sequentially(text)
    for key in keys:
        await box.press(key)


async def raw_input(page: Page) -> Callable[..., Awaitable[object]]:
    """What an input method tells the browser, which no keyboard of Playwright does."""
    session = await page.context.new_cdp_session(page)

    async def tell(method: str, **fields: object) -> object:
        return await session.send(method, fields)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]

    return tell


@pytest.mark.scenario("pane: Files and commands are completed while one writes")
@pytest.mark.scenario("pane: Up brings back what was sent before")
@pytest.mark.scenario("pane: The agent is warm before the prompt is sent")
@pytest.mark.scenario("pane: The worktree is a tree of folders")
async def test_files_are_completed_and_walked_through_and_the_past_comes_back(
    tmp_path: Path, database_url: str, browser: Browser
):
    repository = make_repository(
        tmp_path / "sample", {"src/store.py": "1\n", "src/api/stored.py": "2\n", "note": "3\n"}
    )
    async with open_live_host(tmp_path / "home", database_url) as live:
        async with open_pane(browser, live) as page:
            await open_session(page, repository)
            box = page.get_by_role("textbox", name="Prompt")
            files = page.get_by_role("listbox", name="Files")
            await written(page, "say read @stor")
            await expect(page.get_by_text("demo · warm")).to_be_visible()
            await expect(files.get_by_role("option").first).to_contain_text("store.py")
            await written(page, "", "ArrowDown", "Enter")
            await expect(box).to_have_value("say read @src/api/stored.py ")
            await written(page, "; attachments", "Enter")
            answer = page.get_by_role("article", name="demo says")
            await expect(answer).to_contain_text("src/api/stored.py")
            await expect(page.get_by_role("list", name="Files of this prompt")).to_contain_text("src/api/stored.py")
            await expect(page.get_by_role("group", name="Turn ended: Done")).to_be_visible()

            await send(page, "commands")
            await expect(page.get_by_role("group", name="Turn ended: Done")).to_have_count(2)
            await written(page, "/")
            offered = page.get_by_role("listbox", name="Commands of the agent").get_by_role("option")
            await expect(offered.first).to_be_visible()
            name = (await offered.first.inner_text()).split()[0]
            await written(page, "", "Tab")
            await expect(box).to_have_value(f"{name} ")
            await box.fill("")
            await box.press("ArrowUp")
            await expect(box).to_have_value("commands")
            await box.press("ArrowUp")
            await expect(box).to_have_value("say read @src/api/stored.py ; attachments")
            await box.press("ArrowDown")
            await box.press("ArrowDown")
            await expect(box).to_have_value("")

            await send(page, "write src/api/new.py 1")
            await expect(page.get_by_role("group", name="Turn ended: Done")).to_have_count(3)
            await page.keyboard.press("Alt+f")
            item = page.get_by_role("tree", name="Files of the worktree").get_by_role("treeitem")
            await expect(item).to_have_text(["src", "note"])
            await expect(item.first).to_have_accessible_name("src, with changes")
            await item.first.focus()
            await page.keyboard.press("ArrowRight")
            await expect(item).to_have_text(["src", "api", "store.py", "note"])
            await page.keyboard.press("ArrowDown")
            await page.keyboard.press("Enter")
            await expect(item).to_have_text(["src", "api", "new.pyA", "stored.py", "store.py", "note"])
            for key in ("ArrowDown", "ArrowDown", "Enter"):
                await page.keyboard.press(key)
            text = page.get_by_role("region", name="src/api/stored.py")
            await expect(text).to_contain_text("2")
            await page.keyboard.press("Enter")
            await expect(item.nth(3)).to_be_focused()
            await page.keyboard.press("ArrowLeft")
            await expect(item.nth(1)).to_be_focused()
            await page.reload()
            await page.get_by_role("button", name="Files", exact=True).click()
            await expect(item).to_have_text(["src", "api", "new.pyA", "stored.py", "store.py", "note"])


@pytest.mark.scenario("pane: Pasted and dropped files go with the prompt")
@pytest.mark.scenario("pane: Enter while words are composed sends nothing")
async def test_composed_words_and_pasted_and_dropped_files_are_sent(
    tmp_path: Path, database_url: str, browser: Browser
):
    repository = make_repository(tmp_path / "sample")
    async with open_live_host(tmp_path / "home", database_url) as live:
        async with open_pane(browser, live) as page:
            await open_session(page, repository)
            await page.evaluate(PASTE, ["pasted.txt", "text/plain", "pasted words"])
            await page.evaluate(DROP, ["dropped.md", "text/markdown", "dropped words"])
            await page.evaluate(DROP, ["unwanted.md", "text/markdown", "unwanted words"])
            chips = page.get_by_role("list", name="Attached files")
            await expect(chips.get_by_role("listitem")).to_have_count(3)
            await chips.get_by_role("button", name="Remove unwanted.md").click()
            box = page.get_by_role("textbox", name="Prompt")
            await box.fill("say ")
            await box.press("End")
            tell = await raw_input(page)
            await tell("Input.imeSetComposition", text="にほん", selectionStart=3, selectionEnd=3)
            await expect(box).to_have_value("say にほん")
            # the key as it is, and as most input methods pass it on
            for key, code in (("Enter", 13), ("Process", 229)):
                press = {"key": key, "code": "Enter", "windowsVirtualKeyCode": code}
                await tell("Input.dispatchKeyEvent", type="rawKeyDown", **press)
                await tell("Input.dispatchKeyEvent", type="keyUp", **press)
            await expect(box).to_have_value("say にほん")
            await expect(page.get_by_role("article", name="Your prompt")).to_have_count(0)
            await tell("Input.insertText", text="日本")
            await expect(box).to_have_value("say 日本")
            await page.keyboard.type("; attachments")
            await page.keyboard.press("Enter")
            await expect(page.get_by_role("article", name="Your prompt")).to_contain_text("say 日本; attachments")
            await expect(chips).to_have_count(0)
            answer = page.get_by_role("article", name="demo says")
            await expect(answer).to_contain_text("pasted.txt")
            await expect(answer).to_contain_text("dropped.md")
            await expect(answer).not_to_contain_text("unwanted.md")


@pytest.mark.scenario("pane: A draft is there after a reload and on another device")
async def test_a_draft_follows_its_person(tmp_path: Path, database_url: str, browser: Browser):
    repository = make_repository(tmp_path / "sample")
    async with open_live_host(tmp_path / "home", database_url) as live:
        async with open_pane(browser, live) as page, open_pane(browser, live) as other:
            await open_session(page, repository)
            async with page.expect_response(lambda answer: answer.url.endswith("/draft") and answer.ok):
                await page.get_by_role("textbox", name="Prompt").fill("half a wish")
            async with page.expect_response(
                lambda answer: answer.request.method == "PATCH" and answer.url.endswith("/draft")
            ):
                await page.get_by_role("textbox", name="Prompt").fill("half a wish, and more")
            await page.reload()
            await expect(page.get_by_role("textbox", name="Prompt")).to_have_value("half a wish, and more")
            await other.get_by_role("link", name="First session").click()
            await expect(other.get_by_role("textbox", name="Prompt")).to_have_value("half a wish, and more")


@pytest.mark.scenario("pane: A waiting prompt gets other words")
async def test_a_waiting_prompt_is_edited(tmp_path: Path, database_url: str, browser: Browser):
    repository = make_repository(tmp_path / "sample")
    async with open_live_host(tmp_path / "home", database_url) as live:
        async with open_pane(browser, live) as page:
            await open_session(page, repository)
            await send(page, "say begun; hang")
            await expect(page.get_by_role("article", name="demo says")).to_contain_text("begun")
            await send(page, "say unwise words")
            queued = page.get_by_role("region", name="Queued prompt")
            await queued.get_by_role("button", name="Edit queued prompt").click()
            words = queued.get_by_role("textbox", name="Queued prompt's words")
            await words.fill("say wiser words")
            await words.press("Enter")
            await expect(queued).to_contain_text("say wiser words")
            await page.get_by_role("button", name="Stop", exact=True).click()
            await expect(page.get_by_role("article", name="demo says").last).to_contain_text("wiser words")
