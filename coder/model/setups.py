"""Setups: what a repository wants to be done in a new worktree, and how far that is."""

import re
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, StrictBool, model_validator

from coder.model.tasks import Fault
from coder.model.values import Input, Time, Value

SETUP_FILE = ".coder/worktree.toml"
INCLUDE_FILE = ".worktreeinclude"
"""Read where the setup file names no files to copy."""

LOG_LIMIT = 64 * 1024
BRIEF_LOG = 4096
"""Characters of a log that are kept, and that are told in events."""


class SetupState(StrEnum):
    NONE = "none"
    """The repository asks for nothing."""
    UNTRUSTED = "untrusted"
    """It would run commands that nobody has agreed to."""
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


SETUP_TRANSITIONS: dict[SetupState, frozenset[SetupState]] = {
    SetupState.NONE: frozenset(),
    SetupState.UNTRUSTED: frozenset({SetupState.PENDING, SetupState.SKIPPED}),
    SetupState.PENDING: frozenset({SetupState.RUNNING, SetupState.SKIPPED}),
    SetupState.RUNNING: frozenset({SetupState.DONE, SetupState.FAILED, SetupState.SKIPPED}),
    SetupState.DONE: frozenset({SetupState.PENDING}),
    SetupState.FAILED: frozenset({SetupState.PENDING, SetupState.SKIPPED}),
    SetupState.SKIPPED: frozenset({SetupState.PENDING}),
}

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}\Z")

Line = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""One line of text."""
Word = Annotated[str, Field(max_length=4096, pattern=r"^[^\x00]*$")]
Argv = Annotated[tuple[Word, ...], Field(min_length=1, max_length=200)]
Script = Annotated[str, Field(min_length=1, max_length=16_384, pattern=r"^[^\x00]*$")]
PortName = Annotated[str, Field(max_length=100, pattern=r"^[A-Z][A-Z0-9_]*$")]


class SetupStep(Input):
    """A command: text is given to `/bin/sh -c`, a list is a program and its arguments. `timeout` is in seconds."""

    command: Script | Argv
    timeout: Annotated[float, Field(gt=0, le=7200, allow_inf_nan=False)] = 600.0


class TeardownStep(Input):
    """As `SetupStep`, shorter: the end of a session waits for it."""

    command: Script | Argv
    timeout: Annotated[float, Field(gt=0, le=120, allow_inf_nan=False)] = 30.0


class Recipe(Input):
    """What the setup file says. `include` are gitignore patterns of ignored files that are copied from the checkout."""

    include: Annotated[tuple[Line, ...], Field(max_length=1000)] | None = None
    submodules: StrictBool = False
    ports: Annotated[tuple[PortName, ...], Field(max_length=16)] = ()
    """Variables that are each given a free port of this machine."""
    env: Annotated[dict[str, Word], Field(max_length=100)] = {}
    """Variables for the commands and the agents; `${NAME}` stands for a port of that name."""
    setup: SetupStep | None = None
    teardown: TeardownStep | None = None

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        if wrong := [name for name in self.ports if "PORT" not in name or name.startswith("CODER_")]:
            raise ValueError(f"a port's name holds PORT and does not start with CODER_: {wrong[0]}")
        if len(set(self.ports)) < len(self.ports):
            raise ValueError("a port is named twice")
        if wrong := [name for name in self.env if not _ENV_NAME.match(name) or name.startswith("CODER_")]:
            raise ValueError(f"not a variable that can be set: {wrong[0][:100]!r}")
        if wrong := [name for name in self.ports if name in self.env]:
            raise ValueError(f"both a port and a variable: {wrong[0]}")
        return self

    @property
    def needs_trust(self) -> bool:
        """Whether code of the repository could run: by a command, or by what a variable makes a program do."""
        return self.setup is not None or self.teardown is not None or bool(self.env)


class Setup(Value):
    """The setup of one session's worktree. Without a recipe the file could not be understood: `error` says why.

    `holds` says that prompts wait for it. `log` is the end of what was printed; in events and snapshots it is short.
    """

    session_id: str
    state: SetupState
    source: str | None = None
    digest: str | None = None
    """SHA-256 of the file, the name its content is trusted under."""
    recipe: Recipe | None = None
    ports: dict[str, int] = {}
    holds: bool = False
    log: str = ""
    exit_status: int | None = None
    error: Fault | None = None
    created_at: Time | None = None
    started_at: Time | None = None
    ended_at: Time | None = None

    def abridged(self) -> Self:
        """With no more of the log than a viewer needs at a glance."""
        return self.model_copy(update={"log": self.log[-BRIEF_LOG:]})


class TrustedSetup(Value):
    """A person agreed that what the file of this digest says may run for this project."""

    project_id: str
    digest: str
    trusted_by: str
    trusted_at: Time
