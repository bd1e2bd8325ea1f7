-- name: insert_permission
-- Put a question of an agent on record.
INSERT INTO permission_requests (
    id, session_id, task_id, agent, tool_call, options, status, option_id, created_at, expires_at, decided_at, decided_by
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
RETURNING *;

-- name: get_permission
-- One request.
SELECT * FROM permission_requests WHERE id = $1;

-- name: list_permissions
-- A keyset page of all requests, newest first.
SELECT * FROM permission_requests
WHERE ($1::text IS NULL OR status = $1) AND ($2::text IS NULL OR id < $2)
ORDER BY id DESC
LIMIT $3;

-- name: list_permissions_of_session
-- A keyset page of one session's requests, newest first.
-- `BETWEEN` and the order keep the planner at the session's own index: it would go through all newer ones of other sessions.
SELECT * FROM permission_requests
WHERE session_id BETWEEN $1 AND $1 AND ($2::text IS NULL OR status = $2) AND ($3::text IS NULL OR id < $3)
ORDER BY session_id DESC, id DESC
LIMIT $4;

-- name: list_waiting_permissions
-- A keyset page of the requests that wait for an answer, of all sessions or of one, newest first.
SELECT * FROM permission_requests
WHERE status = 'pending' AND ($1::text IS NULL OR session_id = $1) AND ($2::text IS NULL OR id < $2)
ORDER BY id DESC
LIMIT $3;

-- name: decide_permission
-- pending -> selected | cancelled | expired, once.
UPDATE permission_requests SET status = $2, option_id = $3, decided_at = now(), decided_by = $4
WHERE id = $1 AND status = 'pending'
RETURNING *;

-- name: cancel_open_permissions
-- pending -> cancelled for everything that a task still asks.
UPDATE permission_requests SET status = 'cancelled', decided_at = now()
WHERE task_id = $1 AND status = 'pending'
RETURNING *;

-- name: cancel_all_open_permissions
-- pending -> cancelled for everything: after a crash nobody waits for an answer.
UPDATE permission_requests SET status = 'cancelled', decided_at = now()
WHERE status = 'pending'
RETURNING *;
