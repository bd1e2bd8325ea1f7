"""The private home of one server: its folders, what it takes over from the user's own, and its environment.

A server keeps the conversations of one agent of one session, or of one project where it is shared, in a database of
its own, under the folder that the host gives. Sign-ins and configuration are the user's: they are linked, not copied.
"""

import os
import shlex
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from coder.backends.base import SessionOptions
from coder.backends.wire import Fields, fields
from coder.json_values import NotJson, read_line
from coder.model.providers import Provider
from coder.model.values import Json
from coder.processes.confinement import cleared
from coder.processes.environment import XDG_FOLDERS

PLUGIN_PACKAGE = "@opencode-ai/plugin"
SWITCHES: Mapping[str, str] = {
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "OPENCODE_DISABLE_SHARE": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
    "OPENCODE_DISABLE_TERMINAL_TITLE": "1",
    "OPENCODE_DISABLE_PROJECT_CONFIG": "1",
}
"""Nothing is fetched, and what a repository brings along is not run. An entry of the catalogue may say otherwise."""
PASSWORD = "OPENCODE_SERVER_PASSWORD"

_INSTRUCTIONS = ("AGENTS.md", "CLAUDE.md", "CONTEXT.md")
_OWN_CONFIG = frozenset({"node_modules", "package.json", "package-lock.json", "bun.lock", "bun.lockb", ".gitignore"})


@dataclass(frozen=True)
class Home:
    """Where a server lives. `cwd` is empty: a request that names no folder concerns nothing."""

    folder: Path

    @property
    def cwd(self) -> Path:
        return self.folder / "empty"

    @property
    def shell(self) -> Path:
        return self.folder / "shell"

    def place(self, kind: str) -> Path:
        """One of the XDG folders, by the middle of its variable's name."""
        return self.folder / kind.lower()

    def prepare(self, env: Mapping[str, str], version: str) -> None:
        """Make the folders and links; may be done again, also while a server lives there. Blocks."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.cwd, *(self.place(kind) / "opencode" for kind in XDG_FOLDERS)):
            # whoever lives here may have put links in the places of folders
            cleared(self.folder, folder.relative_to(self.folder)).mkdir(exist_ok=True)
        self._link_what_is_the_users(env)
        self._seed_plugin_package(version)
        _write(self.shell, _shell(env).encode(), mode=0o700)

    def environment(self, env: Mapping[str, str], worktree: Path | None) -> dict[str, str]:
        """What the server, or the same program as an ACP agent, is started with; a shared one knows no worktree."""
        own = {f"XDG_{kind}_HOME": str(self.place(kind)) for kind in XDG_FOLDERS}
        config = _config(env.get("OPENCODE_CONFIG_CONTENT"), self.shell, worktree)
        return {**SWITCHES, **env, **own, "OPENCODE_CONFIG_CONTENT": config}

    def _link_what_is_the_users(self, env: Mapping[str, str]) -> None:
        auth = _users(env, "DATA") / "auth.json"
        # linked before it exists: who signs in later is signed in here too
        _link(self.place("DATA") / "opencode" / "auth.json", auth)
        _link(self.place("DATA") / "opencode" / "mcp-auth.json", _users(env, "DATA") / "mcp-auth.json")
        config = _users(env, "CONFIG")
        for entry in sorted(config.iterdir()) if config.is_dir() else ():
            if entry.name not in _OWN_CONFIG:
                _link(self.place("CONFIG") / "opencode" / entry.name, entry)
        for name in ("models.json", "bin"):
            if (found := _users(env, "CACHE") / name).exists():
                _link(self.place("CACHE") / "opencode" / name, found)

    def _seed_plugin_package(self, version: str) -> None:
        """The program would fetch this package, whatever switches are set, unless it seems to be there."""
        folder = self.place("CONFIG") / "opencode"
        wanted: Fields = {"dependencies": {PLUGIN_PACKAGE: version}}
        lock: Fields = {"lockfileVersion": 3, "packages": {"": dict(wanted)}}
        (folder / "node_modules").mkdir(exist_ok=True)
        _write(folder / "package.json", orjson.dumps(wanted))
        _write(folder / "package-lock.json", orjson.dumps(lock))


def find_instructions(worktree: Path) -> Path | None:
    """What the repository tells agents. The first one counts, as where the program looks for them itself. Blocks."""
    return next((path for name in _INSTRUCTIONS if (path := worktree / name).is_file()), None)


def home_of(folder: Path, provider: Provider, options: SessionOptions) -> Home:
    """Where the provider's server lives: alone with the session, or with all sessions of the project."""
    owner = options.project_id if provider.share_server else options.session_id
    return Home(folder / owner / options.agent)


def _users(env: Mapping[str, str], kind: str) -> Path:
    return Path(env.get(f"XDG_{kind}_HOME") or Path(env.get("HOME", "/nonexistent"), XDG_FOLDERS[kind])) / "opencode"


def _link(path: Path, target: Path) -> None:
    is_link = path.is_symlink()
    if path.readlink() == target if is_link else path.exists():
        return
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """All at once: another server of this home may be reading it."""
    handle, made = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    Path(made).chmod(mode)
    Path(made).replace(path)


def _shell(env: Mapping[str, str]) -> str:
    """Tools run in the user's environment, not in the server's: without its password, with the user's own folders."""
    names = (f"XDG_{kind}_HOME" for kind in XDG_FOLDERS)
    kept = [f"{name}={shlex.quote(env[name])}" for name in names if name in env]
    dropped = [f"-u XDG_{kind}_HOME" for kind in XDG_FOLDERS if f"XDG_{kind}_HOME" not in env]
    scrubbed = " ".join([f"-u {PASSWORD}", "-u OPENCODE_CONFIG_CONTENT", *dropped, *kept])
    return f"""#!/bin/sh
case "${{SHELL:-}}" in */bash|*/zsh|*/dash|*/ksh) shell=$SHELL ;; *) shell=/bin/bash ;; esac
[ -x "$shell" ] || shell=/bin/sh
exec env {scrubbed} "$shell" "$@"
"""


def _config(users: str | None, shell: Path, worktree: Path | None) -> str:
    try:
        content: Json = read_line(users.encode()) if users else {}
    except NotJson:
        return users or ""
    given = dict(fields(content))
    listed = given.get("instructions")
    instructions: list[Json] = [*listed] if isinstance(listed, list) else []
    found = worktree and find_instructions(worktree)
    ours: dict[str, Json] = {
        "autoupdate": False,
        "share": "disabled",
        "snapshot": False,
        **given,
        "shell": str(shell),
        "agent": {"plan": {"permission": {"edit": "deny"}}, **fields(given.get("agent"))},
    }
    if found or instructions:
        ours["instructions"] = [*instructions, *([str(found)] if found else [])]
    return orjson.dumps(ours).decode()
