"""What the translator makes of recorded conversations of real agents."""

import pytest

from coder.model.events import (
    PermissionRequested,
    PermissionResolved,
    Text,
    ToolCallStarted,
    ToolCallUpdated,
    TurnEnded,
)
from tests.golden.recorded import NAMES, events_of, expected_events


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.scenario("acp-backend: A recorded conversation is translated as expected")
def test_a_recorded_conversation_yields_its_committed_events(name: str) -> None:
    assert events_of(name) == expected_events(name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.scenario("acp-backend: A tool call is announced once")
def test_every_call_is_announced_once_before_its_updates_and_is_over_when_its_turn_ends(name: str) -> None:
    announced: dict[str, str] = {}
    for event in expected_events(name):
        match event:
            case ToolCallStarted():
                assert event.tool_call.id not in announced
                announced[event.tool_call.id] = event.tool_call.status
            case ToolCallUpdated():
                assert event.tool_call.id in announced
                announced[event.tool_call.id] = event.tool_call.status
            case TurnEnded():
                assert set(announced.values()) <= {"completed", "failed"}
            case _:
                pass


@pytest.mark.parametrize("name", NAMES)
def test_every_permission_request_offers_options_and_is_resolved_with_one_of_them(name: str) -> None:
    events = expected_events(name)
    asked = {event.request.id: event.request for event in events if isinstance(event, PermissionRequested)}
    resolved = {event.request_id: event.outcome for event in events if isinstance(event, PermissionResolved)}
    assert asked.keys() == resolved.keys()
    for id, request in asked.items():
        kinds = {option.kind for option in request.options}
        assert kinds & {"allow_once"}
        assert "other" not in kinds
        assert resolved[id].option_id in {None, *(option.id for option in request.options)}


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".more")])
@pytest.mark.scenario("acp-backend: A replay of history is not recorded again")
def test_a_loaded_conversation_adds_nothing_but_the_new_turn(name: str) -> None:
    texts = [event.text for event in expected_events(name) if isinstance(event, Text)]
    words = "".join(texts)
    assert texts[-1] == "back"
    assert words.count("long 0 ") == 1
