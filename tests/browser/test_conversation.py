"""Reading a conversation in a real Chromium."""

from datetime import timedelta
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from coder.model.events import PermissionRequested, Reasoning, Text, ToolCallStarted
from coder.model.permissions import PermissionOption, PermissionRequest, PermissionStatus
from coder.model.tool_calls import TerminalOutput, ToolCall
from coder.model.values import now
from coder.testing.harness import LiveHost, open_live_host
from coder.testing.repositories import make_repository
from tests.browser.axe import faults_of
from tests.browser.pane import open_pane
from tests.browser.steps import open_session, send

SHOWN_ROWS = "document.querySelectorAll('[role=log] [data-key]').length"
ANSWER = (
    r"say # Title\n\nSome **bold** words and a [link](https://example.org).\n\n"
    r"```python\ndef f(x):\n    return 'x'\n```\n\n| a | b |\n| - | - |\n| 1 | 2 |\n"
)


LINES = "".join(f"line {number}\n" for number in range(200))
OUTPUT = f"{LINES}\x1b]8;;https://evil.example\x07click\x1b]8;;\x07 \x1b]0;owned\x07\x1b[31mred words\x1b[0m\n"
COLOURED = ToolCall(
    id="coloured",
    title="make \u202egnp",
    kind="execute",
    status="failed",
    terminals=(TerminalOutput(terminal_id="t", output=OUTPUT, truncated=False, exit_code=1),),
)


async def tell(live: LiveHost, session_id: str, count: int) -> None:
    """A long past, written straight into the journal: answers, thoughts and calls in turn."""
    for number in range(count):
        event = Text(text=f"Answer number {number}. " * 4, message_id=f"m{number}")
        if number % 5 == 3:
            event = Reasoning(text=f"Thought number {number}", message_id=f"m{number}")
        if number % 5 == 4:
            call = ToolCall(id=f"c{number}", title=f"Run step {number}", kind="execute", status="completed")
            event = ToolCallStarted(tool_call=call)
        await live.host.journal.append(session_id, event, agent="demo")
    await live.host.journal.flush_all()


async def session_of(page: Page) -> str:
    return page.url.rpartition("/")[2]


@pytest.mark.scenario("pane: Ten thousand records are read from their end")
@pytest.mark.scenario("pane: Words are found wherever they stand")
async def test_ten_thousand_records_are_read_and_searched(tmp_path: Path, database_url: str, browser: Browser):
    repository = make_repository(tmp_path / "sample")
    async with open_live_host(tmp_path / "home", database_url) as live:
        async with open_pane(browser, live) as page:
            await open_session(page, repository)
            await send(page, "say a needle in the hay")
            await expect(page.get_by_role("group", name="Turn ended: Done")).to_be_visible()
            await tell(live, await session_of(page), 10_000)
            await page.reload()
            log = page.get_by_role("log", name="Transcript")
            await expect(log).to_contain_text("Answer number 9997.")
            await page.keyboard.press("Control+f")
            find = page.get_by_role("search", name="Find in conversation")
            await find.get_by_role("searchbox").fill("NEEDLE in")
            await expect(find.get_by_role("status")).to_have_text("Not found")
            await find.get_by_role("button", name="Search earlier too").click()
            await expect(find.get_by_role("status")).to_have_text("2", timeout=60_000)
            await find.get_by_role("searchbox").press("Enter")
            await find.get_by_role("searchbox").press("Enter")
            await expect(page.get_by_role("article", name="Your prompt")).to_contain_text("a needle in the hay")
            await expect(page.get_by_role("article", name="Your prompt")).to_be_in_viewport()
            assert await page.evaluate("CSS.highlights.get('found-here').size") == 1
            assert await page.evaluate(SHOWN_ROWS) < 120
            await find.get_by_role("searchbox").press("Escape")
            await page.get_by_role("button", name="Jump to latest").click()
            await expect(log).to_contain_text("Answer number 9997.")


