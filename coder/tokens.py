"""The access token: 256 random bits in a 0600 file, made on the first start."""

import os
import secrets
import stat
from pathlib import Path

from coder.errors import HostConfigError

_MINIMUM_LENGTH = 32


def token_path(home: Path) -> Path:
    """Where the token of the host with this home is kept."""
    return home / "token"


def load_token(home: Path) -> str:
    """Return the token, making it first where there is none. Two starts at once get the same one.

    Raises:
        HostConfigError: the file cannot be made or read, others may read it, or it holds no usable token.
    """
    path = token_path(home)
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            _make(path)
        return read_token(home)
    except OSError as error:
        raise HostConfigError(f"the token file {path} cannot be used: {error.strerror}") from error


def read_token(home: Path) -> str:
    """Return the token that is there.

    Raises:
        HostConfigError: there is none, or it is not safe to use.
    """
    path = token_path(home)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise HostConfigError(f"there is no token at {path}; start the host once with `coder up`") from error
    except OSError as error:
        raise HostConfigError(f"the token file {path} cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, encoding="ascii", errors="replace") as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode) or mode & 0o077:
            raise HostConfigError(f"others may read the token file {path}; run `chmod 600` on it")
        token = file.read(4096).strip()
    if len(token) < _MINIMUM_LENGTH or not token.isprintable() or not token.isascii():
        raise HostConfigError(f"the token file {path} holds no usable token; delete it and start again")
    return token


def _make(path: Path) -> None:
    # Written beside and linked into place: whoever reads the file sees it whole, and the first of two starts wins.
    draft = path.with_name(f".token-{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()
