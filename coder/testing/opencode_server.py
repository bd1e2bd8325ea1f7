"""The scripted agent behind the HTTP surface of opencode: `python -m coder.testing.opencode_server serve --port 0`.

It understands the verbs of `coder.testing.agent` and tells what they do as the real server would. Faults come by
environment: DEMO_HTTP=PART:FAULT[,...] where PART is a piece of a path and FAULT is a status, `drop` (the connection is
cut) or `stall` (nothing comes any more), the first time only when followed by `!`; DEMO_OPEN=1 demands no password.
POST /demo/cut ends every event stream.
"""

import base64
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from urllib.parse import unquote

from coder.testing.agent import MODELS, MODES, THINKING, Agent
from coder.testing.wire import Fields, Json, Peer, RequestRefused, fields, items, string

VERSION = "1.18.33"
VENDOR = "demo"
CONTEXT = 100
_TOOLS = {"edit": "write", "execute": "bash", "read": "read", "delete": "write", "move": "write"}
_STATUSES = {"pending": "pending", "in_progress": "running", "completed": "completed", "failed": "error"}
_OPTIONS = {"once": "yes", "always": "yes-always", "reject": "no"}


class Stream:
    """One open event stream. What is published is on its way when `put` returns."""

    def __init__(self, sink: BufferedIOBase, directory: str) -> None:
        self.closed = threading.Event()
        self.directory = directory
        self._sink = sink

    def put(self, data: bytes) -> None:
        try:
            self._sink.write(b"%x\r\n%s\r\n" % (len(data), data))
        except (OSError, ValueError):
            self.closed.set()


