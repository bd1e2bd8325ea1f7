"""What a scripted agent does for each verb: one `Turn` carries out one prompt."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

from coder.testing.conversations import Conversation
from coder.testing.edits import as_lines, change_files
from coder.testing.script import Statement
from coder.testing.wire import Fields, Json, Peer, RequestRefused, encode, fields, string

PERMISSION_OPTIONS: tuple[Fields, ...] = (
    {"optionId": "yes", "name": "Allow", "kind": "allow_once"},
    {"optionId": "yes-always", "name": "Always allow", "kind": "allow_always"},
    {"optionId": "no", "name": "Reject", "kind": "reject_once"},
)
COMMANDS: tuple[Fields, ...] = (
    {"name": "demo", "description": "Show what a turn looks like"},
    {"name": "explain", "description": "Explain a file", "input": {"hint": "path"}},
)
CHANGING_VERBS = {"write": "edit", "edit": "edit", "delete": "delete", "rename": "move", "fswrite": "edit"}


class Cancelled(Exception):
    """The client cancelled the turn."""


class Turn:
    """One prompt being carried out, in a thread of its own. `cancel` and `end` come from another thread."""

    def __init__(
        self,
        peer: Peer,
        conversation: Conversation,
        *,
        offered: Fields,
        ignored: set[str],
        allowed: set[str],
        environment: Mapping[str, str],
        attachments: str,
        process_prompts: int,
    ) -> None:
        self._peer = peer
        self._conversation = conversation
        self._offered = offered
        self._ignored = ignored
        self._allowed = allowed
        self._environment = environment
        self._attachments = attachments
        self._process_prompts = process_prompts
        self._cancelled = threading.Event()
        self._on_cancel: list[Callable[[], None]] = []
        self._calls = 0
        self._open_call = ""
        self._asked_call = ""
        self._delegates: list[str] = []
        self._skips_next = False
        self._latency = 0.0
        self._characters = 0
        self._stop_reason = "end_turn"
        self._heard: list[Statement] = []
        self._is_listening = True
        self._hearing = threading.Condition()

    def take(self, statements: list[Statement], answer: Callable[[], None]) -> bool:
        """More to do, said while the turn runs; False when it runs no more. It is answered before it is done."""
        with self._hearing:
            if self._is_listening:
                answer()
                self._heard += statements
                self._hearing.notify_all()
            return self._is_listening

    def cancel(self) -> None:
        """Ask the turn to end soon."""
        self._cancelled.set()
        with self._hearing:
            self._hearing.notify_all()
        self.end_children()

    def end_children(self) -> None:
        for action in self._on_cancel:
            action()

    def run(self, statements: list[Statement]) -> Fields:
        """Carry out the statements; the result of the prompt."""
        try:
            for position, statement in enumerate(statements):
                self._carry_out(statement, statements[position + 1] if position + 1 < len(statements) else None)
            while heard := self._next_heard():
                self._carry_out(heard, None)
            self._close_calls("completed")
        except Cancelled:
            self._cancelled.clear()
            self._close_calls("failed")
            self._stop_reason = "cancelled"
        output = self._characters // 4
        usage: Fields = {"inputTokens": 100, "outputTokens": output, "totalTokens": 100 + output}
        return {"stopReason": self._stop_reason, "usage": usage}

    def _next_heard(self) -> Statement | None:
        with self._hearing:
            self._is_listening = bool(self._heard)
            return self._heard.pop(0) if self._heard else None

    def _listen(self) -> None:
        with self._hearing:
            self._hearing.wait_for(lambda: self._heard or self._cancelled.is_set())
        self._notice_cancel()

    def update(self, kind: str, content: Fields, *, remembered: bool = True) -> None:
        """Send one session update, after the present latency; the point where a cancel is noticed."""
        if self._latency:
            self._wait(self._latency)
        self._notice_cancel()
        update: Fields = {"sessionUpdate": kind, **content}
        if remembered:
            self._conversation.remember(update)
        self._peer.notify("session/update", {"sessionId": self._conversation.id, "update": update})
        if ledger := self._environment.get("DEMO_LEDGER"):
            note: Fields = {"cwd": self._conversation.cwd, "pid": os.getpid(), "text": _text_of(update)}
            with Path(ledger).open("ab") as file:
                file.write(encode(note))

    def _carry_out(self, statement: Statement, following: Statement | None) -> None:
        is_held_back = self._skips_next or self._conversation.mode == "plan"
        if is_held_back and statement.verb in (*CHANGING_VERBS, "terminal"):
            self._skips_next = False
            self._say(f"Skipped: {_title(statement)}. ")
            return
        match statement.verb:
            case "ask":
                self._ask(statement["title"], following)
            case "write" | "edit" | "delete" | "rename":
                self._change(statement)
            case "fsread" | "fswrite":
                self._use_client_files(statement)
            case "terminal":
                if self._offered.get("terminal") is True:
                    self._run_in_client(statement["command"])
                else:
                    self._run_here(statement["command"])
            case "flood" | "longline" | "garbage" | "badorder" | "unknown" | "unknownrequest" | "fork":
                self._misbehave(statement)
            case "die" | "half" | "mute":
                self._leave(statement)
            case "delegate" | "report":
                self._delegate(statement)
            case "say" | "think" | "stream" | "plan" | "tool" | "usage" | "mode" | "title" | "commands":
                self._show(statement)
            case _:
                self._steer(statement)

    def _show(self, statement: Statement) -> None:
        match statement.verb:
            case "say":
                self._say(statement["text"])
            case "think":
                self.update("agent_thought_chunk", {"content": {"type": "text", "text": statement["text"]}})
            case "stream":
                for number in range(statement.number("count")):
                    self._say(f"chunk {number} ")
                    self._wait(statement.number("delay") / 1000)
            case "plan":
                self.update("plan", {"entries": _plan(statement["entries"])})
            case "tool":
                call = self._begin_call(statement["kind"], statement["title"])
                self._end_call(call, "completed", content=[_text_content(f"{statement['title']}: done")])
            case "usage":
                cost: Fields = {"amount": 0.01, "currency": "USD"}
                used: Fields = {"used": statement.number("used"), "size": statement.number("size"), "cost": cost}
                self.update("usage_update", used, remembered=False)
            case "mode":
                self._conversation.mode = statement["id"]
                self.update("current_mode_update", {"currentModeId": statement["id"]}, remembered=False)
            case "title":
                self.update("session_info_update", {"title": statement["text"]}, remembered=False)
            case _:
                self.update("available_commands_update", {"availableCommands": COMMANDS}, remembered=False)

    def _steer(self, statement: Statement) -> None:
        conversation = self._conversation
        match statement.verb:
            case "hang":
                self._wait(None)
            case "listen":
                self._listen()
            case "sleep":
                self._wait(statement.number("ms") / 1000)
            case "latency":
                self._latency = statement.number("ms") / 1000
            case "ignore":
                self._ignored.add(statement["what"])
            case "replay-late":
                conversation.replays_late = True
            case "echoenv":
                state = "set" if statement["name"] in self._environment else "not set"
                self._say(f"{statement['name']} is {state}. ")
            case "counter":
                self._say(
                    f"Prompt {conversation.prompts} of this conversation, "
                    f"prompt {self._process_prompts} of process {os.getpid()}. "
                )
            case "settings":
                verbose = "on" if conversation.verbose else "off"
                chosen = f"model={conversation.model} thinking={conversation.thinking} verbose={verbose}"
                self._say(f"mode={conversation.mode} {chosen} ")
            case "attachments":
                self._say(f"Attachments: {self._attachments or 'none'}. ")
            case "cwd":
                self._say(f"Session in {conversation.cwd}, process in {Path.cwd()}. ")
            case "fail":
                raise RequestRefused(-32603, statement["text"] or "the demo agent failed as asked")
            case _:
                self._stop_reason = statement["reason"]

    def _say(self, text: str) -> None:
        self._characters += len(text)
        self.update("agent_message_chunk", {"content": {"type": "text", "text": text}})

    def _wait(self, seconds: float | None) -> None:
        self._cancelled.wait(seconds)
        self._notice_cancel()

    def _notice_cancel(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled

    # Tool calls

    def _new_call(self) -> str:
        self._calls += 1
        return f"call-{self._conversation.prompts}-{self._calls}"

    def _begin_call(self, kind: str, title: str, **more: Json) -> str:
        call, self._asked_call = self._asked_call, ""
        update: Fields = {"title": title, "kind": kind, "status": "in_progress", **more}
        if call:
            self.update("tool_call_update", {"toolCallId": call, **update})
        else:
            call = self._new_call()
            self.update("tool_call", self._by_whom({"toolCallId": call, **update}))
        self._open_call = call
        return call

    def _end_call(self, call: str, status: str, **more: Json) -> None:
        self._open_call = ""
        self.update("tool_call_update", {"toolCallId": call, "status": status, **more})

    def _close_calls(self, status: str) -> None:
        for call in filter(None, (self._open_call, self._asked_call, *reversed(self._delegates))):
            self.update("tool_call_update", {"toolCallId": call, "status": status})
        self._open_call = self._asked_call = ""
        self._delegates.clear()

    def _delegate(self, statement: Statement) -> None:
        """A sub-agent begins, or says what it found, as claude-agent-acp tells of them."""
        if statement.verb == "report":
            if self._delegates:
                self._end_call(self._delegates.pop(), "completed", content=[_text_content(statement["text"])])
            return
        given: Fields = {"subagent_type": statement["kind"], "description": statement["title"]}
        self._delegates.append(self._begin_call("think", statement["title"], rawInput=given))
        self._open_call = ""

    def _by_whom(self, update: Fields) -> Fields:
        """The call with the sub-agent that makes it."""
        if not self._delegates:
            return update
        claude: Fields = {"parentToolUseId": self._delegates[-1]}
        return {**update, "_meta": {**fields(update.get("_meta")), "claudeCode": claude}}

    def _ask(self, title: str, following: Statement | None) -> None:
        changes = following is not None and following.verb in (*CHANGING_VERBS, "terminal")
        title = title or (_title(following) if following else "") or "May I go on?"
        kind = _kind(following) if following and changes else "other"
        if self._conversation.mode == "auto" or kind in self._allowed:
            return
        call = self._new_call()
        described: Fields = {"toolCallId": call, "title": title, "kind": kind, "status": "pending"}
        self.update("tool_call", self._by_whom(described))
        self._asked_call = call
        answer = self._peer.request(
            "session/request_permission",
            {"sessionId": self._conversation.id, "toolCall": described, "options": PERMISSION_OPTIONS},
        )
        outcome = fields(answer.get("outcome"))
        if outcome.get("outcome") != "selected":
            raise Cancelled
        match string(outcome.get("optionId")):
            case "yes":
                pass
            case "yes-always":
                self._allowed.add(kind)
            case refused:
                self._asked_call = ""
                self._end_call(call, "failed", content=[_text_content(f"Refused with option {refused}")])
                self._skips_next = True
                self._say("Permission refused. ")
        if self._asked_call and not changes:
            self._asked_call = ""
            self._end_call(call, "completed")

    # Files

    def _absolute(self, path: str) -> str:
        # Joined, not resolved: a path that climbs out must reach the host as it was written.
        return os.path.join(self._conversation.cwd, path)  # noqa: PTH118

    def _change(self, statement: Statement) -> None:
        named = [statement["path"]] if statement["path"] else [statement["old"], statement["new"]]
        paths = [Path(self._absolute(path)) for path in named]
        locations = [{"path": str(path)} for path in paths]
        call = self._begin_call(
            _kind(statement), _title(statement), locations=locations, rawInput=dict(statement.arguments)
        )
        try:
            content = change_files(statement, paths)
        except (OSError, ValueError) as error:
            self._end_call(call, "failed", content=[_text_content(str(error))])
            return
        self._end_call(call, "completed", content=content)

    def _use_client_files(self, statement: Statement) -> None:
        path = self._absolute(statement["path"])
        params: dict[str, Json] = {"sessionId": self._conversation.id, "path": path}
        if statement.verb == "fswrite":
            method, kind = "fs/write_text_file", "edit"
            params["content"] = as_lines(statement["text"])
        else:
            method, kind = "fs/read_text_file", "read"
            if statement["line"]:
                params |= {"line": statement.number("line"), "limit": statement.number("limit")}
        call = self._begin_call(kind, _title(statement), locations=[{"path": path}])
        try:
            answer = self._peer.request(method, params)
        except RequestRefused as refusal:
            self._end_call(call, "failed", content=[_text_content(str(refusal))])
            self._say(f"{method} failed: {refusal} ")
            return
        self._end_call(call, "completed")
        self._say(f"Read: {string(answer.get('content'))} " if kind == "read" else f"Wrote {statement['path']}. ")

    # Terminals

    def _run_in_client(self, command: str) -> None:
        session: Fields = {"sessionId": self._conversation.id}
        call = self._begin_call("execute", command)
        created = self._peer.request(
            "terminal/create", {**session, "command": "sh", "args": ["-c", command], "cwd": self._conversation.cwd}
        )
        terminal: Fields = {**session, "terminalId": string(created.get("terminalId"))}
        shown: Fields = {"type": "terminal", "terminalId": terminal["terminalId"]}
        self.update("tool_call_update", {"toolCallId": call, "status": "in_progress", "content": [shown]})
        with self._stopping(lambda: void(self._peer.post("terminal/kill", terminal))):
            exited = self._peer.request("terminal/wait_for_exit", terminal)
        output = string(self._peer.request("terminal/output", terminal).get("output"))
        self._peer.request("terminal/release", terminal)
        code = exited.get("exitCode")
        status = "completed" if code == 0 else "failed"
        self._end_call(call, status, rawOutput={"output": output, "exitCode": code})

    def _run_here(self, command: str) -> None:
        terminal = f"term-{self._conversation.prompts}-{self._calls + 1}"
        call = self._begin_call(
            "execute",
            command,
            content=[{"type": "terminal", "terminalId": terminal}],
            rawInput={"command": command},
            _meta={"terminal_info": {"terminal_id": terminal, "cwd": self._conversation.cwd}},
        )
        child = subprocess.Popen(
            ["sh", "-c", command],
            cwd=self._conversation.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        output = b""
        with child, self._stopping(lambda: _kill_group(child.pid)):
            assert child.stdout is not None
            while chunk := os.read(child.stdout.fileno(), 65536):
                output += chunk
                data = chunk.decode(errors="replace")
                meta: Fields = {"terminal_output": {"terminal_id": terminal, "data": data}}
                self.update("tool_call_update", {"toolCallId": call, "_meta": meta})
        self._notice_cancel()
        code = child.returncode
        ended: Fields = {"terminal_id": terminal, "exit_code": code if code >= 0 else None, "signal": None}
        self._end_call(
            call,
            "completed" if code == 0 else "failed",
            rawOutput={"output": output.decode(errors="replace"), "exitCode": code},
            _meta={"terminal_exit": ended},
        )

    @contextlib.contextmanager
    def _stopping(self, stop: Callable[[], None]) -> Generator[None]:
        self._on_cancel.append(stop)
        try:
            if self._cancelled.is_set():
                stop()
            yield
        finally:
            self._on_cancel.remove(stop)

    # What no agent should do, and some do

    def _misbehave(self, statement: Statement) -> None:
        session = self._conversation.id
        match statement.verb:
            case "flood":
                self._flood(statement["where"], statement.number("count"))
            case "longline":
                content: Fields = {"type": "text", "text": "x" * statement.number("size")}
                self.update("agent_message_chunk", {"content": content}, remembered=False)
            case "garbage":
                self._peer.write(b'this is no JSON\n\xff\xfe{"\n[1, 2]\n42\n\n')
                self._peer.write(encode({"jsonrpc": "2.0", "id": "never-asked", "result": {}}))
                self._peer.write(encode({"jsonrpc": "2.0", "id": [1], "result": None}))
                self._peer.write(encode({"jsonrpc": "2.0", "method": "session/update", "params": [session]}))
            case "badorder":
                call = self._new_call()
                done: Fields = {"toolCallId": call, "status": "completed", "title": "Never announced"}
                self.update("tool_call_update", done)
                late: Fields = {"toolCallId": call, "status": "pending", "title": "Announced late", "kind": "read"}
                self.update("tool_call", late)
                stranger: Fields = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "?"}}
                self._peer.notify("session/update", {"sessionId": "nobody", "update": stranger})
            case "unknown":
                self.update("demo_unknown_kind", {"answer": 42}, remembered=False)
            case "unknownrequest":
                try:
                    self._peer.request("demo/unknown", {"sessionId": session})
                    self._say("The unknown request was answered. ")
                except RequestRefused as refusal:
                    self._say(f"The unknown request was refused: {refusal.code}. ")
            case _:
                child = subprocess.Popen(
                    ["sleep", statement["seconds"]], stdin=subprocess.DEVNULL, start_new_session=True
                )
                self._say(f"Forked process {child.pid}. ")

    def _leave(self, statement: Statement) -> None:
        if statement.verb == "mute":
            self._peer.hang_up()
            threading.Event().wait()
        if statement.verb == "half":
            self._peer.write(b'{"jsonrpc": "2.0", "method": "session/upd')
        code = statement.number("code", 1)
        print(f"demo agent: dying with code {code}", file=sys.stderr, flush=True)
        os._exit(code)

    def _flood(self, where: str, count: int) -> None:
        if where == "stderr":
            line = b"demo agent: flood of standard error\n"
            view = memoryview((line * (count // len(line) + 1))[:count])
            while view:
                view = view[os.write(2, view[:65536]) :]
            return
        session = self._conversation.id
        for start in range(0, count, 500):
            self._notice_cancel()
            lines = bytearray()
            for number in range(start, min(start + 500, count)):
                content: Fields = {"type": "text", "text": f"flood {number} "}
                update: Fields = {"sessionUpdate": "agent_message_chunk", "content": content}
                params: Fields = {"sessionId": session, "update": update}
                lines += encode({"jsonrpc": "2.0", "method": "session/update", "params": params})
            self._peer.write(bytes(lines))


def void(_: object) -> None:
    """Take a result that nobody needs."""


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _kind(statement: Statement) -> str:
    return CHANGING_VERBS.get(statement.verb, "execute" if statement.verb == "terminal" else "other")


def _title(statement: Statement) -> str:
    verb = statement.verb.removeprefix("fs").capitalize()
    if statement.verb == "rename":
        return f"{verb} {statement['old']} to {statement['new']}"
    named = statement["path"] or statement["command"]
    return f"{verb} {named}" if named else ""


def _text_of(update: Fields) -> str:
    is_answer = update.get("sessionUpdate") == "agent_message_chunk"
    return string(fields(update.get("content")).get("text")) if is_answer else ""


def _text_content(text: str) -> Fields:
    return {"type": "content", "content": {"type": "text", "text": text}}


def _plan(entries: str) -> list[Json]:
    states = {"+": "completed", ">": "in_progress"}
    plan: list[Json] = []
    for entry in filter(None, (part.strip() for part in entries.split(","))):
        status = states.get(entry[0], "pending")
        content = entry if status == "pending" else entry[1:].strip()
        plan.append({"content": content, "priority": "medium", "status": status})
    return plan
