"""The only caller of git: fixed arguments, an environment without GIT_*, hooks and transports off, a deadline.

Uses GitPython's command facade in a worker thread; never its `Repo`, whose helpers outlive it.
"""

import fcntl
import os
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from coder.errors import GitError, InvalidInput
from coder.settings import inherited_environment

# the library looks for git when it is imported and by default refuses to be imported without it
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

import git.cmd

Result = TypeVar("Result")

_threads: RunVar[anyio.CapacityLimiter] = RunVar("git threads")

TIMEOUT = 300.0
"""Seconds after which a git command is killed."""

_HARDENING = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.pager": "cat",
    "color.ui": "false",
    "commit.gpgSign": "false",
    "diff.ignoreSubmodules": "all",
    "gc.auto": "0",
    "log.showSignature": "false",
    "maintenance.auto": "false",
    "protocol.allow": "never",
    "protocol.ext.allow": "never",
    "protocol.file.allow": "never",
    "safe.bareRepository": "explicit",
    "submodule.recurse": "false",
}
_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_EDITOR": "true",
    "LC_ALL": "C",
}

# about connections, which are off, and the facade itself; to take them away costs a program more for each command
_WITHOUT_EFFECT = ("GIT_SSL_", "GIT_PYTHON_")


async def run_git(
    *args: str | bytes,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    config: Mapping[str, str] | None = None,
    input: bytes | None = None,
    accepted: Collection[int] = (0,),
    timeout: float = TIMEOUT,
) -> bytes:
    """Run one git command in `cwd` and return its output, byte for byte.

    `env` is added to the scrubbed environment, `config` to the hardening. A cancelled caller waits for the end of
    the command, which `timeout` bounds.

    Raises:
        GitError: the status is not among `accepted`, with `status` and `stderr` in `fields`; or git is missing.
    """
    status, output, stderr = await run_in_thread(
        lambda: _execute(args, cwd=cwd, env=env or {}, config=config or {}, input=input, timeout=timeout)
    )
    if status not in accepted:
        words = stderr.strip()
        verb = next((arg for arg in args if not str(arg).startswith("-")), "")
        raise GitError(f"git {verb} failed: {words or status}", status=status, stderr=words)
    return output


async def run_in_thread(function: Callable[[], Result]) -> Result:
    """Run blocking work on repositories and their files; at most eight threads do so at a time."""
    try:
        threads = _threads.get()
    except LookupError:
        threads = anyio.CapacityLimiter(8)
        _threads.set(threads)
    return await anyio.to_thread.run_sync(function, limiter=threads)


async def run_at_once(*calls: Callable[[], Awaitable[Result]]) -> list[Result]:
    """The results of calls that do not need each other, in their order; the first failure comes through as it is."""
    results: dict[int, Result] = {}
    failures: list[Exception] = []

    async def run(number: int, call: Callable[[], Awaitable[Result]]) -> None:
        try:
            results[number] = await call()
        except Exception as error:
            failures.append(error)  # raised below: the task group would wrap it

    async with anyio.create_task_group() as tasks:
        for number, call in enumerate(calls):
            tasks.start_soon(run, number, call)
    if failures:
        raise failures[0]
    return [results[number] for number in range(len(calls))]


@asynccontextmanager
async def hold_folder(folder: Path) -> AsyncGenerator[None]:
    """One holder at a time, across processes too, by a lock on the folder itself, which writes nothing in it.

    Raises:
        GitError: somebody else holds it for a minute, or it is gone.
    """
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise GitError(f"{error.strerror}: {folder}") from error
    try:
        await _wait_for(fd, folder)
        yield
    finally:
        os.close(fd)


async def _wait_for(fd: int, folder: Path) -> None:
    try:
        with anyio.fail_after(60):
            while not _lock(fd):  # noqa: ASYNC110 - no event tells of another holder
                await anyio.sleep(0.02)
    except TimeoutError as error:
        raise GitError(f"another process is holding {folder}") from error


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def checked_ref(ref: str) -> str:
    """`ref` as it may stand in a command.

    Raises:
        InvalidInput: it could be taken for an option, or cannot be a name.
    """
    if not ref or ref.startswith("-") or not ref.isprintable():
        raise InvalidInput(f"not a git reference: {ref!r}", ref=ref)
    return ref


def _execute(
    args: Sequence[str | bytes],
    *,
    cwd: Path,
    env: Mapping[str, str],
    config: Mapping[str, str],
    input: bytes | None,
    timeout: float,
) -> tuple[int, bytes, str]:
    inherited = inherited_environment()
    variables = {**_ENVIRONMENT, **env}
    settings = [word for pair in (_HARDENING | dict(config)).items() for word in ("-c", "=".join(pair))]
    program = [*_without(inherited, variables), _program(inherited.get("PATH", ""))]
    with nullcontext() if input is None else _file_of(input) as stdin:
        try:
            status, output, stderr = git.cmd.Git().execute(
                [*program, "-C", os.fspath(cwd), *settings, *args],
                istream=stdin,
                env=variables,
                with_extended_output=True,
                with_exceptions=False,
                stdout_as_string=False,
                strip_newline_in_stdout=False,
                kill_after_timeout=timeout,
            )
        except OSError as error:
            raise GitError(f"git cannot be run: {error.strerror}") from error
    return status, output, stderr.encode(errors="replace").decode(errors="replace")


@contextmanager
def _file_of(content: bytes) -> Generator[BinaryIO]:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        yield file


def _without(inherited: Mapping[str, str], ours: Collection[str]) -> list[str]:
    """A prefix that takes away what the facade would hand down: it can add variables but not drop any."""
    foreign = [
        name
        for name in inherited
        if name.startswith("GIT_") and name not in ours and not name.startswith(_WITHOUT_EFFECT)
    ]
    return ["env", *(word for name in foreign for word in ("-u", name))] if foreign else []


def _program(path: str) -> str:
    # a relative folder could be anywhere, a worktree included
    for folder in path.split(os.pathsep):
        program = Path(folder, "git")
        if program.is_absolute() and os.access(program, os.X_OK):
            return os.fspath(program)
    raise GitError("git is not installed")
