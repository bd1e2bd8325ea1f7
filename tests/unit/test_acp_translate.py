"""Updates of agents to events: what the recorded conversations do not show."""

from typing import Any

import pytest

from coder.backends.acp.terminals import Terminal
from coder.backends.acp.translate import Translator
from coder.backends.wire import Fields
from coder.model.events import (
    Error,
    ModeChanged,
    ModelChanged,
    Plan,
    Text,
    ToolCallStarted,
    ToolCallUpdated,
    Unknown,
    UsageReported,
    UserText,
)
from coder.model.tool_calls import TerminalOutput, ToolCall
from coder.model.values import Json


def say(translator: Translator, update: str, /, **fields: Any) -> list[Any]:
    return list(translator.update({"sessionUpdate": update, **fields}))


def tool(translator: Translator, id: str = "c1", /, *, first: bool = False, **fields: Any) -> ToolCall:
    (event,) = say(translator, "tool_call" if first else "tool_call_update", toolCallId=id, **fields)
    assert isinstance(event, ToolCallStarted | ToolCallUpdated)
    return event.tool_call


def text(words: str) -> Fields:
    return {"type": "text", "text": words}


@pytest.mark.scenario("acp-backend: What is not understood is kept whole")
@pytest.mark.parametrize(
    "update",
    [
        {"sessionUpdate": "brand_new", "deep": {"a": [1, None]}},
        {"sessionUpdate": None},
        {"nothing": 1},
        {"sessionUpdate": "compaction_update", "compactionId": "1", "status": "completed"},
        {"sessionUpdate": "notice", "severity": "info", "title": "Note"},
        {"sessionUpdate": "session_info_update", "title": "A title"},
        {"sessionUpdate": "agent_message_chunk", "content": {"type": "image", "mimeType": "image/png", "data": "aaaa"}},
        {"sessionUpdate": "agent_message_chunk", "content": "bare"},
        {"sessionUpdate": "agent_message_chunk"},
        {"sessionUpdate": "agent_thought_chunk", "content": {"type": "audio"}},
        {"sessionUpdate": "tool_call", "title": "no id"},
        {"sessionUpdate": "current_mode_update"},
    ],
)
def test_an_update_without_a_word_of_ours_is_kept_whole(update: Fields) -> None:
    assert Translator().update(update) == [Unknown(raw=dict(update))]


def test_an_update_nested_deeper_than_can_be_stored_is_pruned_not_lost() -> None:
    deep: Any = "bottom"
    for _ in range(900):
        deep = [deep]
    (event,) = say(Translator(), "brand_new", deep=deep)
    assert isinstance(event, Unknown)
    assert event.model_dump_json()
    assert tool(Translator(), rawInput=deep).model_dump_json()


@pytest.mark.parametrize("fields", [{"currentModeId": "plan"}, {"modeId": "plan"}])
def test_a_mode_is_understood_by_either_name(fields: Fields) -> None:
    assert say(Translator(), "current_mode_update", **fields) == [ModeChanged(mode_id="plan")]


def test_a_plan_with_odd_words_still_is_a_plan() -> None:
    (event,) = say(Translator(), "plan", entries=[{"content": "a", "priority": "urgent", "status": "done"}, 7, {}])
    assert isinstance(event, Plan)
    assert [(entry.content, entry.priority, entry.status) for entry in event.entries] == [
        ("a", "medium", "pending"),
        ("", "medium", "pending"),
    ]


def test_a_notice_of_an_error_is_an_error() -> None:
    told = say(Translator(), "notice", severity="error", title="Quota", description="used up")
    assert told == [Error(code="agent_notice", message="Quota: used up")]


def test_an_agent_that_repeats_the_prompt_is_not_recorded_twice() -> None:
    translator = Translator()
    translator.begin_turn("do this now")
    assert say(translator, "user_message_chunk", content=text("do this ")) == []
    assert say(translator, "user_message_chunk", content=text("now")) == []
    assert say(translator, "user_message_chunk", content=text("something else")) == [UserText(text="something else")]


def test_fields_that_are_left_out_or_null_stay_and_arrays_are_replaced_whole() -> None:
    translator = Translator()
    first = tool(
        translator,
        first=True,
        title="Edit a",
        kind="edit",
        status="in_progress",
        rawInput={"a": 1},
        locations=[{"path": "/w/a", "line": 3}, {"line": 1}],
        content=[{"type": "content", "content": text("one")}, {"type": "diff", "path": "/w/a", "newText": "x"}],
    )
    assert (first.kind, first.status, first.locations[0].line, len(first.locations)) == ("edit", "running", 3, 1)
    assert first.diffs[0].old_text is None
    then = tool(translator, title=None, status="completed", content=[{"type": "content", "content": text("two")}])
    assert (then.title, then.input, then.status, then.diffs) == ("Edit a", {"a": 1}, "completed", ())
    assert [block.text for block in then.content] == ["two"]
    assert say(translator, "tool_call_update", toolCallId="c1", status="completed", _meta={"own": 1}) == []


