"""Updates of version 2 to events: upserts of messages, calls, terminals and plans that no recording shows."""

from base64 import b64encode
from typing import Any

import pytest

from coder.backends.acp.translate_v2 import TranslatorV2
from coder.backends.wire import Fields
from coder.model.events import (
    Plan,
    Reasoning,
    Text,
    ToolCallStarted,
    ToolCallUpdated,
    Unknown,
    UsageReported,
    UserText,
)
from coder.model.tool_calls import ContentBlock, TerminalOutput, ToolCall, ToolDiff


def hear(translator: TranslatorV2, update: str, /, **fields: Any) -> list[Any]:
    return list(translator.update({"sessionUpdate": update, **fields}))


def tool(translator: TranslatorV2, update: str = "tool_call_update", /, **fields: Any) -> ToolCall:
    (event,) = hear(translator, update, toolCallId="c1", **fields)
    assert isinstance(event, ToolCallStarted | ToolCallUpdated)
    return event.tool_call


def text(words: str) -> Fields:
    return {"type": "text", "text": words}


def encoded(data: bytes) -> str:
    return b64encode(data).decode()


def message(translator: TranslatorV2, *steps: str | list[str] | None) -> list[tuple[str, str | None]]:
    """The pieces shown of message m: a text is a chunk, a list or None the whole content."""
    shown: list[tuple[str, str | None]] = []
    for step in steps:
        if isinstance(step, str):
            events = hear(translator, "agent_message_chunk", messageId="m", content=text(step))
        else:
            content = step if step is None else [text(words) for words in step]
            events = hear(translator, "agent_message", messageId="m", content=content)
        shown += [(event.text, event.message_id) for event in events if isinstance(event, Text)]
    return shown


@pytest.mark.scenario("acp-backend: A message told twice is shown once")
@pytest.mark.parametrize(
    ("steps", "shown"),
    [
        (["a", "b", ["ab"]], ["a", "b"]),
        (["a", ["abc"]], ["a", "bc"]),
        ([["a"], ["ab"], "c"], ["a", "b", "c"]),
        ([["a", "b"], ["ab"]], ["ab"]),
        (["\n\na b", ["a b"], " c"], ["\n\na b", " c"]),
        (["a", list[str](), "a", "b"], ["a", "b"]),
        (["a", None, ["ab"]], ["a", "b"]),
        (["abc", ["ab"], "c", "d"], ["abc", "d"]),
    ],
)
def test_what_was_shown_of_a_message_is_not_shown_again(steps: list[Any], shown: list[str]) -> None:
    pieces = message(TranslatorV2(), *steps)
    assert [piece for piece, _ in pieces] == shown
    assert {id for _, id in pieces} == {"m"}


@pytest.mark.scenario("acp-backend: A message that was changed is shown anew")
@pytest.mark.parametrize(
    ("steps", "shown"),
    [
        (["abc", ["xyz"], "!"], [("abc", "m"), ("xyz", "m#2"), ("!", "m#2")]),
        (["abc", ["a"], "x"], [("abc", "m"), ("ax", "m#2")]),
        (["abc", ["x"], ["y"], ["yz"]], [("abc", "m"), ("x", "m#2"), ("y", "m#3"), ("z", "m#3")]),
    ],
)
def test_a_text_that_does_not_go_on_from_what_was_shown_is_said_whole_as_a_new_version(
    steps: list[Any], shown: list[tuple[str, str]]
) -> None:
    assert message(TranslatorV2(), *steps) == shown


def test_messages_of_other_ids_and_kinds_do_not_meet() -> None:
    translator = TranslatorV2()
    assert hear(translator, "agent_thought", messageId="m", content=[text("a")]) == [
        Reasoning(text="a", message_id="m")
    ]
    assert hear(translator, "agent_message", messageId="m", content=[text("a")]) == [Text(text="a", message_id="m")]
    assert hear(translator, "agent_message", messageId="n", content=[text("a")]) == [Text(text="a", message_id="n")]
    assert hear(translator, "agent_message", messageId="n", _meta={"own": 1}) == []
    assert hear(translator, "agent_message_chunk", content=text("a")) == [Text(text="a")]


