"""The disk that everything of a host is on, filled to the last byte and freed again."""

import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import anyio
import orjson
import pytest

from coder.errors import CoderError
from coder.model.tasks import TaskState
from coder.protocol import Prompt
from coder.store.embedded import open_embedded
from coder.testing.host_process import open_host_process
from coder.testing.ledgers import (
    LEDGER,
    Verdict,
    Viewer,
    compare,
    numbered,
    read_book,
    until_gone,
    write_catalogue,
)
from coder.testing.repositories import make_repository
from tests.faults.test_health import troubles_become

SIZE = "220m"
RESERVE_MB = "16"


@contextmanager
def small_disk(folder: Path) -> Generator[Path]:
    """A file system of a fixed size; the test is skipped where none may be mounted."""
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if subprocess.run(mounting, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> None:
    """Leave no byte."""
    with (disk / "ballast").open("ab") as file:
        for size in (2**20, 4096, 1):
            try:
                while True:
                    os.write(file.fileno(), b"\1" * size)
            except OSError:
                continue


@pytest.mark.where_possible
@pytest.mark.scenario("faults: A full disk")
async def test_a_full_disk_loses_nothing_and_is_got_over(tmp_path: Path) -> None:
    repository, log = make_repository(tmp_path / "repository"), tmp_path / "log"
    with small_disk(tmp_path / "disk") as disk, log.open("wb") as errors:
        home = disk / "home"
        write_catalogue(home)
        # the agents' own ledger is a witness, not a part of what is filled
        (home / LEDGER).symlink_to(tmp_path / LEDGER)
        environment = {"CODER_DISK_RESERVE_MB": RESERVE_MB, "CODER_LOG_FORMAT": "json"}
        async with open_host_process(home, environment=environment, log=errors) as host, host.client() as client:
            session = await client.open_session((await client.register_project(str(repository))).id)
            viewer = Viewer(session.id)
            async with anyio.create_task_group() as group:
                group.start_soon(viewer.follow, client)
                first = await client.prompt(session.id, Prompt(agent="demo", input=numbered("a", 150, pause_ms=30)))
                with anyio.fail_after(60):
                    while not any("<a.5>" in str(record.event) for record in viewer.records):
                        await anyio.sleep(0.05)
                await anyio.to_thread.run_sync(fill, disk)
                with pytest.raises(CoderError) as caught:
                    await client.prompt(session.id, Prompt(agent="demo", input="say <b.0>"), key="b")
                assert (caught.value.stable_code, caught.value.retryable) == ("disk_full", True)
                assert "disk_nearly_full" in {trouble.reason for trouble in (await client.health()).troubles}
                with anyio.fail_after(60):
                    while not any("<a.60>" in str(record.event) for record in viewer.records):
                        await anyio.sleep(0.1)
                (disk / "ballast").unlink()
                await troubles_become(client, (), seconds=60)
                assert (await client.wait_for_task(first.id)).state is TaskState.COMPLETED
                second = await client.prompt(session.id, Prompt(agent="demo", input=numbered("b", 3)), key="b")
                assert (await client.wait_for_task(second.id)).state is TaskState.COMPLETED
                await viewer.reached((await client.session(session.id)).last_seq)
                group.cancel_scope.cancel()
            assert await host.end() == 0
        await until_gone(home)
        async with open_embedded(home / "database") as url:
            book = await read_book(url)
        viewer.records += [one for one in book.records[session.id] if one.seq > viewer.seq]
        assert compare(book, home, [viewer]) == Verdict()
    assert all(orjson.loads(line)["level"] for line in log.read_bytes().splitlines())
