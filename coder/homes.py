"""A host's home folder: held by one host, or by one command that needs it to itself, at a time; and its database."""

import fcntl
import os
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from coder.errors import HostConfigError
from coder.settings import Settings
from coder.store.embedded import embedded_url, open_embedded

HOME_IN_USE = "home_in_use"


def shadow_path(home: Path, session_id: str) -> Path:
    """The git directory of its own that a host keeps for a session."""
    return home / "shadows" / f"{session_id}.git"


@contextmanager
def hold_home(home: Path) -> Generator[None]:
    """Keep every other host and command away from a home, which is made if needed; the system lets go at our death.

    Raises:
        HostConfigError: `home_in_use`, somebody holds it; or it cannot be written.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise HostConfigError(f"{home} cannot be used: {error.strerror}") from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(fd, 20, 0).decode(errors="replace").strip() or "unknown"
            words = f"another host (pid {holder}) uses {home}: stop it, or choose another folder with --home"
            raise HostConfigError(words, code=HOME_IN_USE) from error
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncGenerator[str]:
    """The URL of the home's database, for whoever holds the home; the embedded server runs as long as the context.

    Raises:
        HostConfigError: as `open_embedded`.
    """
    if settings.database_url:
        yield settings.database_url
    else:
        async with open_embedded(settings.home / "database") as url:
            yield url


@asynccontextmanager
async def join_database(settings: Settings) -> AsyncGenerator[tuple[str, bool]]:
    """The URL of the home's database, beside a host that may be running, and whether one is; none can start meanwhile.

    Raises:
        HostConfigError: as `open_embedded`; or there is no such home.
    """
    if not settings.home.is_dir():
        raise HostConfigError(f"there is no home at {settings.home}")
    with ExitStack() as stack:
        try:
            stack.enter_context(hold_home(settings.home))
        except HostConfigError as error:
            if error.stable_code != HOME_IN_USE:
                raise
            yield settings.database_url or embedded_url(settings.home / "database"), True
            return
        async with open_database(settings) as url:
            yield url, False
