"""What works with a real agent: every cell of its row is found out by running it through a host.

`examine` uses one agent that others have made as a person would: prompts, answers, cancels, kills. Nothing is taken
from what the agent only says of itself.
"""

import json
import logging
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import anyio

from coder.model.events import (
    AgentEvent,
    AgentStatusChanged,
    Commands,
    ModeChanged,
    ModelChanged,
    PermissionRequested,
    Text,
    UsageReported,
)
from coder.model.providers import ProviderSnapshot
from coder.model.tasks import Task, TaskState
from coder.model.values import now
from coder.processes import sweep
from coder.testing.model_server import open_model_server
from coder.testing.real_agents import real_agent
from coder.testing.rooms import Room
from coder.testing.trials import PATIENCE, SIGNED_OUT, WRITTEN, Played, Trial, open_trial

logger = logging.getLogger(__name__)

COLUMNS: Mapping[str, str] = {
    "initialize": "initialize",
    "prompt": "prompt",
    "streaming": "streaming",
    "tool_calls": "tool calls",
    "permission": "permission",
    "change": "change applied",
    "cancel": "cancel",
    "modes": "modes",
    "models": "models",
    "commands": "commands",
    "usage": "usage",
    "resume": "resume after restart",
    "sessions": "several sessions",
    "exit": "clean exit",
    "login": "login shown",
    "sandbox": "in a sandbox",
}
LINGER = 10.0
"""Seconds that a cancelled command may take to be gone."""
WORD = "tangerine"
_MODELS_TRIED = 4
"""Several names may stand for the same model."""

Verdict = Literal["yes", "partly", "no", "–"]