def test_content_of_a_message_that_is_no_text_is_kept_once() -> None:
    translator = TranslatorV2()
    image: Fields = {"type": "image", "mimeType": "image/png", "data": "aa"}
    first = hear(translator, "agent_message", messageId="m", content=[text("a"), image])
    assert [event.type for event in first] == ["text", "unknown"]
    assert hear(translator, "agent_message", messageId="m", content=[text("a"), image]) == []


@pytest.mark.scenario("acp-backend: The prompt that comes back is not recorded twice")
@pytest.mark.parametrize("is_whole", [True, False], ids=["whole", "in pieces"])
def test_a_prompt_that_comes_back_with_its_attachments_is_not_recorded_again(is_whole: bool) -> None:
    translator = TranslatorV2()
    translator.begin_turn("do this")
    assert not translator.is_echoed
    blocks: list[Any] = [
        text("do this"),
        {"type": "image", "mimeType": "image/png", "data": "aa"},
        text("notes.md:\n# hi"),
    ]
    if is_whole:
        assert hear(translator, "user_message", messageId="u", content=blocks) == []
    else:
        for block in blocks:
            assert hear(translator, "user_message_chunk", messageId="u", content=block) == []
    assert translator.is_echoed
    assert hear(translator, "user_message", messageId="v", content=[text("go on")]) == [UserText(text="go on")]
    assert hear(translator, "user_message", messageId="v", content=[text("go on")]) == []


def test_words_sent_into_the_turn_that_come_back_are_not_recorded_again() -> None:
    translator = TranslatorV2()
    translator.begin_turn("do this")
    translator.expect_echo("and that")
    assert hear(translator, "user_message", messageId="u", content=[text("and that")]) == []
    assert hear(translator, "user_message", messageId="w", content=[text("do this")]) == []


@pytest.mark.scenario("acp-backend: Null clears a field of a call")
def test_what_is_left_out_stays_null_clears_and_values_replace() -> None:
    translator = TranslatorV2()
    tool(
        translator,
        title="Edit",
        name="edit",
        kind="edit",
        status="in_progress",
        rawInput={"a": 1},
        locations=[{"path": "/w/a"}],
        content=[{"type": "content", "content": text("one")}, {"type": "terminal", "terminalId": "t"}],
    )
    same = tool(translator, title="Edit a")
    assert (same.kind, same.status, same.input, len(same.content), len(same.terminals)) == (
        "edit",
        "running",
        {"a": 1},
        1,
        1,
    )
    names = ("title", "kind", "status", "rawInput", "locations", "content")
    bare = tool(translator, **dict.fromkeys(names))
    assert bare == ToolCall(id="c1", title="edit", name="edit")


def test_content_of_a_call_that_comes_in_pieces_is_added() -> None:
    translator = TranslatorV2()
    chunk = "tool_call_content_chunk"
    assert tool(translator, chunk, content={"type": "content", "content": text("one")}).content[0].text == "one"
    tool(translator, chunk, content={"type": "terminal", "terminalId": "t"})
    call = tool(translator, chunk, content={"type": "content", "content": text("two")})
    assert [block.text for block in call.content] == ["one", "two"]
    assert [terminal.terminal_id for terminal in call.terminals] == ["t"]
    assert tool(translator, content=[]).content == ()


