-- name: insert_session
-- A session whose worktree is still to be made.
INSERT INTO sessions (id, project_id, name, base_ref, created_at, updated_at, is_spare)
VALUES ($1, $2, $3, $4, $5, $5, $6)
RETURNING *, NULL::text AS worktree_path, NULL::text AS branch, NULL::text AS base_commit;

-- name: get_session
-- One session with its worktree.
SELECT s.*, w.worktree_path, w.branch, w.base_commit
FROM sessions s
LEFT JOIN session_worktrees w ON w.session_id = s.id
WHERE s.id = $1;

-- name: count_sessions
-- How many sessions there are that somebody has asked for.
SELECT count(*) FROM sessions WHERE NOT is_spare;

-- name: list_spares
-- Sessions that were made ahead, newest first.
SELECT s.*, w.worktree_path, w.branch, w.base_commit
FROM sessions s
LEFT JOIN session_worktrees w ON w.session_id = s.id
WHERE s.is_spare AND s.state = 'open'
ORDER BY s.id DESC;

-- name: openings_since
-- When sessions were opened, by project, oldest first; where all of them are closed, when the spare ones were made.
SELECT s.project_id, s.created_at
FROM sessions s
WHERE s.created_at > $1
  AND NOT (s.is_spare AND EXISTS (SELECT FROM sessions o WHERE o.project_id = s.project_id AND NOT o.is_spare))
ORDER BY s.created_at;

-- name: drop_spare
-- Close what nobody has asked for; no row where somebody has.
UPDATE sessions SET state = 'closing', updated_at = now() WHERE id = $1 AND is_spare AND state = 'open' RETURNING id;

-- name: take_spare
-- Somebody asks for a session that was made ahead; no row where somebody else has it.
UPDATE sessions SET is_spare = false, name = $2, base_ref = $3, created_at = $4, updated_at = $4
WHERE id = $1 AND is_spare AND state = 'open'
RETURNING id;

-- name: list_sessions
-- A keyset page of all sessions, newest first.
SELECT s.*, w.worktree_path, w.branch, w.base_commit
FROM sessions s
LEFT JOIN session_worktrees w ON w.session_id = s.id
WHERE NOT s.is_spare AND ($1::text IS NULL OR s.id < $1)
ORDER BY s.id DESC
LIMIT $2;

-- name: list_sessions_of_project
-- A keyset page of one project's sessions, newest first.
SELECT s.*, w.worktree_path, w.branch, w.base_commit
FROM sessions s
LEFT JOIN session_worktrees w ON w.session_id = s.id
WHERE NOT s.is_spare AND s.project_id = $1 AND ($2::text IS NULL OR s.id < $2)
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
