"""What the command line shows: tables, and a turn as it happens. Nothing an agent says reaches the terminal raw."""

import shlex
import signal
import sys
import unicodedata
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TextIO

import anyio
import anyio.to_thread

from coder.client import Client, EventStream
from coder.errors import CoderError
from coder.model.events import (
    ChangeRecorded,
    Error,
    PermissionRequested,
    Plan,
    Reasoning,
    Record,
    SetupUpdated,
    Text,
    ToolCallStarted,
    ToolCallUpdated,
    TurnEnded,
)
from coder.model.permissions import PermissionOption, PermissionRequest
from coder.model.setups import Setup
from coder.model.tasks import ENDED, Task, TaskState
from coder.model.tool_calls import ToolCall
from coder.protocol import Prompt, SnapshotFrame

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_ENDED = ("completed", "failed")


def visible(text: str) -> str:
    """The text with every control, bidi and invisible character spelled out; new lines and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character if character in "\n\t" or unicodedata.category(character) not in _INVISIBLE else _spelled(character)
        for character in text
    )


def visible_line(text: str) -> str:
    """As `visible`, on one line."""
    return visible(text).replace("\n", "\\n").replace("\t", " ")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns under their heads."""
    lines = [list(head), *([visible_line(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def setup_text(setup: Setup) -> str:
    """What a worktree's setup would run, how it stands, and the end of its log."""
    lines = [f"setup {setup.state}" + (", prompts wait for it" if setup.holds else "")]
    if setup.error:
        lines.append(f"error {setup.error.message}")
    if setup.source:
        lines.append(f"file {setup.source} sha256:{setup.digest}")
    if recipe := setup.recipe:
        steps = {"setup": recipe.setup, "teardown": recipe.teardown}
        lines += [f"{name} command: {_command(step.command)}" for name, step in steps.items() if step]
        lines += [f"variable {name}={value}" for name, value in recipe.env.items()]
    lines += [f"port {name}={port}" for name, port in setup.ports.items()]
    shown = "\n".join(visible_line(line) for line in lines)
    return f"{shown}\n{visible(setup.log)}".rstrip("\n")


def _command(command: str | Sequence[str]) -> str:
    return command if isinstance(command, str) else shlex.join(command)


class Transcript:
    """Writes the records of a turn for a person. Text goes to `out`, everything around it to `notes`."""

    def __init__(self, out: TextIO = sys.stdout, notes: TextIO = sys.stderr) -> None:
        self._out = out
        self._notes = notes
        self._is_mid_line = False
        self._setup: tuple[str, bool] | None = None

    def show(self, record: Record) -> None:
        """Write one record; those that say nothing to a person are left out."""
        match record.event:
            case Text(text=text):
                self._write(text)
            case Reasoning():
                pass
            case ToolCallStarted(tool_call=call):
                self.note(f"[{call.kind}] {call.title}")
            case ToolCallUpdated(tool_call=call):
                if call.status in _ENDED:
                    self._show_end(call)
            case Plan(entries=entries):
                for entry in entries:
                    self.note(f"[plan] {'x' if entry.status == 'completed' else '-'} {entry.content}")
            case ChangeRecorded(change=change):
                counts = f"+{change.added_lines} -{change.deleted_lines}"
                self.note(f"[change] {change.operation} {change.file_path} {counts}  {change.id}")
            case SetupUpdated(setup=setup):
                self.show_setup(setup)
            case Error(message=message):
                self.note(f"[error] {message}")
            case TurnEnded() as ended:
                self._show_turn_end(ended)
            case _:
                pass

    def show_setup(self, setup: Setup) -> None:
        """Say, whenever that changes, why the prompt waits; nothing about a setup that was through before."""
        state = (setup.state, setup.holds)
        if state == self._setup or (self._setup is None and not setup.holds):
            return
        self._setup = state
        reason = f": {setup.error.message}" if setup.error else ""
        self.note(f"[setup] {setup.state}{reason}" + ("; the prompt waits for it" if setup.holds else ""))
        if setup.holds and setup.state in ("untrusted", "failed"):
            self.note(f"[setup] see it with `coder setup {setup.session_id}`, then --run, --skip, or `coder trust`")

    def ask(self, request: PermissionRequest) -> None:
        """Write what is asked and the ways to answer."""
        self.note(f"[permission] {request.agent} asks: {request.tool_call.title}")
        for number, option in enumerate(request.options, 1):
            self.note(f"  {number}  {option.name} ({option.kind})")

    def note(self, text: str) -> None:
        """One line beside the agent's text."""
        if self._is_mid_line:
            self._out.write("\n")
            self._out.flush()
            self._is_mid_line = False
        self._notes.write(visible_line(text) + "\n")
        self._notes.flush()

    def _write(self, text: str) -> None:
        self._out.write(visible(text))
        self._out.flush()
        self._is_mid_line = not text.endswith("\n") if text else self._is_mid_line

    def _show_end(self, call: ToolCall) -> None:
        if call.status == "failed":
            self.note(f"[{call.kind}] failed: {call.title}")

    def _show_turn_end(self, ended: TurnEnded) -> None:
        if self._is_mid_line:
            self._write("\n")
        reason = ended.error.message if ended.error else ended.stop_reason or ""
        if ended.state != "completed":
            self.note(f"[{ended.state}] {reason}")


class Turn:
    """One prompt as the terminal shows it, with the answers to what the agent asks."""

    def __init__(self, *, allow: bool, deny: bool, as_json: bool) -> None:
        self._allow = allow
        self._deny = deny
        self._as_json = as_json
        self._transcript = Transcript()

    async def run(self, client: Client, session_id: str, wish: Prompt) -> TaskState:
        """Prompt, show, answer; returns how the task ended. Ctrl-C cancels it."""
        return await self.follow(client, session_id, partial(client.prompt, session_id, wish))

    async def follow(self, client: Client, session_id: str, begin: Callable[[], Awaitable[Task]]) -> TaskState:
        """As `run`, for a task that something else than a prompt begins."""
        after = (await client.session(session_id)).last_seq
        task = await begin()
        if not self._as_json:
            self._transcript.show_setup(await client.setup(session_id))
        async with (
            client.events(session_id, after) as items,
            _interruptible(partial(client.cancel_task, task.id), self._transcript.note),
        ):
            return await self._watch(client, task, items)

    async def _watch(self, client: Client, task: Task, items: EventStream) -> TaskState:
        async for item in items:
            if isinstance(item, SnapshotFrame):
                known = await client.task(task.id)
                if known.state in ENDED:
                    return known.state
            elif item.task_id == task.id or isinstance(item.event, SetupUpdated):
                self._show(item)
                match item.event:
                    case PermissionRequested(request=request):
                        await self._answer(client, request)
                    case TurnEnded(state=state):
                        return state
                    case _:
                        pass
        raise AssertionError("the stream ends only by raising")

    def _show(self, record: Record) -> None:
        if self._as_json:
            sys.stdout.write(record.model_dump_json() + "\n")
            sys.stdout.flush()
        else:
            self._transcript.show(record)

    async def _answer(self, client: Client, request: PermissionRequest) -> None:
        option = await self._choose(request)
        if option is None:
            self._transcript.note("[permission] nothing fits: the turn is cancelled")
            await client.cancel_task(str(request.task_id))
            return
        try:
            await client.answer_permission(request.id, option.id)
        except CoderError as error:
            self._transcript.note(f"[permission] {error}")

    async def _choose(self, request: PermissionRequest) -> PermissionOption | None:
        if self._allow:
            return _option_of(request, ("allow_once", "allow_always"))
        if self._deny or not sys.stdin.isatty():
            if not self._deny:
                self._transcript.note("[permission] refused: nobody can be asked here (use --allow or --deny)")
            return _option_of(request, ("reject_once", "reject_always"))
        self._transcript.ask(request)
        while True:
            answer = await anyio.to_thread.run_sync(input, "answer with a number: ", abandon_on_cancel=True)
            if answer.strip().isdigit() and 0 < int(answer) <= len(request.options):
                return request.options[int(answer) - 1]


@asynccontextmanager
async def _interruptible(
    cancel: Callable[[], Coroutine[object, object, object]], tell: Callable[[str], None]
) -> AsyncGenerator[None]:
    """The first Ctrl-C inside asks for a polite end, the second one ends at once."""

    async def watch() -> None:
        with anyio.open_signal_receiver(signal.SIGINT) as signals:
            is_asked = False
            async for _ in signals:
                if is_asked:
                    raise CoderError("left; the turn is being cancelled", code="interrupted")
                is_asked = True
                tell("cancelling; press Ctrl-C again to leave at once")
                group.start_soon(cancel)

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        yield
        group.cancel_scope.cancel()


def _option_of(request: PermissionRequest, kinds: Sequence[str]) -> PermissionOption | None:
    return next((option for kind in kinds for option in request.options if option.kind == kind), None)


def _spelled(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
