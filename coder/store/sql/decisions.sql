-- name: insert_decision
-- A decision as it begins: queued, or underway with its plan.
INSERT INTO decisions (id, session_id, verb, target, picks, "by", reason, checkpoint_id, state, plan, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- name: get_decision
-- One decision.
SELECT * FROM decisions WHERE id = $1;

-- name: list_decisions
-- A keyset page of a session's decisions, newest first.
-- `BETWEEN` and the order keep the planner at the session's own index: it would go through all newer ones of other sessions.
SELECT * FROM decisions
WHERE session_id BETWEEN $1 AND $1 AND ($2::text IS NULL OR state = $2) AND ($3::text IS NULL OR id < $3)
ORDER BY session_id DESC, id DESC
LIMIT $4;

-- name: open_decisions
-- What is queued or was cut off, in one session or in all, in the order it was decided.
SELECT * FROM decisions
WHERE state IN ('queued', 'underway') AND ($1::text IS NULL OR session_id = $1)
ORDER BY ordinal;

-- name: start_decision
-- queued -> underway: the plan is kept before the first byte of it is written.
UPDATE decisions SET state = 'underway', plan = $2 WHERE id = $1 AND state = 'queued' RETURNING *;

-- name: requeue_decision
-- underway -> queued: cut off, and taken back.
UPDATE decisions SET state = 'queued', plan = NULL WHERE id = $1 AND state = 'underway' RETURNING *;

-- name: end_decision
-- Leave one of the named states for good.
UPDATE decisions SET state = $3, error = $4, ended_at = now() WHERE id = $1 AND state = ANY ($2::text[]) RETURNING *;

-- name: insert_ended_decision
-- A decision that wrote no file.
INSERT INTO decisions (id, session_id, verb, target, picks, "by", reason, checkpoint_id, state, created_at, ended_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'done', $9, now());

-- name: decisions_to_tell
-- What an agent has not heard of yet: everything that changed its files without it.
SELECT d.*
FROM agent_sessions a
JOIN decisions d ON d.session_id = a.session_id AND d.ordinal > a.told
WHERE a.session_id = $1 AND a.agent = $2 AND d.state = 'done' AND d.verb IN ('reject', 'restore', 'update')
ORDER BY d.ordinal;