@pytest.mark.scenario("pane: What one reads stays where it is while more arrives")
async def test_a_reader_is_not_moved_by_what_arrives(tmp_path: Path, database_url: str, browser: Browser):
    repository = make_repository(tmp_path / "sample")
    async with open_live_host(tmp_path / "home", database_url) as live:
        async with open_pane(browser, live) as page:
            await open_session(page, repository)
            session_id = await session_of(page)
            await tell(live, session_id, 70)
            log = page.get_by_role("log", name="Transcript")
            await expect(log).to_contain_text("Answer number 67.")
            await log.hover()
            await page.mouse.wheel(0, -700)
            await expect(page.get_by_role("button", name="Jump to latest")).to_be_visible()
            row = log.locator("[data-key]").filter(has_text="Answer number 55.").first
            before = await row.bounding_box()
            await send(page, "stream 40 10; say the end of it")
            await expect(page.get_by_role("form", name="Prompt").get_by_role("button", name="Stop")).to_have_count(0)
            await expect(page.get_by_role("link", name="First session").get_by_role("img", name="Idle")).to_be_visible()
            assert await row.bounding_box() == before
            await page.get_by_role("button", name="Jump to latest").click()
            await expect(page.get_by_role("group", name="Turn ended: Done")).to_be_in_viewport()


@pytest.mark.scenario("pane: Answers are set in type, code in colours")
@pytest.mark.scenario("pane: Terminal output keeps its colours and nothing else")
@pytest.mark.scenario("pane: What a sub-agent does is inside of its card")
@pytest.mark.scenario("pane: What a lasting answer covers is said where the agent tells it")
async def test_answers_terminals_sub_agents_and_questions_are_shown_as_what_they_are(
    tmp_path: Path, database_url: str, browser: Browser
):
    repository = make_repository(tmp_path / "sample")
    async with open_live_host(tmp_path / "home", database_url) as live:
        async with open_pane(browser, live) as page:
            await open_session(page, repository)
            await send(page, ANSWER)
            answer = page.get_by_role("article", name="demo says")
            await expect(answer.get_by_role("heading", name="Title")).to_be_visible()
            await expect(answer.locator("strong")).to_have_text("bold")
            await expect(answer.get_by_role("table")).to_contain_text("1")
            await expect(answer.locator(".hljs-keyword").first).to_have_text("def")
            await expect(answer.locator("pre")).to_have_text("def f(x):\n    return 'x'\n")

            session_id = await session_of(page)
            await live.host.journal.append(session_id, ToolCallStarted(tool_call=COLOURED), agent="demo")
            card = page.get_by_role("region", name="Tool: make [U+202E]gnp")
            shown = card.get_by_label("Terminal · exit code 1", exact=True)
            await expect(shown).to_contain_text("click red words")
            await expect(shown.locator(".ansi-1")).to_have_text("red words")
            await expect(shown.get_by_role("link")).to_have_count(0)
            await expect(shown).not_to_contain_text("line 0\n")
            await card.get_by_role("button", name="Show all 201 lines").click()
            await expect(shown).to_contain_text("line 0\n")
            assert "owned" not in await page.title()

            await send(page, "delegate explore Find the parser; tool read src/a.py; say meanwhile; ask Look on; hang")
            agent = page.get_by_role("region", name="Sub-agent: Find the parser")
            await expect(agent).to_contain_text("explore")
            await expect(agent).to_contain_text("2 callsLook on")
            question = page.get_by_role("region", name="Permission request")
            await expect(question).not_to_contain_text("covers from now on")
            await question.get_by_role("button", name="Allow").first.click()
            await agent.get_by_role("button", name="Find the parser").click()
            inner = agent.get_by_role("group", name="Calls of the sub-agent")
            await expect(inner.get_by_role("region", name="Tool: src/a.py")).to_contain_text("Done")
            await expect(page.get_by_role("region", name="Tool: src/a.py")).to_have_count(1)
            await page.keyboard.press("Escape")
            await expect(agent).to_contain_text("Failed")

            asked = lasting_question(session_id)
            await live.host.journal.append(session_id, PermissionRequested(request=asked), agent="demo")
            await expect(question).to_contain_text("covers from now on bash npm test *bash npm U+202Erun *")
            assert await faults_of(page) == []


def lasting_question(session_id: str) -> PermissionRequest:
    """A question of an agent that tells what its lasting answer will be taken for."""
    once = PermissionOption(id="once", name="Once", kind="allow_once")
    covers = ("bash npm test *", "bash npm \u202erun *")
    always = PermissionOption(id="always", name="Always, really", kind="allow_always", covers=covers)
    return PermissionRequest(
        id="prm_1",
        session_id=session_id,
        task_id=None,
        agent="demo",
        tool_call=ToolCall(id="asked", title="npm test", kind="execute"),
        options=(once, always),
        status=PermissionStatus.PENDING,
        created_at=now(),
        expires_at=now() + timedelta(minutes=5),
    )
