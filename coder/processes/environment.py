"""What a child gets to know of the host: a few variables, and where programs are."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

_LOGIN = ("HOME", "PATH", "SHELL", "USER", "LOGNAME", "LANG", "LANGUAGE", "TERM", "COLORTERM", "TMPDIR", "TZ")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
XDG_FOLDERS: Mapping[str, str] = {
    "CONFIG": ".config",
    "DATA": ".local/share",
    "STATE": ".local/state",
    "CACHE": ".cache",
}
"""Where a home has what `XDG_…_HOME` may move, by the middle of the variable's name."""
_PREFIXES = ("LC_", "XDG_")
_OURS = "CODER_"
"""The host's own settings, token and database; not handed down, whoever asks."""
_NEVER_INHERITED = (_OURS, "DATABASE_URL", "PG")


def child_environment(inherited: Mapping[str, str], extra: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """The allow-listed part of `inherited`, `names` taken from it where they are set, and `extra` over both."""
    wanted = {*_LOGIN, *_PROXIES, *CERTIFICATES, *names}
    allowed = {
        name: value
        for name, value in inherited.items()
        if (name in wanted or name.startswith(_PREFIXES)) and not name.startswith(_NEVER_INHERITED)
    }
    return allowed | {name: value for name, value in extra.items() if not name.startswith(_OURS)}


def find_program(command: str, path: str | None) -> str | None:
    """The absolute path of an executable file, or None.

    A bare name is looked for in the absolute folders of `path`: a relative one could be anywhere, a worktree included.
    """
    if os.sep in command:
        candidates = [Path(command).expanduser()]
    else:
        candidates = [Path(folder) / command for folder in (path or "").split(os.pathsep)]
    return next((str(found) for found in candidates if found.is_absolute() and _is_program(found)), None)


def _is_program(path: Path) -> bool:
    try:
        return path.is_file() and os.access(path, os.X_OK)
    except (OSError, ValueError):
        return False
