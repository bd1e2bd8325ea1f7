"""A turn as it happens, and the answers to what the agent asks."""

import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TextIO

import anyio
import anyio.to_thread

from coder.client import Client
from coder.errors import CoderError, InvalidInput
from coder.event_stream import EventStream
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
from coder.terminal.text import visible, visible_line

_ENDED = ("completed", "failed")


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
    """One prompt as the terminal shows it, with the answers to what the agent asks.

    Raises:
        InvalidInput: it is to allow and to refuse.
    """

    def __init__(self, *, allow: bool, deny: bool, as_json: bool) -> None:
        if allow and deny:
            raise InvalidInput("--allow and --deny exclude each other")
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
