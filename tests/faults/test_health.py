"""A host that is not well: it says so by name, goes on as far as it can, and is well again when the reason is gone."""

import logging
import re
import time
from collections.abc import Collection
from pathlib import Path

import anyio
import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from coder.client import Client
from coder.errors import CoderError
from coder.logs import JsonLines
from coder.model.tasks import TaskState
from coder.protocol import ErrorFrame
from coder.testing.ledgers import numbered
from coder.testing.relay import open_relay
from coder.vitals import Vitals
from tests.api.test_cli import coder
from tests.api.wire import good_headers, next_frame, open_socket, send_raw
from tests.faults.scene import open_scene


async def troubles_become(client: Client, wanted: Collection[str], seconds: float = 30) -> None:
    """Wait until the host has these troubles and no other ones."""
    found: set[str] = set()
    with anyio.move_on_after(seconds):
        while (found := {str(trouble.reason) for trouble in (await client.health()).troubles}) != set(wanted):
            await anyio.sleep(0.2)
    assert found == set(wanted)


async def figures(client: Client) -> dict[str, float]:
    """Every figure by its name and labels, as Prometheus itself would read them."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(await client.metrics()):
        assert family.name.startswith(("coder_", "process_")), family.name
        assert family.documentation, family.name
        for sample in family.samples:
            assert not any(re.match(r"(ses|tsk|prj|chg)_", value) for value in sample.labels.values()), sample
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


@pytest.mark.scenario("operating: A database that is away")
async def test_a_database_that_is_away_makes_the_host_red_and_it_is_green_again(
    tmp_path: Path, database_url: str
) -> None:
    async with open_relay(database_url) as relay:
        async with open_scene(tmp_path, database_url, host_url=relay.url) as scene:
            task = await scene.submit(numbered("a", 80, pause_ms=30))
            await scene.saw("<a.5>")
            relay.go_deaf()
            try:
                await troubles_become(scene.client, {"database_away", "journal_not_writing"})
                answer = await send_raw(scene.live.url, "GET", "/api/health", good_headers(scene.live)[:1])
                seen = await figures(scene.client)
            finally:
                # without its database a host does not end
                relay.hear_again()
            told = orjson.loads(answer.body)
            assert (answer.status, told["status"], told["database"]) == (503, "degraded", "down")
            assert (seen["coder_database_up"], seen["coder_trouble{reason=database_away}"]) == (0, 1)
            assert seen["coder_journal_lag_seconds"] > 5
            await troubles_become(scene.client, ())
            assert (await scene.ended(task)).state is TaskState.COMPLETED
            seen = await figures(scene.client)
            assert (seen["coder_database_up"], seen["coder_trouble{reason=database_away}"]) == (1, 0)
            assert seen["coder_database_reconnects_total"] == 1


@pytest.mark.scenario("faults: An event loop that stands still")
async def test_a_loop_that_stands_still_is_noticed_told_of_and_gets_over_it(
    tmp_path: Path, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_scene(tmp_path, database_url) as scene, open_socket(scene.live) as socket:
        running = await scene.submit(numbered("a", 40, pause_ms=20))
        await scene.saw("<a.3>")
        time.sleep(5)  # noqa: ASYNC251 - this is the fault: viewers, agents and requests are of the same loop
        await troubles_become(scene.client, {"loop_stalled"})
        assert (await scene.ended(running)).state is TaskState.COMPLETED
        seen = await figures(scene.client)
        assert (seen["coder_loop_standstills_total"], seen["coder_trouble{reason=loop_stalled}"]) == (1, 1)
        noticed = [record for record in caplog.records if record.name == "coder.standstill"]
        assert "time.sleep(5)" in noticed[0].getMessage()
        assert noticed[1].created - noticed[0].created > 0.5, "it was said while nothing went on"
        frames = [await next_frame(socket) for _ in range(2)]
        assert [frame.type for frame in frames] == ["welcome", "error"]
        assert isinstance(frames[1], ErrorFrame)
        assert (frames[1].code, frames[1].retryable) == ("host_stalled", True)
        host = scene.live.host
        later = Vitals(
            host.store,
            host.journal,
            host.dispatcher,
            host.vitals.standstill,
            host.vitals.space,
            clock=lambda: time.monotonic() + 60,
        )
        assert await later.troubles() == ()
        assert (await scene.prompt(numbered("b", 3))).state is TaskState.COMPLETED


@pytest.mark.scenario("operating: What the operator sees of the work")
@pytest.mark.scenario("pool: how often agents were warm is told per provider")
@pytest.mark.scenario("operating: A dispatcher that stopped")
@pytest.mark.scenario("operating: The doctor asks the host that runs")
async def test_figures_and_log_lines_tell_of_the_work(
    tmp_path: Path, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    lines: list[bytes] = []
    caplog.set_level(logging.INFO)

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record).encode())

    kept = Kept()
    kept.setFormatter(JsonLines())
    logging.getLogger().addHandler(kept)
    try:
        async with open_scene(tmp_path, database_url) as scene:
            for text in ("say <a.0>", "say <a.1>", "ask may I"):
                task = await scene.submit(text)
                if text.startswith("ask"):
                    record = await scene.saw("permission_requested")
                    assert record.event.type == "permission_requested"
                    option = record.event.request.options[0]
                    await scene.client.answer_permission(record.event.request.id, option.id)
                assert (await scene.ended(task)).state is TaskState.COMPLETED
            crashed = await scene.prompt("die 3")
            assert crashed.state is TaskState.FAILED
            seen = await figures(scene.client)
            assert (seen["coder_pool_lease_seconds_count{agent=cold}"], seen["coder_agents_crashed_total"]) == (1, 1)
            assert seen["coder_pool_lease_seconds_count{agent=warm}"] == 3
            assert seen["coder_pool_leases_total{agent=cold,provider=demo}"] == 1
            assert seen["coder_pool_leases_total{agent=warm,provider=demo}"] == 3
            assert (seen["coder_session_open_seconds_count{spare=miss}"], seen["coder_spare_sessions"]) == (1, 0)
            page = await scene.client.provider_page()
            share = next(provider.pool for provider in page.items if provider.id == "demo")
            assert (share.warm, share.leased, share.turns, share.hit_rate) == (0, 0, 4, 0.75)
            assert share.warm_wait_seconds is not None
            assert share.cold_wait_seconds is not None
            assert 0 <= share.warm_wait_seconds < share.cold_wait_seconds
            assert (page.spares.openings, page.spares.hit_rate, page.spares.hit_seconds) == (1, 0, None)
            assert seen["coder_agent_start_seconds_count{conversation=fresh}"] == 1
            assert seen["coder_turns_total{code=none,state=completed}"] == 3
            assert seen["coder_turns_total{code=agent_died,state=failed}"] == 1
            assert seen["coder_turn_seconds_count"] == seen["coder_task_queued_seconds_count"] == 4
            assert seen["coder_permissions_total{outcome=selected}"] == seen["coder_permission_wait_seconds_count"] == 1
            assert (seen["coder_sessions"], seen["coder_queue_longest"], seen["coder_viewers"]) == (1, 0, 2)
            assert seen["coder_turn_seconds_bucket{le=+Inf}"] == 4
            assert seen["process_open_fds"] > 0
            told = [orjson.loads(line) for line in lines]
            about = [line for line in told if line["logger"].startswith("coder.") and "session" in line]
            assert {line["session"] for line in about} == {scene.session.id}
            assert any((line["agent"], line.get("task")) == ("demo", crashed.id) for line in about)
            home = scene.home
            (home / "worktrees" / "nobodys").mkdir()
            done = await coder("--home", str(home), "--url", scene.live.url, "doctor", "--live")
            assert done.code == 0, done
            for words in (
                "3 completed, 1 failed",
                "75 % of turns",
                "1 died",
                f"{home}/worktrees/nobodys belongs to no",
            ):
                assert words in done.out
            (home / "worktrees" / "nobodys").rmdir()
            await scene.live.host.dispatcher.stop(0)
            await troubles_become(scene.client, {"dispatcher_stopped"})
            red = await coder("--home", str(home), "--url", scene.live.url, "doctor", "--live", "--json")
            assert (red.code, '"name":"dispatcher_stopped","state":"missing"' in red.out) == (1, True), red
    finally:
        logging.getLogger().removeHandler(kept)


@pytest.mark.scenario("operating: A disk that is nearly full")
async def test_without_room_nothing_new_begins(tmp_path: Path, database_url: str) -> None:
    async with open_scene(tmp_path, database_url) as scene:
        space = scene.live.host.vitals.space
        free, kept = space.free(), space.reserve
        space.reserve = free * 2
        await troubles_become(scene.client, {"disk_nearly_full"})
        for attempt in (lambda: scene.submit("say hi"), lambda: scene.client.open_session(scene.session.project_id)):
            with pytest.raises(CoderError) as caught:
                await attempt()
            assert (caught.value.stable_code, caught.value.retryable) == ("disk_full", True)
        space.reserve = kept
        await troubles_become(scene.client, ())
        assert (await scene.prompt("say hi")).state is TaskState.COMPLETED
