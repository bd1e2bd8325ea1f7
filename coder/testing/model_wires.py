"""The wires of model vendors, as pure translation: request bodies are read, parts become frames or one body."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from coder.testing.model_script import Request, Turn
from coder.testing.wire import Fields, Json, fields, items, string

MODEL = "scripted-model"
CONTEXT = 200_000
_ARGUMENTS_PIECE = 40


@dataclass(frozen=True)
class Frame:
    """One server-sent event; `event` is its name where the wire has names."""

    body: Json
    event: str = ""

    def encode(self) -> bytes:
        name = f"event: {self.event}\n" if self.event else ""
        body = self.body if isinstance(self.body, str) else json.dumps(self.body)
        return f"{name}data: {body}\n\n".encode()


class Answer(Protocol):
    """One answer in the making on one wire. Calls come in the order of the parts, `finish` last."""

    def start(self) -> Iterator[Frame]: ...
    def say(self, text: str) -> Iterator[Frame]: ...
    def think(self, text: str) -> Iterator[Frame]: ...
    def call(self, name: str, arguments: Fields) -> Iterator[Frame]: ...
    def finish(self, has_called: bool) -> Iterator[Frame]: ...
    def whole(self, said: str, thought: str, call: tuple[str, Fields] | None) -> Fields:
        """The answer to a request that does not stream; used instead of all other calls."""
        ...


@dataclass(frozen=True)
class Usage:
    input: int
    output: int = 12


def _new(prefix: str) -> str:
    return f"{prefix}{os.urandom(10).hex()}"


def _in_pieces(arguments: Fields) -> list[str]:
    text = json.dumps(arguments)
    return [text[start : start + _ARGUMENTS_PIECE] for start in range(0, len(text), _ARGUMENTS_PIECE)]


def _flat(content: Json) -> str:
    """All text in a message's content, however it is nested."""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        keys = ("text", "content", "input_text", "output", "value")
        return next((_flat(content[key]) for key in keys if key in content), "")
    return "\n".join(_flat(part) for part in items(content))


# OpenAI chat completions


def read_chat(body: Fields) -> Request:
    messages = [fields(message) for message in items(body.get("messages"))]
    turns = [
        Turn(string(message.get("role")), _flat(message.get("content")), message.get("role") in ("tool", "function"))
        for message in messages
    ]
    offered = [fields(tool) for tool in items(body.get("tools"))]
    functions = [fields(tool.get("function")) or tool for tool in offered]
    return Request(turns, {string(tool.get("name")): fields(tool.get("parameters")) for tool in functions})


class ChatAnswer:
    def __init__(self, model: str, usage: Usage) -> None:
        self._base: Fields = {"id": _new("chatcmpl-"), "created": int(time.time()), "model": model}
        self._usage: Fields = {
            "prompt_tokens": usage.input,
            "completion_tokens": usage.output,
            "total_tokens": usage.input + usage.output,
        }

    def start(self) -> Iterator[Frame]:
        yield self._chunk({"role": "assistant", "content": ""})

    def say(self, text: str) -> Iterator[Frame]:
        yield self._chunk({"content": text})

    def think(self, text: str) -> Iterator[Frame]:
        yield self._chunk({"reasoning_content": text})

    def call(self, name: str, arguments: Fields) -> Iterator[Frame]:
        begun: Fields = {"id": _new("call_"), "type": "function", "function": {"name": name, "arguments": ""}}
        yield self._chunk({"tool_calls": [{"index": 0, **begun}]})
        for piece in _in_pieces(arguments):
            yield self._chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})

    def finish(self, has_called: bool) -> Iterator[Frame]:
        yield self._chunk({}, "tool_calls" if has_called else "stop")
        yield Frame({**self._base, "object": "chat.completion.chunk", "choices": [], "usage": self._usage})
        yield Frame("[DONE]")

    def whole(self, said: str, thought: str, call: tuple[str, Fields] | None) -> Fields:
        message: dict[str, Json] = {"role": "assistant", "content": said or (None if call else "")}
        if thought:
            message["reasoning_content"] = thought
        if call:
            function: Fields = {"name": call[0], "arguments": json.dumps(call[1])}
            message["tool_calls"] = [{"id": _new("call_"), "type": "function", "function": function}]
        choice: Fields = {"index": 0, "message": message, "finish_reason": "tool_calls" if call else "stop"}
        return {**self._base, "object": "chat.completion", "choices": [choice], "usage": self._usage}

    def _chunk(self, delta: Fields, finish: str | None = None) -> Frame:
        choice: Fields = {"index": 0, "delta": delta, "finish_reason": finish}
        return Frame({**self._base, "object": "chat.completion.chunk", "choices": [choice]})


