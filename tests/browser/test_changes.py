"""Reviewing changes in a real Chromium, on a real host with the scripted agent."""

from pathlib import Path
from typing import Literal

import anyio
import pytest
from playwright.async_api import Browser, Route, expect

from coder.testing.repositories import git
from tests.browser.axe import faults_of
from tests.browser.review import TEXT, open_review, replaced, three_hunks, written
from tests.browser.steps import send


@pytest.mark.scenario("pane: One hunk is applied and another rejected with a reason")
async def test_hunks_are_applied_and_rejected_with_a_reason(
    tmp_path: Path, database_url: str, browser: Browser
) -> None:
    async with open_review(tmp_path, database_url, browser, three_hunks()) as review:
        await review.button("Modified long.txt").click()
        await review.button("Apply hunk 1 of long.txt").click()
        await expect(review.changes.get_by_role("grid")).to_have_count(2)
        assert (review.repository / "long.txt").read_text() == replaced(n3="three")
        await review.button("Reject hunk 2 of long.txt").click()
        await review.changes.get_by_label("Reason").fill("too old")
        await review.button("Reject").click()
        await expect(review.changes.get_by_role("grid")).to_have_count(1)
        assert (review.worktree / "long.txt").read_text() == replaced(n3="three", n20="twenty\nand more")
        await expect(review.file("long.txt")).to_contain_text("+2")
        await expect(review.page.get_by_role("log")).to_contain_text("Changed 1 file")
        await review.tab("Decisions")
        decided = review.changes.get_by_role("listitem")
        await expect(decided.first).to_contain_text("Rejected 1 hunk of long.txt")
        await expect(decided.first).to_contain_text("too old")
        await expect(review.changes.get_by_role("listitem", name="Applied 1 hunk of long.txt")).to_be_visible()


@pytest.mark.scenario("pane: Lines are selected with the mouse and with the keyboard")
async def test_lines_are_dragged_over_and_walked(tmp_path: Path, database_url: str, browser: Browser) -> None:
    new = "new.txt"
    async with open_review(tmp_path, database_url, browser, written(new, "one\ntwo\nthree\nfour\nfive\n")) as review:
        page = review.page
        await review.button("Added new.txt").click()
        gutters = review.changes.locator("td[data-gutter]").filter(has_text="2")
        await gutters.hover()
        await page.mouse.down()
        await review.changes.locator("td[data-gutter]").filter(has_text="3").hover()
        await page.mouse.up()
        await expect(review.changes.get_by_role("gridcell", selected=True)).to_have_text(["two", "three"])
        await review.button("Apply 2 lines of new.txt").click()
        await expect(review.changes.get_by_role("gridcell", name="Unchanged line 2: two")).to_be_visible()
        assert (review.repository / new).read_text() == "two\nthree\n"
        cell = review.changes.get_by_role("gridcell", name="Added line 4: four")
        await cell.focus()
        await page.keyboard.press("Shift+ArrowDown")
        await expect(review.changes.get_by_role("gridcell", selected=True)).to_have_text(["four", "five"])
        await page.keyboard.press("Space")
        await expect(review.changes.get_by_role("gridcell", selected=True)).to_have_text(["four"])
        await page.keyboard.press("a")
        await expect(review.file(new)).to_contain_text("+2")
        assert (review.repository / new).read_text() == "two\nthree\nfour\n"