class Hub:
    """Every event goes to every stream that is open for its directory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._streams: list[Stream] = []

    def open(self, stream: Stream) -> None:
        with self._lock:
            self._streams.append(stream)
            stream.put(_frame("server.connected", {}))

    def cut(self) -> None:
        """End every stream."""
        with self._lock:
            for stream in self._streams:
                stream.closed.set()
            self._streams.clear()

    def publish(self, directory: str, kind: str, properties: Fields) -> None:
        data = _frame(kind, properties)
        with self._lock:
            self._streams = [stream for stream in self._streams if not stream.closed.is_set()]
            for stream in self._streams:
                if stream.directory == directory:
                    stream.put(data)


def _frame(kind: str, properties: Fields) -> bytes:
    return f"data: {json.dumps({'type': kind, 'properties': properties})}\n\n".encode()


class PromptPeer(Peer):
    """Goes on once what it has told is on its way to all who listen: an agent that dies then has been heard."""

    def __init__(self, source: int, sink: int) -> None:
        super().__init__(source, sink)
        self.told = threading.Semaphore(0)

    def notify(self, method: str, params: Fields) -> None:
        super().notify(method, params)
        super().notify("demo/told", {})
        self.told.acquire()


class Conversation:
    """One session as the server knows it: its messages, and the turn that is running."""

    def __init__(self, hub: Hub, id: str, directory: str) -> None:
        self.id = id
        self.directory = directory
        self.is_busy = False
        self.messages: list[Fields] = []
        self.todos: list[Json] = []
        self.asked: dict[str, tuple[Fields, queue.SimpleQueue[str | None]]] = {}
        self._hub = hub
        self._number = 0
        self._message: dict[str, Json] = {}
        self._parts: dict[str, dict[str, Json]] = {}
        self._open: dict[str, Json] | None = None
        self._used = 0

    def begin(self, message_id: str, text: str) -> None:
        """The prompt is accepted; the answer begins."""
        self.is_busy = True
        user: Fields = {"id": message_id, "role": "user", "sessionID": self.id, "time": {}}
        self._message, self._parts, self._open = dict(user), {}, None
        self.messages.append({"info": self._message, "parts": []})
        self._publish("message.updated", {"info": user})
        self._put({"id": self._new("prt"), "type": "text", "text": text})
        self._publish("session.status", {"status": {"type": "busy"}})
        answer: Fields = {"id": f"{message_id}1", "role": "assistant", "sessionID": self.id, "parentID": message_id}
        self._message, self._parts = {**answer, "time": {"created": 1}}, {}
        self.messages.append({"info": self._message, "parts": []})
        self._publish("message.updated", {"info": dict(self._message)})

    def update(self, update: Fields) -> None:
        """One update of the scripted agent."""
        kind = string(update.get("sessionUpdate"))
        match kind:
            case "agent_message_chunk" | "agent_thought_chunk":
                said = string(fields(update.get("content")).get("text"))
                self._say("text" if kind == "agent_message_chunk" else "reasoning", said)
            case "tool_call" | "tool_call_update":
                self._close_text()
                self._tool(update)
            case "usage_update":
                used = update.get("used")
                self._used = used if isinstance(used, int) else 0
            case "plan":
                self.todos = list(items(update.get("entries")))
                self._publish("todo.updated", {"todos": self.todos})
            case "available_commands_update" | "current_mode_update" | "session_info_update":
                pass
            case _:
                self._publish("demo.unknown", update)

    def end(self, stop_reason: str | None, error: str | None) -> None:
        """The turn is over, as the real server tells it: after an abort the first idle comes too early."""
        self._close_text()
        told: Fields | None = {"name": "UnknownError", "data": {"message": error}} if error else None
        if stop_reason == "cancelled":
            told = {"name": "MessageAbortedError", "data": {"message": "Aborted"}}
            self._idle()
        if told:
            self._publish("session.error", {"error": told})
        tokens: Fields = {"total": self._used, "input": 100, "output": 10, "reasoning": 0}
        self._put({"id": self._new("prt"), "type": "step-finish", "tokens": tokens, "cost": 0.01})
        self._message["time"] = {"created": 1, "completed": 2}
        self._message |= {"error": told} if told else {"finish": "stop"}
        self.is_busy = False
        self._publish("message.updated", {"info": dict(self._message)})
        self._idle()

    def ask(self, params: Fields) -> Fields:
        """Put a permission request and wait; the answer in the scripted agent's words."""
        call = fields(params.get("toolCall"))
        id, reply = self._new("per"), queue.SimpleQueue[str | None]()
        tool: Fields = {"messageID": self._message.get("id"), "callID": call.get("toolCallId")}
        about: Fields = {"id": id, "sessionID": self.id, "permission": "edit", "patterns": ["a.txt"], "metadata": {}}
        asked: Fields = {**about, "always": ["*"], "tool": tool}
        self.asked[id] = asked, reply
        self._hub.publish(self.directory, "permission.asked", asked)
        answer = reply.get()
        if answer is None:
            return {"outcome": {"outcome": "cancelled"}}
        self._publish("permission.replied", {"requestID": id, "reply": answer})
        return {"outcome": {"outcome": "selected", "optionId": _OPTIONS[answer]}}

    def abort(self) -> None:
        """Let go of those who wait for an answer. The requests stay, as they do in the real server."""
        for _, reply in self.asked.values():
            reply.put(None)

    def _say(self, kind: str, said: str) -> None:
        if self._open is None or self._open["type"] != kind:
            self._close_text()
            self._open = {"id": self._new("prt"), "type": kind, "text": "", "time": {"start": 1}}
            self._put(self._open)
        self._open["text"] = string(self._open["text"]) + said
        where: Fields = {"messageID": self._message["id"], "partID": self._open["id"], "field": "text"}
        self._publish("message.part.delta", {**where, "delta": said})

    def _close_text(self) -> None:
        if self._open:
            part, self._open = {**self._open, "time": {"start": 1, "end": 2}}, None
            self._put(part)

    def _tool(self, update: Fields) -> None:
        call = string(update.get("toolCallId"))
        part = self._parts.get(call) or {"id": self._new("prt"), "type": "tool", "callID": call, "tool": "other"}
        state: dict[str, Json] = dict(fields(part.get("state")) or {"status": "pending", "input": {}})
        if kind := string(update.get("kind")):
            part["tool"] = _TOOLS.get(kind, "other")
        if status := _STATUSES.get(string(update.get("status"))):
            state["status"] = status
        if title := string(update.get("title")):
            state |= {"title": title, "input": {"title": title}}
        for block in map(fields, items(update.get("content"))):
            if block.get("type") == "diff":
                state["input"] = {"filePath": block.get("path"), "content": block.get("newText")}
        self._parts[call] = {**part, "state": state}
        self._put(self._parts[call])

    def _put(self, part: Fields) -> None:
        whole: Fields = {**part, "messageID": self._message["id"], "sessionID": self.id}
        parts = self.messages[-1]["parts"]
        assert isinstance(parts, list)
        # while a text streams, those who fetch it see nothing of it
        stored = {**whole, "text": ""} if "text" in whole and "end" not in fields(whole.get("time")) else whole
        parts[:] = [*(each for each in parts if fields(each).get("id") != whole["id"]), dict(stored)]
        self._publish("message.part.updated", {"part": whole})

    def _idle(self) -> None:
        self._publish("session.status", {"status": {"type": "idle"}})
        self._publish("session.idle", {})

    def _publish(self, kind: str, properties: Fields) -> None:
        self._hub.publish(self.directory, kind, {"sessionID": self.id, **properties})

    def _new(self, prefix: str) -> str:
        self._number += 1
        return f"{prefix}_{time.time_ns():016x}{self._number:06d}"


