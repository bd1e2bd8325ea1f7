"""A scripted model server: real agents run against it offline and do what the prompt says.

    python -m coder.testing.model_server --port 8399

    POST .../chat/completions                         OpenAI chat completions
    POST .../responses                                OpenAI responses
    POST .../messages                                 Anthropic messages (and /count_tokens)
    POST .../models/M:generateContent                 Gemini (and :streamGenerateContent, :countTokens)
    GET  .../models                                   one model, `scripted-model`
    GET  /_requests                                   the newest requests, for tests: path and body

Directives, anywhere in the prompt, with JSON arguments; each tool directive ends one answer of the model:

    [[write {"path": "/abs/f.txt", "content": "hi"}]]      a call of the agent's file-writing tool
    [[bash {"cmd": "echo hi", "args": {...}}]]             its shell tool; args: further fields, where it has them
    [[read {"path": "/abs/f.txt"}]]                        its file-reading tool
    [[plan {"items": ["a", "b"]}]]                         its plan tool
    [[tool {"name": "x", "args": {}}]]                     exactly this tool
    [[text {"text": "Done", "n": 20, "delay": 0.05}]]      text, word by word or in n pieces (size: of so many bytes)
    [[think {"text": "hmm", "n": 3}]]                      reasoning, likewise
    [[http {"status": 500}]]                               the request fails
    [[drop {"after": 3}]]                                  some pieces, then the connection is cut
    [[hang {"seconds": 30}]]                               headers, then nothing
"""

import argparse
import contextlib
import json
import socket
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from coder.testing.model_script import Call, Cut, Fail, Hang, Part, Request, Say, Think, answer
from coder.testing.model_wires import (
    CONTEXT,
    MODEL,
    Answer,
    AnthropicAnswer,
    ChatAnswer,
    Frame,
    GeminiAnswer,
    ResponsesAnswer,
    Usage,
    read_anthropic,
    read_chat,
    read_gemini,
    read_responses,
)
from coder.testing.wire import Fields, Json, fields, string

Wire = tuple[Callable[[Fields], Request], Callable[[str, Usage], Answer]]

WIRES: dict[str, Wire] = {
    "/chat/completions": (read_chat, ChatAnswer),
    "/responses": (read_responses, ResponsesAnswer),
    "/messages": (read_anthropic, AnthropicAnswer),
    ":generateContent": (read_gemini, GeminiAnswer),
    ":streamGenerateContent": (read_gemini, GeminiAnswer),
}


@contextlib.contextmanager
def open_model_server(port: int = 0) -> Generator[str]:
    """Serve on the loopback in threads of its own; yields the base URL, without a trailing slash."""
    server = _Server(("127.0.0.1", port), _Exchange)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        server.end_connections()
        thread.join(5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], exchange: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, exchange)
        self.closing = threading.Event()
        self.requests: deque[Fields] = deque(maxlen=50)
        self.connections: set[socket.socket] = set()

    def end_connections(self) -> None:
        self.closing.set()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride] -- the only server it runs under

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        with contextlib.suppress(ConnectionError, ValueError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].rstrip("/")
        if path == "/_requests":
            self._send({"requests": list(self.server.requests)})
        elif path.endswith("/models"):
            self._send(_models(is_gemini="v1beta" in path))
        elif "/models/" in path:
            self._send(_model(path.rpartition("/")[2]))
        else:
            self._refuse(404, f"no such path: {path}")

    def do_POST(self) -> None:
        path = self.path.partition("?")[0]
        raw = self._read_body()
        tokens = max(1, len(raw) // 4)
        try:
            body = fields(json.loads(raw or b"{}"))
        except ValueError:
            self._refuse(400, "the body is no JSON")
            return
        self.server.requests.append({"path": path, "body": body})
        if path.endswith("/count_tokens"):
            self._send({"input_tokens": tokens})
        elif path.endswith(":countTokens"):
            self._send({"totalTokens": tokens})
        elif wire := next((wire for ending, wire in WIRES.items() if path.endswith(ending)), None):
            read, begin = wire
            streams = path.endswith(":streamGenerateContent") or body.get("stream") is True
            self._play(begin(string(body.get("model")) or MODEL, Usage(tokens)), answer(read(body)), streams=streams)
        else:
            self._refuse(404, f"no such path: {path}")

    def _play(self, answer: Answer, parts: list[Part], *, streams: bool) -> None:
        if failure := next((part for part in parts if isinstance(part, Fail)), None):
            self._refuse(failure.status, f"scripted failure {failure.status}")
        elif streams:
            self._stream(answer, parts)
        else:
            said = "".join(part.text for part in parts if isinstance(part, Say))
            thought = "".join(part.text for part in parts if isinstance(part, Think))
            calls = [(part.name, part.arguments) for part in parts if isinstance(part, Call)]
            self._send(answer.whole(said, thought, calls[0] if calls else None))

    def _stream(self, answer: Answer, parts: list[Part]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._put(answer.start())
        for part in parts:
            match part:
                case Say(text, delay):
                    self._put(answer.say(text))
                    self.server.closing.wait(delay)
                case Think(text, delay):
                    self._put(answer.think(text))
                    self.server.closing.wait(delay)
                case Call(name, arguments):
                    self._put(answer.call(name, arguments))
                case Hang(seconds):
                    self.server.closing.wait(seconds)
                case Cut() | Fail():
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
        self._put(answer.finish(any(isinstance(part, Call) for part in parts)))
        self.wfile.write(b"0\r\n\r\n")

    def _put(self, frames: Iterator[Frame]) -> None:
        for frame in frames:
            data = frame.encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _read_body(self) -> bytes:
        if length := int(self.headers.get("Content-Length") or 0):
            return self.rfile.read(length)
        body = bytearray()
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline().strip() or b"0", 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        return bytes(body)

    def _refuse(self, status: int, message: str) -> None:
        error: Fields = {"type": "scripted_error", "code": status, "message": message}
        self._send({"type": "error", "error": error}, status)

    def _send(self, body: Json, status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _model(id: str) -> Fields:
    return {
        "id": id,
        "slug": id,
        "name": id,
        "display_name": "Scripted model",
        "object": "model",
        "type": "model",
        "created": 1,
        "created_at": "2025-01-01T00:00:00Z",
        "owned_by": "tests",
        "context_length": CONTEXT,
        "max_model_len": CONTEXT,
    }


def _models(*, is_gemini: bool) -> Fields:
    if is_gemini:
        limits: Fields = {"inputTokenLimit": CONTEXT, "outputTokenLimit": 8192}
        return {"models": [{"name": f"models/{MODEL}", **limits, "supportedGenerationMethods": ["generateContent"]}]}
    return {"object": "list", "data": [_model(MODEL)], "has_more": False, "first_id": MODEL, "last_id": MODEL}


def main() -> None:
    """Serve until interrupted."""
    options = argparse.ArgumentParser(description="A scripted model server for agents in tests.")
    options.add_argument("--port", type=int, default=8399)
    with open_model_server(options.parse_args().port) as url, contextlib.suppress(KeyboardInterrupt):
        print(f"listening on {url}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
