"""Whatever JSON an agent sends, it becomes events that can be stored, or words."""

import json
from contextlib import suppress
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from coder.backends.acp.handshake import read_introduction
from coder.backends.acp.translate import Translator
from coder.backends.wire import encode
from coder.errors import AgentProtocolError
from coder.json_values import NotJson, read_line
from coder.model.events import agent_event

KINDS = [
    "user_message_chunk",
    "agent_message_chunk",
    "agent_thought_chunk",
    "tool_call",
    "tool_call_update",
    "plan",
    "available_commands_update",
    "current_mode_update",
    "config_option_update",
    "session_info_update",
    "usage_update",
    "notice",
    "compaction_update",
    "other",
]
NAMES = [
    "content",
    "type",
    "text",
    "toolCallId",
    "title",
    "kind",
    "status",
    "rawInput",
    "rawOutput",
    "locations",
    "path",
    "line",
    "terminalId",
    "_meta",
    "entries",
    "used",
    "size",
    "cost",
    "amount",
    "availableCommands",
    "name",
    "input",
    "hint",
    "currentModeId",
    "configOptions",
    "id",
    "category",
    "options",
    "value",
    "currentValue",
    "models",
    "availableModels",
    "modelId",
    "modes",
    "availableModes",
    "usage",
    "inputTokens",
    "quota",
    "token_count",
    "terminal_output",
    "terminal_id",
    "data",
    "messageId",
    "optionId",
    "toolCall",
    "diff",
    "newText",
    "oldText",
    "terminal",
    "resource",
    "image",
    "boolean",
    "select",
    "claudeCode",
    "authMethods",
    "agentCapabilities",
]

words = st.sampled_from([*NAMES, *KINDS, "pending", "completed", "model", "mode", ""]) | st.text(max_size=5)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words
)
values: st.SearchStrategy[Any] = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=12,
)
objects: st.SearchStrategy[dict[str, Any]] = st.dictionaries(st.sampled_from(NAMES), values, max_size=6)


def as_update(kind: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "sessionUpdate": kind}


updates = st.builds(as_update, st.sampled_from(KINDS), objects)


@settings(max_examples=200, deadline=None)
@given(said=st.lists(updates, max_size=6), asked=objects, opened=objects, answer=objects)
def test_any_updates_become_events_that_can_be_stored(
    said: list[dict[str, Any]], asked: dict[str, Any], opened: dict[str, Any], answer: dict[str, Any]
) -> None:
    translator = Translator()
    events = translator.session_opened(opened)
    translator.begin_turn("x")
    for update in said:
        events += translator.update(update)
    told, call, _ = translator.permission(asked)
    translator.refused(call)
    events += told + translator.end_turn("end_turn")
    translator.turn_usage(answer)
    for event in events:
        assert agent_event.validate_json(agent_event.dump_json(event)) == event
        assert orjson.dumps(event.model_dump(mode="json"))


@given(result=objects)
def test_any_introduction_is_read_or_refused(result: dict[str, Any]) -> None:
    for answer in (result, {**result, "protocolVersion": 1}):
        with suppress(AgentProtocolError):
            read_introduction(answer, ("agent",))


@given(line=st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode()))
def test_any_line_is_json_that_can_be_stored_or_is_none(line: bytes) -> None:
    try:
        value = read_line(line)
    except NotJson:
        return
    assert rb"\u0000" not in encode({"value": value}).replace(rb"\\", b"")