class Front:
    """Speaks to the scripted agent as its client, and tells what it does as events."""

    def __init__(self, client: Peer, agent: PromptPeer, environment: Mapping[str, str]) -> None:
        self._agent = agent
        self.hub = Hub()
        self.conversations: dict[str, Conversation] = {}
        self.password = None if environment.get("DEMO_OPEN") else environment.get("OPENCODE_SERVER_PASSWORD")
        self.faults = [fault.rpartition(":") for fault in environment.get("DEMO_HTTP", "").split(",") if fault]
        self._client = client

    def listen(self) -> None:
        """Take what the agent sends, for ever."""
        for message in self._client.messages():
            params = fields(message.get("params"))
            if message.get("method") == "demo/told":
                self._agent.told.release()
            conversation = self.conversations.get(string(params.get("sessionId")))
            if conversation is None:
                continue
            if "id" in message:
                threading.Thread(target=self._answer, args=(message, conversation, params), daemon=True).start()
            else:
                conversation.update(fields(params.get("update")))

    def initialize(self) -> None:
        self._client.request("initialize", {"protocolVersion": 1})

    def open(self, cwd: str, id: str | None) -> Conversation | None:
        """A new conversation, or one that was there before; None when there is none of that id."""
        params: Fields = {"cwd": cwd, "mcpServers": []}
        if id in self.conversations:
            return self.conversations[id]
        try:
            method, more = ("session/resume", {"sessionId": id}) if id else ("session/new", {})
            answer = self._client.request(method, {**params, **more})
        except RequestRefused:
            return None
        found = string(answer.get("sessionId")) or id or ""
        return self.conversations.setdefault(found, Conversation(self.hub, found, os.path.realpath(cwd)))

    def conversations_in(self, directory: str) -> list[Conversation]:
        return [each for each in self.conversations.values() if each.directory == directory]

    def prompt(self, conversation: Conversation, body: Fields) -> None:
        """Carry out one prompt."""
        said = "\n".join(string(fields(part).get("text")) for part in items(body.get("parts")))
        session: Fields = {"sessionId": conversation.id}
        chosen = {"mode": body.get("agent"), "model": fields(body.get("model")).get("modelID")}
        for option, value in {**chosen, "thinking": body.get("variant")}.items():
            if value:
                wanted: Fields = {**session, "configId": option, "value": value}
                self._client.request("session/set_config_option", wanted)
        conversation.begin(string(body.get("messageID")), said)
        stop_reason, error = None, None
        try:
            prompt: list[Json] = [{"type": "text", "text": said}]
            answer = self._client.request("session/prompt", {**session, "prompt": prompt})
            stop_reason = string(answer.get("stopReason"))
        except RequestRefused as refusal:
            error = str(refusal)
        conversation.end(stop_reason, error)

    def abort(self, conversation: Conversation) -> None:
        self._client.notify("session/cancel", {"sessionId": conversation.id})
        conversation.abort()

    def fault(self, path: str) -> str:
        """What is to go wrong with a request, if anything."""
        for fault in self.faults:
            part, _, kind = fault
            if part in path:
                if kind.endswith("!"):
                    self.faults.remove(fault)
                return kind.rstrip("!")
        return ""

    def _answer(self, message: Fields, conversation: Conversation, params: Fields) -> None:
        if message.get("method") == "session/request_permission":
            self._client.answer(message.get("id"), conversation.ask(params))
        else:
            self._client.refuse(message.get("id"), -32601, "unknown method")


