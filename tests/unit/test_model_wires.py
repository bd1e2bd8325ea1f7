"""What the scripted model reads from requests that real agents have surprised it with."""

import json

from coder.testing.model_script import Call, Say, answer
from coder.testing.model_wires import read_gemini, read_responses


def test_tools_that_come_in_the_conversation_count():
    tool = {"type": "function", "name": "shell", "parameters": {"properties": {"command": {"type": "string"}}}}
    offered = {"type": "additional_tools", "role": "developer", "tools": [{"type": "namespace", "tools": [tool]}]}
    prompt = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": '[[bash {"cmd":"ls"}]]'}]}

    [part] = answer(read_responses({"input": [offered, prompt]}))

    assert part == Call("shell", {"command": "ls"})


def test_an_answer_that_has_to_be_json_is_json_of_that_schema():
    schema = {"type": "OBJECT", "properties": {"score": {"type": "INTEGER"}}, "required": ["score"]}
    contents = [{"role": "user", "parts": [{"text": "how hard is this?"}]}]

    [part] = answer(read_gemini({"contents": contents, "generationConfig": {"responseJsonSchema": schema}}))

    assert isinstance(part, Say)
    assert json.loads(part.text) == {"score": 1}
