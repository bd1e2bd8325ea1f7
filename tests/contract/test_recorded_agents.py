"""The ACP backend against replays of real agents: the same events as the committed ones, through a real process."""

from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import orjson
import pytest

from coder.backends.base import AgentBackend, AgentSessionHandle
from coder.model.events import AgentEvent, Text, agent_event
from coder.model.permissions import PermissionOption, PermissionOutcome, PermissionStatus
from coder.model.tool_calls import ToolCall
from tests.contract.stage import LIMITS, PYTHON, Stage, open_demo, open_stage
from tests.golden.recorded import (
    NAMES,
    Part,
    Scene,
    expected_events,
    host_of,
    permission_requested,
    permission_resolved,
    transcript,
    without_turns,
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.scenario("acp-backend: A recorded conversation is translated as expected")
async def test_a_replayed_agent_yields_the_events_of_its_recording(tmp_path: Path, name: str) -> None:
    command = (*PYTHON, "coder.testing.replay_agent", str(transcript(name)))
    async with open_stage(tmp_path) as stage:
        expected = _placed(expected_events(name), stage.worktree)
        visitor = Visitor(stage, name.partition(".")[0], expected)
        for part in host_of(name).parts:
            limits = replace(LIMITS, replay_quiet=0.3)
            async with open_demo(stage, {}, limits, offers=not name.endswith(".more"), command=command) as backend:
                await visitor.visit(backend, part)
        assert _joined(stage.everything) == _joined(expected)


@dataclass
class Visitor:
    """Does what the recorded client did: the same prompts, answers and cancels at the same places."""

    stage: Stage
    agent: str
    expected: list[AgentEvent]
    turns: int = 0
    permissions: int = 0

    async def visit(self, backend: AgentBackend, part: Part) -> None:
        handle = await backend.ensure_session(self.stage.options(mode_id=part.mode, resume_token=part.token))
        assert handle.is_resumed == (part.token is not None)
        for scene in part.scenes:
            await self._until(scene.starts_after)
            self.turns += 1
            await self._play(backend, handle, scene)
        await self._until(part.ends_after)

    async def _play(self, backend: AgentBackend, handle: AgentSessionHandle, scene: Scene) -> None:
        cancel = anyio.Event()
        answers = iter(scene.answers)

        async def ask(call: ToolCall, options: tuple[PermissionOption, ...]) -> PermissionOutcome:
            self.permissions += 1
            number = self.permissions
            self.stage.add(permission_requested(number, self.agent, self.turns, call, options))
            outcome = PermissionOutcome(status=PermissionStatus.CANCELLED)
            try:
                if option_id := next(answers):
                    outcome = PermissionOutcome(status=PermissionStatus.SELECTED, option_id=option_id)
                else:
                    cancel.set()
                    await anyio.sleep_forever()
            finally:
                self.stage.add(permission_resolved(number, outcome))
            return outcome

        async def cancel_in_time() -> None:
            if scene.cancelled_after is not None:
                await self._until(scene.cancelled_after)
                cancel.set()

        # the agent repeats the prompt with the worktree's name, as it was sent
        prompt = scene.prompt.replace("<WORKTREE>", str(self.stage.worktree))
        await self.stage.prompt(backend, handle, prompt, ask=ask, cancel=cancel, meanwhile=cancel_in_time)

    async def _until(self, count: int) -> None:
        """Until what the recorded client had seen after `count` events has been seen here."""
        amount = _amount(self.expected[:count])
        await self.stage.wait_until(lambda: _amount(self.stage.everything) >= amount)


def _amount(events: list[AgentEvent]) -> int:
    """How much has been told, however a text is cut into pieces."""
    return sum(len(event.text) if isinstance(event, Text) else 1 for event in events)


def _joined(events: list[AgentEvent]) -> list[AgentEvent]:
    """The events with adjacent pieces of one text put together."""
    joined: list[AgentEvent] = []
    for event in events:
        last = joined[-1] if joined else None
        if isinstance(event, Text) and isinstance(last, Text) and last.message_id == event.message_id:
            joined[-1] = Text(text=last.text + event.text, message_id=event.message_id)
        else:
            joined.append(event)
    return joined


def _placed(events: list[AgentEvent], worktree: Path) -> list[AgentEvent]:
    """The events as they are in this worktree."""
    quoted = orjson.dumps(str(worktree))[1:-1]
    lines = [agent_event.dump_json(event).replace(b"<WORKTREE>", quoted) for event in without_turns(events)]
    return [agent_event.validate_json(line) for line in lines]