class Exchange(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    front: Front

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        path = self._admit()
        if path is None:
            return
        match path.strip("/").split("/"):
            case ["event"]:
                self._stream()
            case ["global", "health"]:
                self._send({"healthy": True, "version": VERSION})
            case ["config", "providers"]:
                self._send(_vendors())
            case ["agent"]:
                self._send([{"name": id, "description": text, "mode": "primary"} for id, text in MODES.items()])
            case ["command"]:
                self._send([{"name": "demo", "description": "A demo", "hints": ["$ARGUMENTS"]}])
            case ["config"]:
                self._send({"model": f"{VENDOR}/demo-small", "default_agent": "ask"})
            case ["session", "status"]:
                busy = [each.id for each in self._conversations() if each.is_busy]
                self._send({id: {"type": "busy"} for id in busy})
            case ["session", id]:
                self._send_session(self.front.open(self._cwd(), id))
            case ["session", id, "message"]:
                self._send(list(self.front.conversations[id].messages))
            case ["session", id, "todo"]:
                self._send(self.front.conversations[id].todos)
            case ["session", id, "message", message_id]:
                messages = self.front.conversations[id].messages
                found = [each for each in messages if fields(each.get("info")).get("id") == message_id]
                self._send(found[0] if found else {"name": "NotFoundError"}, 200 if found else 404)
            case ["permission"]:
                asked = (each for found in self._conversations() for each in found.asked.values())
                self._send([request for request, _ in asked])
            case _:
                self._send([])

    def do_POST(self) -> None:
        body = fields(json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}"))
        path = self._admit()
        if path is None:
            return
        match path.strip("/").split("/"):
            case ["session"]:
                self._send_session(self.front.open(self._cwd(), None))
            case ["session", id, "prompt_async"]:
                self._send(None, 204)
                work = (self.front.conversations[id], body)
                threading.Thread(target=self.front.prompt, args=work, daemon=True).start()
            case ["session", id, "abort"]:
                self.front.abort(self.front.conversations[id])
                self._send(True)
            case ["demo", "cut"]:
                self.front.hub.cut()
                self._send(True)
            case ["permission", id, "reply"]:
                self._reply(id, string(body.get("reply")))
            case _:
                self._send(True)

    def _admit(self) -> str | None:
        """The path of a request that is let in."""
        path, password = self.path.partition("?")[0], self.front.password
        wanted = "Basic " + base64.b64encode(f"opencode:{password}".encode()).decode()
        fault = self.front.fault(path) if self.headers.get("Authorization") else ""
        if password is not None and self.headers.get("Authorization") != wanted:
            self._send({"name": "Unauthorized"}, 401)
        elif fault == "drop":
            self.close_connection = True
        elif fault == "stall":
            threading.Event().wait()
        elif fault:
            self._send({"name": "DemoError", "data": {"message": "failing as asked"}}, int(fault))
        else:
            return path
        return None

    def _cwd(self) -> str:
        return unquote(self.headers.get("x-opencode-directory") or "/")

    def _conversations(self) -> list[Conversation]:
        return self.front.conversations_in(os.path.realpath(self._cwd()))

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        stream = Stream(self.wfile, os.path.realpath(self._cwd()))
        self.front.hub.open(stream)
        stream.closed.wait()

    def _reply(self, id: str, reply: str) -> None:
        for conversation in self.front.conversations.values():
            if found := conversation.asked.pop(id, None):
                found[1].put(reply)
                self._send(True)
                return
        self._send({"name": "PermissionNotFoundError"}, 404)

    def _send_session(self, conversation: Conversation | None) -> None:
        if conversation is None:
            self._send({"name": "NotFoundError"}, 404)
        else:
            self._send({"id": conversation.id, "directory": conversation.directory, "cost": 0})

    def _send(self, body: Json, status: int = 200) -> None:
        data = b"" if status == 204 else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _vendors() -> Fields:
    models: dict[str, Json] = {
        id: {"id": id, "name": name, "limit": {"context": CONTEXT}, "variants": {level: {} for level in THINKING}}
        for id, name in MODELS.items()
    }
    return {"providers": [{"id": VENDOR, "name": "Demo", "models": models}], "default": {VENDOR: "demo-small"}}


def main() -> None:
    """Serve until told to end."""
    to_agent, to_client = os.pipe(), os.pipe()
    agent = PromptPeer(to_agent[0], to_client[1])
    front = Front(Peer(to_client[0], to_agent[1]), agent, os.environ)
    handler = type("BoundExchange", (Exchange,), {"front": front})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    for work in (front.listen, server.serve_forever):
        threading.Thread(target=work, daemon=True).start()

    def announce() -> None:
        front.initialize()
        print(f"opencode server listening on http://127.0.0.1:{server.server_address[1]}", flush=True)

    threading.Thread(target=announce, daemon=True).start()
    Agent(agent, os.environ).run()


if __name__ == "__main__":
    if sys.argv[1:2] != ["serve"]:
        sys.exit("usage: python -m coder.testing.opencode_server serve")
    main()
