"""The pane in a real Chromium, on a real host with the scripted agent."""

import json
import sys
from pathlib import Path

import pytest
from playwright.async_api import Browser, WebSocketRoute, expect

from coder.protocol import ProviderPatch
from coder.testing.harness import open_live_host
from coder.testing.repositories import make_repository
from tests.browser.pane import open_pane
from tests.browser.steps import open_session, read_whole, send

HOSTILE = (
    "say <script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\">\\n\\n"
    "[run](javascript:document.title='owned') [away](https://elsewhere.example/page) "
    "![pixel](https://elsewhere.example/pixel.png)\\n\\nThe end of it"
)


@pytest.mark.scenario("pane: The main job is done in the browser")
@pytest.mark.scenario("pane: The login link leaves no token behind")
async def test_a_change_is_asked_for_watched_allowed_and_applied(tmp_path: Path, database_url: str, browser: Browser):
    repository = make_repository(tmp_path / "sample")
    async with open_live_host(tmp_path / "home", database_url) as live:
        async with open_pane(browser, live) as page:
            assert live.token not in page.url
            assert live.token not in str(await page.evaluate("document.cookie"))
            await open_session(page, repository)
            await send(
                page,
                "think A short note; say Working on it. ; stream 5 20; ask Write note.txt; write note.txt hello\\n",
            )
            log = page.get_by_role("log", name="Transcript")
            await expect(log).to_contain_text("Working on it.")
            question = page.get_by_role("region", name="Permission request")
            await expect(question).to_contain_text("Write note.txt")
            await expect(page.get_by_role("link", name="First session")).to_contain_text("Needs you")
            await question.get_by_role("button", name="Allow", exact=True).click()
            changes = page.get_by_role("complementary", name="Changes")
            await changes.get_by_role("button", name="Added note.txt").click()
            await expect(changes.get_by_role("listitem", name="note.txt").get_by_role("grid")).to_contain_text("hello")
            assert not (repository / "note.txt").exists()
            await changes.get_by_role("button", name="Apply note.txt").click()
            await expect(changes).to_contain_text("Nothing is waiting for a decision.")
            assert (repository / "note.txt").read_text() == "hello\n"
            await expect(page.get_by_role("link", name="First session").get_by_role("img", name="Idle")).to_be_visible()


