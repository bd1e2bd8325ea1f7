-- name: insert_project
-- Register a repository; no row when its path is registered already.
INSERT INTO projects (id, name, repo_path, default_branch, created_at)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (repo_path) DO NOTHING
RETURNING *;

-- name: get_project
-- One project.
SELECT * FROM projects WHERE id = $1;

-- name: find_project_by_path
-- The project of a repository.
SELECT * FROM projects WHERE repo_path = $1;

-- name: list_projects
-- A keyset page, newest first.
SELECT * FROM projects
WHERE $1::text IS NULL OR id < $1
ORDER BY id DESC
LIMIT $2;

-- name: rename_project
-- Give a project another name.
UPDATE projects SET name = $2 WHERE id = $1 RETURNING *;

-- name: delete_project
-- Forget a project that no session uses.
DELETE FROM projects p
WHERE p.id = $1 AND NOT EXISTS (SELECT FROM sessions s WHERE s.project_id = p.id)
RETURNING *;
