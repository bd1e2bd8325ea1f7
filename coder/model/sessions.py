"""Projects, sessions, their worktrees, and the agents that take turns in them."""

from enum import StrEnum
from pathlib import Path
from typing import Literal

from coder.model.sandboxes import SandboxKind
from coder.model.values import Time, Value

BackendKind = Literal["acp_warm", "opencode_server"]


class Project(Value):
    """A registered git repository."""

    id: str
    name: str
    repo_path: str
    default_branch: str | None
    created_at: Time


class SessionState(StrEnum):
    OPENING = "opening"
    OPEN = "open"
    CLOSING = "closing"


SESSION_TRANSITIONS: dict[SessionState, frozenset[SessionState]] = {
    SessionState.OPENING: frozenset({SessionState.OPEN, SessionState.CLOSING}),
    SessionState.OPEN: frozenset({SessionState.CLOSING}),
    SessionState.CLOSING: frozenset({SessionState.OPEN}),
}
"""Closing goes back to open where the worktree could not be removed."""


class Session(Value):
    """One working context bound to one worktree. `last_seq` is the newest journal number."""

    id: str
    project_id: str
    name: str
    state: SessionState
    worktree_path: str | None
    branch: str | None
    base_ref: str | None
    base_commit: str | None
    last_seq: int
    auto_apply: bool = False
    """Changes are applied at the end of the turn that made them, secrets excepted."""
    created_at: Time
    updated_at: Time


class Worktree(Value):
    """A session's private checkout. `base_tree` is what changes are measured against; applying moves it.

    `last_tree` is the newest snapshot: what differs from it when a turn starts was made by hand. `committed_tree` is as
    much of the base as is on the branch, None as long as that is `base_commit`'s.
    """

    session_id: str
    worktree_path: Path
    branch: str
    base_commit: str
    base_tree: str
    last_tree: str | None = None
    committed_tree: str | None = None
    keep_branch: bool = False


class AgentSessionStatus(StrEnum):
    IDLE = "idle"
    ACTIVE = "active"
    CRASHED = "crashed"
    CLOSED = "closed"


AGENT_SESSION_TRANSITIONS: dict[AgentSessionStatus, frozenset[AgentSessionStatus]] = {
    AgentSessionStatus.IDLE: frozenset(
        {AgentSessionStatus.ACTIVE, AgentSessionStatus.CRASHED, AgentSessionStatus.CLOSED}
    ),
    AgentSessionStatus.ACTIVE: frozenset(
        {AgentSessionStatus.IDLE, AgentSessionStatus.CRASHED, AgentSessionStatus.CLOSED}
    ),
    AgentSessionStatus.CRASHED: frozenset({AgentSessionStatus.IDLE, AgentSessionStatus.CLOSED}),
    AgentSessionStatus.CLOSED: frozenset({AgentSessionStatus.IDLE}),
}


class AgentSession(Value):
    """The durable row per (session, agent). `agent_session_id` is the agent's own, the resume token."""

    session_id: str
    agent: str
    backend: BackendKind
    agent_session_id: str | None
    server_port: int | None
    status: AgentSessionStatus
    last_active_at: Time
    model: str | None = None
    mode_id: str | None = None
    thinking_option_id: str | None = None
    """What was chosen last; a prompt that says nothing else keeps it."""
    can_steer: bool = False
    """Whether the agent, as it was opened last, takes input while its turn runs."""
    sandbox: SandboxKind | None = None
    """What confined the agent as it was opened last."""
    can_resume: bool = False
    """Whether the agent, as it was opened last, can take up an earlier conversation."""


AgentStatus = Literal["cold", "starting", "waking", "idle", "working", "closing", "crashed", "error"]
"""What a viewer sees of a backend; `idle` and `working` are warm, `waking` starts with an earlier conversation."""