@pytest.mark.scenario("pane: A review is done by keyboard alone")
async def test_a_review_is_done_with_keys(tmp_path: Path, database_url: str, browser: Browser) -> None:
    verbs = f"{three_hunks()}; write a.txt a\\n; write b.txt b\\n"
    async with open_review(tmp_path, database_url, browser, verbs) as review:
        press = review.page.keyboard.press
        await review.button("Added a.txt").focus()
        await press("v")
        await expect(review.button("Not viewed: a.txt")).to_be_visible()
        await press("a")
        await expect(review.file("a.txt")).to_have_count(0)
        await expect(review.button("Added b.txt")).to_be_focused()
        await press("r")
        await review.page.keyboard.type("not needed")
        await press("Enter")
        await expect(review.file("b.txt")).to_have_count(0)
        assert not (review.worktree / "b.txt").exists()
        await expect(review.button("Modified long.txt")).to_be_focused()
        await press("ArrowRight")
        hunks = review.changes.locator("[data-stop=hunk]")
        await expect(hunks).to_have_count(3)
        await press("j")
        await expect(hunks.nth(0)).to_be_focused()
        await press("a")
        await expect(hunks).to_have_count(2)
        await expect(hunks.nth(0)).to_be_focused()
        await press("Enter")
        await press("ArrowDown")
        await expect(review.changes.get_by_role("gridcell", name="Added line 20: twenty")).to_be_focused()
        await press("c")
        await review.page.keyboard.type("Why two?")
        await press("Enter")
        await expect(review.changes.get_by_role("article")).to_contain_text("Why two?")
        await expect(review.changes.get_by_role("gridcell", name="Added line 20: twenty")).to_be_focused()
        await press("Escape")
        await expect(hunks.nth(0)).to_be_focused()
        await press("j")
        await press("r")
        await press("Enter")
        await expect(hunks).to_have_count(1)
        assert (review.repository / "long.txt").read_text() == replaced(n3="three")
        assert (review.worktree / "long.txt").read_text() == replaced(n3="three", n20="twenty\nand more")


@pytest.mark.scenario("pane: A hunk that has changed is shown anew")
async def test_a_stale_hunk_is_refused_in_words_and_the_file_shown_anew(
    tmp_path: Path, database_url: str, browser: Browser
) -> None:
    async with open_review(tmp_path, database_url, browser, three_hunks()) as review:
        await review.button("Modified long.txt").click()
        grids = review.changes.get_by_role("grid")
        await expect(grids).to_have_count(3)
        is_slow = anyio.Event()

        async def wait(route: Route) -> None:
            if route.request.method == "GET":
                await is_slow.wait()
            await route.continue_()

        await review.page.route("**/api/changes/chg_*", wait)
        (change,) = (await review.client.changes(review.session_id)).items
        first = (await review.client.change(change.id)).hunks[0]
        await review.client.apply_change(change.id, hunks=(first.id,))
        await expect(review.file("long.txt")).to_contain_text("+3")
        await review.button("Apply hunk 1 of long.txt").click()
        await expect(review.changes.get_by_role("alert")).to_contain_text("changed since you looked")
        is_slow.set()
        await expect(grids).to_have_count(2)
        await expect(review.changes.get_by_role("alert")).to_contain_text("decide again")
        assert (review.repository / "long.txt").read_text() == replaced(n3="three")


@pytest.mark.scenario("pane: A conflict shows both sides")
async def test_a_conflict_is_shown_with_both_sides(tmp_path: Path, database_url: str, browser: Browser) -> None:
    async with open_review(tmp_path, database_url, browser, f"{three_hunks()}; write a.txt a\\n") as review:
        (review.repository / "long.txt").write_text(replaced(n3="mine"))
        await review.button("Apply all").click()
        conflict = review.changes.get_by_role("region", name="Conflict", exact=True)
        await expect(conflict.get_by_role("alert")).to_contain_text("Nothing was written")
        shown = review.changes.get_by_role("region", name="Conflict in long.txt")
        for words in ("mine", "line 3", "three"):
            await expect(shown).to_contain_text(words)
        await conflict.get_by_role("button", name="The file as it is").click()
        await expect(shown.get_by_role("gridcell", name="Added line 3: mine")).to_be_visible()
        await review.tab("Checkpoints")
        await review.tab("Files")
        await expect(conflict).to_be_visible()
        assert not (review.repository / "a.txt").exists()
        await conflict.get_by_role("button", name="Apply the 1 file that may fit").click()
        await expect(review.file("a.txt")).to_have_count(0)
        assert (review.repository / "a.txt").read_text() == "a\n"
        assert (review.repository / "long.txt").read_text() == replaced(n3="mine")


