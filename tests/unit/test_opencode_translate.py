"""What recorded streams of the opencode server do not show."""

import pytest

from coder.backends.opencode.offer import Offer
from coder.backends.opencode.translate import Translator
from coder.backends.wire import Fields
from coder.model.events import ToolCallStarted


@pytest.mark.scenario("opencode-backend: A tool call is announced once")
@pytest.mark.parametrize("tool", [{}, {"tool": {"messageID": "msg_1", "callID": "call_1"}}])
def test_a_request_for_a_call_that_nobody_has_told_of_announces_it(tool: Fields) -> None:
    translator = Translator("opencode")
    translator.opened("ses_1", {}, Offer())
    asked: Fields = {"id": "per_1", "sessionID": "ses_1", "permission": "bash", "patterns": ["ls"], **tool}

    found = translator.permission(asked)

    assert found is not None
    events, call, _ = found
    assert events == [ToolCallStarted(tool_call=call)]
    assert translator.permission(asked) is None
    if tool:
        part: Fields = {"type": "tool", "id": "prt_1", "sessionID": "ses_1", "messageID": "msg_1", "callID": "call_1"}
        (update,) = translator.part(
            {**part, "tool": "bash", "state": {"status": "running", "input": {"command": "ls"}}}
        )
        assert (update.type, getattr(update, "tool_call", call).id) == ("tool_update", call.id)
