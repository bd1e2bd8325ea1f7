"""Where an agent lives when it is confined: a home of its own, with what the catalogue says it needs of the user's."""

import shutil
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import anyio
from anyio import to_thread

from coder import resources
from coder.errors import AgentUnavailable
from coder.model.providers import Provider
from coder.model.sandboxes import Sandbox, SandboxMode
from coder.processes.confinement import Confinement, cleared, is_below
from coder.processes.environment import CERTIFICATES, XDG_FOLDERS
from coder.processes.toolchains import toolchains
from coder.worktrees.grounds import Ground

PYTHON = "{python}"
"""Stands in `read_folders` for what this program itself is made of."""
_PLACES = ("_DIR", "_HOME")
_NOT_EMPTY = (".yaml", ".yml")
"""Files that programs may refuse when there is nothing in them."""
_GIT = {"gc.auto": "0", "maintenance.auto": "false", "gc.pruneExpire": "never", "gc.worktreePruneExpire": "never"}
"""Who sees one worktree of many must not tidy up after all of them."""


class Quarters:
    """Decides which sandbox an agent gets, and what is in it: never what is `hidden`.

    `default` is for providers that say nothing else; `find` tries out what the machine has.
    """

    def __init__(self, hidden: tuple[Path, ...], default: SandboxMode, find: Callable[[], Awaitable[Sandbox]]) -> None:
        self._hidden = hidden
        self._default: SandboxMode = default
        self._find = find
        self._lock = anyio.Lock()
        self._found: Sandbox | None = None

    async def open(self) -> None:
        """Try out what the machine has, unless nobody wants it yet."""
        if self._default != "off":
            await self._look()

    def mode(self, provider: Provider) -> SandboxMode:
        return provider.sandbox or self._default

    async def sandbox(self, provider: Provider) -> Sandbox | None:
        """What the provider's next agent is started in; None for an agent that may do what the host may.

        Raises:
            AgentUnavailable: `sandbox_unavailable`, one is required and there is none.
        """
        mode = self.mode(provider)
        if mode == "off":
            return None
        found = await self._look()
        if found.kind != "none":
            return found
        if mode == "require":
            raise AgentUnavailable(
                f"{provider.label} must run in a sandbox and this machine has none: {found.reason}",
                code="sandbox_unavailable",
            )
        return None

    async def confine(
        self, provider: Provider, sandbox: Sandbox, program: str, env: Mapping[str, str], folder: Path, ground: Ground
    ) -> Confinement:
        """The confinement of the provider's agent on its ground, with its home ready in `folder`."""
        return await to_thread.run_sync(self._confine, provider, sandbox, program, env, folder, ground)

    async def _look(self) -> Sandbox:
        async with self._lock:
            if self._found is None:
                self._found = await self._find()
            return self._found

    def _confine(
        self,
        provider: Provider,
        sandbox: Sandbox,
        program: str,
        env: Mapping[str, str],
        folder: Path,
        ground: Ground,
    ) -> Confinement:
        home = Path(env.get("HOME") or Path.home())
        # a home that the entry names is made for this agent
        own_home = home if "HOME" in provider.env else _made(folder / f"home.{provider.id}")
        state = tuple(_placed(name, home, env) for name in provider.state_folders)
        # Landlock could not lock them
        locked = tuple(_locked(provider, home, env, state)) if sandbox.kind == "bubblewrap" else ()
        given_read, given_write = _named_by_variables(provider, env)
        read = (
            *toolchains(program, env.get("PATH"), home),
            *(path for name in provider.read_folders for path in _read(name, home, env)),
            *given_read,
            *ground.read,
        )
        write = (*state, *given_write, folder / provider.id, *ground.write)
        # Landlock follows files by what they are: one that git replaces in a folder that is not allowed is lost
        veiled = ground.hidden if sandbox.kind == "bubblewrap" else ()
        confinement = Confinement(
            sandbox,
            home,
            own_home,
            read=tuple(path for path in read if not home.is_relative_to(path)),
            write=write,
            locked=(*locked, *ground.locked),
            hidden=(*self._hidden, *veiled),
            listed=(resources.package_folder().parent,) if PYTHON in provider.read_folders else (),
        )
        if own_home != home:
            _furnish(confinement, provider, env)
        return confinement


