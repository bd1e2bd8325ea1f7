"""A scripted ACP agent: `python -m coder.testing.agent`, in the catalogue as provider `demo`.

Plain words get a friendly turn: some text, a plan, a permission request, a new file DEMO.md. Verbs, one per line or
separated by `;`, say exactly what to do. PATH must hold a dot or a slash and is relative to the session's directory;
TEXT may hold \\n, \\t, \\s (a space) and \\; and files end with a line end. A prompt that begins with a verb must be
verbs throughout.

What is shown
  say TEXT                  one piece of the answer
  think TEXT                one piece of reasoning
  stream N [DELAY_MS]       N pieces of the answer
  plan A, B, C              a plan; `+A` is completed, `>A` in progress
  tool KIND TITLE           a tool call that does nothing
  usage USED SIZE           context use         title TEXT    the session's title
  mode ID                   the agent changes its own mode
  commands                  the commands it offers
Files, terminal, permission
  ask [TITLE]               ask permission (allow once, allow always, reject); a refusal skips the next change
  write PATH TEXT           edit PATH OLD => NEW        delete PATH        rename OLD => NEW
  terminal CMD              through the client's terminal when offered, else an own process
  fsread PATH [LINE LIMIT]  fswrite PATH TEXT           through the client's file methods
Sub-agents
  delegate KIND TITLE       a sub-agent is put to work: what follows is its doing
  report TEXT               until it says what it found
What it knows
  counter                   how many prompts this conversation and this process have had
  settings                  the present mode, model and options
  attachments · cwd · echoenv NAME
Time
  listen                    wait for input into the running turn, and do what it says
  sleep MS · hang (until cancelled) · latency MS (before each update of this turn)
Ends
  stop REASON               end with this stop reason
  fail [TEXT]               answer the prompt with an error
  die [CODE]                leave at once
  half [CODE]               leave in the middle of a message
  mute                      close the output and live on
Trouble
  flood stdout N            N updates at once          flood stderr BYTES
  longline BYTES            one update of that size
  garbage                   lines that are no messages
  unknown · unknownrequest  an update and a request nobody knows
  badorder                  updates of calls and sessions never announced
  replay-late               later loads answer first and replay afterwards
  ignore cancel|term|eof    from now on
  fork SECONDS              a child in a session of its own that outlives the agent

Environment
  DEMO_START_DELAY_MS       wait so long before the first answer
  DEMO_LOGIN_NEEDED=1       want a login first: `authenticate`, or run once with --login; `prompt`: only when prompted
  DEMO_FAULT_AT=PLACE:FAULT at `start`, `initialize` or `session`: `die`, `hang` or `error`
  DEMO_PROTOCOL=2           speak version 2 of the protocol to a client that offers it
  DEMO_WITHOUT_RESUME=1     offer neither load nor resume
  DEMO_LEDGER=FILE          note there each piece of an answer once it is on the wire
  DEMO_IGNORE=WORDS         as `ignore`, from the start, separated by commas
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from types import FrameType

from coder import __version__
from coder.testing import protocol2
from coder.testing.conversations import Conversation, open_conversation, state_folder
from coder.testing.script import ScriptError, Statement, parse
from coder.testing.verbs import COMMANDS, Turn
from coder.testing.wire import Fields, Json, Peer, RequestRefused, fields, items, string

MODES = {"ask": "Ask before changes", "auto": "Never ask", "plan": "Plan only"}
MODELS = {"demo-small": "Demo Small", "demo-large": "Demo Large"}
THINKING = {"low": "Low", "normal": "Normal", "high": "High"}
STEERING: Fields = {"steering": {"supported": True}}
INVALID_PARAMS, METHOD_NOT_FOUND, INVALID_REQUEST, LOGIN_NEEDED, NOT_FOUND = -32602, -32601, -32600, -32000, -32002


class Agent:
    """Answers one client over one connection."""

    def __init__(self, peer: Peer, environment: Mapping[str, str]) -> None:
        self._peer = peer
        self._environment = environment
        self._folder = state_folder(environment)
        self._ignored = set(filter(None, environment.get("DEMO_IGNORE", "").split(",")))
        self._offered: Fields = {}
        self._signed_in = not environment.get("DEMO_LOGIN_NEEDED") or (self._folder / "login").exists()
        self._conversations: dict[str, Conversation] = {}
        self._allowed: dict[str, set[str]] = {}
        self._turns: dict[str, Turn] = {}
        self._prompts = 0
        self._second: protocol2.PeerV2 | None = None
        self._requests: dict[str, Callable[[Fields], Fields]] = {
            "initialize": self._initialize,
            "authenticate": self._authenticate,
            "session/new": self._new_session,
            "session/load": self._load_session,
            "session/resume": self._resume_session,
            "session/close": self._close_session,
            "session/set_mode": lambda params: self._set_option(params, "mode", params.get("modeId")),
            "session/set_model": lambda params: self._set_option(params, "model", params.get("modelId")),
            "session/set_config_option": self._set_config_option,
        }

    def run(self) -> None:
        """Serve until the end of input, or for ever when told to ignore it."""
        signal.signal(signal.SIGTERM, self._on_term)
        self._suffer("start")
        threading.Event().wait(int(self._environment.get("DEMO_START_DELAY_MS", "0")) / 1000)
        for message in self._peer.messages():
            self._receive(message)
        if "eof" in self._ignored:
            threading.Event().wait()
        for turn in list(self._turns.values()):
            turn.end_children()

    def _receive(self, message: Fields) -> None:
        method, id, params = string(message.get("method")), message.get("id"), fields(message.get("params"))
        if "id" not in message:
            if method == "session/cancel":
                self._cancel(string(params.get("sessionId")))
            return
        try:
            if method == "session/prompt":
                self._start_turn(id, params)
            elif method == "_session/steering":
                self._steer(id, params)
            elif method in self._requests:
                self._peer.answer(id, self._requests[method](params))
                self._after(method, params)
            else:
                raise RequestRefused(METHOD_NOT_FOUND, f"unknown method {method}")
        except RequestRefused as refusal:
            self._peer.refuse(id, refusal.code, refusal.message)

    def _on_term(self, number: int, frame: FrameType | None) -> None:
        if "term" not in self._ignored:
            for turn in list(self._turns.values()):
                turn.end_children()
            os._exit(128 + number)

    def _suffer(self, place: str) -> None:
        at, _, fault = self._environment.get("DEMO_FAULT_AT", "").partition(":")
        if at != place:
            return
        if fault == "hang":
            threading.Event().wait()
        if fault == "error":
            raise RequestRefused(-32603, f"the demo agent fails at {place} as asked")
        print(f"demo agent: dying at {place} as asked", file=sys.stderr, flush=True)
        os._exit(1)

    # Connection and sessions

    def _initialize(self, params: Fields) -> Fields:
        self._suffer("initialize")
        is_second = isinstance(self._peer, protocol2.PeerV2) and params.get("protocolVersion") == 2
        self._offered = fields(params.get("capabilities" if is_second else "clientCapabilities"))
        resumes = not self._environment.get("DEMO_WITHOUT_RESUME")
        session: Fields = {"resume": {}, "close": {}} if resumes else {"close": {}}
        login: list[Json] = [{"id": "demo-login", "name": "Demo login", "description": "Signs in at once"}]
        if is_second or fields(self._offered.get("auth")).get("terminal") is True:
            login.append({"id": "demo-terminal", "name": "Terminal login", "type": "terminal", "args": ["--login"]})
        ourselves: Fields = {"name": "coder-demo", "title": "Demo agent", "version": __version__}
        if is_second and isinstance(self._peer, protocol2.PeerV2):
            self._second = self._peer
            return {
                "protocolVersion": 2,
                "info": ourselves,
                "capabilities": {"session": {"prompt": {"image": {}, "embeddedContext": {}}}},
                "authMethods": protocol2.methods(login) if self._environment.get("DEMO_LOGIN_NEEDED") else [],
                "_meta": STEERING,
            }
        return {
            "protocolVersion": 1,
            "agentInfo": ourselves,
            "agentCapabilities": {
                "loadSession": resumes,
                "promptCapabilities": {"image": True, "embeddedContext": True},
                "sessionCapabilities": session,
            },
            "authMethods": login if self._environment.get("DEMO_LOGIN_NEEDED") else [],
            "_meta": STEERING,
        }

    def _authenticate(self, params: Fields) -> Fields:
        if params.get("methodId") != "demo-login":
            raise RequestRefused(INVALID_PARAMS, "unknown login method")
        self._signed_in = True
        return {}

    def _new_session(self, params: Fields) -> Fields:
        self._suffer("session")
        self._require_login("session")
        id = f"demo-{os.urandom(8).hex()}"
        conversation = Conversation(self._folder, id, _cwd(params))
        conversation.save()
        self._conversations[id] = conversation
        return {"sessionId": id, **self._choices(conversation)}

    def _load_session(self, params: Fields) -> Fields:
        conversation = self._reopen(params)
        if not conversation.replays_late:
            self._replay(conversation)
        return self._choices(conversation)

    def _resume_session(self, params: Fields) -> Fields:
        conversation = self._reopen(params)
        if self._second:
            if params.get("replayFrom"):
                self._replay(conversation)
            self._second.tell_state(conversation.id, "idle", stopReason="end_turn")
        return self._choices(conversation)

    def _reopen(self, params: Fields) -> Conversation:
        self._suffer("session")
        self._require_login("session")
        id = string(params.get("sessionId"))
        conversation = open_conversation(self._folder, id, _cwd(params))
        if conversation is None or self._environment.get("DEMO_WITHOUT_RESUME"):
            raise RequestRefused(NOT_FOUND, f"no session {id}")
        self._conversations[id] = conversation
        return conversation

    def _replay(self, conversation: Conversation) -> None:
        for update in conversation.history:
            self._peer.notify("session/update", {"sessionId": conversation.id, "update": update})

    def _close_session(self, params: Fields) -> Fields:
        self._cancel(self._conversation(params).id)
        return {}

    def _after(self, method: str, params: Fields) -> None:
        if method == "session/load":
            conversation = self._conversation(params)
            if conversation.replays_late:
                self._replay(conversation)
        if method == "session/new":
            id = next(reversed(self._conversations))
            update: Fields = {"sessionUpdate": "available_commands_update", "availableCommands": COMMANDS}
            self._peer.notify("session/update", {"sessionId": id, "update": update})

    def _require_login(self, place: str) -> None:
        is_late = self._environment.get("DEMO_LOGIN_NEEDED") == "prompt"
        if not self._signed_in and is_late == (place == "prompt"):
            raise RequestRefused(LOGIN_NEEDED, "Authentication required")

    def _conversation(self, params: Fields) -> Conversation:
        id = string(params.get("sessionId"))
        if id not in self._conversations:
            raise RequestRefused(NOT_FOUND, f"no session {id}")
        return self._conversations[id]

    # Modes, models, options

    def _choices(self, conversation: Conversation) -> Fields:
        if self._second:
            return {"configOptions": self._config_options(conversation), "availableCommands": COMMANDS}
        modes: list[Json] = [{"id": id, "name": name} for id, name in MODES.items()]
        models: list[Json] = [{"modelId": id, "name": name} for id, name in MODELS.items()]
        return {
            "modes": {"currentModeId": conversation.mode, "availableModes": modes},
            "models": {"currentModelId": conversation.model, "availableModels": models},
            "configOptions": self._config_options(conversation),
        }

    def _config_options(self, conversation: Conversation) -> list[Json]:
        options: list[Json] = [
            _select("mode", "Mode", "mode", conversation.mode, MODES),
            _select("model", "Model", "model", conversation.model, MODELS),
            _select("thinking", "Thinking", "thought_level", conversation.thinking, THINKING),
        ]
        knows_boolean = self._second or "boolean" in fields(fields(self._offered.get("session")).get("configOptions"))
        if knows_boolean:
            verbose: Fields = {"id": "verbose", "name": "Verbose", "type": "boolean"}
            options.append({**verbose, "currentValue": conversation.verbose})
        return protocol2.options(options) if self._second else options

    def _set_config_option(self, params: Fields) -> Fields:
        if self._second and params.get("type") not in ("id", "boolean"):
            raise RequestRefused(INVALID_PARAMS, "the type of the value is missing")
        self._set_option(params, string(params.get("configId")), params.get("value"))
        return {"configOptions": self._config_options(self._conversation(params))}

    def _set_option(self, params: Fields, option: str, value: Json) -> Fields:
        conversation = self._conversation(params)
        match option, value:
            case "mode", str() if value in MODES:
                conversation.mode = value
            case "model", str() if value in MODELS:
                conversation.model = value
            case "thinking", str() if value in THINKING:
                conversation.thinking = value
            case "verbose", bool():
                conversation.verbose = value
            case _:
                raise RequestRefused(INVALID_PARAMS, f"no value {value} of option {option}")
        conversation.save()
        return {}

    # Turns

    def _start_turn(self, id: Json, params: Fields) -> None:
        conversation = self._conversation(params)
        self._require_login("prompt")
        if conversation.id in self._turns:
            raise RequestRefused(INVALID_REQUEST, "a prompt of this session is running")
        blocks = [fields(block) for block in items(params.get("prompt"))]
        texts = [string(block.get("text")) for block in blocks if block.get("type") == "text"]
        statements = _statements(texts) or _friendly_turn()
        others = [_attachment(block) for block in blocks if block.get("type") != "text"]
        self._prompts += 1
        conversation.prompts += 1
        for block in blocks:
            conversation.remember({"sessionUpdate": "user_message_chunk", "content": block})
        conversation.save()
        turn = Turn(
            self._peer,
            conversation,
            offered=self._offered,
            ignored=self._ignored,
            allowed=self._allowed.setdefault(conversation.id, set()),
            environment=self._environment,
            attachments=", ".join(others),
            process_prompts=self._prompts,
        )
        self._turns[conversation.id] = turn
        if self._second:
            self._accept(self._second, id, conversation, blocks)
        threading.Thread(target=self._carry_out, args=(id, turn, conversation, statements), daemon=True).start()

    def _accept(self, peer: protocol2.PeerV2, id: Json, conversation: Conversation, blocks: list[Fields]) -> None:
        message = peer.next_message_id()
        peer.tell_state(conversation.id, "running")
        echo: Fields = {"sessionUpdate": "user_message", "messageId": message, "content": blocks}
        peer.notify("session/update", {"sessionId": conversation.id, "update": echo})
        peer.answer(id, {"messageId": message})

    def _steer(self, id: Json, params: Fields) -> None:
        conversation = self._conversation(params)
        turn = self._turns.get(conversation.id)
        texts = [string(fields(block).get("text")) for block in items(params.get("prompt"))]
        injected: Fields = {"outcome": "injected"}
        if turn is None or not turn.take(_statements(texts) or [], lambda: self._peer.answer(id, injected)):
            self._peer.answer(id, {"outcome": "promptRequired", "reason": "noRunningTurn"})

    def _carry_out(self, id: Json, turn: Turn, conversation: Conversation, statements: list[Statement]) -> None:
        answer: Fields | RequestRefused
        try:
            answer = turn.run(statements)
        except RequestRefused as refusal:
            answer = refusal
        conversation.save()
        del self._turns[conversation.id]
        if self._second:
            self._second.tell_state(conversation.id, "idle", **protocol2.ended(answer))
        elif isinstance(answer, RequestRefused):
            self._peer.refuse(id, answer.code, answer.message)
        else:
            self._peer.answer(id, answer)

    def _cancel(self, session_id: str) -> None:
        if "cancel" not in self._ignored and (turn := self._turns.get(session_id)):
            turn.cancel()


def _cwd(params: Fields) -> str:
    cwd = string(params.get("cwd"))
    if not cwd.startswith("/"):
        raise RequestRefused(INVALID_PARAMS, "cwd must be an absolute path")
    return cwd


def _select(id: str, name: str, category: str, current: str, values: Mapping[str, str]) -> Fields:
    options: list[Json] = [{"value": value, "name": label} for value, label in values.items()]
    return {"id": id, "name": name, "category": category, "type": "select", "currentValue": current, "options": options}


def _attachment(block: Fields) -> str:
    kind = string(block.get("type"))
    detail = (
        string(block.get("mimeType")) or string(block.get("uri")) or string(fields(block.get("resource")).get("uri"))
    )
    return f"{kind} {detail} ({len(string(block.get('data')))} characters)" if kind == "image" else f"{kind} {detail}"


def _statements(texts: list[str]) -> list[Statement] | None:
    try:
        return next(filter(None, map(parse, texts)), None)
    except ScriptError as error:
        raise RequestRefused(INVALID_PARAMS, str(error)) from error


def _friendly_turn() -> list[Statement]:
    """What plain words get: a turn with a bit of everything, a second or two long."""
    written = "# Demo\\n\\nA scripted agent wrote this file, to show how a change travels.\\n"
    words = "I am the demo agent. I understand verbs, not wishes, so I will show you what a turn looks like. "
    spoken = "\n".join(f"say {word}\\s\nsleep 15" for word in words.split())
    return (
        parse(
            "think A person typed plain words. I will show a whole turn.\n"
            f"{spoken}\n"
            "plan >Look around, Ask for permission, Write DEMO.md\n"
            "tool read Look around\n"
            "plan +Look around, >Ask for permission, Write DEMO.md\n"
            "ask Create DEMO.md\n"
            f"write DEMO.md {written}\n"
            "plan +Look around, +Ask for permission, +Write DEMO.md\n"
            "usage 1200 200000\n"
            "say Done. Look at the changes: you may apply or reject them."
        )
        or []
    )


def main() -> None:
    """Run the agent on standard input and output."""
    arguments = sys.argv[1:]
    if "--help" in arguments or "-h" in arguments:
        print(__doc__)
    elif "--version" in arguments:
        print(__version__)
    elif "--login" in arguments:
        folder = state_folder(os.environ)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / "login").touch()
        print("The demo agent is signed in.")
    else:
        kind = protocol2.PeerV2 if os.environ.get("DEMO_PROTOCOL") == "2" else Peer
        Agent(kind(0, 1), os.environ).run()
        # Threads of hanging turns must not hold the process back.
        os._exit(0)


if __name__ == "__main__":
    main()