@pytest.mark.scenario("pane: What is no text says what it is")
async def test_what_is_no_text_is_named(tmp_path: Path, database_url: str, browser: Browser) -> None:
    async with open_review(tmp_path, database_url, browser, None) as review:
        tree = review.worktree
        (tree / "data/logo.bin").write_bytes(bytes(range(255, -1, -1)))
        (tree / "empty.txt").touch()
        (tree / "link").symlink_to("README.md")
        (tree / "run.sh").write_text("#!/bin/sh\n")
        (tree / "run.sh").chmod(0o755)
        (tree / "hidden.txt").write_text("safe\u202e\n\n\n\n\n\n\n\n\nend")
        (tree / "long.txt").rename(tree / "renamed.txt")
        await review.turn("say done")
        await expect(review.changes.get_by_role("tab", name="Files")).to_contain_text("6")
        await review.button("Open all files").click()
        for path, words in (
            ("data/logo.bin", "A binary file"),
            ("empty.txt", "An empty file"),
            ("link", "A symbolic link"),
            ("run.sh", "An executable file"),
            ("renamed.txt", "Renamed from long.txt"),
            ("hidden.txt", "U+202E"),
        ):
            await expect(review.file(path)).to_contain_text(words)
        await expect(review.file("hidden.txt")).to_contain_text("no line end")
        await expect(review.file("link").get_by_role("grid")).not_to_have_attribute("aria-multiselectable", "true")
        await review.button("Apply all").click()
        await expect(review.changes).to_contain_text("Nothing is waiting")
        assert (review.repository / "link").is_symlink()


@pytest.mark.scenario("pane: A queued rejection is withdrawn")
async def test_a_rejection_during_a_turn_is_queued_and_can_be_withdrawn(
    tmp_path: Path, database_url: str, browser: Browser
) -> None:
    async with open_review(tmp_path, database_url, browser, f"{three_hunks()}; write a.txt a\\n") as review:
        await send(review.page, "say begun; hang")
        await expect(review.page.get_by_role("article", name="demo says").last).to_contain_text("begun")
        await review.button("Reject a.txt").click()
        await expect(review.changes).to_contain_text("A turn is running: this is carried out when it ends.")
        await review.changes.get_by_label("Reason").press("Enter")
        await review.button("Modified long.txt").click()
        await review.button("Reject hunk 2 of long.txt").click()
        await review.changes.get_by_label("Reason").fill("one line is enough")
        await review.changes.get_by_label("Reason").press("Enter")
        queued = review.changes.get_by_role("group", name="Queued rejection")
        await expect(queued).to_contain_text(["the whole file", "1 hunk when the turn ends"])
        await expect(queued.last).to_contain_text("one line is enough")
        await expect(review.button("Apply a.txt")).to_be_disabled()
        await expect(review.changes).to_contain_text("rejection queued")
        await review.tab("Decisions")
        await expect(review.changes.get_by_role("listitem", name="Reject a.txt")).to_contain_text(
            "waits for the turn's end"
        )
        await review.button("Withdraw the rejection of a.txt").click()
        await expect(review.changes.get_by_role("listitem", name="Reject a.txt")).to_contain_text("withdrawn")
        await review.tab("Files")
        await expect(queued).to_have_count(1)
        assert (review.worktree / "long.txt").read_text() != replaced(n3="three", n38="thirty-eight")
        await review.page.keyboard.press("Escape")
        await expect(queued).to_have_count(0)
        await expect(review.button("Apply a.txt")).to_be_enabled()
        assert (review.worktree / "long.txt").read_text() == replaced(n3="three", n38="thirty-eight")
        assert (review.worktree / "a.txt").exists()


@pytest.mark.scenario("pane: A checkpoint is looked at, restored and undone")
async def test_a_checkpoint_is_restored_and_that_undone(tmp_path: Path, database_url: str, browser: Browser) -> None:
    async with open_review(tmp_path, database_url, browser, "write a.txt a\\n") as review:
        await review.turn("write a.txt again\\n; write b.txt b\\n")
        await review.tab("Checkpoints")
        preview = review.changes.get_by_role("group", name="What a restore would change")
        await review.changes.locator("[data-stop=checkpoint]").last.click()
        await expect(preview).to_contain_text("The conversation with demo goes back too.")
        await review.changes.locator("[data-stop=checkpoint]").last.click()
        await review.changes.locator("[data-stop=checkpoint]").nth(1).click()
        await expect(preview.get_by_role("listitem")).to_contain_text(["a.txt", "b.txt"])
        await preview.get_by_role("button", name="Restore 2 files").click()
        await expect(preview).to_contain_text("Everything is as it was then.")
        assert (review.worktree / "a.txt").read_text() == "a\n"
        assert not (review.worktree / "b.txt").exists()
        await review.button("Undo").click()
        await expect(preview.get_by_role("button", name="Restore 2 files")).to_be_visible()
        assert (review.worktree / "a.txt").read_text() == "again\n"
        assert (review.worktree / "b.txt").exists()


