"""What every backend promises: the live object that talks to one running agent.

A backend emits events without seq, time or session; storing, numbering and diffing happen outside.
One contract suite (`tests/contract`) runs over every implementation.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import anyio

from coder.model.events import AgentEvent
from coder.model.permissions import PermissionOption, PermissionOutcome
from coder.model.providers import AuthMethod
from coder.model.sandboxes import SandboxKind
from coder.model.sessions import BackendKind
from coder.model.tasks import Attachment, Fault, Usage
from coder.model.tool_calls import ToolCall
from coder.model.values import Json

Emit = Callable[[AgentEvent], Awaitable[object]]
"""Takes one event; returns when it is accepted. Waiting here is the back-pressure that slows the agent."""

Ask = Callable[[ToolCall, tuple[PermissionOption, ...]], Awaitable[PermissionOutcome]]
"""Puts a permission request to a person or rule; returns how it ended. Never raises for a refusal."""


@dataclass(frozen=True)
class Capabilities:
    resume: bool = False
    cancel: bool = True
    permissions: bool = True
    images: bool = False
    modes: bool = False
    models: bool = False
    commands: bool = False
    usage: bool = False
    steer: bool = False
    """Takes input while a turn runs."""


@dataclass(frozen=True)
class SessionOptions:
    """What an agent session is opened with. `resume_token` is the stored agent session id, if there is one.

    `resume_before` is the agent's id of the message before which that conversation is taken up, in a copy; None: whole.
    """

    session_id: str
    agent: str
    worktree_path: Path
    project_id: str
    model: str | None = None
    mode_id: str | None = None
    thinking_option_id: str | None = None
    feature_values: Mapping[str, Json] = field(default_factory=dict[str, Json])
    resume_token: str | None = None
    resume_before: str | None = None


@dataclass(frozen=True)
class AgentSessionHandle:
    """`is_resumed` is False when the agent's memory of earlier turns is gone or there was none.

    `is_whole` is True where a conversation was resumed with what came after `resume_before`.
    """

    session_id: str
    agent: str
    backend: BackendKind
    agent_session_id: str | None
    server_port: int | None = None
    is_resumed: bool = False
    is_whole: bool = True


@dataclass(frozen=True)
class PromptInput:
    """`message_id` is one that the backend made for it, where it makes any."""

    text: str
    attachments: tuple[Attachment, ...] = ()
    message_id: str | None = None


@dataclass(frozen=True)
class PromptContext:
    """One turn's surroundings. Setting `cancel` asks the turn to end, within the cancel deadline."""

    emit: Emit
    ask: Ask
    cancel: anyio.Event
    model: str | None = None
    mode_id: str | None = None
    thinking_option_id: str | None = None


@dataclass(frozen=True)
class TurnResult:
    """`stop_reason` is the agent's own word, `cancelled` after a cancel. `ok` is False only with an `error`."""

    ok: bool
    stop_reason: str | None = None
    error: Fault | None = None
    usage: Usage | None = None
    reached_agent: bool = True
    """False only when the prompt provably never left the host, so that the task may be tried again."""
    auth_methods: tuple[AuthMethod, ...] | None = None
    """The agent's ways to sign in, when that is what it wants first; else None."""


class AgentBackend(Protocol):
    """Opened by a context manager that owns its tasks and child; leaving it disposes of everything."""

    @property
    def kind(self) -> BackendKind: ...

    @property
    def sandbox(self) -> SandboxKind:
        """What confines the agent and everything it starts."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """As declared by the agent; complete once `ensure_session` has returned."""
        ...

    async def ensure_session(self, options: SessionOptions) -> AgentSessionHandle:
        """Start the agent if needed and open or resume its session. Safe to call again: returns the same handle.

        Raises:
            AgentUnavailable: the program is missing. AuthRequired: it wants a login first.
            AgentTimeout, AgentDied, AgentProtocolError: it did not come up.
        """
        ...

    def new_message_id(self) -> str | None:
        """The agent's id for a prompt to come, to name it as `resume_before` later; None where prompts have no ids."""
        ...

    async def prompt(self, handle: AgentSessionHandle, input: PromptInput, context: PromptContext) -> TurnResult:
        """Carry out one turn. Never raises for what the agent does: failures come back in the result.

        Calls do not overlap; the caller serialises them.
        """
        ...

    async def steer(self, handle: AgentSessionHandle, input: PromptInput) -> bool:
        """Give the running turn more input; False where the agent does not take it, or no turn runs any more.

        What was taken is told as `user_text` among the turn's events, before whatever the agent makes of it.
        """
        ...

    async def close_session(self, handle: AgentSessionHandle) -> None:
        """End the agent's session politely where it knows how; the process lives on."""
        ...

    async def dispose(self) -> None:
        """End the agent: nothing it started is left running. Safe to call twice."""
        ...

    async def resident_bytes(self) -> int:
        """How much memory the agent and everything it started hold now; 0 where that cannot be told."""
        ...

    def age(self) -> float:
        """Seconds since the process came up that carries out the turns; 0 where there is none."""
        ...

    @property
    def is_retired(self) -> bool:
        """Whether the process that carries out the turns takes nobody new."""
        ...

    def retire(self) -> None:
        """Have that process take nobody new, where several may use one. Whoever uses it now may go on."""
        ...

    def health(self) -> Literal["up", "down"]: ...

    async def wait_closed(self) -> None:
        """Return when the agent is gone, whatever the reason."""
        ...
