"""What every AgentBackend does, whatever it talks to. A new one joins by a line in BACKENDS."""

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from coder.errors import AgentUnavailable
from coder.model.events import ModeChanged, ModelChanged, ToolCallStarted
from tests.contract.stage import (
    LIMITS,
    OpenBackend,
    Stage,
    is_alive,
    open_demo,
    open_demo_fallback,
    open_demo_server,
    open_demo_v2,
    open_stage,
)

BACKENDS: dict[str, OpenBackend] = {
    "acp": open_demo,
    "acp-v2": open_demo_v2,
    "opencode": open_demo_server,
    "opencode-over-acp": open_demo_fallback,
}


@pytest.fixture(params=BACKENDS.values(), ids=list(BACKENDS))
def open_backend(request: pytest.FixtureRequest) -> OpenBackend:
    return request.param


@pytest.mark.scenario("acp-backend: Updates keep their order")
async def test_two_thousand_pieces_arrive_in_order_before_the_turn_ends(
    tmp_path: Path, open_backend: OpenBackend
) -> None:
    async with open_stage(tmp_path) as stage, open_backend(stage, {}, LIMITS) as backend:
        handle = await backend.ensure_session(stage.options())
        result = await stage.prompt(backend, handle, "flood stdout 2000")
        assert result.ok
        assert result.stop_reason == "end_turn"
        assert stage.said == "".join(f"flood {n} " for n in range(2000))


async def test_a_session_that_is_open_is_not_opened_again(tmp_path: Path, open_backend: OpenBackend) -> None:
    async with open_stage(tmp_path) as stage, open_backend(stage, {}, LIMITS) as backend:
        first = await backend.ensure_session(stage.options())
        assert await backend.ensure_session(stage.options()) == first
        assert first.backend == backend.kind
        assert not first.is_resumed
        assert backend.health() == "up"


@pytest.mark.scenario("acp-backend: A warm agent remembers")
async def test_the_second_prompt_goes_to_the_same_process_and_conversation(
    tmp_path: Path, open_backend: OpenBackend
) -> None:
    async with open_stage(tmp_path) as stage, open_backend(stage, {}, LIMITS) as backend:
        handle = await backend.ensure_session(stage.options())
        await stage.prompt(backend, handle, "counter")
        await stage.prompt(backend, handle, "counter")
        assert "Prompt 1 of this conversation, prompt 1 of process" in stage.said
        assert "Prompt 2 of this conversation, prompt 2 of process" in stage.said


async def test_thoughts_calls_and_usage_come_with_the_turn(tmp_path: Path, open_backend: OpenBackend) -> None:
    async with open_stage(tmp_path) as stage, open_backend(stage, {}, LIMITS) as backend:
        handle = await backend.ensure_session(stage.options())
        result = await stage.prompt(backend, handle, "think hm; write src/a.txt hello; usage 12 100; say done")
        assert stage.thought == "hm"
        assert stage.said == "done"
        (call,) = stage.calls.values()
        assert (call.kind, call.status) == ("edit", "completed")
        assert call.diffs[0].new_text == "hello\n"
        assert (stage.worktree / "src/a.txt").read_text() == "hello\n"
        assert result.usage is not None
        assert (result.usage.context_used, result.usage.context_size) == (12, 100)


@pytest.mark.scenario("acp-backend: A cancelled turn ends and the agent stays")
async def test_a_turn_cancelled_in_the_middle_of_text_ends_and_the_next_one_works(
    tmp_path: Path, open_backend: OpenBackend
) -> None:
    async with open_stage(tmp_path) as stage, open_backend(stage, {}, LIMITS) as backend:
        handle = await backend.ensure_session(stage.options())
        cancel = anyio.Event()
        result = await stage.prompt(
            backend, handle, "stream 100000 1", cancel=cancel, meanwhile=lambda: _set_when_said(stage, cancel)
        )
        assert (result.ok, result.stop_reason) == (True, "cancelled")
        assert (await stage.prompt(backend, handle, "say again")).stop_reason == "end_turn"
        assert stage.said.endswith("again")


@pytest.mark.scenario("acp-backend: An agent that ignores a cancel is ended")
async def test_an_agent_that_ignores_a_cancel_is_ended_with_all_it_started(
    tmp_path: Path, open_backend: OpenBackend
) -> None:
    limits = replace(LIMITS, cancel=0.3)
    async with open_stage(tmp_path) as stage, open_backend(stage, {}, limits) as backend:
        handle = await backend.ensure_session(stage.options())
        cancel = anyio.Event()
        result = await stage.prompt(
            backend,
            handle,
            "ignore cancel; fork 600; hang",
            cancel=cancel,
            meanwhile=lambda: _set_when_said(stage, cancel),
        )
        assert (result.ok, result.stop_reason) == (True, "cancelled")
        assert backend.health() == "down"
        assert not is_alive(_forked(stage))