def test_the_calls_of_a_sub_agent_name_the_call_that_put_it_to_work() -> None:
    translator = Translator()
    given = {"subagent_type": "explore", "description": "Look around"}
    outer = tool(translator, first=True, title="Look around", kind="think", rawInput=given)
    meta = {"claudeCode": {"parentToolUseId": outer.id}}
    (started,) = say(translator, "tool_call", toolCallId="c2", title="Read a", kind="read", _meta=meta)
    assert isinstance(started, ToolCallStarted)
    assert (outer.sub_agent, outer.parent_id) == ("explore", None)
    assert (started.tool_call.sub_agent, started.tool_call.parent_id) == (None, outer.id)
    (ended,) = say(translator, "tool_call_update", toolCallId="c2", status="completed")
    assert isinstance(ended, ToolCallUpdated)
    assert ended.tool_call.parent_id == outer.id


@pytest.mark.parametrize(
    ("status", "known"),
    [("cancelled", "failed"), ("in_progress", "running"), ("paused", "pending"), (7, "pending")],
)
def test_every_status_has_a_word_of_ours(status: object, known: str) -> None:
    assert tool(Translator(), status=status).status == known


@pytest.mark.parametrize("kind", ["switch_mode", "invent", None])
def test_a_kind_of_call_without_a_word_of_ours_is_other(kind: str | None) -> None:
    assert tool(Translator(), kind=kind).kind == "other"


def test_content_blocks_that_are_not_text_are_kept() -> None:
    call = tool(
        Translator(),
        content=[
            text("bare"),
            {"type": "content", "content": {"type": "image", "mimeType": "image/png", "data": "aa"}},
            {"type": "content", "content": {"type": "resource_link", "uri": "file:///a", "name": "a"}},
            {"type": "content", "content": {"type": "resource", "resource": {"uri": "file:///b", "text": "body"}}},
            {"type": "content", "content": {"type": "hologram", "size": 3}},
        ],
    )
    assert [block.kind for block in call.content] == ["text", "image", "resource_link", "resource", "unknown"]
    assert call.content[1].data == "aa"
    assert call.content[3].text == "body"
    assert call.content[4].raw == {"type": "hologram", "size": 3}


@pytest.mark.scenario("acp-backend: Calls left open end with their turn")
@pytest.mark.parametrize(
    ("stop_reason", "status"),
    [("end_turn", "completed"), ("cancelled", "failed"), ("max_tokens", "failed"), ("refusal", "failed")],
)
def test_calls_left_open_end_with_their_turn(stop_reason: str, status: str) -> None:
    translator = Translator()
    tool(translator, "open", status="in_progress")
    tool(translator, "done", status="completed")
    (event,) = translator.end_turn(stop_reason)
    assert isinstance(event, ToolCallUpdated)
    assert (event.tool_call.id, event.tool_call.status) == ("open", status)
    assert translator.end_turn(stop_reason) == []


def test_a_refused_call_that_the_agent_says_no_more_of_fails_though_the_turn_ends_well() -> None:
    translator = Translator()
    _, call, _ = translator.permission({"toolCall": {"toolCallId": "c1", "title": "Write"}, "options": []})
    translator.refused(call)
    (event,) = translator.end_turn("end_turn")
    assert isinstance(event, ToolCallUpdated)
    assert event.tool_call.status == "failed"


@pytest.mark.scenario("acp-backend: A permission request announces its call")
def test_a_permission_for_a_call_never_announced_announces_it() -> None:
    translator = Translator()
    params: Fields = {
        "toolCall": {"toolCallId": "c1", "title": "Run it", "kind": "execute"},
        "options": [
            {"optionId": "a", "name": "Yes", "kind": "allow_once"},
            {"optionId": "b", "kind": "allow_forever"},
            {"name": "no id"},
            "junk",
        ],
    }
    events, call, options = translator.permission(params)
    assert events == [ToolCallStarted(tool_call=call)]
    assert [(option.id, option.name, option.kind) for option in options] == [
        ("a", "Yes", "allow_once"),
        ("b", "b", "other"),
    ]
    assert tool(translator, first=True, status="in_progress").title == "Run it"


@pytest.mark.parametrize("asked", [None, {}, {"toolCallId": None}])
def test_a_permission_request_without_a_call_still_shows_one(asked: Json) -> None:
    events, call, options = Translator().permission({"toolCall": asked, "options": None})
    assert events == [ToolCallStarted(tool_call=call)]
    assert options == ()


def test_an_id_used_again_in_a_later_turn_names_a_new_call() -> None:
    translator = Translator()
    ids: list[str] = []
    for _ in range(3):
        translator.begin_turn("again")
        ids.append(tool(translator, "call_1", first=True, title="Read").id)
        assert tool(translator, "call_1", status="completed").id == ids[-1]
        translator.end_turn("end_turn")
    assert len(set(ids)) == 3


def test_a_call_announced_after_its_end_stays_ended() -> None:
    translator = Translator()
    tool(translator, status="completed")
    assert tool(translator, first=True, title="Late", status="pending").status == "completed"