@pytest.mark.scenario("acp-backend: Terminals of the agent are shown with their calls")
def test_a_terminal_of_the_agent_is_shown_with_the_call_that_names_it() -> None:
    translator = TranslatorV2()
    assert hear(translator, "terminal_update", terminalId="t", command="make", cwd="/w") == []
    assert hear(translator, "terminal_output_chunk", terminalId="t", data=encoded(b"one\n\xe2\x82")) == []
    assert tool(translator, content=[{"type": "terminal", "terminalId": "t"}]).terminals[0].output == "one\n"
    (event,) = hear(translator, "terminal_output_chunk", terminalId="t", data=encoded(b"\xac\x00"))
    assert event.tool_call.terminals[0].output == "one\n€\ufffd"
    (event,) = hear(translator, "terminal_update", terminalId="t", exitStatus={"exitCode": 2, "signal": None})
    assert event.tool_call.terminals == (TerminalOutput(terminal_id="t", output="one\n€\ufffd", exit_code=2),)
    (event,) = hear(translator, "terminal_update", terminalId="t", output={"data": encoded(b"all")}, exitStatus=None)
    assert event.tool_call.terminals == (TerminalOutput(terminal_id="t", output="all"),)


PATCH = """\
diff --git a/src/a.txt b/src/a.txt
--- a/src/a.txt
+++ b/src/a.txt
@@ -1,3 +1,3 @@
 one
--- two
+++ three

@@ -9 +9 @@
-nine
\\ No newline at end of file
+ten
\\ No newline at end of file
diff --git /w/new.txt /w/new.txt
new file mode 100644
--- /dev/null
+++ /w/new.txt
@@ -0,0 +1 @@
+fresh
diff --git /w/gone.txt /w/gone.txt
--- /w/gone.txt
+++ /dev/null
@@ -1 +0,0 @@
-old
"""


@pytest.mark.scenario("acp-backend: A patch is shown as texts before and after")
def test_a_patch_becomes_the_texts_before_and_after_of_every_file() -> None:
    changes = [
        {"operation": "modify", "path": "/w/src/a.txt"},
        {"operation": "add", "path": "/w/new.txt"},
        {"operation": "delete", "path": "/w/gone.txt"},
    ]
    patch = {"format": "git_patch", "text": PATCH}
    call = tool(TranslatorV2(), content=[{"type": "diff", "changes": changes, "patch": patch}])
    assert call.diffs == (
        ToolDiff(path="/w/src/a.txt", old_text="one\n-- two\n\nnine", new_text="one\n++ three\n\nten"),
        ToolDiff(path="/w/new.txt", old_text=None, new_text="fresh\n"),
        ToolDiff(path="/w/gone.txt", old_text="old\n", new_text=""),
    )


@pytest.mark.parametrize("patch", [None, {"format": "other", "text": "x"}, {"format": "git_patch", "text": "junk"}])
def test_a_change_without_a_patch_is_kept_as_it_came(patch: object) -> None:
    change: Fields = {"type": "diff", "changes": [{"operation": "delete", "path": "/w/a"}], "patch": patch}  # pyright: ignore[reportAssignmentType] - any JSON
    call = tool(TranslatorV2(), content=[change])
    assert call.diffs == ()
    assert call.content == (ContentBlock(kind="unknown", raw=dict(change)),)


def test_plans_are_told_together_and_removed_by_their_id() -> None:
    translator = TranslatorV2()
    entries = [{"content": "a", "status": "completed"}, {"content": "dropped", "status": "cancelled"}]
    hear(translator, "plan_update", plan={"type": "items", "planId": "1", "entries": entries})
    (plan,) = hear(translator, "plan_update", plan={"type": "items", "planId": "2", "entries": [{"content": "b"}]})
    assert isinstance(plan, Plan)
    assert [(entry.content, entry.status) for entry in plan.entries] == [("a", "completed"), ("b", "pending")]
    (plan,) = hear(translator, "plan_removed", planId="1")
    assert [entry.content for entry in plan.entries] == ["b"]
    assert hear(translator, "plan_removed", planId="1") == []


