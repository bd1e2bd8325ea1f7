"""What a hostile agent tries, run inside of a sandbox: prints one line of JSON with what came of each attempt.

`-c TEXT PLACES VICTIM`: this file's text is given to an isolated interpreter, because the file is not there inside.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_ATTACH, _DETACH = 16, 17

Attempts = dict[str, Callable[[], object]]


class Hostile:
    """`places` are those of the test; `victim` is a process of the host, at home in the host's state folder."""

    def __init__(self, places: Mapping[str, str], victim: int) -> None:
        self._tree, self._other, self._repo, self._host, self._home, self._outside, self._own, self._other_own = (
            Path(places[name]) for name in ("worktree", "other", "repo", "host", "home", "outside", "own", "other_own")
        )
        self._git = self._repo / ".git"
        self._victim = Path("/proc", str(victim))
        self._pid = victim

    def of_files(self) -> Attempts:
        tree, git, host, home = self._tree, self._git, self._host, self._home
        return {
            "read a private key": (home / ".ssh/id_rsa").read_text,
            "read the token": (host / "token").read_text,
            "read the provider file": (host / "coder-providers.json").read_text,
            "read another worktree": (self._other / "README.md").read_text,
            "list the worktrees": lambda: next(path for path in self._other.parent.iterdir() if path == self._other),
            "read the checkout": (self._repo / "README.md").read_text,
            "read through a link": lambda: self._through_link("a", host / "token").read_text(),
            "read through a hard link": self._hard_link,
            "write outside": lambda: append(self._outside / "new"),
            "write through a linked folder": lambda: append(self._through_link("b", self._outside) / "new"),
            "write up and out": lambda: append(tree / ".." / "new"),
            "write the user's shell start": lambda: append(home / ".bashrc"),
            "write the user's git settings": lambda: append(home / ".gitconfig"),
            "write to another worktree": lambda: append(self._other / "README.md"),
            "write to the checkout": lambda: append(self._repo / "README.md"),
            "plant a hook": lambda: append(git / "hooks/post-commit"),
            "change the repository's settings": lambda: append(git / "config"),
            "change them with git": lambda: self._run("git", "config", "core.fsmonitor", "touch escaped"),
            "replace them": lambda: self._replace(git / "config"),
            "plant attributes": lambda: append(git / "info/attributes"),
            "move the main branch": lambda: self._run("git", "update-ref", "refs/heads/main", "HEAD"),
            "move it by hand": lambda: append(git / "refs/heads/main"),
            "make a tag": lambda: self._run("git", "tag", "escaped"),
            "write to the checkout's index": lambda: append(git / "index"),
            "write to the system": lambda: open_for_writing("/usr/bin/env"),
            "write to its settings": lambda: open_for_writing("/etc/passwd"),
            "change the kernel's settings": lambda: open_for_writing("/proc/sys/kernel/core_pattern"),
            "press the kernel's keys": lambda: open_for_writing("/proc/sysrq-trigger"),
        }

    def of_processes(self) -> Attempts:
        token = str(self._host / "token").lstrip("/")
        return {
            "open the database": lambda: receive(socket.AF_UNIX, str(self._host / "database")),
            "read the environment of a host process": (self._victim / "environ").read_text,
            "read the memory map of a host process": (self._victim / "maps").read_text,
            "go through the root of a host process": (self._victim / "root" / token).read_text,
            "go through the folder of a host process": (self._victim / "cwd" / "token").read_text,
            "read every environment": lambda: through_all("environ"),
            "go through every root": lambda: through_all(f"root/{token}"),
            "find a descriptor that was left open": left_open,
            "kill a host process": lambda: os.kill(self._pid, signal.SIGKILL),
            "trace a host process": self._trace,
            "join the view of a host process": lambda: self._run("nsenter", "-m", "-t", str(self._pid), "true"),
            "mount": lambda: self._run("mount", "-t", "tmpfs", "none", str(self._tree)),
            "make what is read-only writable": lambda: self._in_own_view(
                f"mount -o remount,rw {self._git}; mount -o remount,rw /; echo escaped >> {self._git}/config"
            ),
            "look under what is mounted": lambda: self._in_own_view(
                f"umount -l {self._host}; umount -l /tmp; cat {self._host}/token"
            ),
            "make a device": lambda: os.mknod(self._tree / "device", 0o060600, os.makedev(8, 0)),
            "become somebody else": lambda: self._run("setpriv", "--reuid=12345", "--clear-groups", "true"),
        }

    def of_mounts(self) -> Attempts:
        """What only mounts keep from being done."""
        return {
            "read another worktree's folder of git": (self._other_own / "HEAD").read_text,
            "point git elsewhere": lambda: self._replace(self._tree / ".git"),
            "take git's pointer away": (self._tree / ".git").unlink,
            "share git with a folder of one's own": lambda: append(self._own / "commondir"),
            "plant settings for the worktree": lambda: append(self._own / "config.worktree"),
            "move another session's branch": lambda: append(self._git / "refs/heads/coder/other"),
            "move it with git": lambda: self._run("git", "update-ref", "refs/heads/coder/other", "main"),
            "borrow objects": lambda: append(self._git / "objects/info/alternates"),
            "delete history": lambda: next(path.unlink() for path in (self._git / "objects/pack").iterdir()),
            "change what programs outside run": lambda: append(self._home / ".demo/settings.json"),
        }

    def of_sockets(self) -> Attempts:
        """What mounts do not keep from being done."""
        return {"reach a socket without a file": lambda: receive(socket.AF_UNIX, f"\0{self._host}")}

    def _run(self, *argv: str) -> str:
        done = subprocess.run(argv, cwd=self._tree, capture_output=True, text=True, timeout=20, check=False)
        if done.returncode != 0:
            raise PermissionError(f"{done.returncode}: {done.stderr.strip()[-200:]}")
        return done.stdout

    def _in_own_view(self, script: str) -> str:
        return self._run("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script)

    def _through_link(self, name: str, target: Path) -> Path:
        link = self._tree / f"link-{name}"
        link.symlink_to(target)
        return link

    def _hard_link(self) -> str:
        os.link(self._host / "token", self._tree / "linked")
        return (self._tree / "linked").read_text()

    def _replace(self, path: Path) -> None:
        made = self._tree / "made"
        made.write_text("escaped")
        made.replace(path)

    def _trace(self) -> None:
        for request in (_ATTACH, _DETACH):
            if _LIBC.ptrace(request, self._pid, None, None) != 0:
                raise OSError(ctypes.get_errno(), "ptrace")


def append(path: Path) -> None:
    with path.open("a") as file:
        file.write("escaped")


def open_for_writing(path: str) -> None:
    """Nothing is written: where this succeeds it must not do harm to the machine that the test runs on."""
    os.close(os.open(path, os.O_WRONLY))


def receive(family: int, address: str) -> str:
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(5)
        client.connect(address)
        return client.recv(100).decode()


def through_all(name: str) -> str:
    """What this file of any process says that lets one read it; others of the same sandbox may."""
    found: list[str] = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError):
                found.append((path / name).read_text(errors="replace"))
    return " ".join(found)


def left_open() -> str:
    """Everything open but the three streams and what this very look opens."""
    links = [path for path in Path("/proc/self/fd").iterdir() if int(path.name) > 2]
    found = [str(link.readlink()) for link in links if os.path.lexists(link)]
    if not found:
        raise FileNotFoundError("none")
    return " ".join(found)


def main(places: str, victim: str, kind: str) -> None:
    hostile = Hostile(json.loads(places), int(victim))
    more = hostile.of_mounts() if kind == "bubblewrap" else hostile.of_sockets()
    results: dict[str, str] = {}
    for name, attempt in (hostile.of_files() | hostile.of_processes() | more).items():
        try:
            results[name] = f"got {attempt()}"
        except (OSError, StopIteration) as error:
            results[name] = f"refused: {type(error).__name__} {error}"
    print(json.dumps(results), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
