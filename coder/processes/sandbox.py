"""Which sandbox this machine has, found out by trying it, and the command that runs a child in it."""

import logging
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from anyio import to_thread

from coder.model.sandboxes import Sandbox
from coder.processes import landlock
from coder.processes.bubblewrap import bubblewrap_argv
from coder.processes.confinement import RESOLVER, SYSTEM, Confinement, is_below, with_targets
from coder.processes.environment import find_program

logger = logging.getLogger(__name__)

_PATIENCE = 10.0
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm")
_TRIAL = 'touch "$1/inside" && ! cat "$2/secret" 2>/dev/null && ! touch "$2/outside" 2>/dev/null'


async def find_sandbox(path: str | None) -> Sandbox:
    """The best sandbox that works here, by a trial. `path` is where programs are looked for."""
    return await to_thread.run_sync(_find, path)


def confined(confinement: Confinement, cwd: Path, argv: Sequence[str]) -> tuple[str, ...]:
    """The command that runs `argv`, whose program is an absolute path, in the sandbox. Blocks."""
    program = confinement.sandbox.program
    if confinement.sandbox.kind == "bubblewrap" and program:
        return bubblewrap_argv(program, confinement, cwd, argv)
    confinement.own_temporary.mkdir(mode=0o700, parents=True, exist_ok=True)
    return (sys.executable, "-I", "-S", landlock.__file__, *_rules(confinement), "--", *argv)


def try_sandboxes(path: str | None) -> Iterator[tuple[Sandbox, str | None]]:
    """Every kind of sandbox for this system, the best one first, and what is wrong with it, None when it works.

    Each is tried when it is asked for. Blocks.
    """
    if sys.platform != "linux":
        return
    program = find_program("bwrap", path)
    sandbox = Sandbox(kind="bubblewrap", program=program)
    yield sandbox, "it is not installed (its program is bwrap)" if program is None else _fault(sandbox)
    yield Sandbox(kind="landlock"), _fault(Sandbox(kind="landlock"))


def _find(path: str | None) -> Sandbox:
    faults: list[str] = []
    for sandbox, fault in try_sandboxes(path):
        if fault is None:
            return sandbox.model_copy(update={"reason": "; ".join(faults)})
        faults.append(f"{sandbox.kind} cannot be used: {fault}")
    return Sandbox(reason="; ".join(faults) or f"there is none for {sys.platform}")


def _fault(sandbox: Sandbox) -> str | None:
    """None when it shows and lets through what it should and nothing else; otherwise what went wrong."""
    with tempfile.TemporaryDirectory(prefix="coder-sandbox-") as made:
        folder = Path(made)
        inside, outside, home = (folder / name for name in ("inside", "outside", "home"))
        for each in (inside, outside, home):
            each.mkdir()
        (outside / "secret").write_text("secret")
        confinement = Confinement(sandbox, Path("/home/nobody"), home, write=(inside,))
        argv = confined(confinement, inside, ("/bin/sh", "-c", _TRIAL, "sh", str(inside), str(outside)))
        try:
            done = subprocess.run(argv, cwd=inside, env={}, capture_output=True, timeout=_PATIENCE, check=False)
        except (OSError, subprocess.SubprocessError) as error:
            return str(error)
        if done.returncode != 0 or not (inside / "inside").exists() or (outside / "outside").exists():
            words = done.stderr.decode(errors="replace").strip().splitlines()
            return words[-1][:300] if words else f"the trial ended with {done.returncode}"
    return None


def _rules(confinement: Confinement) -> Iterator[str]:
    read = [*map(Path, (*SYSTEM, "/proc", RESOLVER)), *confinement.read]
    write = [confinement.own_home, confinement.own_temporary, *confinement.write]
    hidden = tuple(path for path in with_targets(confinement.hidden) if path not in write)
    readable = (part for path in dict.fromkeys(with_targets(read)) for part in _without(path, hidden))
    kinds: dict[str, Iterable[object]] = {
        "read": readable,
        "write": dict.fromkeys(with_targets(write)),
        "list": confinement.listed,
        "use": [f"/dev/{name}" for name in _DEVICES],
    }
    return (word for kind, paths in kinds.items() for path in paths for word in (kind, str(path)))


def _without(path: Path, hidden: Sequence[Path]) -> Iterable[Path]:
    """What to allow so that `path` is allowed but for what is hidden in it."""
    inside = [each for each in hidden if each.is_relative_to(path)]
    if is_below(path, hidden):
        return
    if not inside:
        yield path
        return
    try:
        entries = sorted(path.iterdir())
    except OSError:
        return
    for entry in entries:
        if not entry.is_symlink():
            yield from _without(entry, inside)