async def test_a_prompt_cancelled_before_it_was_sent_never_reaches_the_agent(
    tmp_path: Path, open_backend: OpenBackend
) -> None:
    async with open_stage(tmp_path) as stage, open_backend(stage, {}, LIMITS) as backend:
        handle = await backend.ensure_session(stage.options())
        cancel = anyio.Event()
        cancel.set()
        result = await stage.prompt(backend, handle, "write a.txt x", cancel=cancel)
        assert (result.stop_reason, result.reached_agent) == ("cancelled", False)
        assert not (stage.worktree / "a.txt").exists()


@pytest.mark.scenario("acp-backend: A permission is asked and answered")
async def test_a_permission_is_asked_after_its_call_was_shown_and_the_answer_reaches_the_agent(
    tmp_path: Path, open_backend: OpenBackend
) -> None:
    async with open_stage(tmp_path) as stage, open_backend(stage, {}, LIMITS) as backend:
        handle = await backend.ensure_session(stage.options())
        await stage.prompt(backend, handle, "ask; write a.txt x", ask=stage.answering("allow_once"))
        ((call, options),) = stage.asked
        assert {option.kind for option in options} == {"allow_once", "allow_always", "reject_once"}
        assert ToolCallStarted(tool_call=call) in stage.events
        assert (stage.worktree / "a.txt").exists()


async def test_a_refused_permission_changes_nothing_and_fails_its_call(
    tmp_path: Path, open_backend: OpenBackend
) -> None:
    async with open_stage(tmp_path) as stage, open_backend(stage, {}, LIMITS) as backend:
        handle = await backend.ensure_session(stage.options())
        result = await stage.prompt(backend, handle, "ask; write a.txt x", ask=stage.answering("reject_once"))
        assert result.ok
        assert not (stage.worktree / "a.txt").exists()
        assert [call.status for call in stage.calls.values()] == ["failed"]


@pytest.mark.scenario("acp-backend: A cancel answers open permission requests")
async def test_a_cancel_while_a_permission_is_open_ends_the_request_and_the_turn(
    tmp_path: Path, open_backend: OpenBackend
) -> None:
    async with open_stage(tmp_path) as stage, open_backend(stage, {}, LIMITS) as backend:
        handle = await backend.ensure_session(stage.options())
        cancel = anyio.Event()

        async def cancel_when_asked() -> None:
            await stage.wait_until(lambda: bool(stage.asked))
            cancel.set()

        script = "ask; write a.txt x"
        result = await stage.prompt(
            backend, handle, script, ask=stage.never_answer, cancel=cancel, meanwhile=cancel_when_asked
        )
        assert result.stop_reason == "cancelled"
        assert backend.health() == "up"
        assert not (stage.worktree / "a.txt").exists()
        assert [call.status for call in stage.calls.values()] == ["failed"]


@pytest.mark.scenario("acp-backend: The death of an agent is told in words")
async def test_an_agent_that_dies_in_a_turn_fails_it_with_its_exit_code_and_last_words(
    tmp_path: Path, open_backend: OpenBackend
) -> None:
    async with open_stage(tmp_path) as stage, open_backend(stage, {}, LIMITS) as backend:
        handle = await backend.ensure_session(stage.options())
        result = await stage.prompt(backend, handle, "tool execute Something; say before; die 7")
        assert not result.ok
        assert result.error is not None
        assert result.error.code == "agent_died"
        assert "exit code 7" in result.error.message
        assert "dying with code 7" in result.error.message
        assert stage.said == "before"
        with anyio.fail_after(10):
            await backend.wait_closed()
        assert backend.health() == "down"
        again = await stage.prompt(backend, handle, "say hello")
        assert (again.ok, again.reached_agent) == (False, False)


async def test_a_call_left_open_by_an_agent_that_dies_fails(tmp_path: Path, open_backend: OpenBackend) -> None:
    async with open_stage(tmp_path) as stage, open_backend(stage, {}, LIMITS) as backend:
        handle = await backend.ensure_session(stage.options())

        async def kill_when_asked() -> None:
            await stage.wait_until(lambda: bool(stage.asked))
            await backend.dispose()

        script = "ask; write a.txt x"
        result = await stage.prompt(backend, handle, script, ask=stage.never_answer, meanwhile=kill_when_asked)
        assert not result.ok
        assert [call.status for call in stage.calls.values()] == ["failed"]


