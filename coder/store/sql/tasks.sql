-- name: insert_task
-- Accept a task into an open session; no row when its key was used before, the session is not open or too many wait there.
INSERT INTO tasks (
    id, session_id, parent_task_id, agent, model, mode_id, thinking_option_id, feature_values, attachments, input,
    state, idempotency_key, created_at
)
SELECT $1, s.id, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13
FROM sessions s
WHERE s.id = $2
  AND s.state = 'open'
  AND (
      $14::bigint IS NULL
      OR (SELECT count(*) FROM tasks w WHERE w.session_id = $2 AND w.state IN ('pending', 'blocked')) < $14
  )
ON CONFLICT (session_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
RETURNING *;

-- name: find_task_by_key
-- The task that a key stands for.
SELECT * FROM tasks WHERE session_id = $1 AND idempotency_key = $2;

-- name: get_task
-- One task.
SELECT * FROM tasks WHERE id = $1;

-- name: list_tasks
-- A keyset page of all tasks, in the named states, newest first.
SELECT * FROM tasks
WHERE ($1::text[] IS NULL OR state = ANY ($1)) AND ($2::bigint IS NULL OR ordinal < $2)
ORDER BY ordinal DESC
LIMIT $3;

-- name: list_open_tasks
-- The same for states that few tasks are in.
SELECT * FROM tasks
WHERE state IN ('pending', 'blocked', 'running') AND state = ANY ($1::text[]) AND ($2::bigint IS NULL OR ordinal < $2)
ORDER BY ordinal DESC
LIMIT $3;

-- name: list_tasks_of_session
-- A keyset page of one session's tasks, in the named states, newest first.
-- `BETWEEN` and the order keep the planner at the session's own index: it would go through all newer ones of other sessions.
SELECT * FROM tasks
WHERE session_id BETWEEN $1 AND $1 AND ($2::text[] IS NULL OR state = ANY ($2)) AND ($3::bigint IS NULL OR ordinal < $3)
ORDER BY session_id DESC, ordinal DESC
LIMIT $4;

-- name: claim_task
-- The oldest pending tasks, one a session, of open sessions that have nothing running and whose setup holds nothing:
-- pending -> running.
-- A claimer skips what another one is just claiming, and never takes a later task of a session before an earlier one.
-- Subqueries that give a value are no joins: the planner cannot mistake how many rows there are, however new the tables.
WITH next AS MATERIALIZED (
    SELECT DISTINCT ON (session_id) id, session_id, place
    FROM tasks
    WHERE state = 'pending'
    ORDER BY session_id, place
), chosen AS MATERIALIZED (
    SELECT t.id
    FROM next n
    JOIN tasks t ON t.id = n.id
    WHERE (SELECT s.state FROM sessions s WHERE s.id = n.session_id) = 'open'
      AND (SELECT r.id FROM tasks r WHERE r.session_id = n.session_id AND r.state = 'running') IS NULL
      AND (SELECT u.session_id FROM worktree_setups u WHERE u.session_id = n.session_id AND u.holds) IS NULL
    ORDER BY n.place
    LIMIT $2
    FOR UPDATE OF t SKIP LOCKED
)
UPDATE tasks SET
    state = 'running',
    owner = $1,
    attempt = attempt + 1,
    prompt_sent = false,
    started_at = now()
FROM chosen
WHERE tasks.id = chosen.id AND tasks.state = 'pending'
RETURNING tasks.*;

-- name: mark_task_sent
-- From here on the agent may have seen the prompt.
UPDATE tasks SET prompt_sent = true, sent_seq = $3, agent_session_id = $4, message_id = $5
WHERE id = $1 AND attempt = $2 AND state = 'running'
RETURNING *;

-- name: finish_task
-- running -> completed | failed | cancelled, by the attempt that runs it.
UPDATE tasks SET
    state = $3,
    error = $4,
    stop_reason = $5,
    output_summary = $6,
    usage = $7,
    ended_at = now()
WHERE id = $1 AND attempt = $2 AND state = 'running'
RETURNING *;

-- name: requeue_task
-- running -> pending, where the prompt provably never left the host: it was not marked, or its own host says so.
UPDATE tasks SET state = 'pending', owner = NULL, started_at = NULL, prompt_sent = false
WHERE id = $1 AND attempt = $2 AND state = 'running' AND (NOT prompt_sent OR $3)
RETURNING *;

-- name: cancel_pending_task
-- pending | blocked -> cancelled.
UPDATE tasks SET state = 'cancelled', cancel_requested = true, stop_reason = $2, ended_at = now()
WHERE id = $1 AND state IN ('pending', 'blocked')
RETURNING *;

-- name: request_task_cancel
-- Ask the turn that runs to end.
UPDATE tasks SET cancel_requested = true WHERE id = $1 AND state = 'running' RETURNING *;

-- name: fail_waiting_task
-- pending | blocked -> failed.
UPDATE tasks SET state = 'failed', error = $2, ended_at = now()
WHERE id = $1 AND state IN ('pending', 'blocked')
RETURNING *;

-- name: edit_waiting_task
-- Say it differently while it waits.
UPDATE tasks SET input = $2 WHERE id = $1 AND state IN ('pending', 'blocked') RETURNING *;

-- name: place_task
-- Give a waiting task its turn right before another waiting one of its session, or after all of them.
WITH waiting AS (
    SELECT w.id, w.place
    FROM tasks w
    JOIN tasks t ON t.session_id = w.session_id
    WHERE t.id = $1 AND w.id <> $1 AND w.state = 'pending'
), next AS (
    SELECT place FROM waiting WHERE id = $2
), previous AS (
    SELECT max(waiting.place) AS place FROM waiting, next WHERE waiting.place < next.place
)
UPDATE tasks SET
    position = CASE
        WHEN $2::text IS NULL THEN greatest(tasks.place, (SELECT max(place) + 1 FROM waiting))
        ELSE coalesce(
            ((SELECT place FROM previous) + (SELECT place FROM next)) * 0.5,
            (SELECT place FROM next) - 1
        )
    END
WHERE id = $1 AND state = 'pending' AND ($2::text IS NULL OR EXISTS (SELECT FROM next))
RETURNING *;

-- name: first_waiting_task
-- Whose turn is next in a session.
SELECT * FROM tasks WHERE session_id = $1 AND state = 'pending' ORDER BY place LIMIT 1;

-- name: block_task
-- pending -> blocked.
UPDATE tasks SET state = 'blocked' WHERE id = $1 AND state = 'pending' RETURNING *;

-- name: unblock_task
-- blocked -> pending.
UPDATE tasks SET state = 'pending' WHERE id = $1 AND state = 'blocked' RETURNING *;

-- name: running_tasks_of_other_runs
-- What a dead host left running.
SELECT * FROM tasks WHERE state = 'running' AND owner <> $1 ORDER BY ordinal;

-- name: unsent_tasks_of_run
-- What a run has claimed and said to no agent.
SELECT * FROM tasks WHERE state = 'running' AND owner = $1 AND NOT prompt_sent ORDER BY ordinal;

-- name: last_agent
-- The agent that was prompted last in a project.
SELECT t.agent
FROM tasks t
JOIN sessions s ON s.id = t.session_id
WHERE s.project_id = $1
ORDER BY t.ordinal DESC
LIMIT 1;
