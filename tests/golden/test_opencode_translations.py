"""What the translator makes of recorded event streams of a real opencode server."""

import pytest

from coder.backends.opencode.translate import Translator
from coder.backends.wire import Fields, fields, text
from coder.model.events import (
    PermissionRequested,
    Reasoning,
    Text,
    ToolCallStarted,
    ToolCallUpdated,
    TurnEnded,
    Unknown,
    UserText,
)
from tests.golden.opencode_recorded import NAMES, OFFER, events_of, expected_events, recorded


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.scenario("opencode-backend: A recorded stream is translated as expected")
def test_a_recorded_stream_yields_its_committed_events(name: str) -> None:
    assert events_of(name) == expected_events(name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.scenario("opencode-backend: A tool call is announced once")
def test_every_call_is_announced_once_before_its_updates_and_is_over_when_its_turn_ends(name: str) -> None:
    states: dict[str, str] = {}
    for event in expected_events(name):
        match event:
            case ToolCallStarted():
                assert event.tool_call.id not in states
                states[event.tool_call.id] = event.tool_call.status
            case ToolCallUpdated():
                assert states[event.tool_call.id] not in ("completed", "failed") or event.tool_call.content
                states[event.tool_call.id] = event.tool_call.status
            case TurnEnded():
                assert set(states.values()) <= {"completed", "failed"}
            case _:
                pass


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.scenario("opencode-backend: Nothing is told twice")
def test_a_stream_that_comes_twice_says_everything_once(name: str) -> None:
    """Each event is sent again at once, as after a reconnection that overlaps."""
    once, twice = Translator("opencode"), Translator("opencode")
    session = next((found for message in recorded(name) if (found := _session_of(message))), "ses_001")
    said: list[tuple[Translator, list[object]]] = [(once, []), (twice, [])]
    for translator, events in said:
        translator.opened(session, {}, OFFER)
        for message in recorded(name):
            kind, properties = text(message.get("type")) or "", fields(message.get("properties"))
            is_doubled = translator is twice and kind not in ("message.part.delta", "session.status")
            for _ in range(2 if is_doubled else 1):
                events += [
                    event
                    for event in translator.event(kind, properties)
                    if isinstance(event, Text | Reasoning | UserText | ToolCallStarted | ToolCallUpdated)
                ]
    assert said[0][1] == said[1][1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.scenario("opencode-backend: A lost event stream loses nothing")
def test_text_whose_pieces_were_missed_is_whole_in_the_end(name: str) -> None:
    """Every second piece of a text is lost, and the loss is noticed."""
    translator = Translator("opencode")
    whole = Translator("opencode")
    session = next((found for message in recorded(name) if (found := _session_of(message))), "ses_001")
    texts = {translator: "", whole: ""}
    ended = {id for message in recorded(name) if (id := _ended_part(message))}
    for each in texts:
        each.opened(session, {}, OFFER)
        lost = 0
        for message in recorded(name):
            kind, properties = text(message.get("type")) or "", fields(message.get("properties"))
            if kind == "message.part.delta":
                lost += 1
                if properties.get("partID") not in ended or (each is translator and lost % 2):
                    each.missed()
                    continue
            texts[each] += "".join(event.text for event in each.event(kind, properties) if isinstance(event, Text))
    assert texts[translator] == texts[whole]


def test_only_what_the_translator_has_no_word_for_is_unknown() -> None:
    unknown = {
        str(fields(event.raw).get("type"))
        for name in NAMES
        for event in expected_events(name)
        if isinstance(event, Unknown)
    }
    assert unknown == {"message.removed"}


def _session_of(message: Fields) -> str | None:
    return text(fields(message.get("properties")).get("sessionID"))


def _ended_part(message: Fields) -> str | None:
    part = fields(fields(message.get("properties")).get("part"))
    return text(part.get("id")) if "end" in fields(part.get("time")) else None


@pytest.mark.scenario("pane: What a lasting answer covers is said where the agent tells it")
def test_a_lasting_answer_says_what_the_server_will_take_it_for() -> None:
    asked = [event.request for event in events_of("multi_write_edit_bash") if isinstance(event, PermissionRequested)]
    covers = {option.kind: option.covers for option in asked[-1].options}
    assert covers == {
        "allow_once": (),
        "allow_always": ("bash cat *", "bash echo *", "bash sleep *"),
        "reject_once": (),
    }
