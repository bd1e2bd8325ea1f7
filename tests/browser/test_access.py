"""The pane for everybody: axe finds nothing, a phone is enough, hostile text stays text."""

import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from coder.model.events import Reasoning, Text, ToolCallStarted
from coder.model.tool_calls import ContentBlock, TerminalOutput, ToolCall, ToolLocation
from coder.testing.harness import open_live_host
from coder.testing.repositories import make_repository
from tests.browser.axe import faults_of
from tests.browser.pane import open_pane
from tests.browser.steps import open_session, send

WORK = (
    r"think about it; plan +Read it, >Write it, Test it; tool read src/store.py; say # Found\n\nSome `code`:\n\n"
    r"```python\ndef f():\n    return 1\n```\n\n| a | b |\n| - | - |\n| 1 | [2](https://example.org) |\n;"
    r" usage 34000 200000; write notes.md # Notes\n; terminal printf 'a\033[31mb\033[0m'; ask Run the tests"
)
ATTACKS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<iframe src=https://elsewhere.example></iframe>",
    "<a href='javascript:alert(1)'>x</a>",
    "<style>*{background:url(https://elsewhere.example/a)}</style>",
    "<form action=https://elsewhere.example><button>go</button></form>",
    "<meta http-equiv=refresh content='0;url=https://elsewhere.example'>",
    "<base href=https://elsewhere.example/>",
    "<link rel=stylesheet href=https://elsewhere.example/a.css>",
    "<object data=https://elsewhere.example></object>",
    "<video src=https://elsewhere.example/a.mp4 autoplay></video>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](\tjavascript:alert(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](vbscript:msgbox(1))",
    "[x](//elsewhere.example)",
    "[x](/api/logout)",
    "[x](file:///etc/passwd)",
    "![x](https://elsewhere.example/p.png)",
    "![x](javascript:alert(1))",
    "![x][r]\n\n[r]: https://elsewhere.example/r.png",
    "[x][j]\n\n[j]: javascript:alert(1)",
    "<javascript:alert(1)>",
    "<https://elsewhere.example/auto>",
    "```html\n<script>alert(1)</script>\n```",
    "`<img src=x onerror=alert(1)>`",
    "\u202etxt.exe",
    "in\u200bvisi\u200dble",
    "\x1b]8;;https://elsewhere.example\x07link\x1b]8;;\x07",
    "\x1b]52;c;YQ==\x07",
    "\x1b]0;owned\x07",
    "\x1b[2J\x1b[H",
    "{{constructor.constructor('alert(1)')()}}",
    "${alert(1)}",
    "<x onclick=alert(1) tabindex=1 autofocus onfocus=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "\ud7ff\ue000\ufffd",
    "a" * 5000,
    "*" * 2000,
    "[" * 2000,
    "> " * 400 + "deep",
    "| a |\n| - |\n" + "| x |\n" * 200,
    "__proto__",
    "constructor",
    "\u0000\u0007\u009b31m",
    "&lt;script&gt;&#x61;lert(1)",
)


async def axe_finds_nothing(page: Page, state: str) -> None:
    found = await faults_of(page)
    assert found == [], (state, found)


@pytest.mark.scenario("pane: axe finds nothing on any screen")
async def test_axe_finds_nothing(tmp_path: Path, database_url: str, browser: Browser):
    repository = make_repository(tmp_path / "sample", {"src/store.py": "def f():\n    return 0\n"})
    async with open_live_host(tmp_path / "home", database_url) as live:
        stranger = await browser.new_page()
        await stranger.goto(live.url)
        await stranger.get_by_label("Login link or token").wait_for()
        await axe_finds_nothing(stranger, "login")
        async with open_pane(browser, live) as page:
            await axe_finds_nothing(page, "first run")
            await open_session(page, repository)
            await axe_finds_nothing(page, "blank session")
            await send(page, WORK)
            await page.get_by_role("region", name="Permission request").wait_for()
            for scheme in ("light", "dark"):
                await page.emulate_media(color_scheme=scheme)
                await axe_finds_nothing(page, f"permission, {scheme}")
            await page.get_by_role("textbox", name="Prompt").press("Alt+1")
            await expect(page.get_by_role("group", name="Turn ended: Done")).to_be_visible()
            await send(page, "fail out of cheese")
            await expect(page.get_by_role("group", name="Turn ended: Failed")).to_be_visible()
            await send(page, "say begun; hang")
            await expect(page.get_by_role("article", name="demo says").last).to_contain_text("begun")
            await send(page, "say waiting")
            await page.get_by_role("region", name="Queued prompt").wait_for()
            box = page.get_by_role("textbox", name="Prompt")
            await box.press_sequentially("see @st")
            await page.get_by_role("listbox", name="Files").wait_for()
            await axe_finds_nothing(page, "queue and completion")
            await box.press("Escape")
            for keys, part in (("Alt+f", "Files"), ("Alt+t", "Output"), ("Alt+l", "Plan"), ("Alt+c", "Changes")):
                await page.keyboard.press(keys)
                await page.get_by_role("complementary", name=part).wait_for()
                await axe_finds_nothing(page, part)
            await page.keyboard.press("Control+f")
            await page.get_by_role("searchbox", name="Words to find").fill("found")
            await axe_finds_nothing(page, "find")
            await page.keyboard.press("Escape")
            for keys, dialog in (("Control+k", "Commands"), ("Control+,", "Preferences"), ("Alt+n", "New session")):
                await page.keyboard.press(keys)
                await page.get_by_role("dialog", name=dialog).wait_for()
                await axe_finds_nothing(page, dialog)
                await page.keyboard.press("Escape")
            await page.keyboard.press("Alt+g")
            await page.get_by_role("heading", name="Agents").wait_for()
            await axe_finds_nothing(page, "agents")


