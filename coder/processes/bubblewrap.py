"""A confined child under bubblewrap: its own view of the file system, its own processes, no privileges.

The network is the machine's: agents have to reach their models.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from coder.processes.confinement import RESOLVER, SYSTEM, Confinement, cleared, is_below, with_targets

_OPTIONS = (
    "--unshare-user",
    "--unshare-pid",
    "--unshare-ipc",
    "--unshare-uts",
    "--unshare-cgroup-try",
    "--die-with-parent",
    "--cap-drop",
    "ALL",
)
_PRIVATE = ("/tmp", "/run", "/var/tmp")
_KERNEL = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus")
"""Settings of the whole machine, which root may change, capabilities or not."""


def bubblewrap_argv(program: str, confinement: Confinement, cwd: Path, argv: Sequence[str]) -> tuple[str, ...]:
    """The command that runs `argv` confined. Blocks: it looks at what exists."""
    plan = _mounts(confinement)
    _clear_places(confinement, plan)
    mounts = (word for path, words in sorted(plan.items()) for word in (*words, str(path)))
    # the root itself is an empty folder in memory, and what is put there would seem to be kept
    return (program, *_OPTIONS, *mounts, "--remount-ro", "/", "--chdir", str(cwd), "--", *argv)


def _clear_places(confinement: Confinement, plan: Iterable[Path]) -> None:
    """Bubblewrap makes what it mounts on, and would follow a link on its way there."""
    home, own_home = confinement.home, confinement.own_home
    if own_home != home:
        for path in plan:
            if path != home and path.is_relative_to(home):
                cleared(own_home, path.relative_to(home))


def _mounts(confinement: Confinement) -> dict[Path, tuple[str, ...]]:
    """By the place where it appears. In the order of the paths a mount never covers a deeper one."""
    plan: dict[Path, tuple[str, ...]] = dict(_system())
    plan |= {Path(folder): ("--tmpfs",) for folder in _PRIVATE}
    plan |= {Path("/proc"): ("--proc",), Path("/dev"): ("--dev",)}
    plan |= {Path(name): ("--ro-bind", name) for name in _KERNEL if Path(name).exists()}
    plan[confinement.home] = ("--bind", str(confinement.own_home))
    write = tuple(with_targets(confinement.write))
    for path in with_targets((Path(RESOLVER), *confinement.read)):
        if path not in plan and not is_below(path, write) and not _is_there(plan, path):
            plan[path] = ("--ro-bind", str(path))
    plan |= {path: ("--bind", str(path)) for path in write if _is_free(plan, path)}
    plan |= {path: ("--ro-bind", str(path)) for path in with_targets(confinement.locked) if _is_free(plan, path)}
    for path in with_targets(confinement.hidden):
        if path not in write and _is_there(plan, path):
            plan[path] = ("--tmpfs",) if path.is_dir() else ("--ro-bind", "/dev/null")
    return plan


def _system() -> Iterator[tuple[Path, tuple[str, ...]]]:
    for path in map(Path, (*SYSTEM, "/var/run")):
        if path.is_symlink():
            yield path, ("--symlink", str(path.readlink()))
        elif path.is_dir() and path.name != "run":
            yield path, ("--ro-bind", str(path))


def _is_there(plan: dict[Path, tuple[str, ...]], path: Path) -> bool:
    """Whether what is mounted so far shows the machine's own `path`."""
    covering = next((parent for parent in (path, *path.parents) if parent in plan), None)
    return covering is not None and plan[covering][-1] == str(covering)


def _is_free(plan: dict[Path, tuple[str, ...]], path: Path) -> bool:
    # a link that shows already would be followed outside; what it leads to is in the plan by its own name
    return not (path.is_symlink() and _is_there(plan, path))
