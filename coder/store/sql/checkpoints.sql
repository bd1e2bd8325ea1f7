-- name: insert_checkpoint
-- A point to go back to.
INSERT INTO checkpoints (id, session_id, task_id, agent, kind, tree, seq, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: get_checkpoint
-- One checkpoint.
SELECT * FROM checkpoints WHERE id = $1;

-- name: list_checkpoints
-- A keyset page of a session's checkpoints, newest first.
SELECT * FROM checkpoints
WHERE session_id = $1 AND ($2::text IS NULL OR id < $2)
ORDER BY id DESC
LIMIT $3;