@pytest.mark.scenario("acp-backend: A permission request of version 2 names its subject")
@pytest.mark.parametrize(
    ("subject", "id", "title", "kind"),
    [
        ({"type": "tool_call", "toolCall": {"toolCallId": "c1", "title": "Run", "kind": "read"}}, "c1", "Run", "read"),
        ({"type": "command", "command": "make", "cwd": "/w", "toolCallId": "c2"}, "c2", "make", "execute"),
        ({"type": "command", "command": "make", "cwd": "/w"}, "permission", "make", "execute"),
        ({"type": "_own", "what": 1}, "permission", "May I?", "other"),
        (None, "permission", "May I?", "other"),
    ],
)
def test_a_permission_request_shows_what_it_is_about_and_why(subject: Any, id: str, title: str, kind: str) -> None:
    options = [{"optionId": "a", "name": "Yes", "kind": "allow_once"}]
    params: Fields = {"title": "May I?", "description": "to build", "subject": subject, "options": options}  # pyright: ignore[reportAssignmentType] - any JSON
    events, call, _ = TranslatorV2().permission(params)
    (started,) = events
    assert isinstance(started, ToolCallStarted)
    assert (call.id, call.title, call.kind) == (id, title, kind)
    assert [block.text for block in call.content] == ["to build"]
    assert started.tool_call == call.model_copy(update={"content": ()})


def test_a_command_asked_about_leaves_the_call_it_belongs_to_as_it_is() -> None:
    translator = TranslatorV2()
    tool(translator, title="Build", kind="execute", status="in_progress", rawInput={"command": "make all"})
    subject: Any = {"type": "command", "command": "make all", "cwd": "/w", "toolCallId": "c1"}
    events, call, _ = translator.permission({"title": "Run?", "subject": subject, "options": []})
    assert (events, call.title, call.input) == ([], "Build", {"command": "make all"})


@pytest.mark.scenario("acp-backend: What version 2 has no word for is kept whole")
@pytest.mark.parametrize(
    "update",
    [
        {"sessionUpdate": "state_update", "state": "_dreaming"},
        {"sessionUpdate": "state_update", "state": "idle", "background": [{"type": "terminal", "terminalId": "t"}]},
        {"sessionUpdate": "agent_message", "content": []},
        {"sessionUpdate": "user_message"},
        {"sessionUpdate": "tool_call_content_chunk", "toolCallId": "c"},
        {"sessionUpdate": "terminal_update"},
        {"sessionUpdate": "terminal_output_chunk", "data": "x"},
        {"sessionUpdate": "plan_update", "plan": {"type": "markdown", "planId": "1", "content": "# Plan"}},
        {"sessionUpdate": "agent_message_chunk", "messageId": "m", "content": {"type": "image"}},
        {"sessionUpdate": "notice", "severity": "warning", "title": "Note"},
        {"sessionUpdate": "_subagent_update", "name": "x"},
    ],
)
def test_an_update_of_version_2_without_a_word_of_ours_is_kept_whole(update: Fields) -> None:
    assert TranslatorV2().update(update) == [Unknown(raw=dict(update))]


@pytest.mark.parametrize("state", ["running", "idle", "requires_action", "unknown"])
def test_a_state_is_no_event_and_background_work_is_told_once(state: str) -> None:
    translator = TranslatorV2()
    assert hear(translator, "state_update", state=state, background=[]) == []
    assert len(hear(translator, "state_update", state=state, background=[{"type": "tool_call"}])) == 1
    assert hear(translator, "state_update", state=state, background=[{"type": "tool_call"}]) == []


def test_a_cost_that_is_cleared_is_unknown() -> None:
    translator = TranslatorV2()
    hear(translator, "usage_update", used=1, size=9, cost={"amount": 2, "currency": "USD"})
    assert hear(translator, "usage_update", used=1, size=9) == []
    cleared = hear(translator, "usage_update", used=1, size=9, cost=None)
    assert cleared == [UsageReported(context_used=1, context_size=9)]