@dataclass(frozen=True)
class Cell:
    """What the run has shown; `–` is for what does not apply. `note` says what is missing, or which."""

    verdict: Verdict
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One agent, its installed version and what works, by the keys of `COLUMNS`."""

    agent: str
    label: str
    package: str
    version: str
    cells: Mapping[str, Cell]
    note: str = ""


Check = Callable[[Trial], Awaitable[Cell]]


async def examine(name: str, folder: Path, database_url: str | None = None) -> Row:
    """Run the agent of that name in a host below `folder`, which is empty; without a URL it brings its database along.

    Raises:
        AgentMissing: it is not installed.
    """
    with open_model_server() as model_url:
        agent = real_agent(name, folder / "agent-home", model_url)
        async with open_trial(agent, folder, database_url, model_url) as trial:
            cells = {"initialize": await _checked(_initialize, trial)}
            if cells["initialize"].verdict == "yes":
                for key, check in _CHECKS.items():
                    cells[key] = await _checked(check, trial)
            cells["login"] = await _checked(_login, trial)
        if cells["initialize"].verdict == "yes":
            walled = folder / "sandboxed"
            agent = real_agent(name, walled / "agent-home", model_url)
            async with open_trial(agent, walled, database_url, model_url, sandbox="require") as trial:
                cells["sandbox"] = await _checked(_sandbox, trial)
    untried = Cell("–", f"not tried: {cells['initialize'].note}")
    filled = {key: cells.get(key, untried) for key in COLUMNS}
    return Row(name, agent.label, agent.package, agent.version, filled, agent.note)


async def _checked(check: Check, trial: Trial) -> Cell:
    """A check that breaks is an answer as well."""
    try:
        return await check(trial)
    except Exception as error:
        logger.warning("check failed", exc_info=True, extra={"agent": trial.agent.id})
        return Cell("no", _words(str(_first(error))) or type(error).__name__)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


async def _initialize(trial: Trial) -> Cell:
    offered = trial.offered = await trial.probe(trial.agent.provider)
    if offered.signed_in is False:
        return Cell("partly", "wants a login before anything else")
    return Cell("no", _words(offered.error)) if offered.error else Cell("yes")


async def _prompt(trial: Trial) -> Cell:
    played = await trial.play(f'The word is {WORD}. [[text {{"text":"Hello from the model."}}]]')
    is_said = "Hello from the model." in played.text if trial.agent.has_model else bool(played.text)
    return Cell("yes") if played.is_completed and is_said else Cell("no", played.end)


async def _streaming(trial: Trial) -> Cell:
    played = await trial.play('[[text {"text":"piece","n":30,"delay":0.05}]]')
    times = [record.at for record in played.own if isinstance(record.event, Text)]
    if not played.is_completed or not times:
        return Cell("no", played.end)
    if len(times) > 1 and (times[-1] - times[0]).total_seconds() > 0.5:
        return Cell("yes")
    return Cell("partly", "text comes at once, not as it is made")


async def _tool_calls(trial: Trial) -> Cell:
    played = trial.allowed = await trial.play_asking(trial.write_prompt("notes.txt"))
    if not played.calls:
        return Cell("no", f"none was seen; {played.end}")
    unfinished = sorted({call.status for call in played.calls.values()} - {"completed"})
    return Cell("partly", f"a call that worked ends as {', '.join(unfinished)}") if unfinished else Cell("yes")


async def _permission(trial: Trial) -> Cell:
    if trial.allowed and trial.agent.has_model and not (trial.room.worktree / "notes.txt").exists():
        return Cell("no", f"what was allowed did not happen; {trial.allowed.end}")
    refused = await trial.play_asking(trial.write_prompt("refused.txt"), trial.answer("reject"))
    if not (trial.allowed and trial.allowed.requests and refused.requests):
        return Cell("no", "does not ask")
    if (trial.room.worktree / "refused.txt").exists():
        return Cell("no", "what was refused happened all the same")
    return Cell("yes")


async def _change(trial: Trial) -> Cell:
    if not trial.agent.has_model:
        return Cell("–", "touches no file")
    found = next((change for change in await trial.room.changes() if change.file_path == "notes.txt"), None)
    if found is None:
        return Cell("no", "no change was recorded")
    await trial.room.apply("notes.txt")
    written = trial.room.repository / "notes.txt"
    is_there = written.exists() and written.read_text() == WRITTEN
    return Cell("yes") if is_there else Cell("no", "the applied change is not in the checkout")


async def _cancel(trial: Trial) -> Cell:
    checks = {
        "in the middle of text": _cancel_text,
        "while a question is open": _cancel_question,
        "in the middle of a command": _cancel_command,
    }
    faults = {when: await check(trial) for when, check in checks.items()}
    words = "; ".join(f"{when}: {fault}" for when, fault in faults.items() if fault)
    return Cell("no" if all(faults.values()) else "partly", words) if words else Cell("yes")


async def _cancel_text(trial: Trial) -> str:
    word = "alpha" if trial.agent.has_model else ""
    react = trial.cancel_when(lambda event: isinstance(event, Text) and word in event.text)
    return _cancel_fault(trial, await trial.play('[[text {"text":"alpha","n":2000,"delay":0.05}]]', react))


async def _cancel_question(trial: Trial) -> str:
    react = trial.cancel_when(lambda event: isinstance(event, PermissionRequested))
    played = await trial.play_asking(trial.write_prompt("cancelled.txt"), react)
    if not played.requests:
        return ""
    if (trial.room.worktree / "cancelled.txt").exists():
        return "it acted without an answer"
    return _cancel_fault(trial, played)


async def _cancel_command(trial: Trial) -> str:
    """Nothing to find fault with where the agent has no tool for commands."""
    played: list[Played] = []
    was_running = False
    task = await trial.begin_sleep()
    async with anyio.create_task_group() as group:

        async def see() -> None:
            played.append(await trial.see(task))
            group.cancel_scope.cancel()

        group.start_soon(see)
        was_running = await trial.wait_for_sleeper(is_there=True, seconds=PATIENCE)
        await trial.room.host.dispatcher.cancel(task.id)
    if not was_running:
        return ""
    if not await trial.wait_for_sleeper(is_there=False, seconds=LINGER):
        return "the command runs on until the agent is closed"
    return _cancel_fault(trial, played[0])


def _cancel_fault(trial: Trial, played: Played) -> str:
    if played.task.state is not TaskState.CANCELLED:
        return played.end
    is_warm = trial.room.host.pool.is_warm(trial.room.session.id, trial.agent.provider)
    return "" if is_warm else "the host had to end the agent"


async def _modes(trial: Trial) -> Cell:
    offered = trial.offered
    if offered is None or not offered.modes:
        return Cell("no", "offers none")
    ids = [mode.id for mode in offered.modes]
    default = offered.default_mode or ids[0]
    attended = [mode.id for mode in offered.modes if not mode.is_unattended and mode.id != default]
    other = next(iter(attended), ids[-1])
    there = await trial.play('[[text {"text":"In another mode."}]]', room=trial.other, mode=other)
    back = await trial.play('[[text {"text":"Back again."}]]', room=trial.other, mode=default)
    if not there.is_completed or not back.is_completed:
        return Cell("no", f"switching to {other}: {there.end}; and back: {back.end}")
    is_told = any(isinstance(event, ModeChanged) and event.mode_id == other for event in there.all_events)
    return Cell("yes", ", ".join(ids)) if is_told else Cell("partly", f"nothing says that {other} is on")


async def _models(trial: Trial) -> Cell:
    offered = trial.offered
    if offered is None or not offered.models:
        return Cell("no", "offers none")
    default = offered.default_model or offered.models[0].id
    others = [model.id for model in offered.models if model.id != default][:_MODELS_TRIED]
    used: list[str] = []
    fault = "the switch is told, the model is the same"
    for id in [default, *others]:
        played = await trial.play('[[text {"text":"By this model."}]]', room=trial.other, model=id)
        if not played.is_completed:
            fault = f"switching to {id}: {played.end}"
            continue
        asked = (await trial.heard())[-1]
        used.append(f"{asked['path']} {asked.get('model')}")
        if used[-1] != used[0]:
            is_told = any(isinstance(event, ModelChanged) and event.model_id == id for event in played.all_events)
            return Cell("yes") if is_told else Cell("partly", "nothing tells of the switch")
    if not used:
        return Cell("no", fault)
    return Cell("partly", fault) if others else Cell("yes", "one is offered here")


async def _commands(trial: Trial) -> Cell:
    played = await trial.play('[[text {"text":"Anything new?"}]]')
    has_heard = any(isinstance(event, Commands) and event.commands for event in played.all_events)
    return Cell("yes") if has_heard else Cell("no", "offers none")


async def _usage(trial: Trial) -> Cell:
    played = await trial.play('[[text {"text":"Counted."}]]')
    used = [event for event in played.all_events if isinstance(event, UsageReported)]
    turn = played.task.usage
    has_context = any(usage.context_used is not None for usage in used)
    has_tokens = any(usage.input_tokens for usage in used) or bool(turn and turn.input_tokens)
    if has_context and has_tokens:
        return Cell("yes")
    if not has_context and not has_tokens:
        return Cell("no", "says nothing of it")
    return Cell(
        "partly", "the context, not the tokens of a turn" if has_context else "a turn's tokens, not the context"
    )


async def _sessions(trial: Trial) -> Cell:
    await trial.play('[[text {"text":"Warm."}]]', room=trial.other)
    played: dict[str, Played] = {}

    async def play(word: str, room: Room) -> None:
        played[word] = await trial.play(f'[[text {{"text":"{word}","n":20,"delay":0.05}}]]', room=room)

    async with anyio.create_task_group() as group:
        group.start_soon(play, "apple", trial.room)
        group.start_soon(play, "pear", trial.other)
    one, two = played["apple"], played["pear"]
    if not one.is_completed or not two.is_completed:
        return Cell("no", f"{one.end}; {two.end}")
    if "pear" in one.text or "apple" in two.text:
        return Cell("no", "their texts are mixed up")
    begun = [next(record.at for record in turn.own if isinstance(record.event, Text)) for turn in (one, two)]
    is_overlapping = max(begun) < min(one.own[-1].at, two.own[-1].at)
    return Cell("yes") if is_overlapping else Cell("partly", "one waits for the other")


async def _resume(trial: Trial) -> Cell:
    host, agent, room = trial.room.host, trial.agent, trial.room
    faults: list[str] = []
    if agent.young_seconds:
        if not await _remembers_when_young(trial):
            faults.append("a session that ends in the minute of its beginning is not resumed")
        await anyio.sleep(max(0.0, agent.young_seconds - (now() - room.session.created_at).total_seconds()))
    if fault := await _kill_in_turn(trial):
        faults.append(f"killed in a turn: {fault}")
    if await _remembers(trial, room):
        return Cell("partly", "; ".join(faults)) if faults else Cell("yes")
    told = await _told(room)
    await trial.play(f'The word is {WORD}. [[text {{"text":"Noted."}}]]')
    await host.pool.close(room.session.id, agent.provider)
    if await _remembers(trial, room):
        return Cell("partly", f"a killed agent begins anew{told}; one that ended by itself goes on")
    return Cell("no", f"begins anew{told}")


async def _told(room: Room) -> str:
    statuses = [event for event in await room.events() if isinstance(event, AgentStatusChanged)]
    return ", and the host says so" if any("memory" in (status.message or "") for status in statuses) else ""


async def _remembers_when_young(trial: Trial) -> bool:
    host = trial.room.host
    room = Room(host, trial.room.repository, await host.sessions.open(trial.room.session.project_id, None, None))
    # the whole of it within one minute of the clock
    await anyio.sleep(60 - second if (second := now().second) > 30 else 0)
    await trial.play(f'The word is {WORD}. [[text {{"text":"Noted."}}]]', room=room)
    await room.host.pool.close(room.session.id, trial.agent.provider)
    return await _remembers(trial, room)


async def _remembers(trial: Trial, room: Room) -> bool:
    """Whether the model is sent the beginning of the conversation with the next prompt."""
    played = await trial.play('[[text {"text":"Where were we?"}]]', room=room)
    if not trial.agent.has_model or not played.is_completed:
        return False
    return WORD in json.dumps((await trial.heard())[-1])


async def _kill_in_turn(trial: Trial) -> str:
    """End the agent and all it started while it speaks, as a crash does; nothing, or how else its turn ended."""
    killed = anyio.Event()

    async def react(event: AgentEvent, task: Task) -> None:
        if isinstance(event, Text) and not killed.is_set():
            killed.set()
            for process in await trial.processes():
                sweep.send(process, signal.SIGKILL)

    # short enough for an agent that has the model answer it once more, together with the next prompt
    played = await trial.play('[[text {"text":"doomed","n":200,"delay":0.05}]]', react)
    for room in trial.rooms:
        await trial.wait_until_cold(room)
    return "" if played.task.error and played.task.error.code == "agent_died" else played.end


async def _exit(trial: Trial) -> Cell:
    """Closed in the middle of a command, the agent takes everything along."""
    task = await trial.begin_sleep()
    async with anyio.create_task_group() as group:
        group.start_soon(trial.see, task)
        await trial.wait_for_sleeper(is_there=True, seconds=LINGER)
        for room in trial.rooms:
            await room.host.dispatcher.end_session(room.session.id)
    left = await trial.processes()
    return Cell("no", f"{len(left)} processes are left") if left else Cell("yes")


async def _login(trial: Trial) -> Cell:
    offered = await trial.probe(SIGNED_OUT)
    if offered.signed_in is False:
        ways = _ways(offered)
        return Cell("yes", f"ways to sign in: {ways}") if ways else Cell("partly", "names no way to sign in")
    if offered.error:
        return Cell("no", _words(offered.error))
    if not trial.agent.needs_login:
        return Cell("–", "opens a session without a login")
    played = await trial.play("hello", room=trial.other, agent=SIGNED_OUT)
    if played.task.error is None or played.task.error.code != "auth_required":
        return Cell("no", played.end)
    refused = await trial.row(SIGNED_OUT)
    if refused.signed_in is not False or not _ways(refused):
        return Cell("no", "the first prompt ends with `auth_required`, and the host does not show it as signed out")
    return Cell("partly", "opens a session without a login; the first prompt is refused, and shows it as signed out")


async def _sandbox(trial: Trial) -> Cell:
    """The turn in which it writes a file goes as ever, and says what it was confined by."""
    kind = (await trial.row(trial.agent.provider)).sandbox
    played = await trial.play_asking(trial.write_prompt("notes.txt"))
    if not played.is_completed:
        return Cell("no", f"{kind}: {played.end}")
    if trial.agent.has_model and not (trial.room.worktree / "notes.txt").exists():
        return Cell("no", f"{kind}: what was allowed did not happen")
    told = [event.sandbox for event in played.all_events if isinstance(event, AgentStatusChanged) and event.sandbox]
    return Cell("yes", told[-1]) if told and told[-1] == kind else Cell("no", "nothing says which")


def _ways(offered: ProviderSnapshot) -> str:
    return ", ".join(method.id for method in offered.auth_methods)


def _words(text: str) -> str:
    return " ".join(text.split())[:200]


_CHECKS: Mapping[str, Check] = {
    "prompt": _prompt,
    "streaming": _streaming,
    "tool_calls": _tool_calls,
    "permission": _permission,
    "change": _change,
    "cancel": _cancel,
    "modes": _modes,
    "models": _models,
    "commands": _commands,
    "usage": _usage,
    "sessions": _sessions,
    "resume": _resume,
    "exit": _exit,
}
