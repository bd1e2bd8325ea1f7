"""The plans that PostgreSQL makes for lists and for the hot path of a host that has been in use for long."""

import json
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from coder.journal import open_journal
from coder.store.database import open_store
from coder.store.statements import sql

FILL = """
    INSERT INTO projects (id, name, repo_path) SELECT 'prj_' || n, 'p', '/repo/' || n FROM generate_series(1, 20) n;
    INSERT INTO sessions (id, project_id, name, state, last_seq)
        SELECT 'ses_' || lpad(n::text, 5, '0'), 'prj_' || n % 20 + 1, 's', 'open', 1 FROM generate_series(1, 10000) n;
    UPDATE sessions SET last_seq = 100 WHERE id = 'ses_00001';
    UPDATE sessions SET last_seq = 100000 WHERE id = 'ses_00002';
    INSERT INTO session_worktrees (session_id, worktree_path, branch, base_commit, base_tree)
        SELECT id, '/w/' || id, 'coder/' || id, 'c', 't' FROM sessions;
    INSERT INTO events (session_id, seq, at, agent, event)
        SELECT id, n, now(), 'demo', '{"type":"user_text","text":"some words that somebody said"}'
        FROM sessions, generate_series(1, last_seq) n;
    INSERT INTO tasks (id, session_id, agent, input, state, ended_at, created_at)
        SELECT 'tsk_' || id || lpad(n::text, 5, '0'), id, 'demo', 'do it', 'completed', now(), now()
        FROM sessions, generate_series(1, CASE id WHEN 'ses_00001' THEN 100 WHEN 'ses_00002' THEN 2000 ELSE 1 END) n;
    INSERT INTO tasks (id, session_id, agent, input)
        SELECT 'tsk_next' || n, 'ses_00003', 'demo', 'x' FROM generate_series(1, 9) n;
    INSERT INTO pending_changes (id, session_id, agent, file_path, operation, status, decided_at)
        SELECT 'chg_' || id || lpad(n::text, 5, '0'), id, 'demo', 'f' || n, 'edit', 'applied', now()
        FROM sessions, generate_series(1, CASE id WHEN 'ses_00001' THEN 100 WHEN 'ses_00002' THEN 2000 ELSE 1 END) n;
    INSERT INTO pending_changes (id, session_id, agent, file_path, operation)
        SELECT 'chn_' || id, id, 'demo', 'new', 'create' FROM sessions;
    INSERT INTO decisions (id, session_id, verb, picks, by, state, ended_at)
        SELECT 'dec_' || id, id, 'apply', '[]', 'you', 'done', now() FROM sessions;
    INSERT INTO decisions (id, session_id, verb, picks, by, state)
        VALUES ('dec_open', 'ses_00003', 'apply', '[]', 'you', 'queued');
    INSERT INTO checkpoints (id, session_id, kind, tree, seq) SELECT 'cpt_' || id, id, 'turn', 't', 1 FROM sessions;
    INSERT INTO permission_requests (id, session_id, agent, tool_call, options, status, expires_at)
        SELECT 'prm_' || id, id, 'demo', '{"id": "c", "title": "t"}', '[]', 'selected', now() FROM sessions;
    INSERT INTO comments (
        id, session_id, change_id, file_path, side, line, text, before, after, blob, body, by, status, resolved_at
    )
        SELECT 'cmt_' || id, id, 'chn_' || id, 'new', 'new', 1, '', '{}', '{}', 'b', 'why?', 'you', 'resolved', now()
        FROM sessions;
    INSERT INTO agent_sessions (session_id, agent, backend) SELECT id, 'demo', 'acp_warm' FROM sessions;
    INSERT INTO available_agents (id) VALUES ('demo');
"""
SMALL, LARGE, BUSY, LAST = "'ses_00001'", "'ses_00002'", "'ses_00003'", 2**63 - 1
STATEMENTS = [
    ("list_sessions", "NULL, 101"),
    ("list_sessions", "'ses_05000', 101"),
    ("list_sessions_of_project", "'prj_3', NULL, 101"),
    ("list_sessions_of_project", "'prj_nobody', NULL, 101"),
    ("get_session", SMALL),
    ("list_tasks", "NULL, NULL, 101"),
    ("list_open_tasks", "'{blocked}', NULL, 501"),
    ("list_open_tasks", "'{pending,running}', 5000, 101"),
    ("list_tasks_of_session", f"{SMALL}, NULL, NULL, 101"),
    ("list_tasks_of_session", f"{BUSY}, '{{pending,blocked,running}}', NULL, 101"),
    ("list_tasks_of_session", "'ses_nobody', NULL, NULL, 101"),
    ("claim_task", "'run', 8"),
    ("first_waiting_task", BUSY),
    ("running_tasks_of_other_runs", "'run'"),
    ("unsent_tasks_of_run", "'run'"),
    ("page_events", f"{LARGE}, 50000, {LAST}, 500"),
    ("page_events", f"{LARGE}, 50000, 50100, 500"),
    ("page_events", f"{LARGE}, 99990, {LAST}, 500"),
    ("page_events_before", f"{LARGE}, {LAST}, 75"),
    ("page_events_before", f"{LARGE}, 50000, 500"),
    ("stretch_to_compact", f"{BUSY}, 2000"),
    ("move_last_seqs", "'{ses_00001}', '{100}', '{101}'"),
    ("list_changes", f"{LARGE}, NULL, NULL, 101"),
    ("list_changes", f"{LARGE}, 'applied', NULL, 101"),
    ("pending_changes", LARGE),
    ("list_decisions", f"{SMALL}, NULL, NULL, 101"),
    ("open_decisions", "NULL"),
    ("open_decisions", BUSY),
    ("decisions_to_tell", f"{SMALL}, 'demo'"),
    ("list_checkpoints", f"{SMALL}, NULL, 101"),
    ("list_permissions", "NULL, NULL, 101"),
    ("list_permissions_of_session", f"{SMALL}, NULL, NULL, 101"),
    ("list_permissions_of_session", "'ses_nobody', NULL, NULL, 101"),
    ("list_waiting_permissions", "NULL, NULL, 101"),
    ("list_waiting_permissions", f"{SMALL}, NULL, 101"),
    ("list_comments", f"{SMALL}, NULL, NULL, 101"),
    ("open_comments", SMALL),
]
FEW = ["projects", "available_agents", "worktree_setups", "comment_replies"]
"""Tables that are small or empty here."""
IN_VAIN = 2500
"""Rows that may be read and left out: a page of a project whose sessions lie among others costs that."""
BLOCKS = 600
"""No statement here touches more; a thousand rows that lie apart need as much."""


