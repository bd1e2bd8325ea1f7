"""What is fetched of a conversation when its event stream may have told less than all."""

import pytest

from coder.backends.opencode.missed import fetch_missed
from coder.backends.wire import Fields, fields
from coder.model.values import Json


class Answers:
    """A server that knows these messages by conversation, and gives the newest `limit` of them."""

    def __init__(self, conversations: dict[str, list[Fields]]) -> None:
        self._conversations = conversations

    async def get(self, path: str) -> Json:
        folder, _, limit = path.partition("/message?limit=")
        if not limit:
            return {} if path == "/session/status" else []
        return [dict(each) for each in self._conversations[folder.removeprefix("/session/")][-int(limit) :]]


def message(number: int, sub_agent: str | None = None) -> Fields:
    part: Json = {"type": "tool", "state": {"metadata": {"sessionId": sub_agent}}}
    return {"info": {"id": f"msg_{number:04}"}, "parts": [part]}


@pytest.mark.parametrize("count", [0, 1, 19, 20, 21, 80, 500])
@pytest.mark.scenario("opencode-backend: A lost event stream loses nothing")
async def test_every_message_since_the_prompt_is_fetched_however_many(count: int) -> None:
    answers = Answers({"ses_1": [message(number) for number in range(100, 100 + 50 + count)]})

    missed = await fetch_missed(answers.get, "ses_1", "msg_0150")

    assert [fields(each["info"])["id"] for each in missed.messages] == [f"msg_{150 + n:04}" for n in range(count)]
    assert missed.status == {"type": "idle"}


@pytest.mark.scenario("opencode-backend: A lost event stream loses nothing")
async def test_what_sub_agents_have_said_is_fetched_too() -> None:
    answers = Answers(
        {
            "ses_1": [message(1, "ses_before"), message(5, "ses_2"), message(9)],
            "ses_2": [message(6, "ses_3"), message(8, "ses_2")],
            "ses_3": [message(7)],
        }
    )

    missed = await fetch_missed(answers.get, "ses_1", "msg_0005")

    assert [fields(each["info"])["id"] for each in missed.messages] == [
        f"msg_000{number}" for number in (5, 9, 6, 8, 7)
    ]
