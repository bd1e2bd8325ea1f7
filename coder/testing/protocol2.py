"""What a scripted agent says in version 1 of the protocol, said in version 2."""

import base64
import threading

from coder.testing.wire import Fields, Json, Peer, RequestRefused, fields, items, string


class PeerV2(Peer):
    """A connection of version 2 for an agent that speaks in the words of version 1."""

    def __init__(self, source: int, sink: int) -> None:
        super().__init__(source, sink)
        self._turns = 0
        self._counting = threading.Lock()

    def next_message_id(self) -> str:
        with self._counting:
            self._turns += 1
            return f"message-{self._turns}"

    def notify(self, method: str, params: Fields) -> None:
        update = fields(params.get("update"))
        if method != "session/update" or not update:
            super().notify(method, params)
            return
        for each in upserts(update, f"said-{self._turns}"):
            super().notify(method, {**params, "update": each})

    def request(self, method: str, params: Fields) -> Fields:
        if method == "session/request_permission":
            call = fields(params.get("toolCall"))
            about: Fields = {
                "title": f"May I? {string(call.get('title'))}",
                "subject": {"type": "tool_call", "toolCall": call},
            }
            params = {key: value for key, value in params.items() if key != "toolCall"} | about
        return super().request(method, params)

    def tell_state(self, session: str, state: str, **more: Json) -> None:
        """The session runs or is idle."""
        update: Fields = {"sessionUpdate": "state_update", "state": state, "background": [], **more}
        super().notify("session/update", {"sessionId": session, "update": update})


def upserts(update: Fields, message: str) -> list[Fields]:
    """The updates of version 2 that say what one of version 1 says."""
    match update.get("sessionUpdate"):
        case "agent_message_chunk" | "agent_thought_chunk" | "user_message_chunk" as kind:
            return [{**update, "messageId": f"{message}-{kind}"}]
        case "plan":
            plan: Fields = {"type": "items", "planId": "plan", "entries": update.get("entries")}
            return [{"sessionUpdate": "plan_update", "plan": plan}]
        case "tool_call" | "tool_call_update":
            return _call(update)
        case "current_mode_update":
            return []
        case _:
            return [update]


def options(listed: list[Json]) -> list[Json]:
    """Config options in the words of version 2."""
    renamed: list[Json] = []
    for option in listed:
        known = fields(option)
        renamed.append({"configId": known.get("id"), **{key: value for key, value in known.items() if key != "id"}})
    return renamed


def methods(listed: list[Json]) -> list[Json]:
    """Ways to sign in, in the words of version 2."""
    renamed: list[Json] = []
    for method in listed:
        known = fields(method)
        more = {key: value for key, value in known.items() if key != "id"}
        renamed.append({"type": "agent", **more, "methodId": known.get("id")})
    return renamed


def ended(answer: Fields | RequestRefused) -> dict[str, Json]:
    """What the answer to a prompt says, as part of the state that ends its turn."""
    if isinstance(answer, RequestRefused):
        return {"stopReason": "error", "error": {"code": answer.code, "message": answer.message}}
    return dict(answer)


def _call(update: Fields) -> list[Fields]:
    meta = fields(update.get("_meta"))
    told: list[Fields] = []
    if info := fields(meta.get("terminal_info")):
        told.append({"sessionUpdate": "terminal_update", "terminalId": info.get("terminal_id"), "cwd": info.get("cwd")})
    if output := fields(meta.get("terminal_output")):
        data = base64.b64encode(string(output.get("data")).encode()).decode()
        terminal = output.get("terminal_id")
        told.append({"sessionUpdate": "terminal_output_chunk", "terminalId": terminal, "data": data})
    if ended := fields(meta.get("terminal_exit")):
        status: Fields = {"exitCode": ended.get("exit_code"), "signal": ended.get("signal")}
        terminal = ended.get("terminal_id")
        told.append({"sessionUpdate": "terminal_update", "terminalId": terminal, "exitStatus": status})
    rest = {key: value for key, value in update.items() if key != "_meta"}
    if "content" in rest:
        rest["content"] = [_content(fields(item)) for item in items(rest["content"])]
    if rest.keys() - {"sessionUpdate", "toolCallId"}:
        told.append({**rest, "sessionUpdate": "tool_call_update"})
    return told


def _content(item: Fields) -> Fields:
    if item.get("type") != "diff":
        return item
    path, old, new = string(item.get("path")), item.get("oldText"), string(item.get("newText"))
    is_new = old is None
    lines = [f"diff --git {path} {path}", f"--- {'/dev/null' if is_new else path}", f"+++ {path}", "@@ @@"]
    lines += [f"-{line}" for line in string(old).splitlines()] + [f"+{line}" for line in new.splitlines()]
    change: Fields = {"operation": "add" if is_new else "modify", "path": path}
    return {"type": "diff", "changes": [change], "patch": {"format": "git_patch", "text": "\n".join(lines) + "\n"}}