@asynccontextmanager
async def old_database(url: str) -> AsyncGenerator[asyncpg.Connection]:
    """10,000 sessions and 110,000 records, as they are a moment after autovacuum has been there."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(FILL)
        await connection.execute("VACUUM ANALYZE")
        yield connection
    finally:
        await connection.close()


async def plan_of(connection: asyncpg.Connection, name: str, values: str) -> dict[str, Any]:
    """What is done the tenth time, as a host's prepared statement, with what it really read."""
    call = f"EXECUTE p ({values})" if values else "EXECUTE p"
    await connection.execute(f"PREPARE p AS {sql(name)}")
    try:
        for _ in range(9):
            async with undone(connection):
                await connection.execute(call)
        async with undone(connection):
            [[found]] = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {call}")
    finally:
        await connection.execute("DEALLOCATE p")
    return json.loads(found)[0]["Plan"]


@asynccontextmanager
async def undone(connection: asyncpg.Connection) -> AsyncGenerator[None]:
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", []):
        yield from nodes(inner)


def faults(name: str, plan: dict[str, Any]) -> Sequence[str]:
    found = [
        f"{name} goes through {node['Relation Name']}"
        for node in nodes(plan)
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] not in FEW
    ]
    found += [
        f"{name} reads {node['Rows Removed by Filter']} rows in vain"
        for node in nodes(plan)
        if node.get("Rows Removed by Filter", 0) * node["Actual Loops"] > IN_VAIN
    ]
    blocks = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return [*found, *([f"{name} touches {blocks} blocks"] if blocks > BLOCKS else [])]


@pytest.mark.scenario("store: No list and no step of a turn goes through a whole table")
@pytest.mark.scenario("journal: Opening a long journal costs as much as a short one")
async def test_an_old_database_is_read_by_its_indexes(database_url: str) -> None:
    async with old_database(database_url) as connection:
        found = [
            fault
            for name, values in STATEMENTS
            for fault in faults(f"{name} ({values})", await plan_of(connection, name, values))
        ]
        assert not found, "\n".join(found)
        small = await cost_of_opening(connection, database_url, "ses_00001")
        large = await cost_of_opening(connection, database_url, "ses_00002")
        assert large["rows"] <= small["rows"] * 1.1, (small, large)
        assert large["blocks"] <= small["blocks"] * 1.5, (small, large)


@pytest.mark.scenario("store: A claim costs little before anything was analysed")
async def test_a_claim_from_a_long_queue_is_cheap_on_tables_that_were_never_analysed(database_url: str) -> None:
    sessions, waiting = 200, 2000
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(
            f"""
            INSERT INTO projects (id, name, repo_path) VALUES ('prj_1', 'p', '/p');
            INSERT INTO sessions (id, project_id, name, state)
                SELECT 'ses_' || n, 'prj_1', 's', 'open' FROM generate_series(1, {sessions}) n;
            INSERT INTO tasks (id, session_id, agent, input)
                SELECT 'tsk_' || n, 'ses_' || n % {sessions} + 1, 'demo', 'x' FROM generate_series(1, {waiting}) n;
            """
        )
        plan = await plan_of(connection, "claim_task", "'run', 8")
        assert plan["Actual Rows"] == 8
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 10 * waiting
    finally:
        await connection.close()


async def cost_of_opening(connection: asyncpg.Connection, url: str, session_id: str) -> dict[str, int]:
    """Rows and blocks that ten snapshots of a session read, as the server counts them."""
    before = await read_so_far(connection)
    async with open_store(url, run_id="run") as store, open_journal(store) as journal:
        for _ in range(10):
            assert len((await journal.snapshot(session_id)).events) == 75
    after = await read_so_far(connection)
    assert after["scans"] == before["scans"]
    return {name: after[name] - before[name] for name in after}


async def read_so_far(connection: asyncpg.Connection) -> dict[str, int]:
    """Of every table that grows; a server process tells of its own when it ends."""
    question = """
        SELECT sum(coalesce(idx_tup_fetch, 0))::bigint AS rows, sum(seq_scan)::bigint AS scans,
            sum(coalesce(heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read, 0))::bigint AS blocks
        FROM pg_stat_user_tables JOIN pg_statio_user_tables USING (relid)
        WHERE pg_stat_user_tables.relname <> ALL ($1)
    """
    await connection.execute("SELECT pg_stat_force_next_flush()")
    await connection.execute("SELECT pg_stat_clear_snapshot()")
    return dict(await connection.fetchrow(question, FEW) or {})