@pytest.mark.scenario("pane: A dropped link is resumed without gap or double")
async def test_a_stream_is_whole_after_the_socket_dropped(tmp_path: Path, database_url: str, browser: Browser):
    repository = make_repository(tmp_path / "sample")
    sockets: list[WebSocketRoute] = []

    async def pass_on(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        socket.connect_to_server()

    async with open_live_host(tmp_path / "home", database_url) as live:
        async with open_pane(browser, live, before=lambda page: page.route_web_socket("**/api/ws", pass_on)) as page:
            await open_session(page, repository)
            await send(page, "stream 60 30; say the end")
            log = page.get_by_role("log", name="Transcript")
            await expect(log).to_contain_text("chunk 3 ")
            await sockets[-1].close(code=1012, reason="dropped")
            await expect(page.get_by_role("alert")).to_contain_text("The host is restarting")
            article = page.get_by_role("article", name="demo says")
            await expect(article).to_contain_text("the end")
            chunks = " ".join(f"chunk {number}" for number in range(60))
            assert (await article.inner_text()).split() == [*chunks.split(), "the", "end"]
            assert len(sockets) >= 2
            await expect(page.get_by_role("status", name="Connection")).to_contain_text("Connected")


@pytest.mark.scenario("pane: A prompt sent while the link is down arrives once")
async def test_a_prompt_sent_without_a_link_is_carried_out_once(tmp_path: Path, database_url: str, browser: Browser):
    repository = make_repository(tmp_path / "sample")
    sockets: list[WebSocketRoute] = []
    is_down = False

    async def pass_on(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        if is_down:
            await socket.close(code=1012)
        else:
            socket.connect_to_server()

    async with open_live_host(tmp_path / "home", database_url) as live:
        async with open_pane(browser, live, before=lambda page: page.route_web_socket("**/api/ws", pass_on)) as page:
            await open_session(page, repository)
            is_down = True
            await sockets[-1].close(code=1012)
            await expect(page.get_by_role("alert")).to_contain_text("nothing you sent is lost")
            await send(page, "counter")
            await expect(page.get_by_role("log")).to_contain_text("Sending…")
            is_down = False
            # at once, because the pane tries by itself too, and then the button is gone
            await page.get_by_role("button", name="Try now").evaluate_all(
                "found => found.forEach((one) => one.click())"
            )
            await expect(page.get_by_role("article", name="demo says")).to_contain_text("Prompt 1 of this conversation")
            await expect(page.get_by_role("group", name="Turn ended: Done")).to_have_count(1)
            await expect(page.get_by_role("article", name="Your prompt")).to_have_count(1)


@pytest.mark.scenario("pane: Two panes show the same")
@pytest.mark.scenario("pane: A reload in the middle of a turn loses nothing")
async def test_a_second_pane_and_a_reloaded_one_show_the_same(tmp_path: Path, database_url: str, browser: Browser):
    repository = make_repository(tmp_path / "sample")
    async with open_live_host(tmp_path / "home", database_url) as live:
        async with open_pane(browser, live) as first, open_pane(browser, live) as second:
            await open_session(first, repository, "Shared")
            await second.get_by_role("link", name="Shared").click()
            plan = "plan Look around, Write it down"
            await send(first, f"{plan}; tool read README.md; stream 40 25; ask Write a.txt; write a.txt a\\n; say done")
            await expect(first.get_by_role("log")).to_contain_text("chunk 5 ")
            await first.reload()
            question = second.get_by_role("region", name="Permission request")
            await question.wait_for()
            await expect(first.get_by_role("region", name="Permission request")).to_be_visible()
            await second.get_by_role("log").focus()
            await second.keyboard.press("1")
            for page in (first, second):
                await expect(page.get_by_role("group", name="Turn ended: Done")).to_be_visible()
                await expect(page.get_by_role("region", name="Permission request")).to_have_count(0)
                await expect(page.get_by_role("button", name="Apply a.txt")).to_be_visible()
            shown = [await page.get_by_role("log").inner_text() for page in (first, second)]
            assert shown[0] == shown[1]
            assert "chunk 39" in shown[0]
            await second.get_by_role("button", name="Apply all").click()
            await expect(first.get_by_role("complementary", name="Changes")).to_contain_text("Nothing is waiting")


@pytest.mark.scenario("pane: Text of an agent cannot run, load or lead astray")
async def test_hostile_text_is_shown_and_does_nothing(tmp_path: Path, database_url: str, browser: Browser):
    repository = make_repository(tmp_path / "sample")
    async with open_live_host(tmp_path / "home", database_url) as live:
        async with open_pane(browser, live) as page:
            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            await open_session(page, repository)
            await send(page, HOSTILE)
            answer = page.get_by_role("article", name="demo says")
            await expect(answer).to_contain_text("The end of it")
            assert await answer.locator("script, img, iframe, [onerror]").count() == 0
            assert await answer.get_by_role("link", name="run").count() == 0
            away = answer.get_by_role("link", name="away")
            assert await away.get_attribute("rel") == "noreferrer noopener"
            assert "owned" not in await page.title()
            assert not [url for url in asked if "elsewhere" in url]


@pytest.mark.scenario("pane: A turn can be stopped, a queued prompt withdrawn")
@pytest.mark.scenario("pane: A failed turn says why and can be tried again")
async def test_turns_are_stopped_withdrawn_and_retried(tmp_path: Path, database_url: str, browser: Browser):
    repository = make_repository(tmp_path / "sample")
    async with open_live_host(tmp_path / "home", database_url) as live:
        async with open_pane(browser, live) as page:
            await open_session(page, repository)
            await send(page, "say one; hang")
            await expect(page.get_by_role("article", name="demo says")).to_contain_text("one")
            await send(page, "say never")
            queued = page.get_by_role("region", name="Queued prompt")
            await expect(queued).to_contain_text("say never")
            await queued.get_by_role("button", name="Cancel queued prompt").click()
            await expect(queued).to_have_count(0)
            await page.keyboard.press("Escape")
            await expect(page.get_by_role("group", name="Turn ended: Stopped").first).to_be_visible()
            await send(page, "fail out of cheese")
            failed = page.get_by_role("group", name="Turn ended: Failed")
            await expect(failed).to_contain_text("out of cheese")
            await expect(
                page.get_by_role("link", name="First session").get_by_role("img", name="Failed")
            ).to_be_visible()
            await failed.get_by_role("button", name="Retry").click()
            await expect(failed).to_have_count(2)


@pytest.mark.scenario("pane: A conflict is said and nothing is written")
@pytest.mark.scenario("pane: A rejected file goes back, an applied one can be reverted")
async def test_changes_are_refused_rejected_and_reverted(tmp_path: Path, database_url: str, browser: Browser):
    repository = make_repository(tmp_path / "sample", {"a.txt": "a\n", "b.txt": "b\n"})
    async with open_live_host(tmp_path / "home", database_url) as live:
        async with open_pane(browser, live) as page:
            await open_session(page, repository)
            await send(page, "write a.txt changed\\n; write b.txt changed\\n; write c.txt new\\n")
            changes = page.get_by_role("complementary", name="Changes")
            await changes.get_by_role("button", name="Reject c.txt").click()
            await changes.get_by_role("button", name="Reject", exact=True).click()
            await expect(changes.get_by_role("button", name="Apply c.txt")).to_have_count(0)
            (repository / "a.txt").write_text("mine\n")
            await changes.get_by_role("button", name="Apply a.txt").click()
            await expect(changes.get_by_role("alert")).to_contain_text("a.txt")
            assert (repository / "a.txt").read_text() == "mine\n"
            await changes.get_by_role("button", name="Apply b.txt").click()
            await changes.get_by_role("tab", name="Decisions").click()
            await changes.get_by_role("button", name="Revert b.txt").click(trial=True)
            assert (repository / "b.txt").read_text() == "changed\n"
            await changes.get_by_role("button", name="Revert b.txt").click()
            await changes.get_by_role("tab", name="Files").click()
            await expect(changes.get_by_role("button", name="Apply b.txt")).to_be_visible()
            assert (repository / "b.txt").read_text() == "b\n"


@pytest.mark.scenario("pane: Only agents that can work are offered")
async def test_a_switched_off_agent_is_not_offered(tmp_path: Path, database_url: str, browser: Browser):
    repository = make_repository(tmp_path / "sample")
    async with open_live_host(tmp_path / "home", database_url) as live:
        async with open_pane(browser, live) as page:
            await open_session(page, repository)
            options = page.get_by_label("Agent", exact=True).locator("option")
            await expect(options.filter(has_text="Demo")).to_have_count(1)
            await page.get_by_role("link", name="Agents").click()
            switch = page.get_by_role("switch", name="Use Demo")
            await expect(switch).to_be_checked()
            await switch.click()
            await expect(switch).not_to_be_checked()
            await page.get_by_role("link", name="First session").click()
            await expect(page.get_by_role("form", name="Prompt")).to_be_visible()
            await expect(options.filter(has_text="Demo")).to_have_count(0)


@pytest.mark.scenario("pane: An agent that wants a login is not offered until somebody has signed in")
async def test_an_agent_that_refuses_a_prompt_for_want_of_a_login_is_signed_out(
    tmp_path: Path, database_url: str, browser: Browser
):
    repository, home = make_repository(tmp_path / "sample"), tmp_path / "home"
    home.mkdir()
    env = {"DEMO_LOGIN_NEEDED": "prompt", "XDG_STATE_HOME": str(tmp_path / "state")}
    (home / "coder-providers.json").write_text(json.dumps({"providers": {"demo": {"env": env}}}))
    async with open_live_host(home, database_url) as live:
        async with open_pane(browser, live) as page:
            await open_session(page, repository)
            await send(page, "say hello")
            await expect(page.get_by_role("log", name="Transcript")).to_contain_text("Demo wants a login first")
            form = page.get_by_role("form", name="Prompt")
            await expect(form).to_contain_text("Demo is signed out.")
            await form.get_by_role("link", name="What to do").click()
            await expect(page.get_by_text("nobody is signed in; run in a terminal")).to_be_visible()

            login = tmp_path / "state" / "coder-demo" / "login"
            login.touch()
            await page.get_by_role("button", name="Check again").first.click()
            await page.get_by_role("link", name="First session").click()
            await expect(form).not_to_contain_text("signed out")
            await send(page, "say signed in now")
            await expect(page.get_by_role("log", name="Transcript")).to_contain_text("signed in now")


@pytest.mark.scenario("pane: Without a login there is a form")
async def test_a_stranger_sees_a_login_form(tmp_path: Path, database_url: str, browser: Browser):
    async with open_live_host(tmp_path / "home", database_url) as live:
        page = await browser.new_page()
        await page.goto(live.url)
        token = page.get_by_label("Login link or token")
        await token.fill("not the token of this host")
        await page.get_by_role("button", name="Log in").click()
        await expect(page.get_by_role("alert")).to_contain_text("not the one of this host")
        await token.fill(f"{live.url}/#token={live.token}")
        await page.get_by_role("button", name="Log in").click()
        await expect(page.get_by_role("heading", name="Start with a repository")).to_be_visible()
        await page.get_by_role("button", name="Log out").click()
        await expect(page.get_by_role("heading", name="Log in to coder")).to_be_visible()
        await page.reload()
        await expect(page.get_by_role("heading", name="Log in to coder")).to_be_visible()


@pytest.mark.scenario("pane: Older records are loaded on demand")
async def test_a_long_session_shows_its_beginning_on_demand(tmp_path: Path, database_url: str, browser: Browser):
    repository = make_repository(tmp_path / "sample")
    async with open_live_host(tmp_path / "home", database_url) as live:
        async with open_pane(browser, live) as page:
            await open_session(page, repository)
            pieces = "".join(f"think about it; say piece {number} ; " for number in range(200))
            await send(page, f"say The very first words. ; {pieces}say The last words.")
            log = page.get_by_role("log", name="Transcript")
            await expect(page.get_by_role("group", name="Turn ended: Done")).to_be_visible()
            whole = await read_whole(log)
            await page.reload()
            await expect(log).to_contain_text("The last words.")
            await expect(log).not_to_contain_text("The very first words.")
            await expect(page.get_by_role("button", name="Show earlier")).to_be_attached()
            await page.keyboard.press("Alt+Home")
            await expect(log).to_contain_text("The very first words.")
            assert await read_whole(log) == whole


@pytest.mark.scenario("pane: Waiting prompts are reordered, and one goes first")
async def test_waiting_prompts_change_places_and_one_interrupts(tmp_path: Path, database_url: str, browser: Browser):
    repository = make_repository(tmp_path / "sample")
    async with open_live_host(tmp_path / "home", database_url) as live:
        async with open_pane(browser, live) as page:
            await open_session(page, repository)
            await send(page, "say begun; hang")
            log = page.get_by_role("log", name="Transcript")
            # the prompt itself holds the word too, and waits like the others until its turn begins
            await expect(page.get_by_role("article", name="demo says")).to_contain_text("begun")
            await send(page, "say first words")
            await send(page, "say second words")
            queued = page.get_by_role("region", name="Queued prompt")
            await expect(queued).to_have_count(2)
            await queued.last.get_by_role("button", name="Move queued prompt up").click()
            await expect(queued.first).to_contain_text("second words")
            await page.get_by_role("textbox", name="Prompt").fill("say urgent words")
            await page.get_by_role("button", name="Interrupt").click()
            await expect(queued).to_have_count(0)
            await expect(page.get_by_role("group", name="Turn ended: Done")).to_have_count(3)
            said = await log.inner_text()
            assert said.index("urgent words") < said.index("second words") < said.index("first words")


@pytest.mark.scenario("pane: A prompt joins the running turn")
async def test_prompts_join_the_running_turn_from_the_keyboard_and_from_the_queue(
    tmp_path: Path, database_url: str, browser: Browser
):
    repository = make_repository(tmp_path / "sample")
    async with open_live_host(tmp_path / "home", database_url) as live:
        async with open_pane(browser, live) as page:
            await open_session(page, repository)
            await send(page, "say begun; listen")
            answer = page.get_by_role("article", name="demo says")
            await expect(answer).to_contain_text("begun")
            box = page.get_by_role("textbox", name="Prompt")
            await box.fill("say \\sone; listen")
            await expect(page.get_by_role("button", name="Interrupt")).to_be_visible()
            await expect(page.get_by_role("button", name="Steer")).to_be_visible()
            await box.press("Control+Enter")
            await expect(answer.last).to_contain_text("one")
            await send(page, "say \\stwo")
            queued = page.get_by_role("region", name="Queued prompt")
            await queued.get_by_role("button", name="Send queued prompt now").click()
            await expect(queued).to_have_count(0)
            await expect(page.get_by_role("group", name="Turn ended: Done")).to_be_visible()
            await expect(page.get_by_role("group", name="Turn ended")).to_have_count(1)
            await expect(page.get_by_role("article", name="Your prompt")).to_have_count(3)
            await expect(page.get_by_role("log")).to_contain_text("added to the turn of demo")
            await expect(answer.last).to_contain_text("two")


@pytest.mark.scenario("pane: Where an agent takes no input, sending now stops its turn")
async def test_sending_now_stops_the_turn_of_an_agent_that_takes_no_input(
    tmp_path: Path, database_url: str, browser: Browser
):
    repository = make_repository(tmp_path / "sample")
    program = Path(__file__).parents[1] / "contract" / "unsteerable_agent.py"
    async with open_live_host(tmp_path / "home", database_url) as live:
        deaf = {"extends": "acp", "label": "Deaf", "command": [sys.executable, str(program)]}
        patch = ProviderPatch.model_validate({"providers": {"deaf": deaf}})
        await live.host.providers.patch(patch, merge_fields=False, may_write_code=True)
        async with open_pane(browser, live) as page:
            await open_session(page, repository)
            await page.get_by_label("Agent", exact=True).select_option("deaf")
            await send(page, "say begun; hang")
            log = page.get_by_role("log", name="Transcript")
            answer = page.get_by_role("article", name="deaf says")
            await expect(answer).to_contain_text("begun")
            await send(page, "say waiting words")
            await send(page, "say queued words; hang")
            queued = page.get_by_role("region", name="Queued prompt")
            await expect(queued).to_have_count(2)
            await queued.last.get_by_role("button", name="Send queued prompt now").click()
            await expect(answer.last).to_contain_text("queued words")
            box = page.get_by_role("textbox", name="Prompt")
            await box.fill("say urgent words")
            await expect(page.get_by_role("button", name="Steer")).to_have_count(0)
            await box.press("Control+Enter")
            await expect(page.get_by_role("group", name="Turn ended: Done")).to_have_count(2)
            said = await log.inner_text()
            assert said.index("queued words") < said.index("urgent words") < said.index("waiting words")
