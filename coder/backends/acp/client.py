"""What the agent asks of its client: permission, files and terminals of the worktree, and questions nobody answers.

Everything is answered whether it was offered or not; what is offered is the catalogue's choice.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import anyio

from coder.backends.acp.peer import INVALID_PARAMS, NOT_FOUND, Reply, RequestRefused
from coder.backends.acp.terminals import Terminal, Terminals
from coder.backends.wire import Fields, objects, text, whole
from coder.errors import CoderError
from coder.json_values import clean_text
from coder.model.values import Json
from coder.worktrees.paths import WorktreeRoot

PERMISSION = "session/request_permission"
ELICITATION = "elicitation/create"
CANCELLED: Json = {"outcome": {"outcome": "cancelled"}}
DECLINED: Json = {"action": "decline"}


@dataclass(frozen=True)
class Client:
    """Answers the requests of one agent inside one worktree."""

    root: WorktreeRoot
    terminals: Terminals
    permit: Callable[[Fields], Awaitable[Reply]]
    """Takes note of a permission request, in order."""

    async def accept(self, method: str, params: Fields) -> Reply | None:
        """How a request is answered; None when the method is unknown."""
        if method == PERMISSION:
            return await self.permit(params)
        match method:
            case "fs/read_text_file":
                run = self._read_file
            case "fs/write_text_file":
                run = self._write_file
            case "terminal/create":
                run = self._create_terminal
            case "terminal/output":
                run = self._terminal_output
            case "terminal/wait_for_exit":
                run = self._wait_for_exit
            case "terminal/kill":
                run = self._kill_terminal
            case "terminal/release":
                run = self._release_terminal
            case "elicitation/create":
                run = _decline
            case _:
                return None
        return Reply(partial(_refusing, run, params))

    async def _read_file(self, params: Fields) -> Json:
        path = _required(params, "path")
        read = partial(self.root.read_text, path, whole(params.get("line")), whole(params.get("limit")))
        return {"content": clean_text(await anyio.to_thread.run_sync(read))}

    async def _write_file(self, params: Fields) -> Json:
        content = text(params.get("content"))
        if content is None:
            raise RequestRefused(INVALID_PARAMS, "content is missing")
        await anyio.to_thread.run_sync(self.root.write_text, _required(params, "path"), content)
        return {}

    async def _create_terminal(self, params: Fields) -> Json:
        command = _required(params, "command")
        listed = params.get("args")
        args = tuple(arg for arg in listed if isinstance(arg, str)) if isinstance(listed, list) else ()
        # without arguments it is a shell line with most agents, and a lone program runs either way
        argv = (command, *args) if args else ("/bin/sh", "-c", command)
        cwd = await anyio.to_thread.run_sync(self.root.resolve_folder, text(params.get("cwd")) or ".")
        env = {
            name: value
            for item in objects(params.get("env"))
            if (name := text(item.get("name"))) and (value := text(item.get("value"))) is not None
        }
        terminal = await self.terminals.create(argv, cwd, env, whole(params.get("outputByteLimit")))
        return {"terminalId": terminal.id}

    async def _terminal_output(self, params: Fields) -> Json:
        terminal = self._terminal(params)
        answer: dict[str, Json] = {"output": terminal.text(), "truncated": terminal.is_truncated}
        if terminal.ended.is_set():
            answer["exitStatus"] = _exit_status(terminal)
        return answer

    async def _wait_for_exit(self, params: Fields) -> Json:
        terminal = self._terminal(params)
        await terminal.ended.wait()
        return _exit_status(terminal)

    async def _kill_terminal(self, params: Fields) -> Json:
        await self.terminals.kill(self._terminal(params))
        return {}

    async def _release_terminal(self, params: Fields) -> Json:
        await self.terminals.release(self._terminal(params))
        return {}

    def _terminal(self, params: Fields) -> Terminal:
        id = _required(params, "terminalId")
        terminal = self.terminals.get(id)
        if terminal is None:
            raise RequestRefused(NOT_FOUND, f"no such terminal: {id}")
        return terminal


async def _refusing(run: Callable[[Fields], Awaitable[Json]], params: Fields) -> Json:
    """Our errors and the system's, in words that an agent can pass on to its model."""
    try:
        return await run(params)
    except FileNotFoundError as error:
        raise RequestRefused(NOT_FOUND, f"no such file: {text(params.get('path'))}") from error
    except CoderError as error:
        code = NOT_FOUND if error.stable_code == "not_found" else INVALID_PARAMS
        raise RequestRefused(code, str(error)) from error
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else str(error)
        raise RequestRefused(INVALID_PARAMS, words or type(error).__name__) from error


async def _decline(_: Fields) -> Json:
    return DECLINED


def _required(params: Fields, name: str) -> str:
    value = text(params.get(name))
    if not value:
        raise RequestRefused(INVALID_PARAMS, f"{name} is missing")
    return value


def _exit_status(terminal: Terminal) -> Json:
    return {"exitCode": terminal.exit_code, "signal": terminal.signal}