@pytest.mark.scenario("pane: A phone is enough for the main job")
async def test_the_main_job_is_done_on_a_phone(tmp_path: Path, database_url: str, browser: Browser):
    repository = make_repository(tmp_path / "sample")
    async with open_live_host(tmp_path / "home", database_url) as live:

        async def small(page: Page) -> None:
            await page.set_viewport_size({"width": 390, "height": 844})

        async with open_pane(browser, live, before=small) as page:
            await open_session(page, repository)
            await send(page, r"ask Write note.txt; write note.txt hello\n; say all done")
            await (
                page.get_by_role("region", name="Permission request").get_by_role("button", name="Allow").first.click()
            )
            await expect(page.get_by_role("article", name="demo says")).to_contain_text("all done")
            await axe_finds_nothing(page, "conversation")
            columns = page.get_by_role("navigation", name="Columns")
            await columns.get_by_role("button", name="Changes").click()
            await expect(columns.get_by_role("button", name="Changes")).to_contain_text("1")
            await axe_finds_nothing(page, "changes")
            await page.get_by_role("button", name="Apply all").click()
            await expect(page.get_by_role("complementary", name="Changes")).to_contain_text("Nothing is waiting")
            assert (repository / "note.txt").read_text() == "hello\n"
            await page.get_by_role("button", name="Files", exact=True).click()
            await expect(page.get_by_role("tree", name="Files of the worktree")).to_contain_text("note.txt")
            await columns.get_by_role("button", name="Sessions").click()
            await axe_finds_nothing(page, "sessions")
            await page.get_by_role("link", name="First session").click()
            await expect(page.get_by_role("textbox", name="Prompt")).to_be_visible()
            wide = await page.evaluate("document.documentElement.scrollWidth")
            assert wide == 390


@pytest.mark.scenario("pane: A hundred hostile strings do nothing")
async def test_hostile_strings_do_nothing(tmp_path: Path, database_url: str, browser: Browser):
    repository = make_repository(tmp_path / "sample")
    async with open_live_host(tmp_path / "home", database_url) as live:
        async with open_pane(browser, live) as page:
            asked: list[str] = []
            dialogs: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            page.on("dialog", lambda dialog: dialogs.append(dialog.message))
            await open_session(page, repository)
            session_id = page.url.rpartition("/")[2]
            for number, attack in enumerate((*ATTACKS, *(f"- **{attack}**" for attack in ATTACKS))):
                terminal = TerminalOutput(terminal_id="t", output=attack)
                call = ToolCall(
                    id=f"c{number}",
                    title=attack[:300],
                    kind="execute",
                    status="failed",
                    content=(ContentBlock(kind="text", text=attack),),
                    locations=(ToolLocation(path=attack[:300]),),
                    terminals=(terminal,),
                )
                for event in (
                    Text(text=attack, message_id=f"m{number}"),
                    Reasoning(text=attack, message_id=f"r{number}"),
                    ToolCallStarted(tool_call=call),
                ):
                    await live.host.journal.append(session_id, event, agent="demo")
            await live.host.journal.append(session_id, Text(text="The end of it", message_id="end"), agent="demo")
            log = page.get_by_role("log", name="Transcript")
            await expect(log).to_contain_text("The end of it")
            for _ in range(200):
                await log.evaluate("log => { log.dispatchEvent(new WheelEvent('wheel')); log.scrollTop -= 600 }")
                bad = log.locator(
                    "script, iframe, object, video, style, base, meta, form, [onerror], [onclick], [style*=url]"
                )
                assert await bad.count() == 0
                links = await log.get_by_role("link").evaluate_all("all => all.map((one) => one.getAttribute('href'))")
                assert all(re.match(r"https?://|mailto:", str(link)) for link in links), links
            assert dialogs == []
            assert not [url for url in asked if not url.startswith((live.url, "data:", "blob:"))]
            assert "owned" not in await page.title()
