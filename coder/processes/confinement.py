"""What a confined child may see and change of the machine, whichever sandbox sees to it."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from coder.model.sandboxes import Sandbox

SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr", "/etc", "/opt", "/nix", "/snap", "/sys")
"""What every program may read, where it exists."""
RESOLVER = "/etc/resolv.conf"
"""Often a link to somewhere else; without it no name is found."""
_TEMPORARY = "/tmp"


@dataclass(frozen=True)
class Confinement:
    """Everything that is not named here, and is not the system's, is not there or refused.

    `own_home` stands in the place of `home` and lasts. `write` may be changed, `read` only read. `locked` lies in
    `write` and is only read all the same; `hidden` lies in `read` and is not there: Landlock has no means for the
    first and does not list the parents of the second. What does not exist is left out.
    """

    sandbox: Sandbox
    home: Path
    own_home: Path
    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    locked: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()
    listed: tuple[Path, ...] = ()
    """Where names may be looked up, though the files are not to be read."""

    @property
    def own_temporary(self) -> Path:
        """In the place of /tmp, where that cannot be private."""
        return self.own_home.with_name(f"{self.own_home.name}.tmp")

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """`env` as it is right inside: temporary files and the home are where they may be written."""
        if self.sandbox.kind == "landlock":
            moved = {
                name: str(self.own_home / Path(value).relative_to(self.home))
                for name, value in env.items()
                if name.startswith("XDG_") and self._is_in_home(Path(value))
            }
            return {**env, **moved, "HOME": str(self.own_home), "TMPDIR": str(self.own_temporary)}
        kept = {name: value for name, value in env.items() if name != "XDG_RUNTIME_DIR"}
        if "TMPDIR" in kept and not self._is_writable(Path(kept["TMPDIR"])):
            kept["TMPDIR"] = _TEMPORARY
        return kept

    def _is_in_home(self, path: Path) -> bool:
        return path.is_relative_to(self.home) and not self._is_writable(path, self.write)

    def _is_writable(self, path: Path, among: Iterable[Path] | None = None) -> bool:
        return is_below(path, (*self.write, self.home) if among is None else among)


def is_below(path: Path, folders: Iterable[Path]) -> bool:
    """Whether it is one of the folders or in one, by their names."""
    return any(path.is_relative_to(folder) for folder in folders)


def with_targets(paths: Iterable[Path]) -> Iterator[Path]:
    """Each path that exists, and where it really is."""
    for path in paths:
        if path.exists():
            yield path
            real = Path(os.path.realpath(path))
            if real != path:
                yield real


def cleared(root: Path, name: Path) -> Path:
    """The place of `name` in `root`, in real folders all the way, and no link itself: what an agent has put there
    instead is not followed but taken away.
    """
    place = root
    for part in name.parts:
        if place != root:
            place.mkdir(mode=0o700, exist_ok=True)
        place /= part
        if place.is_symlink() or (part != name.parts[-1] and place.exists() and not place.is_dir()):
            place.unlink()
    return place
