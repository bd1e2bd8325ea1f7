"""The scripted model server, asked as the model libraries of real agents ask."""

import json
from dataclasses import dataclass

import httpx2
import pytest

from coder.testing.model_server import open_model_server
from coder.testing.wire import Fields, Json

SCHEMA: Fields = {"type": "object", "properties": {"file_path": {"type": "string"}, "content": {"type": "string"}}}
PROMPT = '[[think {"text":"hmm"}]] [[write {"path":"/w/a.txt","content":"hi"}]] [[text {"text":"I wrote it"}]]'


@dataclass(frozen=True)
class Wire:
    """One vendor's way to offer a file tool, to prompt, and to hand back a tool's result."""

    path: str
    tools: Json
    messages: str
    prompt: Json
    result: Json

    def body(self, *more: Json) -> dict[str, Json]:
        return {self.messages: [self.prompt, *more], "tools": self.tools}


CHAT = Wire(
    path="/v1/chat/completions",
    tools=[{"type": "function", "function": {"name": "write_file", "parameters": SCHEMA}}],
    messages="messages",
    prompt={"role": "user", "content": PROMPT},
    result={"role": "tool", "tool_call_id": "1", "content": "ok"},
)
RESPONSES = Wire(
    path="/v1/responses",
    tools=[{"type": "function", "name": "write_file", "parameters": SCHEMA}],
    messages="input",
    prompt={"role": "user", "content": [{"type": "input_text", "text": PROMPT}]},
    result={"type": "function_call_output", "call_id": "1", "output": "ok"},
)
ANTHROPIC = Wire(
    path="/v1/messages",
    tools=[{"name": "Write", "input_schema": SCHEMA}],
    messages="messages",
    prompt={"role": "user", "content": [{"type": "text", "text": PROMPT}]},
    result={"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "ok"}]},
)
GEMINI = Wire(
    path="/v1beta/models/any:generateContent",
    tools=[{"functionDeclarations": [{"name": "write_file", "parameters": SCHEMA}]}],
    messages="contents",
    prompt={"role": "user", "parts": [{"text": PROMPT}]},
    result={"role": "user", "parts": [{"functionResponse": {"name": "write_file", "response": {"output": "ok"}}}]},
)
WIRES = pytest.mark.parametrize(
    "wire", [CHAT, RESPONSES, ANTHROPIC, GEMINI], ids=["chat", "responses", "anthropic", "gemini"]
)


def chat(directive: str, **more: Json) -> dict[str, Json]:
    return {"messages": [{"role": "user", "content": directive}], "tools": CHAT.tools} | more


@pytest.mark.scenario("testing: Every wire carries a scripted tool call")
@WIRES
def test_a_directive_becomes_a_call_of_the_offered_tool(wire: Wire):
    with open_model_server() as url:
        answer = httpx2.post(url + wire.path, json=wire.body())

    flat = answer.text.replace("\\", "").replace(" ", "")
    assert '"file_path":"/w/a.txt"' in flat
    assert '"content":"hi"' in flat


@WIRES
def test_a_streamed_answer_thinks_and_calls_in_events(wire: Wire):
    path = wire.path.replace(":generateContent", ":streamGenerateContent?alt=sse")
    with open_model_server() as url:
        received = httpx2.post(url + path, json=wire.body() | {"stream": True}).text

    events = [line.removeprefix("data: ") for line in received.splitlines() if line.startswith("data: ")]
    assert all(json.loads(event) for event in events if event != "[DONE]")
    assert next(number for number, event in enumerate(events) if "hmm" in event) < next(
        number for number, event in enumerate(events) if "/w/a" in event
    )


@WIRES
def test_a_tool_result_brings_the_next_directive(wire: Wire):
    with open_model_server() as url:
        answer = httpx2.post(url + wire.path, json=wire.body(wire.result))

    assert "I wrote it" in answer.text


@pytest.mark.scenario("testing: A scripted model fault reaches the agent")
def test_a_failure_and_a_cut_connection_reach_the_agent():
    def ask(url: str, directive: str) -> httpx2.Response:
        return httpx2.post(url + CHAT.path, json=chat(directive, stream=True))

    with open_model_server() as url:
        assert ask(url, '[[http {"status": 529}]]').status_code == 529
        with pytest.raises(httpx2.RemoteProtocolError):
            ask(url, '[[drop {"after": 2}]]')


def test_a_request_without_tools_gets_a_title():
    with open_model_server() as url:
        answer = httpx2.post(url + CHAT.path, json=chat(PROMPT, tools=[]))

    assert answer.json()["choices"][0]["message"]["content"] == "Scripted title"


def test_a_directive_whose_quotes_were_escaped_is_understood():
    with open_model_server() as url:
        answer = httpx2.post(url + CHAT.path, json=chat(json.dumps(PROMPT)))

    assert answer.json()["choices"][0]["finish_reason"] == "tool_calls"


def test_a_write_without_a_file_tool_becomes_a_shell_command():
    shell: Fields = {"name": "bash", "parameters": {"properties": {"command": {"type": "string"}}}}
    body = chat(PROMPT, tools=[{"type": "function", "function": shell}])
    with open_model_server() as url:
        message = httpx2.post(url + CHAT.path, json=body).json()["choices"][0]["message"]

    command = json.loads(message["tool_calls"][0]["function"]["arguments"])["command"]
    assert command == "printf '%s' 'hi' > '/w/a.txt'"


def test_the_newest_requests_can_be_looked_at():
    with open_model_server() as url:
        httpx2.post(url + CHAT.path, json=CHAT.body())

        seen = httpx2.get(url + "/_requests").json()["requests"]

    assert [(request["path"], request["body"]) for request in seen] == [(CHAT.path, CHAT.body())]


def test_a_hanging_answer_does_not_hold_up_the_end_of_the_server():
    body = chat('[[hang {"seconds": 60}]]', stream=True)
    with open_model_server() as url, httpx2.Client() as client:
        request = client.build_request("POST", url + CHAT.path, json=body)
        client.send(request, stream=True)
