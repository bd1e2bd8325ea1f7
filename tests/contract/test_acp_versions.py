"""Which version of the protocol is spoken, how a turn of version 2 ends, and input into a running turn."""

import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio
import pytest

from coder.backends.acp.backend import AcpBackend, open_acp_backend
from coder.backends.base import PromptInput
from coder.model.providers import Provider
from tests.contract.stage import CHECKOUT, LIMITS, PYTHON, Stage, open_demo, open_demo_v2, open_stage

ODD = (sys.executable, str(CHECKOUT / "tests/contract/odd_v2_agent.py"))


@pytest.mark.scenario("acp-backend: The newest version that both speak is spoken")
async def test_each_connection_is_spoken_in_the_version_its_agent_answers(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage, open_demo(stage) as older, open_demo_v2(stage) as newer:
        for backend, version in ((older, 1), (newer, 2)):
            handle = await backend.ensure_session(stage.options())
            assert backend.introduction.protocol == version
            assert (await stage.prompt(backend, handle, "say hello")).stop_reason == "end_turn"


@pytest.mark.scenario("acp-backend: A version that is refused is not the last one")
async def test_an_agent_that_refuses_the_newer_version_is_asked_in_the_older_one(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage, open_demo(stage, command=(*ODD, "--old")) as backend:
        await backend.ensure_session(stage.options())
        assert backend.introduction.protocol == 1


@pytest.mark.scenario("acp-backend: The catalogue may keep an agent to the older version")
async def test_an_agent_is_offered_no_newer_version_than_its_entry_says(tmp_path: Path) -> None:
    command = (*PYTHON, "coder.testing.agent")
    provider = Provider(id="demo", label="Demo", command=command, protocol=1)
    async with open_stage(tmp_path) as stage:
        env = {**stage.environment, "DEMO_PROTOCOL": "2"}
        async with open_acp_backend(
            provider, command, env, supervisor=stage.supervisor, emit=stage.emit_outside, limits=LIMITS
        ) as backend:
            await backend.ensure_session(stage.options())
            assert backend.introduction.protocol == 1


@pytest.mark.scenario("acp-backend: A turn of version 2 ends when its work does")
@pytest.mark.parametrize(
    ("prompt", "said", "stop_reason"),
    [
        ("repeat idle", "worked", "max_tokens"),
        ("own work first", "own workasked for", None),
        ("answer late", "quick", "end_turn"),
    ],
)
async def test_a_turn_ends_with_the_idle_that_ends_its_own_work(
    tmp_path: Path, prompt: str, said: str, stop_reason: str | None
) -> None:
    async with open_stage(tmp_path) as stage, open_demo(stage, command=ODD) as backend:
        handle = await backend.ensure_session(stage.options())
        for turn in (1, 2):
            result = await stage.prompt(backend, handle, prompt)
            assert (result.ok, result.stop_reason) == (True, stop_reason)
            assert stage.said == said * turn


@pytest.mark.scenario("acp-backend: A failure of version 2 is told in the agent's words")
@pytest.mark.parametrize(("prompt", "words"), [("refuse", "not now"), ("break", "the model is gone")])
async def test_a_prompt_refused_and_work_that_broke_fail_the_turn(tmp_path: Path, prompt: str, words: str) -> None:
    async with open_stage(tmp_path) as stage, open_demo(stage, command=ODD) as backend:
        handle = await backend.ensure_session(stage.options())
        result = await stage.prompt(backend, handle, prompt)
        assert result.error is not None
        assert (result.error.code, result.error.message) == ("agent_protocol", words)
        assert (await stage.prompt(backend, handle, "answer late")).ok


@pytest.mark.parametrize("open_agent", [open_demo, open_demo_v2], ids=["v1", "v2"])
@pytest.mark.scenario("acp-backend: Input joins the running turn where the agent takes it")
async def test_input_joins_the_running_turn_and_is_refused_without_one(
    tmp_path: Path, open_agent: Callable[[Stage], AbstractAsyncContextManager[AcpBackend]]
) -> None:
    async with open_stage(tmp_path) as stage, open_agent(stage) as backend:
        handle = await backend.ensure_session(stage.options())
        taken: list[bool] = [await backend.steer(handle, PromptInput("say too early"))]

        async def steer() -> None:
            await stage.wait_until(lambda: "before" in stage.said)
            taken.append(await backend.steer(handle, PromptInput("say steered")))

        assert backend.capabilities.steer
        result = await stage.prompt(backend, handle, "say before; listen; say \\safter", meanwhile=steer)
        assert (result.ok, taken) == (True, [False, True])
        assert sorted(stage.said.split()) == ["aftersteered", "before"]
        taken.append(await backend.steer(handle, PromptInput("say too late")))
        assert taken[-1] is False


@pytest.mark.scenario("acp-backend: Input is not sent to an agent that does not take it")
async def test_an_agent_that_does_not_say_so_is_never_steered(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage, open_demo(stage, command=ODD) as backend:
        handle = await backend.ensure_session(stage.options())
        assert not backend.capabilities.steer
        assert await backend.steer(handle, PromptInput("more")) is False


@pytest.mark.scenario("acp-backend: Input is not sent to an agent that does not take it")
async def test_a_turn_that_is_being_cancelled_takes_no_more_input(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage, open_demo_v2(stage) as backend:
        handle = await backend.ensure_session(stage.options())
        cancel = anyio.Event()

        async def cancel_and_steer() -> None:
            await _until_said(stage)
            cancel.set()
            await anyio.wait_all_tasks_blocked()
            assert await backend.steer(handle, PromptInput("say more")) is False

        script = "say a; ignore cancel; sleep 300"
        result = await stage.prompt(backend, handle, script, cancel=cancel, meanwhile=cancel_and_steer)
        assert result.stop_reason == "cancelled"
        assert stage.said == "a"


async def _until_said(stage: Stage) -> None:
    await stage.wait_until(lambda: bool(stage.said))