@pytest.mark.scenario("pane: Lines around a hunk are shown when asked for")
@pytest.mark.scenario("pane: Comments are written, answered and sent as one review")
async def test_lines_around_hunks_are_shown_and_comments_go_to_the_agent(
    tmp_path: Path, database_url: str, browser: Browser
) -> None:
    async with open_review(tmp_path, database_url, browser, three_hunks()) as review:
        await review.button("Modified long.txt").click()
        await review.button("Show 10 lines from line 7").click()
        cell = review.changes.get_by_role("grid", name="Lines 7 to 16 of long.txt").get_by_role("gridcell")
        await expect(cell).to_have_text([f"line {number}" for number in range(7, 17)])
        await cell.nth(2).focus()
        await review.page.keyboard.press("c")
        await review.page.keyboard.type("Still so?")
        await review.page.keyboard.press("Enter")
        thread = review.changes.get_by_role("article").filter(has_text="Still so?")
        await expect(thread).to_have_count(1)
        await thread.get_by_role("button", name="Resolve").click()
        await review.changes.locator("[data-stop=hunk]").last.press("e")
        # one line more stands above it, so that its numbers differ on the two sides
        await expect(review.changes.get_by_role("gridcell", name="Unchanged line 30: line 29")).to_be_visible()
        await expect(review.changes.get_by_role("group", name="Left out")).to_have_count(0)
        for line, words in (("Added line 3: three", "say Understood."), ("Added line 21: and more", "Is this needed?")):
            cell = review.changes.get_by_role("gridcell", name=line)
            await cell.hover()
            await review.button(f"Comment on line {3 if 'three' in line else 21}").click()
            await review.changes.get_by_role("textbox", name="Comment on line").fill(words)
            await review.button("Comment").click()
            await expect(review.changes.get_by_role("article").filter(has_text=words)).to_be_visible()
        said = ("say Understood.", "Is this needed?")
        first, second = (review.changes.get_by_role("article").filter(has_text=words) for words in said)
        await first.get_by_label("Reply").fill("Please do.")
        await first.get_by_role("button", name="Reply").click()
        await expect(first).to_contain_text("Please do.")
        await second.get_by_role("button", name="Resolve").click()
        await expect(second).to_contain_text("resolved by")
        await review.tab("Comments")
        await expect(review.changes.get_by_role("tab", name="Comments")).to_contain_text("1")
        await review.button("Send review to").click()
        prompt = review.page.get_by_role("article", name="Your prompt").last
        await expect(prompt).to_contain_text("long.txt:3")
        await expect(prompt).to_contain_text("Please do.")
        await expect(prompt).not_to_contain_text("Is this needed?")
        await expect(first).to_contain_text("sent")
        await (
            review.page.get_by_role("region", name="Permission request")
            .get_by_role("button", name="Allow")
            .first.click()
        )
        await expect(review.page.get_by_role("group", name="Turn ended")).to_have_count(2)
        await review.turn(written("long.txt", replaced(n3="3", n20="twenty\nand more", n38="thirty-eight")))
        settled = review.changes.get_by_role("article").filter(has_text="say Understood.")
        await expect(settled).to_contain_text("resolved by host")
        await expect(review.changes.get_by_role("form", name="Send review")).to_have_count(0)


@pytest.mark.scenario("pane: Authors and secrets are marked, and secrets are not applied by themselves")
async def test_hands_and_secrets_are_marked_and_secrets_wait(
    tmp_path: Path, database_url: str, browser: Browser
) -> None:
    async with open_review(tmp_path, database_url, browser, None) as review:
        (review.worktree / ".env").write_text("TOKEN=1\n")
        (review.worktree / "README.md").write_text("# Mine\n")
        await review.turn("write a.txt a\\n")
        await expect(review.file("README.md")).to_contain_text("user")
        await expect(review.file("a.txt")).to_contain_text("demo")
        await expect(review.file(".env")).to_contain_text("secret")
        switch = review.changes.get_by_role("switch", name="Apply automatically")
        await switch.click()
        await expect(switch).to_be_checked()
        await review.turn("edit README.md Mine => Ours")
        await expect(review.changes.locator("[data-stop=file]")).to_have_count(1)
        await expect(review.file(".env")).to_be_visible()
        assert (review.repository / "README.md").read_text() == "# Ours\n"
        assert not (review.repository / ".env").exists()
        await review.tab("Decisions")
        await expect(review.changes.get_by_role("listitem").first).to_contain_text("auto")


