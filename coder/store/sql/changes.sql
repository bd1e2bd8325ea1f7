-- name: insert_change
-- Record one file's difference.
INSERT INTO pending_changes (
    id, session_id, task_id, agent, file_path, old_path, operation, base_blob, new_blob, base_mode, new_mode, is_binary,
    added_lines, deleted_lines, status, created_at, decided_at, decided_by, reason, contributors, is_secret, split_from,
    target, commit, decision_id, queued
)
VALUES (
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25,
    $26
);

-- name: get_change
-- One change.
SELECT * FROM pending_changes WHERE id = $1;

-- name: list_changes
-- A keyset page of a session's changes, newest first.
-- `BETWEEN` and the order keep the planner at the session's own index: it would go through all newer ones of other sessions.
SELECT * FROM pending_changes
WHERE session_id BETWEEN $1 AND $1 AND ($2::text IS NULL OR status = $2) AND ($3::text IS NULL OR id < $3)
ORDER BY session_id DESC, id DESC
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
UPDATE pending_changes SET
    status = $3, decided_at = now(), decided_by = $4, reason = $5, queued = '[]',
    target = coalesce($6, target), commit = coalesce($7, commit),
    decision_id = coalesce($8, decision_id)
WHERE id = $1 AND status = $2
RETURNING *;

-- name: narrow_change
-- The sides of a pending change become those of what is left of it.
UPDATE pending_changes SET
    old_path = $2, operation = $3, base_blob = $4, new_blob = $5, base_mode = $6, new_mode = $7, is_binary = $8,
    added_lines = $9, deleted_lines = $10, contributors = $11
WHERE id = $1 AND status = 'pending'
RETURNING *;

-- name: queue_on_change
-- Show what is decided about a pending change and not carried out yet.
UPDATE pending_changes SET queued = $2 WHERE id = $1 AND status = 'pending' RETURNING *;

-- name: same_change
-- The newest change of a session that had exactly these sides.
SELECT * FROM pending_changes
WHERE session_id = $1 AND file_path = $2 AND old_path IS NOT DISTINCT FROM $3 AND base_blob IS NOT DISTINCT FROM $4
    AND new_blob IS NOT DISTINCT FROM $5 AND new_mode IS NOT DISTINCT FROM $6
ORDER BY id DESC
LIMIT 1;

-- name: changes_of_decisions
-- What some decisions were about, by path.
SELECT * FROM pending_changes WHERE decision_id = ANY ($1::text[]) ORDER BY file_path;

-- name: apply_changes_by_commit
-- pending -> applied: a commit on the session's branch holds them.
UPDATE pending_changes SET status = 'applied', decided_at = now(), decided_by = $3, reason = $4, target = 'branch', commit = $5,
    decision_id = $6
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
