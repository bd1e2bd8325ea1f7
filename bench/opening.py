"""Opening a session in a large repository where the host has one ready, beside `git worktree add`."""

import tempfile
import time
from pathlib import Path

import anyio

from bench.changes import sample_files
from bench.native_programs import Programs
from bench.rows import Row, at_most, median
from bench.stage import AGENT, Stage, open_stage
from coder.testing.repositories import git

FILES, ROUNDS, PATIENCE = 5_000, 5, 60


async def measure(programs: Programs, work: Path) -> list[Row]:
    """Milliseconds at a client; each session must have every file, and be warm where an agent was used before."""
    ours: list[float] = []
    plain: list[float] = []
    with tempfile.TemporaryDirectory(prefix="coder-bench-") as name:
        folder = Path(name)
        environment = {"CODER_SPARE_SESSIONS": "1", "AGENT_POOL_MAX_LIVE": "30"}
        async with open_stage(folder, programs.agent, environment=environment, files=sample_files(FILES)) as stage:
            repository = Path(stage.project.repo_path)
            await stage.open_session(AGENT)
            for turn in range(ROUNDS):
                await _until_ready(stage, repository, turn + 2)
                begun = time.perf_counter()
                session = await stage.open_session()
                ours.append((time.perf_counter() - begun) * 1000)
                assert session.worktree_path is not None
                found = git(Path(session.worktree_path), "ls-files").splitlines()
                if len(found) != FILES or git(Path(session.worktree_path), "status", "--porcelain"):
                    raise SystemExit(f"opening: a session has {len(found)} files, or others than committed")
            for turn in range(ROUNDS):
                begun = time.perf_counter()
                git(repository, "worktree", "add", "--quiet", "-b", f"bench/{turn}", str(folder / f"plain-{turn}"))
                plain.append((time.perf_counter() - begun) * 1000)
    reference = ("git worktree add", median(plain))
    return [at_most("session-open", f"{FILES} files, made ahead", "ms", median(ours), reference, 0.1)]


async def _until_ready(stage: Stage, repository: Path, wanted: int) -> None:
    """Until the host has the next session: a branch more than there are sessions, which no longer grows."""
    with anyio.fail_after(PATIENCE):
        while len(git(repository, "branch", "--list", "coder/*").splitlines()) < wanted:  # noqa: ASYNC110 - bounded
            await anyio.sleep(0.2)
        # its branch comes before its files and its agent
        await anyio.sleep(2)
