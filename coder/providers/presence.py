"""Whether an agent's program is there: looked up, never started."""

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path

import orjson

from coder.model.providers import Provider

FindProgram = Callable[[str], str | None]
"""Program -> absolute path of the executable, or None. Blocks for as long as the file system does."""

LAUNCH_FIELDS = ("transport", "command", "env", "env_names", "version_args", "offer_fs", "offer_terminal", "protocol")


def presence(provider: Provider, find: FindProgram) -> str | None:
    """Where the provider's program is, or None when it is not installed. Starts nothing."""
    return find(provider.command[0])


def presence_rows(providers: Iterable[Provider], find: FindProgram) -> tuple[tuple[Provider, str | None], ...]:
    """Every provider with the path of its program, in order. Starts nothing."""
    return tuple((provider, presence(provider, find)) for provider in providers)


def installed_at(provider: Provider, path: str) -> Provider:
    """The provider with its program named by absolute path: ready to be started."""
    return provider.model_copy(update={"command": (path, *provider.command[1:])})


def program_stamp(path: str) -> tuple[int, ...] | None:
    """What changes when the program behind `path` is replaced; None when it is gone. Blocks."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def is_same_launch(one: Provider, other: Provider) -> bool:
    """Whether both start the same program in the same way, whatever else is said about them."""
    return all(getattr(one, name) == getattr(other, name) for name in LAUNCH_FIELDS)


def launch_digest(provider: Provider, environment: Mapping[str, str]) -> str:
    """Tells launches apart by command, rights and the names (never the values) of the variables that are set."""
    names = sorted({*provider.env, *(name for name in provider.env_names if environment.get(name))})
    offers = (provider.offer_fs, provider.offer_terminal, provider.protocol)
    walls = (provider.sandbox, provider.state_folders, provider.copied_files, provider.read_folders)
    launch = [provider.transport, provider.command, names, *offers, *walls]
    return sha256(orjson.dumps(launch)).hexdigest()[:16]
