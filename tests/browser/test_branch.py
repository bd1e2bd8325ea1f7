"""A session's work leaves by git, in a real Chromium."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from coder.testing.repositories import commit_files, git
from tests.browser.axe import faults_of
from tests.browser.review import open_review, replaced, three_hunks


@pytest.mark.scenario("pane: What was applied is committed on the session's branch")
@pytest.mark.scenario("pane: A conflict with the default branch is handed to an agent")
@pytest.mark.scenario("pane: Changes are exported as a patch")
@pytest.mark.scenario("pane: Closing says what would be lost")
async def test_work_is_committed_updated_exported_and_its_branch_kept(
    tmp_path: Path, database_url: str, browser: Browser
) -> None:
    async with open_review(tmp_path, database_url, browser, f"{three_hunks()}; write a.txt a\\n") as review:
        page, repository = review.page, review.repository
        line = review.changes.get_by_role("region", name="Branch")
        await expect(line).to_contain_text("level with main")
        await review.button("Apply a.txt").click()

        await line.get_by_role("button", name="Commit").press("Enter")
        dialog = page.get_by_role("dialog", name="Commit on coder/")
        await expect(dialog.get_by_role("radio", name="What was applied 1 file")).to_be_checked()
        await expect(dialog.get_by_label("Message")).to_be_focused()
        assert await faults_of(page) == []
        await page.keyboard.type("Add a")
        await page.keyboard.press("Control+Enter")
        await expect(line).to_contain_text("1 ahead of main")
        await expect(line.get_by_role("status")).to_contain_text("Committed 1 file")
        await expect(line.get_by_role("button", name="Commit")).to_be_focused()
        (session,) = (await review.client.sessions()).items
        branch = session.branch or ""
        assert git(repository, "log", "-1", "--format=%s %an %b", branch).startswith("Add a")
        assert "Co-authored-by: Demo" in git(repository, "log", "-1", "--format=%b", branch)
        await line.get_by_role("button", name="Commit").click()
        await dialog.get_by_label("Message").fill("Again")
        await dialog.get_by_text("What was applied").click()
        await dialog.get_by_role("button", name="Commit").click()
        await expect(dialog.get_by_role("alert")).to_contain_text("nothing to commit. Apply something first")
        await page.keyboard.press("Escape")

        (repository / "a.txt").unlink()
        commit_files(repository, {"long.txt": replaced(n3="mine")}, "Change line 3")
        await page.evaluate("window.dispatchEvent(new Event('focus'))")
        await expect(line).to_contain_text("1 ahead, 1 behind of main")
        await line.get_by_role("button", name="Update").click()
        dialog = page.get_by_role("dialog", name="Update from main")
        await dialog.get_by_role("button", name="Merge").click()
        await expect(dialog.get_by_role("alert")).to_contain_text("Nothing was written")
        shown = dialog.get_by_role("region", name="Conflict in long.txt")
        for words in ("This session", "three", "What comes in from main", "mine"):
            await expect(shown).to_contain_text(words)
        assert await faults_of(page) == []
        assert "<<<<<<<" not in (review.worktree / "long.txt").read_text()
        await dialog.get_by_role("button", name="Have Demo resolve it").click()
        await expect(line.get_by_role("status")).to_contain_text("Merged main")
        await expect(line.get_by_role("status")).to_contain_text("demo resolves 1 file")
        await expect(page.get_by_role("article", name="Your prompt").last).to_contain_text("Resolve them")
        assert "<<<<<<< session" in (review.worktree / "long.txt").read_text()

        await line.get_by_role("button", name="Export as a patch").click()
        dialog = page.get_by_role("dialog", name="Export as a patch")
        async with page.expect_download() as download:
            await dialog.get_by_role("button", name="Download").click()
        saved = await download.value
        assert saved.suggested_filename == f"{branch.replace('/', '-')}.patch"
        assert "+++ b/long.txt" in Path(await saved.path()).read_text()
        await expect(dialog.get_by_role("status")).to_contain_text("git apply takes it")
        assert await faults_of(page) == []
        await page.keyboard.press("Escape")

        await page.get_by_role("button", name="Close session").click()
        dialog = page.get_by_role("dialog", name="Close this session?")
        lost = dialog.get_by_role("group", name="What would be lost")
        await expect(lost).to_contain_text("1 changed file not applied: long.txt")
        await expect(lost).to_contain_text(f"2 commits of {branch} that main does not have")
        await dialog.get_by_label("Keep the branch").check()
        await expect(lost).not_to_contain_text("commits of")
        await expect(dialog.get_by_role("button", name="Close session")).to_be_enabled()
        await dialog.get_by_role("button", name="Close session").click()
        await expect(dialog.get_by_role("list", name="Files that would be lost")).to_have_text("long.txt")
        assert await faults_of(page) == []
        await dialog.get_by_role("button", name="Close and lose that work").click()
        await expect(page.get_by_role("heading", name="There is no such session")).to_be_visible()
        assert git(repository, "rev-parse", "--verify", branch)
        assert not review.worktree.exists()