def _furnish(confinement: Confinement, provider: Provider, env: Mapping[str, str]) -> None:
    """Copies and, where nothing can be mounted, links; no link that an agent has made is followed for that."""
    home, own_home = confinement.home, confinement.own_home
    for name in provider.copied_files:
        original = _placed(name, home, env)
        if original.is_file() and original.is_relative_to(home):
            copy = cleared(own_home, original.relative_to(home))
            if not copy.exists() or copy.stat().st_mtime < original.stat().st_mtime:
                shutil.copyfile(original, copy)
    paths = [path for path in (*confinement.read, *confinement.write) if path.is_relative_to(home) and path.exists()]
    for path in dict.fromkeys(paths):
        if is_below(path, (other for other in paths if other != path)):
            continue
        place = cleared(own_home, path.relative_to(home))
        if confinement.sandbox.kind == "landlock":
            with suppress(OSError):
                # what bubblewrap mounted on
                place.unlink() if place.is_file() and not place.stat().st_size else place.rmdir()
            if not place.exists():
                place.symlink_to(path)


def without_tidying(env: Mapping[str, str]) -> dict[str, str]:
    """`env` in which git keeps what it does not see the use of."""
    given = int(count) if (count := env.get("GIT_CONFIG_COUNT", "0")).isdigit() else 0
    pairs = enumerate(_GIT.items(), start=given)
    said = {
        f"GIT_CONFIG_{what}_{n}": value for n, pair in pairs for what, value in zip(("KEY", "VALUE"), pair, strict=True)
    }
    return {**env, **said, "GIT_CONFIG_COUNT": str(given + len(_GIT))}


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _placed(name: str, home: Path, env: Mapping[str, str]) -> Path:
    """Where a path of the catalogue is for this user: the XDG folders may be anywhere."""
    if not name.startswith("~/"):
        return Path(name)
    for kind, usual in XDG_FOLDERS.items():
        moved = env.get(f"XDG_{kind}_HOME")
        if moved and Path(moved).is_absolute() and name.startswith(f"~/{usual}/"):
            return Path(moved, name.removeprefix(f"~/{usual}/"))
    return home / name[2:]


def _read(name: str, home: Path, env: Mapping[str, str]) -> Iterable[Path]:
    if name == PYTHON:
        return Path(sys.prefix), Path(sys.base_prefix), resources.package_folder()
    return (_placed(name, home, env),)


def _locked(provider: Provider, home: Path, env: Mapping[str, str], state: tuple[Path, ...]) -> Iterator[Path]:
    """What is not there is made: else it could be made inside, and read outside. No link is followed for that."""
    for name in provider.locked_files:
        path = _placed(name, home, env)
        if not any(folder.is_dir() and path.is_relative_to(folder) for folder in state):
            continue
        with suppress(OSError):
            if not path.exists() and not path.is_symlink() and path.suffix not in _NOT_EMPTY:
                if name.endswith("/"):
                    path.mkdir(mode=0o700, parents=True)
                else:
                    path.write_text("{}\n" if path.suffix == ".json" else "")
        yield path


def _named_by_variables(provider: Provider, env: Mapping[str, str]) -> tuple[list[Path], list[Path]]:
    """What variables point the agent to: files and programs to read, and folders to keep things in."""
    read: list[Path] = []
    write: list[Path] = []
    for name in (*provider.env_names, *provider.env, *CERTIFICATES):
        path = Path(env.get(name, ""))
        if not path.is_absolute() or name in ("HOME", "PATH") or not path.exists():
            continue
        (write if name.endswith(_PLACES) and path.is_dir() else read).append(path)
    return read, write
