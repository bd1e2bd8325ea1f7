"""The host's settings: flags over environment over `config.toml` over defaults. The only reader of the environment."""

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from coder import resources
from coder.errors import HostConfigError
from coder.logs import LogFormat

# Both stand in the content policy, where a blank or a semicolon would mean something.
_AUTHORITY = r"(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?"
_FRAME_ORIGIN = re.compile(rf"https?://{_AUTHORITY}")
_SOCKET_URL = re.compile(rf"(wss?://{_AUTHORITY})/[A-Za-z0-9._~/-]*")


class ProviderSettings(BaseModel):
    """`[providers]` of config.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    http_write: bool = False
    """Allow an admin to write executable provider fields over HTTP."""


class Settings(BaseSettings):
    """Frozen. Times are seconds unless the name says `_ms`."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", populate_by_name=True, env_prefix="CODER_")

    home: Path = Field(default_factory=lambda: Path(platformdirs.user_state_dir("coder")))
    host: str = "127.0.0.1"
    port: int | Literal["auto"] = 9502
    database_url: str | None = None
    providers_path: Path | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: LogFormat = "text"
    """`json` is one object a line."""
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Further host names (no port) that requests may be addressed to."""
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Further exact origins (scheme://host[:port]) that a browser may come from."""
    frame_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Exact origins whose pages may show the pane in a frame."""
    socket_url: str | None = None
    """Where browsers find the WebSocket, if not beside the pane: ws(s)://host[:port]/path."""
    probe_ttl_ms: int = Field(default=86_400_000, ge=0, validation_alias="PROVIDER_PROBE_TTL_MS")
    pool_idle_ttl_ms: int = Field(default=1_800_000, ge=1, validation_alias="AGENT_POOL_IDLE_TTL_MS")
    pool_max_live: int = Field(default=10, ge=1, validation_alias="AGENT_POOL_MAX_LIVE")
    pool_max_age_ms: int = Field(default=86_400_000, ge=1, validation_alias="AGENT_POOL_MAX_AGE_MS")
    """An agent that is older begins afresh at a quiet moment."""
    pool_max_memory_mb: int = Field(default=4096, ge=1, validation_alias="AGENT_POOL_MAX_MEMORY_MB")
    """An agent that holds more, with everything it started, begins afresh at a quiet moment."""
    pool_memory_budget_mb: int | None = Field(default=None, ge=1, validation_alias="AGENT_POOL_MEMORY_BUDGET_MB")
    """All agents together; idle ones are ended where they hold more. None: half of what the machine has."""
    spawn_limit: int = Field(default=2, ge=1)
    """How many agents may start at the same time."""
    initialize_timeout: float = Field(default=60, gt=0)
    session_start_timeout: float = Field(default=120, gt=0)
    first_update_timeout: float = Field(default=120, gt=0)
    inactivity_timeout: float = Field(default=600, gt=0)
    cancel_timeout: float = Field(default=10, gt=0)
    permission_timeout: float = Field(default=120, gt=0)
    sandbox: Literal["auto", "require", "off"] = "auto"
    """For agents whose entry in the catalogue says nothing else."""
    secret_patterns: Annotated[tuple[str, ...], NoDecode] = (".env*", "*.pem", "id_rsa*", "credentials.json")
    """Names or paths of files that are marked as secret and never applied by themselves."""
    max_connections: int = Field(default=1000, ge=1)
    """Connections at once, sockets and event streams among them; fewer where the process may open fewer files."""
    max_viewers: int = Field(default=500, ge=1)
    """Sockets and event streams at once."""
    max_sessions: int = Field(default=500, ge=1)
    spare_sessions: int = Field(default=3, ge=0)
    """So many sessions at most are made ahead, where sessions are opened: worktree, and agent where there is room."""
    max_queue: int = Field(default=100, ge=1)
    """Prompts that may wait in one session."""
    disk_reserve_mb: int = Field(default=200, ge=0)
    """With less room than this on the home's disk no new work is taken."""
    compact_after: float = Field(default=10, ge=0.1)
    """When a session has been quiet that long after a turn, the pieces of its text are merged."""
    shutdown_grace: float = Field(default=10, ge=0)
    providers: ProviderSettings = Field(default_factory=ProviderSettings)

    @field_validator("port", mode="before")
    @classmethod
    def _port(cls, value: Any) -> Any:
        if isinstance(value, str) and value.strip().isdigit():
            value = int(value)
        if isinstance(value, int) and not 0 < value < 65536:
            raise ValueError("must be between 1 and 65535, or auto")
        return value

    @field_validator("allowed_hosts", "allowed_origins", "frame_origins", "secret_patterns", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        return tuple(value.split()) if isinstance(value, str) else value

    @field_validator("frame_origins", mode="after")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not _FRAME_ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is not an origin: scheme://host[:port], without a path")
        return value

    @field_validator("socket_url", mode="after")
    @classmethod
    def _socket(cls, value: str | None) -> str | None:
        if value is not None and not _SOCKET_URL.fullmatch(value):
            raise ValueError("must be ws://host[:port]/path or wss://host[:port]/path")
        return value

    @field_validator("home", "providers_path", mode="after")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value.expanduser().absolute() if value else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        home = init_settings().get("home") or env_settings().get("home")
        folder = Path(home) if home else Path(platformdirs.user_state_dir("coder"))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, folder.expanduser() / "config.toml")

    @property
    def socket_origin(self) -> str | None:
        """The part of `socket_url` before its path."""
        match = _SOCKET_URL.fullmatch(self.socket_url or "")
        return match[1] if match else None

    @property
    def resolved_providers_path(self) -> Path:
        """Where the override file is: as set, else in the checkout's `data/`, else under `home`."""
        if self.providers_path:
            return self.providers_path
        root = resources.checkout_root()
        return (root / "data" if root else self.home) / "coder-providers.json"


def load_settings(**flags: Any) -> Settings:
    """Read every source; flags that are None count as not given.

    Raises:
        HostConfigError: a source holds a value that cannot be used; the message names it.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()
        )
        raise HostConfigError(f"settings: {faults}") from error
    except tomllib.TOMLDecodeError as error:
        raise HostConfigError(f"config.toml: {error}") from error
    except UnicodeDecodeError as error:
        raise HostConfigError("config.toml: it is not UTF-8") from error
    except RecursionError as error:
        raise HostConfigError("config.toml: it is nested too deeply") from error
    except OSError as error:
        raise HostConfigError(f"config.toml: {error.strerror}") from error


def inherited_environment() -> dict[str, str]:
    """A copy of this process's environment, for the allow-lists of child processes to choose from."""
    return dict(os.environ)