@pytest.mark.scenario("acp-backend: Long lines pass whole")
async def test_a_line_of_five_megabytes_arrives_whole(tmp_path: Path, open_backend: OpenBackend) -> None:
    async with open_stage(tmp_path) as stage, open_backend(stage, {}, LIMITS) as backend:
        handle = await backend.ensure_session(stage.options())
        await stage.prompt(backend, handle, "longline 5000000; say end")
        assert stage.said == "x" * 5_000_000 + "end"


async def test_a_line_over_the_limit_fails_the_turn_in_words_and_ends_the_agent(
    tmp_path: Path, open_backend: OpenBackend
) -> None:
    async with open_stage(tmp_path) as stage, open_backend(stage, {}, LIMITS) as backend:
        handle = await backend.ensure_session(stage.options())
        result = await stage.prompt(backend, handle, "say before; longline 17000000; say after")
        assert result.error is not None
        assert result.error.code == "line_too_long"
        assert stage.said == "before"
        assert backend.health() == "down"


async def test_a_flood_on_stderr_does_not_hold_up_the_turn(tmp_path: Path, open_backend: OpenBackend) -> None:
    async with open_stage(tmp_path) as stage, open_backend(stage, {}, LIMITS) as backend:
        handle = await backend.ensure_session(stage.options())
        assert (await stage.prompt(backend, handle, "flood stderr 2000000; say end")).ok
        assert stage.said == "end"


@pytest.mark.scenario("acp-backend: A session is resumed by its token")
async def test_a_new_process_resumes_the_conversation_and_replays_nothing(
    tmp_path: Path, open_backend: OpenBackend
) -> None:
    async with open_stage(tmp_path) as stage:
        async with open_backend(stage, {}, LIMITS) as backend:
            handle = await backend.ensure_session(stage.options())
            await stage.prompt(backend, handle, "say first; counter")
        stage.events.clear()
        async with open_backend(stage, {}, LIMITS) as backend:
            resumed = await backend.ensure_session(stage.options(resume_token=handle.agent_session_id))
            await stage.prompt(backend, resumed, "counter")
            assert resumed.is_resumed
            assert resumed.agent_session_id == handle.agent_session_id
            assert stage.said.startswith("Prompt 2 of this conversation, prompt 1 of process")


@pytest.mark.scenario("acp-backend: A lost session starts anew and says so")
async def test_a_token_nobody_knows_leads_to_a_new_session_that_says_so(
    tmp_path: Path, open_backend: OpenBackend
) -> None:
    async with open_stage(tmp_path) as stage, open_backend(stage, {}, LIMITS) as backend:
        handle = await backend.ensure_session(stage.options(resume_token="no-such-session"))
        assert not handle.is_resumed
        assert handle.agent_session_id not in (None, "no-such-session")
        assert (await stage.prompt(backend, handle, "say here")).ok


@pytest.mark.scenario("acp-backend: Mode, model and thinking level are set as asked")
async def test_model_mode_and_thinking_are_set_at_the_start_and_changed_by_a_prompt(
    tmp_path: Path, open_backend: OpenBackend
) -> None:
    async with open_stage(tmp_path) as stage, open_backend(stage, {}, LIMITS) as backend:
        vendor = "demo/" if open_backend is open_demo_server else ""
        options = stage.options(model=f"{vendor}demo-large", mode_id="auto", thinking_option_id="high")
        handle = await backend.ensure_session(options)
        small = f"{vendor}demo-small"
        await stage.prompt(backend, handle, "settings", model=small, mode_id="auto", thinking_option_id="high")
        assert "mode=auto model=demo-small thinking=high" in stage.said
        told = [event for event in stage.outside if isinstance(event, ModeChanged | ModelChanged)]
        assert sorted(event.type for event in told) == ["mode", "mode", "model", "model", "model"]
        assert told[-1] == ModelChanged(model_id=small)


async def test_a_choice_the_agent_does_not_offer_fails_the_turn_before_it_begins(
    tmp_path: Path, open_backend: OpenBackend
) -> None:
    async with open_stage(tmp_path) as stage, open_backend(stage, {}, LIMITS) as backend:
        handle = await backend.ensure_session(stage.options())
        result = await stage.prompt(backend, handle, "write a.txt x", model="no-such-model")
        assert (result.ok, result.reached_agent) == (False, False)
        assert not (stage.worktree / "a.txt").exists()
        assert (await stage.prompt(backend, handle, "say hello")).ok


