"""A host's home folder: held by one host, or by one command that needs it to itself, at a time."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from coder.errors import HostConfigError

HOME_IN_USE = "home_in_use"


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
