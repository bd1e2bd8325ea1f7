-- name: insert_change
-- Record one file's difference.
INSERT INTO pending_changes (
    id, session_id, task_id, agent, file_path, old_path, operation, base_blob, new_blob, base_mode, new_mode, is_binary,
    added_lines, deleted_lines, status, created_at
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16);

-- name: get_change
-- One change.
SELECT * FROM pending_changes WHERE id = $1;

-- name: list_changes
-- A keyset page of a session's changes, newest first.
SELECT * FROM pending_changes
WHERE session_id = $1 AND ($2::text IS NULL OR status = $2) AND ($3::text IS NULL OR id < $3)
ORDER BY id DESC
LIMIT $4;

-- name: pending_changes
-- Everything of a session that awaits a decision.
SELECT * FROM pending_changes WHERE session_id = $1 AND status = 'pending' ORDER BY file_path;

-- name: supersede_changes
-- pending -> superseded: these files were changed again.
UPDATE pending_changes SET status = 'superseded', decided_at = now()
WHERE session_id = $1 AND status = 'pending' AND file_path = ANY ($2::text[])
RETURNING *;

-- name: decide_change
-- Leave the named state by a person's decision.
UPDATE pending_changes SET status = $3, decided_at = now(), decided_by = $4, reason = $5
WHERE id = $1 AND status = $2
RETURNING *;

-- name: apply_changes_by_commit
-- pending -> applied: a commit on the session's branch holds them.
UPDATE pending_changes SET status = 'applied', decided_at = now(), decided_by = $3, reason = $4, target = 'branch', commit = $5
WHERE session_id = $1 AND status = 'pending' AND id = ANY ($2::text[])
RETURNING *;

-- name: applied_without_commit
-- What was applied to the checkout and is in no commit of the host's.
SELECT * FROM pending_changes WHERE session_id = $1 AND status = 'applied' AND commit IS NULL ORDER BY id;

-- name: note_commit
-- Say which commit holds what was applied to the checkout before.
UPDATE pending_changes SET commit = $3
WHERE session_id = $1 AND status = 'applied' AND commit IS NULL AND id = ANY ($2::text[])
RETURNING *;