@pytest.mark.scenario("acp-backend: A silent agent misses its deadline")
async def test_an_agent_that_says_nothing_fails_its_turn_and_stays_when_it_heeds_the_cancel(
    tmp_path: Path, open_backend: OpenBackend
) -> None:
    limits = replace(LIMITS, first_update=0.2)
    async with open_stage(tmp_path) as stage, open_backend(stage, {}, limits) as backend:
        handle = await backend.ensure_session(stage.options())
        result = await stage.prompt(backend, handle, "hang")
        assert not result.ok
        assert result.error is not None
        assert result.error.code == "agent_timeout"
        assert backend.health() == "up"


async def test_waiting_for_a_person_is_not_silence(tmp_path: Path, open_backend: OpenBackend) -> None:
    limits = replace(LIMITS, inactivity=0.2)
    async with open_stage(tmp_path) as stage, open_backend(stage, {}, limits) as backend:
        handle = await backend.ensure_session(stage.options())
        answer = stage.answering("allow_once")

        async def answer_late(*request: object):
            with anyio.move_on_after(0.6):
                await anyio.sleep_forever()
            return await answer(*request)  # pyright: ignore[reportArgumentType] - passed through

        result = await stage.prompt(backend, handle, "ask; write a.txt x", ask=answer_late)
        assert result.stop_reason == "end_turn"
        assert (stage.worktree / "a.txt").exists()


@pytest.mark.scenario("acp-backend: Back-pressure reaches the agent")
async def test_an_agent_waits_for_events_to_be_taken_and_is_not_silent_meanwhile(
    tmp_path: Path, open_backend: OpenBackend
) -> None:
    limits = replace(LIMITS, first_update=1.5, inactivity=1.5)
    async with open_stage(tmp_path) as stage, open_backend(stage, {}, limits) as backend:
        handle = await backend.ensure_session(stage.options())

        async def take_late(event: object) -> None:
            if not stage.events:
                with anyio.move_on_after(2.5):
                    await anyio.sleep_forever()
            await stage.emit(event)  # pyright: ignore[reportArgumentType] - passed through

        result = await stage.prompt(backend, handle, "flood stdout 30000", emit=take_late)
        assert result.ok
        assert stage.said == "".join(f"flood {number} " for number in range(30_000))


async def test_disposing_leaves_nothing_running_and_may_be_done_twice(
    tmp_path: Path, open_backend: OpenBackend
) -> None:
    async with open_stage(tmp_path) as stage, open_backend(stage, {}, LIMITS) as backend:
        handle = await backend.ensure_session(stage.options())
        await stage.prompt(backend, handle, "fork 600; ignore term")
        await backend.dispose()
        await backend.dispose()
        assert backend.health() == "down"
        assert not is_alive(_forked(stage))
        with anyio.fail_after(1):
            await backend.wait_closed()


async def test_a_closed_session_can_be_opened_again(tmp_path: Path, open_backend: OpenBackend) -> None:
    async with open_stage(tmp_path) as stage, open_backend(stage, {}, LIMITS) as backend:
        handle = await backend.ensure_session(stage.options())
        await backend.close_session(handle)
        assert backend.health() == "up"
        assert (await stage.prompt(backend, handle, "say no")).reached_agent is False
        reopened = await backend.ensure_session(stage.options(resume_token=handle.agent_session_id))
        assert reopened.is_resumed
        assert (await stage.prompt(backend, reopened, "say yes")).ok


async def test_an_abandoned_turn_ends_the_agent(tmp_path: Path, open_backend: OpenBackend) -> None:
    async with open_stage(tmp_path) as stage, open_backend(stage, {}, LIMITS) as backend:
        handle = await backend.ensure_session(stage.options())
        async with anyio.create_task_group() as group:
            group.start_soon(stage.prompt, backend, handle, "stream 100000 1")
            await stage.wait_until(lambda: bool(stage.events))
            group.cancel_scope.cancel()
        with anyio.fail_after(15):
            await backend.wait_closed()
        assert backend.health() == "down"


async def test_a_worktree_that_is_gone_makes_the_agent_unavailable(tmp_path: Path, open_backend: OpenBackend) -> None:
    async with open_stage(tmp_path) as stage, open_backend(stage, {}, LIMITS) as backend:
        stage.worktree.rmdir()
        with pytest.raises(AgentUnavailable):
            await backend.ensure_session(stage.options())
        assert backend.health() == "down"


async def _set_when_said(stage: Stage, event: anyio.Event) -> None:
    await stage.wait_until(lambda: bool(stage.said))
    event.set()


def _forked(stage: Stage) -> int:
    words = stage.said.split()
    return int(words[words.index("process") + 1].rstrip("."))