def test_the_output_of_a_terminal_is_kept_to_its_last_part() -> None:
    translator = Translator()
    tool(translator, _meta={"terminal_info": {"terminal_id": "t1"}})
    call = tool(translator, _meta={"terminal_output": {"terminal_id": "t1", "data": "x" * 100_000 + "end"}})
    (terminal,) = call.terminals
    assert terminal.truncated
    assert terminal.output.endswith("end")
    assert len(terminal.output) == 64 * 1024


def test_news_of_a_terminal_reach_the_calls_that_show_it() -> None:
    translator = Translator()
    tool(translator, content=[{"type": "terminal", "terminalId": "term-1"}])
    (event,) = translator.terminal(TerminalOutput(terminal_id="term-1", output="hi", exit_code=0))
    assert isinstance(event, ToolCallUpdated)
    assert event.tool_call.terminals[0].output == "hi"
    assert translator.terminal(TerminalOutput(terminal_id="term-2", output="other")) == []


@pytest.mark.scenario("acp-backend: Usage is gathered from wherever it is told")
def test_usage_is_gathered_from_updates_chunks_and_the_answer() -> None:
    translator = Translator()
    translator.begin_turn("x")
    cost = {"amount": 0.5, "currency": "USD"}
    assert say(translator, "usage_update", used=10, size=100, cost=cost) == [
        UsageReported(context_used=10, context_size=100, cost=0.5)
    ]
    for _ in range(2):
        say(
            translator,
            "agent_message_chunk",
            content=text(""),
            _meta={"usage": {"inputTokens": 7, "outputTokens": 2}},
        )
    assert translator.usage.input_tokens == 14
    usage = translator.turn_usage({"_meta": {"quota": {"token_count": {"input_tokens": 20, "output_tokens": 5}}}})
    assert usage is not None
    assert (usage.context_used, usage.input_tokens, usage.output_tokens, usage.cost) == (10, 20, 5, 0.5)


@pytest.mark.parametrize(
    "update",
    [{"used": 0, "size": 0}, {"used": "many"}, {"used": True}, {"cost": {"amount": 1, "currency": "EUR"}}, {}],
)
def test_usage_that_says_nothing_is_no_event(update: Fields) -> None:
    assert say(Translator(), "usage_update", **update) == []


def test_a_turn_that_was_never_counted_has_no_usage() -> None:
    assert Translator().turn_usage({"usage": {"inputTokens": 0, "outputTokens": 0}}) is None


def test_config_options_count_more_than_the_older_lists() -> None:
    translator = Translator()
    grouped: Any = [
        {"group": "g", "name": "G", "options": [{"value": "m2", "name": "Two"}]},
        {"value": "m1", "name": "One"},
    ]
    offered: Any = {
        "models": {"currentModelId": "old", "availableModels": [{"modelId": "old", "name": "Old"}]},
        "modes": {"currentModeId": "ask", "availableModes": [{"id": "ask"}, {"id": "yolo", "name": "Yolo"}]},
        "configOptions": [
            {"id": "model", "category": "model", "type": "select", "currentValue": "m1", "options": grouped},
            {"id": "effort", "type": "select", "currentValue": "low", "options": [{"value": "low"}]},
            {"id": "fast", "type": "boolean", "currentValue": False},
            {"id": "odd", "type": "slider"},
        ],
    }
    events = translator.session_opened(offered)
    assert events == [ModeChanged(mode_id="ask"), ModelChanged(model_id="m1")]
    choices = translator.choices
    assert [(model.id, model.is_default) for model in choices.models()] == [("m2", False), ("m1", True)]
    assert [option.id for option in choices.models()[0].thinking_options] == ["low"]
    assert [(mode.id, mode.is_unattended) for mode in choices.modes()] == [("ask", False), ("yolo", True)]
    assert list(choices.features) == ["fast"]


def test_what_a_config_update_leaves_out_of_its_list_is_no_longer_offered() -> None:
    translator = Translator()
    option: Any = {"id": "effort", "category": "thought_level", "type": "select", "currentValue": "a", "options": []}
    translator.session_opened({"configOptions": [option]})
    assert translator.choices.thinking is not None
    say(translator, "config_option_update", configOptions=[])
    assert translator.choices.thinking is None


def test_a_replay_counts_and_only_what_is_true_now_comes_through() -> None:
    translator = Translator()
    translator.is_replaying = True
    assert say(translator, "agent_message_chunk", content=text("old")) == []
    assert say(translator, "tool_call", toolCallId="c1", title="old") == []
    assert say(translator, "current_mode_update", currentModeId="plan") == [ModeChanged(mode_id="plan")]
    assert translator.replayed == 2
    translator.is_replaying = False
    assert say(translator, "agent_message_chunk", content=text("new")) == [Text(text="new")]


@pytest.mark.scenario("acp-backend: Terminal output is cut in front at a whole character")
async def test_terminal_output_over_its_limit_loses_its_beginning_at_a_whole_character() -> None:
    terminal = Terminal("t", limit=5)
    terminal.add("aé€".encode())
    assert (terminal.text(), terminal.is_truncated) == ("é€", True)
    terminal.add("€".encode()[:2])
    assert terminal.text() == "€"
    terminal.add("€".encode()[2:])
    assert terminal.text() == "€"