# OpenAI responses


def read_responses(body: Fields) -> Request:
    given = body.get("input")
    messages = [{"role": "user", "content": given}] if isinstance(given, str) else [fields(m) for m in items(given)]
    turns: list[Turn] = []
    for message in messages:
        if string(message.get("type")).endswith("call_output"):
            turns.append(Turn("tool", _flat(message.get("output")), is_tool_result=True))
        elif message.get("content"):
            turns.append(Turn(string(message.get("role")), _flat(message.get("content"))))
    tools: dict[str, Fields] = {}
    # newer models are told their tools in the conversation
    later = [
        tool for message in messages if message.get("type") == "additional_tools" for tool in items(message["tools"])
    ]
    for tool in map(fields, [*items(body.get("tools")), *later]):
        if tool.get("type") in ("function", "local_shell"):
            tools[string(tool.get("name")) or string(tool.get("type"))] = fields(tool.get("parameters"))
        for nested in map(fields, items(tool.get("tools"))):
            tools[string(nested.get("name"))] = fields(nested.get("parameters"))
    return Request(turns, tools)


class ResponsesAnswer:
    def __init__(self, model: str, usage: Usage) -> None:
        self._model = model
        self._id = _new("resp_")
        self._usage = usage
        self._sequence = 0
        self._output: list[Fields] = []
        self._open = ""
        self._item = ""
        self._text = ""

    def start(self) -> Iterator[Frame]:
        yield self._event("response.created", response=self._response("in_progress"))
        yield self._event("response.in_progress", response=self._response("in_progress"))

    def say(self, text: str) -> Iterator[Frame]:
        if self._open != "message":
            yield from self._close()
            item = self._begin("message", "msg_")
            added: Fields = {"id": item, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
            yield self._placed("response.output_item.added", item=added)
            part: Fields = {"type": "output_text", "text": "", "annotations": []}
            yield self._placed("response.content_part.added", item_id=item, content_index=0, part=part)
        self._text += text
        yield self._placed("response.output_text.delta", item_id=self._item, content_index=0, delta=text)

    def think(self, text: str) -> Iterator[Frame]:
        if self._open != "reasoning":
            yield from self._close()
            item = self._begin("reasoning", "rs_")
            yield self._placed("response.output_item.added", item={"id": item, "type": "reasoning", "summary": []})
            part: Fields = {"type": "summary_text", "text": ""}
            yield self._placed("response.reasoning_summary_part.added", item_id=item, summary_index=0, part=part)
        self._text += text
        yield self._placed("response.reasoning_summary_text.delta", item_id=self._item, summary_index=0, delta=text)

    def call(self, name: str, arguments: Fields) -> Iterator[Frame]:
        yield from self._close()
        item = self._begin("", "fc_")
        begun: Fields = {"id": item, "type": "function_call", "name": name, "call_id": _new("call_")}
        yield self._placed("response.output_item.added", item={**begun, "status": "in_progress", "arguments": ""})
        for piece in _in_pieces(arguments):
            yield self._placed("response.function_call_arguments.delta", item_id=item, delta=piece)
        text = json.dumps(arguments)
        yield self._placed("response.function_call_arguments.done", item_id=item, name=name, arguments=text)
        yield self._done({**begun, "status": "completed", "arguments": text})

    def finish(self, has_called: bool) -> Iterator[Frame]:
        yield from self._close()
        yield self._event("response.completed", response=self._response("completed"))

    def whole(self, said: str, thought: str, call: tuple[str, Fields] | None) -> Fields:
        if said or not call:
            self._output.append(self._message(_new("msg_"), said))
        if call:
            named: Fields = {"name": call[0], "arguments": json.dumps(call[1]), "call_id": _new("call_")}
            self._output.append({"id": _new("fc_"), "type": "function_call", "status": "completed", **named})
        return self._response("completed")

    def _begin(self, kind: str, prefix: str) -> str:
        self._open, self._item, self._text = kind, _new(prefix), ""
        return self._item

    def _close(self) -> Iterator[Frame]:
        item, text = self._item, self._text
        if self._open == "message":
            message = self._message(item, text)
            part = items(message["content"])[0]
            yield self._placed("response.output_text.done", item_id=item, content_index=0, text=text)
            yield self._placed("response.content_part.done", item_id=item, content_index=0, part=part)
            yield self._done(message)
        elif self._open == "reasoning":
            yield self._placed("response.reasoning_summary_text.done", item_id=item, summary_index=0, text=text)
            yield self._done({"id": item, "type": "reasoning", "summary": [{"type": "summary_text", "text": text}]})

    def _done(self, item: Fields) -> Frame:
        frame = self._placed("response.output_item.done", item=item)
        self._output.append(item)
        self._open = ""
        return frame

    @staticmethod
    def _message(id: str, text: str) -> Fields:
        part: Fields = {"type": "output_text", "text": text, "annotations": []}
        return {"id": id, "type": "message", "role": "assistant", "status": "completed", "content": [part]}

    def _placed(self, event: str, **more: Json) -> Frame:
        return self._event(event, output_index=len(self._output), **more)

    def _event(self, event: str, **more: Json) -> Frame:
        frame = Frame({"type": event, "sequence_number": self._sequence, **more}, event)
        self._sequence += 1
        return frame

    def _response(self, status: str) -> Fields:
        response: dict[str, Json] = {
            "id": self._id,
            "object": "response",
            "created_at": int(time.time()),
            "status": status,
            "model": self._model,
            "output": list(self._output),
            "parallel_tool_calls": False,
            "tool_choice": "auto",
            "tools": [],
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "temperature": 1,
            "top_p": 1,
        }
        if status == "completed":
            response["usage"] = {
                "input_tokens": self._usage.input,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": self._usage.output,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": self._usage.input + self._usage.output,
            }
        return response


# Anthropic messages


def read_anthropic(body: Fields) -> Request:
    turns: list[Turn] = []
    for message in map(fields, items(body.get("messages"))):
        content = message.get("content")
        blocks = (
            [{"type": "text", "text": content}] if isinstance(content, str) else [fields(b) for b in items(content)]
        )
        for block in blocks:
            if block.get("type") == "tool_result":
                turns.append(Turn("tool", _flat(block.get("content")), is_tool_result=True))
        texts = [string(block.get("text")) for block in blocks if block.get("type") == "text"]
        if texts:
            turns.append(Turn(string(message.get("role")), "\n".join(texts)))
    tools = [fields(tool) for tool in items(body.get("tools"))]
    schemas = {string(tool.get("name")): fields(tool["input_schema"]) for tool in tools if "input_schema" in tool}
    return Request(turns, schemas)


class AnthropicAnswer:
    def __init__(self, model: str, usage: Usage) -> None:
        self._message: Fields = {"id": _new("msg_"), "type": "message", "role": "assistant", "model": model}
        self._usage: Fields = {"input_tokens": usage.input, "output_tokens": usage.output}
        self._index = -1
        self._open = ""

    def start(self) -> Iterator[Frame]:
        begun: Fields = {"content": [], "stop_reason": None, "stop_sequence": None, "usage": self._usage}
        yield self._event("message_start", message={**self._message, **begun})

    def say(self, text: str) -> Iterator[Frame]:
        yield from self._enter("text", {"type": "text", "text": ""})
        yield self._delta({"type": "text_delta", "text": text})

    def think(self, text: str) -> Iterator[Frame]:
        yield from self._enter("thinking", {"type": "thinking", "thinking": "", "signature": ""})
        yield self._delta({"type": "thinking_delta", "thinking": text})

    def call(self, name: str, arguments: Fields) -> Iterator[Frame]:
        yield from self._leave()
        yield from self._enter("tool_use", {"type": "tool_use", "id": _new("toolu_"), "name": name, "input": {}})
        for piece in _in_pieces(arguments):
            yield self._delta({"type": "input_json_delta", "partial_json": piece})

    def finish(self, has_called: bool) -> Iterator[Frame]:
        yield from self._leave()
        stop: Fields = {"stop_reason": "tool_use" if has_called else "end_turn", "stop_sequence": None}
        yield self._event("message_delta", delta=stop, usage=self._usage)
        yield self._event("message_stop")

    def whole(self, said: str, thought: str, call: tuple[str, Fields] | None) -> Fields:
        content: list[Json] = []
        if said or not call:
            content.append({"type": "text", "text": said})
        if call:
            content.append({"type": "tool_use", "id": _new("toolu_"), "name": call[0], "input": call[1]})
        stop: Fields = {"stop_reason": "tool_use" if call else "end_turn", "stop_sequence": None}
        return {**self._message, "content": content, **stop, "usage": self._usage}

    def _enter(self, kind: str, block: Fields) -> Iterator[Frame]:
        if self._open == kind:
            return
        yield from self._leave()
        self._index += 1
        self._open = kind
        yield self._event("content_block_start", index=self._index, content_block=block)

    def _leave(self) -> Iterator[Frame]:
        if not self._open:
            return
        if self._open == "thinking":
            yield self._delta({"type": "signature_delta", "signature": "c2NyaXB0ZWQ="})
        self._open = ""
        yield self._event("content_block_stop", index=self._index)

    def _delta(self, delta: Fields) -> Frame:
        return self._event("content_block_delta", index=self._index, delta=delta)

    @staticmethod
    def _event(event: str, **more: Json) -> Frame:
        return Frame({"type": event, **more}, event)


# Gemini


def read_gemini(body: Fields) -> Request:
    turns: list[Turn] = []
    for message in map(fields, items(body.get("contents"))):
        role = "assistant" if message.get("role") == "model" else "user"
        parts = [fields(part) for part in items(message.get("parts"))]
        for part in parts:
            if "functionResponse" in part:
                turns.append(Turn("tool", json.dumps(part["functionResponse"]), is_tool_result=True))
        texts = [string(part.get("text")) for part in parts if "text" in part]
        if texts:
            turns.append(Turn(role, "\n".join(texts)))
    tools: dict[str, Fields] = {}
    for group in map(fields, items(body.get("tools"))):
        for tool in map(fields, items(group.get("functionDeclarations"))):
            schema = fields(tool.get("parametersJsonSchema")) or fields(tool.get("parameters"))
            tools[string(tool.get("name"))] = schema
    return Request(turns, tools, fields(fields(body.get("generationConfig")).get("responseJsonSchema")))


class GeminiAnswer:
    def __init__(self, model: str, usage: Usage) -> None:
        self._more: Fields = {
            "modelVersion": model,
            "responseId": _new(""),
            "usageMetadata": {
                "promptTokenCount": usage.input,
                "candidatesTokenCount": usage.output,
                "totalTokenCount": usage.input + usage.output,
            },
        }

    def start(self) -> Iterator[Frame]:
        yield from ()

    def say(self, text: str) -> Iterator[Frame]:
        yield Frame(self._body([{"text": text}]))

    def think(self, text: str) -> Iterator[Frame]:
        yield Frame(self._body([{"text": text, "thought": True}]))

    def call(self, name: str, arguments: Fields) -> Iterator[Frame]:
        yield Frame(self._body([{"functionCall": {"id": _new(""), "name": name, "args": arguments}}]))

    def finish(self, has_called: bool) -> Iterator[Frame]:
        yield Frame(self._body([{"text": ""}], "STOP"))

    def whole(self, said: str, thought: str, call: tuple[str, Fields] | None) -> Fields:
        parts: list[Json] = [{"text": said}] if said or not call else []
        if call:
            parts.append({"functionCall": {"name": call[0], "args": call[1]}})
        return self._body(parts, "STOP")

    def _body(self, parts: list[Json], finish: str = "") -> Fields:
        candidate: dict[str, Json] = {"content": {"role": "model", "parts": parts}, "index": 0}
        if finish:
            candidate["finishReason"] = finish
        return {"candidates": [candidate], **self._more}