@pytest.mark.scenario("pane: Changes are committed to the branch where a person says so")
async def test_a_hunk_is_committed_to_the_branch_and_taken_off_again(
    tmp_path: Path, database_url: str, browser: Browser
) -> None:
    async with open_review(tmp_path, database_url, browser, three_hunks()) as review:
        await review.changes.get_by_label("Where changes are applied").select_option("Apply to the branch")
        await review.page.reload()
        await review.button("Modified long.txt").click()
        await review.button("Apply hunk 1 of long.txt").click()
        await expect(review.changes.get_by_role("grid")).to_have_count(2)
        assert (review.repository / "long.txt").read_text() == TEXT
        (session,) = (await review.client.sessions()).items
        shown = f"{session.branch}:long.txt"
        assert git(review.repository, "show", shown) == replaced(n3="three").removesuffix("\n")
        await review.tab("Decisions")
        await expect(review.changes).to_contain_text("Applied 1 hunk of long.txt to the branch")
        await review.button("Revert long.txt").click()
        await expect(review.changes).to_contain_text("Reverted")
        assert git(review.repository, "show", shown) == TEXT.removesuffix("\n")


@pytest.mark.scenario("pane: Every state of a review is accessible")
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_in_a_review(
    tmp_path: Path, database_url: str, browser: Browser, scheme: Literal["light", "dark"]
) -> None:
    async with open_review(
        tmp_path, database_url, browser, f"{three_hunks()}; write a.txt a\\n; write .env b\\n"
    ) as review:
        page = review.page
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        await review.button("Modified long.txt").click()
        await review.changes.get_by_role("gridcell", name="Added line 3: three").click()
        await page.keyboard.press("Space")
        await page.keyboard.press("c")
        await page.keyboard.type("Why?")
        await page.keyboard.press("Enter")
        await expect(review.changes.get_by_role("article")).to_be_visible()
        await page.keyboard.press("c")
        await review.button("Reject a.txt").click()
        assert await faults_of(page) == []
        await review.button("Keep").click()
        (review.repository / "long.txt").write_text(replaced(n3="mine"))
        await review.button("Apply long.txt").click()
        await expect(review.changes.get_by_role("region", name="Conflict", exact=True)).to_be_visible()
        assert await faults_of(page) == []
        await review.button("Apply a.txt").click()
        for name, words in (
            ("Comments", "Send review"),
            ("Checkpoints", "After a turn"),
            ("Decisions", "Applied a.txt"),
        ):
            await review.tab(name)
            await expect(review.changes).to_contain_text(words)
            for stop in await review.changes.locator("[data-stop]").all():
                await stop.click()
            await expect(review.changes).not_to_contain_text("Loading")
            assert await faults_of(page) == []


@pytest.mark.scenario("pane: A viewed mark goes stale")
@pytest.mark.scenario("pane: The split view is remembered")
async def test_marks_and_the_split_view_survive_a_reload(tmp_path: Path, database_url: str, browser: Browser) -> None:
    verbs = 'edit src/hello.py return "hello" => return "hello world"; write a.txt a\\n'
    async with open_review(tmp_path, database_url, browser, verbs) as review:
        await review.button("Viewed: a.txt").click()
        await review.button("Split view").click()
        await review.page.reload()
        await expect(review.changes).to_contain_text("1 of 2 viewed")
        await expect(review.button("Split view")).to_have_attribute("aria-pressed", "true")
        await review.button("Modified src/hello.py").click()
        row = review.changes.get_by_role("row").filter(has_text="hello world")
        await expect(row.get_by_role("gridcell")).to_have_text(['    return "hello"', '    return "hello world"'])
        await expect(row.locator(".code-word")).to_have_text("world")
        await expect(row.locator(".hljs-keyword").first).to_have_text("return")
        await review.turn("write a.txt b\\n")
        await expect(review.file("a.txt")).to_contain_text("changed since")
        await expect(review.changes).to_contain_text("0 of 2 viewed")
