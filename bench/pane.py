"""The pane on a session of 10,000 records: its first paint, and the frames dropped while records stream."""

import gzip
import os
import re
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from playwright.async_api import CDPSession, Page, async_playwright

from bench.native_programs import Programs
from bench.rows import Row, median
from bench.stage import Stage, open_stage
from coder import resources
from coder.protocol import Prompt

RECORDS, ROUNDS, SECONDS = 10_000, 5, 5
_WATCH = """(length) => new Promise((done) => {
  const times = [];
  const step = (now) => {
    times.push(now);
    if (now - times[0] < length) requestAnimationFrame(step);
    else done(times.slice(1).map((time, at) => time - times[at]));
  };
  requestAnimationFrame(step);
})"""
_PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


async def measure(programs: Programs, work: Path) -> list[Row]:
    """Medians; a frame is dropped where the next one comes a whole frame late."""
    with tempfile.TemporaryDirectory(prefix="coder-bench-") as folder:
        async with open_stage(Path(folder), programs.agent) as stage, _open_page(stage) as page:
            session = await stage.open_session()
            words = "".join(
                f"think about step {number}; say words of step {number} ; " for number in range(RECORDS // 2)
            )
            task = await stage.client.prompt(session.id, Prompt(agent="demo", input=words[:-3]))
            await stage.client.wait_for_task(task.id)
            paints: list[float] = []
            shown: list[float] = []
            for _ in range(ROUNDS):
                await page.goto(f"{stage.host.url}/#/sessions/{session.id}")
                await page.reload()
                await page.get_by_text(f"words of step {RECORDS // 2 - 1}", exact=True).wait_for()
                shown.append(await page.evaluate("performance.now()"))
                paints.append(await page.evaluate(_PAINT))
            steps = "; ".join(
                f"think on {number}; say more {number} ; sleep 10" for number in range(100 * (SECONDS + 2))
            )
            await stage.client.prompt(session.id, Prompt(agent="demo", input=steps))
            await page.get_by_text(re.compile(r"^more \d+$")).first.wait_for()
            link = await page.context.new_cdp_session(page)
            # Ticks of the thread, not of the clock: what else the machine does is left out.
            await link.send("Performance.enable", {"timeDomain": "threadTicks"})  # pyright: ignore[reportUnknownMemberType]: playwright leaves it untyped
            begun = await _busy_seconds(link)
            frames: list[float] = await page.evaluate(_WATCH, SECONDS * 1000)
            busy = await _busy_seconds(link) - begun
    usual = median(frames)
    dropped = sum(round(frame / usual) - 1 for frame in frames if frame > 1.5 * usual)
    size = _first_load() / 1000
    return [
        Row("pane", f"first contentful paint, {RECORDS} records", "ms", median(paints)),
        Row("pane", f"newest record shown, {RECORDS} records", "ms", median(shown)),
        Row("pane", "dropped frames at 200 records/s", "%", 100 * dropped / (dropped + len(frames))),
        Row("pane", "main thread at 200 records/s", "% of a core", 100 * busy / SECONDS),
        Row("pane", "longest frame at 200 records/s", "ms", max(frames)),
        Row("pane", "scripts before the first paint, gzip", "kB", size, target=250, met=size <= 250),
    ]


async def _busy_seconds(link: CDPSession) -> float:
    """What the page's main thread has worked so far: scripts, styles, layout, painting."""
    answer = cast(
        dict[str, list[dict[str, Any]]],
        await link.send("Performance.getMetrics"),  # pyright: ignore[reportUnknownMemberType]: playwright leaves it untyped
    )
    return next(float(metric["value"]) for metric in answer["metrics"] if metric["name"] == "TaskDuration")


@asynccontextmanager
async def _open_page(stage: Stage) -> AsyncGenerator[Page]:
    path = os.environ.get("CODER_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            page = await browser.new_page(viewport={"width": 1440, "height": 900})
            await page.goto(f"{stage.host.url}/#token={stage.host.token}")
            await page.get_by_role("navigation", name="Sessions").wait_for()
            yield page
        finally:
            await browser.close()


def _first_load() -> int:
    folder = resources.ui_path()
    names = re.findall(r'(?:src|href)="\./([^"]+\.js)"', (folder / "index.html").read_text())
    return sum(len(gzip.compress((folder / name).read_bytes())) for name in names)
