"""An agent of version 2 with odd habits, one for each prompt: `python odd_v2_agent.py`."""

import json
import sys
from typing import Any

SESSION = "odd-1"


def send(**message: Any) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def tell(kind: str, **content: Any) -> None:
    update = {"sessionUpdate": kind, **content}
    send(method="session/update", params={"sessionId": SESSION, "update": update})


def state(name: str, **more: Any) -> None:
    tell("state_update", state=name, **more)


def say(words: str, message: str = "m") -> None:
    tell("agent_message_chunk", messageId=message, content={"type": "text", "text": words})


def prompt(id: object, words: str) -> None:
    match words:
        case "repeat idle":
            state("idle", stopReason="end_turn")
            send(id=id, result={"messageId": "u1"})
            state("idle", stopReason="end_turn")
            state("running")
            state("_pondering")
            say("worked")
            state("idle", stopReason="max_tokens")
            state("idle", stopReason="max_tokens")
        case "own work first":
            state("running")
            say("own work", "own")
            state("idle", stopReason="end_turn")
            send(id=id, result={"messageId": "u2"})
            state("running")
            say("asked for")
            state("idle")
        case "answer late":
            tell("user_message", messageId="u3", content=[{"type": "text", "text": words}])
            state("running")
            say("quick")
            state("idle", stopReason="end_turn")
            send(id=id, result={"messageId": "u3"})
        case "refuse":
            send(id=id, error={"code": -32603, "message": "not now"})
        case "break":
            send(id=id, result={"messageId": "u4"})
            state("running")
            state("idle", stopReason="error", error={"code": -32603, "message": "the model is gone"})
        case _:
            raise AssertionError(words)


def main() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        match message.get("method"):
            case "initialize" if "--old" in sys.argv and message["params"]["protocolVersion"] != 1:
                send(id=message["id"], error={"code": -32022, "message": "unsupported protocol version"})
            case "initialize":
                version = message["params"]["protocolVersion"]
                send(id=message["id"], result={"protocolVersion": version, "info": {"name": "odd", "version": "1"}})
            case "session/new":
                send(id=message["id"], result={"sessionId": SESSION})
            case "session/prompt":
                prompt(message["id"], message["params"]["prompt"][0]["text"])
            case _ if "id" in message and "method" in message:
                send(id=message["id"], error={"code": -32601, "message": "unknown"})
            case _:
                pass


if __name__ == "__main__":
    main()
