-- name: insert_session
-- A session whose worktree is still to be made.
INSERT INTO sessions (id, project_id, name, base_ref, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $5)
RETURNING *, NULL::text AS worktree_path, NULL::text AS branch, NULL::text AS base_commit;

-- name: get_session
-- One session with its worktree.
SELECT s.*, w.worktree_path, w.branch, w.base_commit
FROM sessions s
LEFT JOIN session_worktrees w ON w.session_id = s.id
WHERE s.id = $1;

-- name: count_sessions
-- How many sessions there are.
SELECT count(*) FROM sessions;

-- name: list_sessions
-- A keyset page of all sessions or of one project's, newest first.
SELECT s.*, w.worktree_path, w.branch, w.base_commit
FROM sessions s
LEFT JOIN session_worktrees w ON w.session_id = s.id
WHERE ($1::text IS NULL OR s.project_id = $1) AND ($2::text IS NULL OR s.id < $2)
ORDER BY s.id DESC
LIMIT $3;

-- name: all_sessions
-- Every session, oldest first: what boot compares with the worktrees on disk.
SELECT s.*, w.worktree_path, w.branch, w.base_commit
FROM sessions s
LEFT JOIN session_worktrees w ON w.session_id = s.id
ORDER BY s.id;

-- name: patch_session
-- Change what is not null.
UPDATE sessions SET name = coalesce($2, name), auto_apply = coalesce($3, auto_apply), updated_at = now()
WHERE id = $1
RETURNING id;

-- name: move_session
-- Leave one of the named states for another.
UPDATE sessions SET state = $3, updated_at = now() WHERE id = $1 AND state = ANY ($2::text[]) RETURNING id;

-- name: delete_session
-- Forget a session with everything that hangs on it.
DELETE FROM sessions WHERE id = $1 RETURNING id;
