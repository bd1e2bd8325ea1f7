-- name: insert_worktree
-- Record where a session works.
INSERT INTO session_worktrees (session_id, worktree_path, branch, base_commit, base_tree, last_tree)
VALUES ($1, $2, $3, $4, $5, $6)
RETURNING *;

-- name: get_worktree
-- The worktree of a session.
SELECT * FROM session_worktrees WHERE session_id = $1;

-- name: get_worktree_and_project
-- The worktree of a session, and the project it is of.
SELECT w.*, to_jsonb(p) AS project
FROM session_worktrees w
JOIN sessions s ON s.id = w.session_id
JOIN projects p ON p.id = s.project_id
WHERE w.session_id = $1;

-- name: move_worktree_trees
-- Move the base from the tree the caller saw, with what of it is on the branch, and what else is given.
UPDATE session_worktrees
SET base_tree = $3, committed_tree = $4, last_tree = coalesce($5, last_tree), base_commit = coalesce($6, base_commit)
WHERE session_id = $1 AND base_tree = $2
RETURNING *;

-- name: keep_branch
-- Say whether the branch outlives its session.
UPDATE session_worktrees SET keep_branch = $2 WHERE session_id = $1;

-- name: all_worktrees
-- Every worktree: what boot compares with the disk.
SELECT * FROM session_worktrees ORDER BY session_id;
