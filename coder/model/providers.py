"""Providers: how agents are obtained, and what is known of them."""

from typing import Literal

from pydantic import Field

from coder.model.pool import PoolShare
from coder.model.sandboxes import SandboxKind, SandboxMode
from coder.model.values import Json, Time, Value

Transport = Literal["acp", "opencode"]
SnapshotStatus = Literal["loading", "ready", "unavailable", "error"]


class ThinkingOption(Value):
    id: str
    label: str
    description: str | None = None
    is_default: bool = False


class Model(Value):
    id: str
    label: str
    description: str | None = None
    is_default: bool = False
    thinking_options: tuple[ThinkingOption, ...] = ()


class Mode(Value):
    id: str
    label: str
    description: str | None = None
    is_unattended: bool = False


class Command(Value):
    name: str
    description: str = ""
    hint: str | None = None


class AuthMethod(Value):
    """How an agent signs in; `command` is what a person runs in a terminal, where that is the way."""

    id: str
    name: str
    description: str | None = None
    command: tuple[str, ...] | None = None


class Provider(Value):
    """A resolved catalogue entry: built-in with overrides applied, or custom."""

    id: str
    label: str
    description: str = ""
    transport: Transport = "acp"
    command: tuple[str, ...] = Field(min_length=1)
    env: dict[str, str] = {}
    """Variables set for the agent."""
    env_names: tuple[str, ...] = ()
    """Names taken over from the host's environment when they are set there (API keys and the like)."""
    version_args: tuple[str, ...] = ("--version",)
    models: tuple[Model, ...] | None = None
    """When given, replaces what the probe finds."""
    additional_models: tuple[Model, ...] = ()
    modes: tuple[Mode, ...] = ()
    enabled: bool = True
    order: int = 0
    builtin: bool = False
    offer_fs: bool = False
    offer_terminal: bool = False
    protocol: int = Field(default=2, ge=1, le=2)
    """The newest version of the Agent Client Protocol that is offered to the agent; it may answer with an older one."""
    share_server: bool = False
    """Whether the sessions of one project use one server of the agent together; for those that have a server."""
    sandbox: SandboxMode | None = None
    """None is what the host's settings say."""
    state_folders: tuple[str, ...] = ()
    """Where the agent keeps sign-ins, conversations and the like: what it may write outside of its worktree."""
    locked_files: tuple[str, ...] = ()
    """Of these, what makes programs run when it is read outside of a sandbox; a folder's name ends with a slash."""
    copied_files: tuple[str, ...] = ()
    """Of the user's home, what it gets a copy of and may change for itself."""
    read_folders: tuple[str, ...] = ()
    """What else it needs to see."""
    install_hint: str = ""
    login_command: tuple[str, ...] | None = None


class ProbeResult(Value):
    """What a cold probe (initialize, session/new, a short wait for commands) found."""

    models: tuple[Model, ...] = ()
    modes: tuple[Mode, ...] = ()
    commands: tuple[Command, ...] = ()
    default_model: str | None = None
    default_mode: str | None = None
    agent_name: str | None = None
    agent_version: str | None = None
    can_resume: bool = False
    accepts_images: bool = False
    accepts_audio: bool = False
    accepts_files: bool = False
    """Whether the content of files that are neither text nor image may be sent; links always may."""
    signed_in: bool | None = None
    refused_prompt: bool = False
    """Nobody is signed in although a session could be opened: an agent that was prompted has said so."""
    auth_methods: tuple[AuthMethod, ...] = ()
    error: str | None = None
    launched_as: str | None = None
    """Digest of the command and variable names that were probed; another one makes the result stale."""


class AvailableAgent(Value):
    """A row of the probe cache."""

    id: str
    install_path: str | None
    version: str | None
    probe: ProbeResult | None
    probed_at: Time | None


class ProviderSnapshot(Value):
    """One row of `GET /api/providers/snapshot`."""

    id: str
    label: str
    description: str
    transport: Transport
    enabled: bool
    installed: bool
    signed_in: bool | None
    """None where nobody asked the agent yet."""
    usable: bool
    """Enabled, installed and not known to be signed out or broken."""
    status: SnapshotStatus
    version: str | None = None
    models: tuple[Model, ...] = ()
    modes: tuple[Mode, ...] = ()
    commands: tuple[Command, ...] = ()
    default_model: str | None = None
    default_mode: str | None = None
    accepts_images: bool = False
    accepts_audio: bool = False
    accepts_files: bool = False
    """Whether the content of files that are neither text nor image may be sent; links always may."""
    auth_methods: tuple[AuthMethod, ...] = ()
    install_hint: str = ""
    sandbox: SandboxKind | None = None
    """What its next agent is started in; None where one is required and there is none."""
    error: str | None = None
    fetched_at: Time | None = None
    pool: PoolShare = PoolShare()


class Diagnostic(Value):
    """`GET /api/providers/{id}/diagnostic`: everything that helps to find out why an agent does not work."""

    id: str
    command: tuple[str, ...]
    resolved_path: str | None
    version: str | None
    searched: tuple[str, ...]
    env_present: tuple[str, ...]
    env_missing: tuple[str, ...]
    probe: ProbeResult | None
    probed_at: Time | None = None
    stderr: str
    advice: tuple[str, ...]
    extra: dict[str, Json] = {}


class Damage(Value):
    """Something in the override file that cannot be used; `id` is None when it concerns the whole file."""

    id: str | None
    message: str


class ProviderConfig(Value):
    """`GET /api/providers/config`: the override file as it stands. Values of `env` are masked, names are not."""

    path: str
    providers: dict[str, Json]
    """By id, unusable entries included; `damage` says which those are."""
    damage: tuple[Damage, ...] = ()
    builtin: tuple[str, ...] = ()
