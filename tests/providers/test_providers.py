"""The snapshot and the diagnostic: what is started when, and what a person is told."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from coder.errors import AgentDied, AgentUnavailable, AuthRequired, NotFound
from coder.model.providers import AuthMethod, Command, Mode, Model, ProbeResult
from coder.model.values import Json
from coder.protocol import ProviderPatch
from coder.providers.probes import Limits
from coder.providers.registry import load_builtin
from tests.providers.room import FOUND, ScriptedProbe, install, open_room, write_overrides

OVERRIDES = Path("data") / "coder-providers.json"
QUIET: dict[str, Json] = {"demo": {"enabled": False}}
"""Without the agent that is always installed."""


@pytest.mark.scenario("providers: every built-in agent has a row")
async def test_every_built_in_agent_has_a_row_and_demo_is_installed(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        rows = {row.id: row for row in await room.providers.snapshot()}

        assert list(rows) == ["opencode", "claude", "codex", "codex-rust", "gemini", "goose", "qwen", "agentao", "demo"]
        assert [id for id, row in rows.items() if row.installed] == ["demo"]
        assert rows["claude"].status == "unavailable"
        assert "npm install -g" in (rows["claude"].error or "")
        ready = await room.until_ready("demo")
        assert ready.usable
        assert ready.version == "9.9.9"


@pytest.mark.scenario("providers: a cold cache answers at once")
async def test_a_cold_snapshot_does_not_wait_for_agents(tmp_path: Path, database_url: str) -> None:
    install(tmp_path / "bin", "goose", "1.2.3")
    write_overrides(tmp_path / OVERRIDES, QUIET)
    probe = ScriptedProbe(held={"goose": anyio.Event()})
    async with open_room(tmp_path, database_url, probe=probe) as room:
        with anyio.fail_after(5):
            row = await room.row("goose")
        assert (row.status, row.installed, row.fetched_at) == ("loading", True, None)

        probe.held["goose"].set()

        ready = await room.until_ready("goose")
        assert ready.version == "1.2.3"
        assert ready.default_model == "m1"
        assert ready.fetched_at is not None
        assert probe.asked[0].command == (str(tmp_path / "bin" / "goose"), "acp")


@pytest.mark.scenario("providers: a probe outlives a restart")
async def test_a_stored_probe_is_ready_at_once_and_starts_nothing(tmp_path: Path, database_url: str) -> None:
    install(tmp_path / "bin", "goose", "1.2.3")
    write_overrides(tmp_path / OVERRIDES, QUIET)
    async with open_room(tmp_path, database_url) as room:
        await room.providers.snapshot(force=True)

    async with open_room(tmp_path, database_url) as room:
        row = await room.row("goose")
        await room.providers.diagnostic("goose")

        assert (row.status, row.version, row.models) == ("ready", "1.2.3", FOUND.models)
        assert room.probe.asked == []


@pytest.mark.scenario("providers: an overtaken probe is repeated")
async def test_a_replaced_program_is_probed_again(tmp_path: Path, database_url: str) -> None:
    install(tmp_path / "bin", "goose", "1.2.3")
    write_overrides(tmp_path / OVERRIDES, QUIET)
    async with open_room(tmp_path, database_url) as room:
        await room.until_ready("goose")
        (tmp_path / "bin" / "goose").unlink()
        assert not (await room.row("goose")).installed

        install(tmp_path / "bin", "goose", "1.3.0")

        await room.until("goose", lambda row: row.version == "1.3.0" and row.status == "ready")
        assert room.probe.ids == ["goose", "goose"]


@pytest.mark.scenario("providers: an overtaken probe is repeated")
async def test_another_launch_is_probed_again_and_another_label_is_not(tmp_path: Path, database_url: str) -> None:
    install(tmp_path / "bin", "goose", "1.2.3")
    write_overrides(tmp_path / OVERRIDES, QUIET)
    async with open_room(tmp_path, database_url) as room:
        await room.until_ready("goose")
        for label, env in (("Other", "a"), ("Other", "b")):
            body = ProviderPatch(providers={"goose": {"label": label, "env": {"GOOSE_MODEL": env}}})
            await room.providers.patch(body, merge_fields=True, may_write_code=True)
            assert (await room.row("goose")).status == "loading"
            await room.until_ready("goose")

        body = ProviderPatch(providers={"goose": {"label": "Renamed"}})
        await room.providers.patch(body, merge_fields=True, may_write_code=False)

        row = await room.row("goose")
        assert (row.status, row.label) == ("ready", "Renamed")
        assert len(room.probe.asked) == 3

    environment = {"GOOSE_MODE": "approve"}
    async with open_room(tmp_path, database_url, environment=environment) as room:
        assert (await room.row("goose")).status == "loading"
        await room.until_ready("goose")


@pytest.mark.scenario("providers: an overtaken probe is repeated")
async def test_an_old_probe_is_repeated_showing_what_was_known(tmp_path: Path, database_url: str) -> None:
    install(tmp_path / "bin", "goose", "1.2.3")
    write_overrides(tmp_path / OVERRIDES, QUIET)
    time = [datetime(2030, 1, 1, tzinfo=UTC)]
    async with open_room(tmp_path, database_url, ttl_ms=3_600_000, clock=lambda: time[0]) as room:
        await room.until_ready("goose")
        time[0] += timedelta(minutes=59)
        assert (await room.row("goose")).status == "ready"

        time[0] += timedelta(minutes=2)

        row = await room.row("goose")
        assert (row.status, row.models) == ("loading", FOUND.models)
        assert (await room.until_ready("goose")).fetched_at == time[0]
        assert len(room.probe.asked) == 2


@pytest.mark.scenario("providers: a forced snapshot waits for its probes, within a bound")
async def test_a_forced_snapshot_is_fresh_and_a_slow_agent_says_loading(tmp_path: Path, database_url: str) -> None:
    install(tmp_path / "bin", "goose", "1.2.3")
    install(tmp_path / "bin", "qwen", "0.1.0")
    async with open_room(tmp_path, database_url) as room:
        first = {row.id: row.status for row in await room.providers.snapshot(force=True)}
        (row,) = await room.providers.refresh(["goose"])

        assert (first["goose"], first["qwen"], row.status) == ("ready", "ready", "ready")
        assert (room.probe.ids.count("goose"), room.probe.ids.count("qwen")) == (2, 1)
        with pytest.raises(NotFound):
            await room.providers.refresh(["goose", "nobody"])

    probe = ScriptedProbe(held={"qwen": anyio.Event()})
    async with open_room(tmp_path, database_url, probe=probe, limits=Limits(refresh=0.05)) as room:
        rows = {row.id: row for row in await room.providers.snapshot(force=True)}

        assert (rows["qwen"].status, rows["qwen"].models) == ("loading", FOUND.models)


async def test_a_refresh_during_a_probe_asks_once_more(tmp_path: Path, database_url: str) -> None:
    install(tmp_path / "bin", "goose", "1.2.3")
    write_overrides(tmp_path / OVERRIDES, QUIET)
    probe = ScriptedProbe(answers={"goose": AuthRequired("log in")}, held={"goose": anyio.Event()})
    async with open_room(tmp_path, database_url, probe=probe, limits=Limits(refresh=0.05)) as room:
        await room.providers.snapshot()
        await probe.until_asked(1)  # it hangs; the person signs in meanwhile
        await room.providers.refresh(["goose"])
        await room.providers.refresh(["goose"])
        probe.answers.clear()
        probe.held.pop("goose").set()

        assert (await room.until_ready("goose")).signed_in
        assert len(probe.asked) == 2


@pytest.mark.scenario("providers: signed out is not broken")
async def test_a_signed_out_agent_says_how_to_sign_in_and_is_asked_again_soon(
    tmp_path: Path, database_url: str
) -> None:
    install(tmp_path / "bin", "goose", "1.2.3")
    install(tmp_path / "bin", "qwen", "0.1.0")
    method = AuthMethod(id="login", name="Login", command=("qwen", "login"))
    refusal = AuthRequired("log in first", auth_methods=(method,))
    probe = ScriptedProbe(answers={"goose": ProbeResult(signed_in=False), "qwen": refusal})
    time = [datetime(2030, 1, 1, tzinfo=UTC)]
    async with open_room(tmp_path, database_url, probe=probe, clock=lambda: time[0]) as room:
        rows = {row.id: row for row in await room.providers.snapshot(force=True)}
        for id, words in (("goose", "goose configure"), ("qwen", "qwen login")):
            row = rows[id]
            assert (row.installed, row.signed_in, row.usable, row.status) == (True, False, False, "unavailable")
            assert words in (row.error or "")
        assert rows["qwen"].auth_methods == (method,)
        assert room.providers.require_usable("qwen").id == "qwen"

        time[0] += timedelta(minutes=6)
        probe.answers.clear()

        assert (await room.until_ready("goose")).usable


@pytest.mark.scenario("providers: a refused prompt outranks a probe that was under way")
async def test_a_probe_that_began_before_a_refusal_does_not_undo_it(tmp_path: Path, database_url: str) -> None:
    install(tmp_path / "bin", "goose", "1.2.3")
    write_overrides(tmp_path / OVERRIDES, QUIET)
    probe = ScriptedProbe(held={"goose": anyio.Event()})
    async with open_room(tmp_path, database_url, probe=probe) as room:
        await room.row("goose")
        await probe.until_asked(1)

        await room.providers.mark_signed_out("goose", (), of_prompt=True)
        probe.held["goose"].set()

        row = await room.until("goose", lambda row: row.status != "loading" and bool(row.models))
        assert (row.signed_in, row.usable) == (False, False)


@pytest.mark.scenario("providers: a failed probe is explained and then forgotten")
async def test_a_failed_probe_keeps_what_was_known_and_a_good_one_clears_it(tmp_path: Path, database_url: str) -> None:
    install(tmp_path / "bin", "goose", "1.2.3")
    async with open_room(tmp_path, database_url) as room:
        await room.until_ready("goose")
        room.probe.answers["goose"] = AgentDied("goose ended with code 1", stderr="no model chosen")

        failed = await room.row("goose", force=True)

        assert (failed.status, failed.usable, failed.error) == ("error", False, "goose ended with code 1")
        assert failed.models == FOUND.models
        diagnostic = await room.providers.diagnostic("goose")
        assert diagnostic.stderr == "no model chosen"
        assert any("goose ended with code 1" in words for words in diagnostic.advice)
        room.probe.answers.clear()
        cleared = await room.row("goose", force=True)
        assert (cleared.status, cleared.usable, cleared.error) == ("ready", True, None)


async def test_a_probe_that_breaks_or_hangs_is_an_error_with_words(tmp_path: Path, database_url: str) -> None:
    install(tmp_path / "bin", "goose", "1.2.3")
    write_overrides(tmp_path / OVERRIDES, QUIET)
    probe = ScriptedProbe(answers={"goose": ValueError("odd")})
    async with open_room(tmp_path, database_url, probe=probe, limits=Limits(probe=0.1)) as room:
        assert (await room.row("goose", force=True)).error == "the probe broke: ValueError"

        probe.held["goose"] = anyio.Event()

        assert (await room.row("goose", force=True)).error == "did not answer within 0.1 s"


@pytest.mark.scenario("providers: a disabled agent keeps its row")
async def test_a_disabled_agent_has_a_row_and_is_never_started(tmp_path: Path, database_url: str) -> None:
    install(tmp_path / "bin", "goose", "1.2.3")
    write_overrides(tmp_path / OVERRIDES, {**QUIET, "goose": {"enabled": False}})
    async with open_room(tmp_path, database_url) as room:
        row = await room.row("goose", force=True)

        assert (row.enabled, row.installed, row.usable, row.status) == (False, True, False, "unavailable")
        assert room.probe.asked == []
        with pytest.raises(AgentUnavailable, match="disabled"):
            room.providers.require_usable("goose")


async def test_what_can_be_used_is_handed_out_ready_to_start(tmp_path: Path, database_url: str) -> None:
    async with open_room(tmp_path, database_url) as room:
        assert room.providers.require_usable("demo").command[0] == sys.executable
        with pytest.raises(AgentUnavailable, match="npm install -g opencode-ai"):
            room.providers.require_usable("opencode")
        with pytest.raises(NotFound):
            room.providers.require_usable("nobody")


@pytest.mark.scenario("providers: few agents are probed at a time")
async def test_no_more_agents_than_the_limit_are_probed_at_once(tmp_path: Path, database_url: str) -> None:
    builtin = load_builtin()
    for provider in builtin.values():
        if provider.id != "demo":
            install(tmp_path / "bin", provider.command[0], "1.0.0")
    gate = anyio.Event()
    probe = ScriptedProbe(held=dict.fromkeys(builtin, gate))
    async with open_room(tmp_path, database_url, probe=probe, limits=Limits(probes=2)) as room:
        await room.providers.snapshot()
        await probe.until_asked(2)

        gate.set()

        for row in await room.providers.snapshot():
            await room.until_ready(row.id)
        assert (probe.most, len(probe.asked)) == (2, len(builtin))


@pytest.mark.scenario("providers: closing ends probes")
async def test_closing_cancels_running_probes_at_once(tmp_path: Path, database_url: str) -> None:
    probe = ScriptedProbe(held={"demo": anyio.Event()})
    with anyio.fail_after(10):
        async with open_room(tmp_path, database_url, probe=probe) as room:
            await room.providers.snapshot()
            await probe.until_asked(1)

    assert (probe.running, probe.cancelled) == (0, 1)


async def test_models_and_modes_of_user_and_agent_are_put_together(tmp_path: Path, database_url: str) -> None:
    install(tmp_path / "bin", "goose", "1.2.3")
    install(tmp_path / "bin", "qwen", "0.1.0")
    entries: dict[str, Json] = {
        "goose": {"additionalModels": [{"id": "m1", "label": "Renamed"}, {"id": "mine"}]},
        "qwen": {"models": [{"id": "only", "isDefault": True}]},
    }
    write_overrides(tmp_path / OVERRIDES, entries)
    found = ProbeResult(
        models=(Model(id="m1", label="M1"), Model(id="m2", label="M2")),
        modes=(Mode(id="auto", label="Automatic"), Mode(id="odd", label="Odd")),
        commands=(Command(name="init"),),
        default_model="m2",
        default_mode="auto",
        accepts_images=True,
    )
    async with open_room(tmp_path, database_url, probe=ScriptedProbe({"goose": found, "qwen": found})) as room:
        rows = {row.id: row for row in await room.providers.snapshot(force=True)}

        goose, qwen = rows["goose"], rows["qwen"]
        assert [model.label for model in goose.models] == ["Renamed", "M2", "mine"]
        assert (goose.default_model, goose.default_mode, goose.accepts_images) == ("m2", "auto", True)
        assert [(mode.label, mode.is_unattended) for mode in goose.modes] == [("Automatic", True), ("Odd", False)]
        assert [model.id for model in qwen.models] == ["only"]
        assert qwen.default_model == "only"


@pytest.mark.scenario("providers: a diagnostic names variables, not values")
async def test_a_diagnostic_shows_where_it_looked_and_which_variables_are_set(
    tmp_path: Path, database_url: str
) -> None:
    program = install(tmp_path / "bin", "goose", "1.2.3")
    write_overrides(tmp_path / OVERRIDES, {"goose": {"env": {"GOOSE_MODE": "secret-mode"}}})
    async with open_room(tmp_path, database_url, environment={"OPENAI_API_KEY": "secret-key"}) as room:
        diagnostic = await room.providers.diagnostic("goose")

        assert diagnostic.resolved_path == str(program)
        assert diagnostic.version == "1.2.3"
        assert str(tmp_path / "bin") in diagnostic.searched
        assert set(diagnostic.env_present) == {"GOOSE_MODE", "OPENAI_API_KEY"}
        assert "ANTHROPIC_API_KEY" in diagnostic.env_missing
        assert "secret" not in diagnostic.model_dump_json()
        with pytest.raises(NotFound):
            await room.providers.diagnostic("nobody")


@pytest.mark.scenario("providers: advice fits the fault")
async def test_advice_fits_the_fault(tmp_path: Path, database_url: str) -> None:
    install(tmp_path / "bin", "goose", "1.2.3")
    write_overrides(tmp_path / OVERRIDES, {"qwen": {"enabled": False}})
    probe = ScriptedProbe(answers={"goose": ProbeResult(signed_in=False)})
    async with open_room(tmp_path, database_url, probe=probe) as room:
        await room.providers.snapshot(force=True)

        async def advice(id: str) -> str:
            return " ".join((await room.providers.diagnostic(id)).advice)

        assert "npm install -g @google/gemini-cli" in await advice("gemini")
        assert '"enabled": true' in await advice("qwen")
        assert "goose configure" in await advice("goose")
        assert "Nothing is wrong" in await advice("demo")
