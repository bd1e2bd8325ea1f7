"""What the scripted model answers: directives in the prompt become text, reasoning and calls of the offered tools.

Nothing is remembered between requests. The newest user message with directives is the script, the tool results after it
say how far it has come; so any number of agents may share one server.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from coder.testing.wire import Fields, Json, fields, items, string

_OPENING = re.compile(r"\[\[(write|bash|read|tool|plan|text|think|http|drop|hang)\s*")

_TOOLS: Mapping[str, Sequence[str]] = {
    "write": (
        *("write_file", "write", "create_file", "write_to_file", "create", "save_file", "fs_write", "writefile"),
        *("write_text_file", "file_editor", "str_replace_editor", "str_replace_based_edit_tool", "edit_file", "edit"),
    ),
    "bash": (
        *("bash", "shell", "run_shell_command", "exec_command", "execute", "execute_command", "run_command"),
        *("run_commands", "terminal", "shell_command", "local_shell", "execute_bash", "run_in_terminal"),
    ),
    "read": ("read_file", "read", "read_text_file", "view", "readfile", "read_files", "file_editor"),
    "plan": ("todowrite", "todo_write", "write_todos", "update_plan", "todo", "settodolist", "todolist"),
}
_PATH_FIELDS = ("file_path", "absolute_path", "path", "filename", "file", "target_file")
_CONTENT_FIELDS = ("content", "contents", "file_text", "file_content", "text", "code", "new_string")
_COMMAND_FIELDS = ("command", "cmd", "script", "commands")
_BLANKS: Mapping[str, Json] = {"integer": 1, "number": 1, "boolean": False, "array": (), "object": {}}


@dataclass(frozen=True)
class Say:
    text: str
    delay: float = 0


@dataclass(frozen=True)
class Think:
    text: str
    delay: float = 0


@dataclass(frozen=True)
class Call:
    """One call of a tool that the agent offers."""

    name: str
    arguments: Fields


@dataclass(frozen=True)
class Hang:
    seconds: float


@dataclass(frozen=True)
class Cut:
    """The connection ends here, in the middle of the answer."""


@dataclass(frozen=True)
class Fail:
    """The request is answered with this HTTP status and nothing else."""

    status: int


Part = Say | Think | Call | Hang | Cut | Fail


@dataclass(frozen=True)
class Turn:
    """One message of a request, whatever the wire."""

    role: str
    text: str
    is_tool_result: bool = False


@dataclass(frozen=True)
class Request:
    """What an agent asks of a model: the conversation so far, and its tools with their JSON schemas."""

    turns: Sequence[Turn]
    tools: Mapping[str, Fields] = field(default_factory=dict[str, Fields])
    schema: Fields = field(default_factory=dict[str, Json])
    """Of the JSON that the answer has to be, where the agent asks for that."""


@dataclass(frozen=True)
class Directive:
    kind: str
    arguments: Fields


def directives(text: str) -> list[Directive]:
    """Every `[[kind {json}]]` in the text. Quotes that an agent escaped on the way are understood."""
    found: list[Directive] = []
    for opening in _OPENING.finditer(text):
        rest = text[opening.end() :]
        for candidate in (rest, rest.replace('\\"', '"')):
            if (arguments := _arguments(candidate)) is not None:
                found.append(Directive(opening[1], arguments))
                break
    return found


def answer(request: Request) -> list[Part]:
    """The next answer of the script; a request without tools (a title, a verdict) gets a short text or fitting JSON."""
    if not request.tools:
        return [Say(json.dumps(_filled(request.schema, {})) if request.schema else "Scripted title")]
    script, done = _script(request.turns)
    if not script:
        heard = [turn.text for turn in request.turns if turn.role == "user" and not turn.is_tool_result]
        return [Say(f"The scripted model heard: {heard[-1][-80:] if heard else 'nothing'}")]
    answers = _split(script)
    if done >= len(answers):
        return [Say("All done.")]
    return [part for directive in answers[done] for part in _parts(directive, request.tools)]


def _arguments(text: str) -> Fields | None:
    if text.startswith("]]"):
        return {}
    try:
        value, end = json.JSONDecoder(strict=False).raw_decode(text)
    except ValueError:
        return None
    return fields(value) if text[end:].lstrip().startswith("]]") else None


def _script(turns: Sequence[Turn]) -> tuple[list[Directive], int]:
    done = 0
    for turn in reversed(turns):
        if turn.is_tool_result:
            done += 1
        elif turn.role == "user" and (found := directives(turn.text)):
            return found, done
    return [], 0


def _split(script: list[Directive]) -> list[list[Directive]]:
    # Text and reasoning before a tool belong to the same answer as the tool; each tool ends an answer.
    answers: list[list[Directive]] = [[]]
    for directive in script:
        answers[-1].append(directive)
        if directive.kind not in ("text", "think"):
            answers.append([])
    return [directives for directives in answers if directives]


def _parts(directive: Directive, tools: Mapping[str, Fields]) -> Iterator[Part]:
    given = directive.arguments
    match directive.kind:
        case "text":
            yield from (Say(text, _number(given, "delay")) for text in _pieces(given))
        case "think":
            yield from (Think(text, _number(given, "delay")) for text in _pieces(given))
        case "http":
            yield Fail(int(_number(given, "status", 500)))
        case "drop":
            yield from (Say(f"partial {number} ") for number in range(int(_number(given, "after", 3))))
            yield Cut()
        case "hang":
            yield Hang(_number(given, "seconds", 30))
            yield Say("The scripted model woke up.")
        case kind:
            call = _call(kind, given, tools)
            yield call or Say(f"The scripted model has no tool for {kind} among {', '.join(sorted(tools))[:300]}")


def _number(given: Fields, name: str, default: float = 0) -> float:
    value = given.get(name)
    return value if isinstance(value, int | float) else default


def _pieces(given: Fields) -> list[str]:
    text, count, size = string(given.get("text")) or "text", int(_number(given, "n")), int(_number(given, "size"))
    if count:
        return ["x" * size if size else f"{text} {number} " for number in range(count)]
    return re.findall(r"\S+\s*", text) or [text]


def _call(kind: str, given: Fields, tools: Mapping[str, Fields]) -> Call | None:
    if kind == "tool":
        name = string(given.get("name"))
        return Call(name, fields(given.get("args"))) if name in tools else None
    name = _pick(kind, tools)
    if name is None:
        return _write_by_shell(given, tools) if kind == "write" else None
    schema = tools[name]
    match kind:
        case "write":
            content = string(given.get("content")) or "hello from the scripted model\n"
            chosen = _with_command(schema, "create") | {
                _field(schema, _PATH_FIELDS): string(given.get("path")) or "scripted.txt",
                _field(schema, _CONTENT_FIELDS): content,
            }
        case "read":
            path = string(given.get("path")) or "scripted.txt"
            chosen = _with_command(schema, "view") | {_field(schema, _PATH_FIELDS): path}
        case "bash":
            chosen = _shell_arguments(schema, given)
        case _:
            chosen = _plan_arguments(schema, given)
    return Call(name, _filled(schema, chosen))


def _write_by_shell(given: Fields, tools: Mapping[str, Fields]) -> Call | None:
    content = string(given.get("content")).replace("'", "'\\''")
    command = f"printf '%s' '{content}' > '{string(given.get('path'))}'"
    return _call("bash", {"cmd": command, "args": given.get("args")}, tools) if _pick("bash", tools) else None


def _with_command(schema: Fields, command: str) -> dict[str, Json]:
    return {"command": command} if "command" in _properties(schema) else {}


def _shell_arguments(schema: Fields, given: Fields) -> dict[str, Json]:
    name = _field(schema, _COMMAND_FIELDS)
    wanted = fields(_properties(schema).get(name))
    command: Json = string(given.get("cmd")) or "echo scripted"
    if _type(wanted) == "array":
        item = fields(wanted.get("items"))
        if _type(item) == "object":
            command = [_filled(item, {_field(item, _COMMAND_FIELDS): command})]
        else:
            command = [command] if name == "commands" else ["bash", "-lc", command]
    extra = {key: value for key, value in fields(given.get("args")).items() if key in _properties(schema)}
    return {name: command, **extra}


def _plan_arguments(schema: Fields, given: Fields) -> dict[str, Json]:
    name = _field(schema, ("todos", "plan", "items", "task_list"))
    item = fields(fields(_properties(schema).get(name)).get("items"))
    rows: list[Json] = []
    for number, entry in enumerate(items(given.get("items")) or ("first", "second")):
        row: dict[str, Json] = {_field(item, ("content", "step", "title", "description", "text", "task")): entry}
        if "status" in _properties(item):
            row["status"] = "pending" if number else "in_progress"
        if "id" in _properties(item):
            row["id"] = str(number + 1)
        rows.append(_filled(item, row))
    return {name: rows}


def _pick(kind: str, tools: Mapping[str, Fields]) -> str | None:
    lowered = {name.lower(): name for name in tools}
    for known in _TOOLS[kind]:
        if known in lowered:
            return lowered[known]
    for known in _TOOLS[kind]:  # with a prefix, as in mcp__files__write_file
        for name in lowered:
            if re.search(rf"[_.\-/]{re.escape(known)}$", name):
                return lowered[name]
    return None


def _properties(schema: Fields) -> Fields:
    return fields(schema.get("properties"))


def _type(schema: Fields) -> str:
    kind = schema.get("type")
    first = kind if isinstance(kind, str) else string(next(iter(items(kind)), None))
    return first.lower()


def _field(schema: Fields, names: Sequence[str]) -> str:
    """The schema's own spelling of the first known name it has; the first known name when it has none."""
    spelled = {name.lower().replace("_", ""): name for name in _properties(schema)}
    known = (spelled.get(name.replace("_", "")) for name in names)
    return next((name for name in known if name), names[0])


def _filled(schema: Fields, chosen: dict[str, Json]) -> dict[str, Json]:
    for name in map(string, items(schema.get("required"))):
        if name not in chosen:
            wanted = fields(_properties(schema).get(name))
            choices = items(wanted.get("enum"))
            chosen[name] = choices[0] if choices else _BLANKS.get(_type(wanted), "scripted")
    return chosen
