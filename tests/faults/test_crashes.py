"""The host killed at every write step of a prompt and its turn, and what the next one makes of it."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from coder.client import Client
from coder.errors import CoderError
from coder.model.sessions import Session
from coder.protocol import Prompt
from coder.testing.harness import open_live_host
from coder.testing.host_process import HostProcess, open_host_process
from coder.testing.ledgers import (
    Verdict,
    Viewer,
    compare,
    litter,
    numbered,
    read_book,
    tokens_in,
    until_gone,
    write_catalogue,
)
from coder.testing.repositories import make_repository
from tests.faults.scene import QUICK

PROMPT = f"write notes.txt one; {numbered('a', 40, pause_ms=10)}"
AGAIN = ("completed", None)
CUT = ("failed", "interrupted")
ENDS = {
    "prompt.inserted": AGAIN,
    "prompt.committed": AGAIN,
    "turn.claimed": AGAIN,
    "turn.announced": AGAIN,
    "turn.leased": AGAIN,
    "turn.marked": CUT,
    "turn.heard": CUT,
    "turn.heard,turn.heard,turn.heard,turn.heard,turn.heard": CUT,
    "turn.marked,journal.copied": CUT,
    "turn.answered": CUT,
    "turn.recorded": CUT,
    "turn.ended": AGAIN,
    "turn.ended,journal.merged": AGAIN,
}
"""How the task ends after a death at each failpoint: carried out once, or told to be interrupted."""

REPEATS = int(os.environ.get("CODER_CRASH_REPEATS", "1"))


async def die(host: HostProcess, client: Client, session: Session) -> None:
    """Send the prompt, and wait for the end of the host that carries it out."""
    with suppress(CoderError):
        await client.prompt(session.id, Prompt(agent="demo", input=PROMPT), key="once")
    with anyio.fail_after(30):
        assert await host.process.wait() == -signal.SIGKILL


@pytest.mark.scenario("faults: The host killed at every write step")
@pytest.mark.parametrize("failpoints", list(ENDS))
@pytest.mark.parametrize("_", range(REPEATS))
async def test_a_prompt_is_carried_out_once_or_said_to_be_interrupted(
    tmp_path: Path, database_url: str, failpoints: str, _: int
) -> None:
    home = tmp_path / "home"
    write_catalogue(home)
    repository = make_repository(tmp_path / "repository")
    flags = ("--database-url", database_url)
    environment = {"CODER_COMPACT_AFTER": "0.2"}
    async with (
        open_host_process(home, *flags, environment=environment, failpoints=failpoints.split(",")) as host,
        host.client() as client,
    ):
        project = await client.register_project(str(repository))
        session = await client.open_session(project.id)
        await die(host, client, session)
    await until_gone(home)
    begun = time.monotonic()
    async with open_live_host(home, database_url, **QUICK) as live, live.client() as client:
        assert time.monotonic() - begun < 5
        viewer = Viewer(session.id)
        async with anyio.create_task_group() as group:
            group.start_soon(viewer.follow, client)
            task = await client.prompt(session.id, Prompt(agent="demo", input=PROMPT), key="once")
            ended = await client.wait_for_task(task.id)
            assert (str(ended.state), ended.error and ended.error.code) == ENDS[failpoints]
            changed = {change.file_path for change in (await client.changes(session.id)).items}
            assert changed == ({"notes.txt"} if (Path(session.worktree_path or "") / "notes.txt").exists() else set())
            await live.host.journal.flush_all()
            await viewer.reached((await read_book(database_url)).last_seqs[session.id])
            group.cancel_scope.cancel()
    await until_gone(home)
    book = await read_book(database_url)
    viewer.records += [record for record in book.records[session.id] if record.seq > viewer.seq]
    verdict = compare(book, home, [viewer])
    assert (verdict.doubled, verdict.moved, verdict.unheard, verdict.faults) == ((), (), (), ())
    # What was shown less than a moment before the death may be lost, and only at the end of what was said.
    said = tokens_in(PROMPT)
    assert book.tokens(session.id) == said[: len(book.tokens(session.id))]
    assert len(verdict.lost) <= (0 if ENDS[failpoints] == AGAIN else len(said)), verdict
    assert len(verdict.lost) < 40, Verdict()
    assert litter(home, [repository], book) == []
