"""A database that an earlier version has made, with work in it, under the host of today."""

from pathlib import Path

import asyncpg
import pytest

from coder.host import open_host
from coder.model.tasks import TaskState
from coder.store.database import apply_schema
from coder.testing.repositories import git, make_repository
from coder.testing.rooms import Room, room_settings

RELEASES = sorted(Path(__file__).with_name("releases").glob("*.sql"), key=lambda path: path.stem)
SHAPE = """
    SELECT 'column', format('%s.%s', c.table_name, c.column_name),
        format('%s %s %s %s', c.data_type, c.is_nullable, c.column_default, c.generation_expression)
    FROM information_schema.columns c WHERE c.table_schema = 'public'
    UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL SELECT 'constraint', conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace
    ORDER BY 1, 2, 3
"""
ROWS = """
    INSERT INTO projects (id, name, repo_path, default_branch) VALUES ('prj_1', 'old', '{repo}', 'main');
    INSERT INTO sessions (id, project_id, name, state, last_seq)
        VALUES ('ses_00000001', 'prj_1', 'Old work', 'open', 2);
    INSERT INTO session_worktrees (session_id, worktree_path, branch, base_commit, base_tree)
        VALUES ('ses_00000001', '{worktree}', 'coder/00000001', '{commit}', '{tree}');
    INSERT INTO agent_sessions (session_id, agent, backend, agent_session_id, status)
        VALUES ('ses_00000001', 'demo', 'acp_warm', 'old-conversation', 'active');
    INSERT INTO tasks (id, session_id, agent, input, state, owner, prompt_sent, started_at, ended_at) VALUES
        ('tsk_done', 'ses_00000001', 'demo', 'write new.txt hello', 'completed', 'dead', true, now(), now()),
        ('tsk_cut', 'ses_00000001', 'demo', 'hang', 'running', 'dead', true, now(), NULL),
        ('tsk_next', 'ses_00000001', 'demo', 'say kept', 'pending', NULL, false, NULL, NULL);
    INSERT INTO events (session_id, seq, at, agent, task_id, event) VALUES
        ('ses_00000001', 1, now(), 'demo', 'tsk_done', '{{"type": "turn_started", "task_id": "tsk_done"}}'),
        ('ses_00000001', 2, now(), 'demo', 'tsk_done', '{{"type": "text", "text": "old words"}}');
    INSERT INTO pending_changes (id, session_id, task_id, agent, file_path, operation, new_blob, new_mode, added_lines)
        VALUES ('chg_1', 'ses_00000001', 'tsk_done', 'demo', 'new.txt', 'create', '{blob}', '100644', 1);
    INSERT INTO permission_requests (id, session_id, task_id, agent, tool_call, options, expires_at)
        VALUES ('prm_1', 'ses_00000001', 'tsk_cut', 'demo', '{{"id": "c1", "title": "t"}}', '[]', now());
    INSERT INTO idempotency_keys (scope, key, body_hash, owner, status, response)
        VALUES ('POST /api/projects', 'k', 'h', 'dead', 201, '{{}}');
"""


async def make_released(url: str, release: Path) -> asyncpg.Connection:
    """A database that holds nothing but what the release made."""
    connection = await asyncpg.connect(url)
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await connection.execute(release.read_text())
    return connection


@pytest.mark.scenario("life: The schema of every release is brought up to date")
@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.stem)
async def test_an_upgraded_schema_is_the_one_of_a_new_database(database_url: str, release: Path) -> None:
    connection = await asyncpg.connect(database_url)
    wanted = [tuple(row) for row in await connection.fetch(SHAPE)]
    await connection.close()
    connection = await make_released(database_url, release)
    assert [tuple(row) for row in await connection.fetch(SHAPE)] != wanted
    await apply_schema(connection)
    assert [tuple(row) for row in await connection.fetch(SHAPE)] == wanted
    await connection.close()


@pytest.mark.scenario("life: Work of an earlier version goes on")
@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.stem)
async def test_work_of_an_earlier_version_goes_on(tmp_path: Path, database_url: str, release: Path) -> None:
    repo = make_repository(tmp_path / "repository")
    worktree = tmp_path / "home" / "worktrees" / "00000001"
    git(repo, "worktree", "add", "-q", "-b", "coder/00000001", str(worktree))
    (worktree / "new.txt").write_text("hello\n")
    names = {
        "repo": repo,
        "worktree": worktree,
        "commit": git(repo, "rev-parse", "HEAD").strip(),
        "tree": git(repo, "rev-parse", "HEAD^{tree}").strip(),
        "blob": git(repo, "hash-object", "-w", str(worktree / "new.txt")).strip(),
    }
    connection = await make_released(database_url, release)
    await connection.execute(ROWS.format(**names))
    await connection.close()
    async with open_host(room_settings(tmp_path / "home", database_url), "token") as host:
        session = await host.sessions.get("ses_00000001")
        room = Room(host, repo, session)
        assert (session.name, session.last_seq) == ("Old work", (await room.records())[-1].seq)
        assert [record.event.type for record in await room.records()][:2] == ["turn_started", "text"]
        interrupted = await host.dispatcher.get("tsk_cut")
        assert (interrupted.state, interrupted.error and interrupted.error.code) == (TaskState.FAILED, "interrupted")
        assert (await room.ended(await host.dispatcher.get("tsk_next"))).state is TaskState.COMPLETED
        assert (await room.prompt("say more")).state is TaskState.COMPLETED
        await room.apply("new.txt")
    assert (repo / "new.txt").read_text() == "hello\n"
