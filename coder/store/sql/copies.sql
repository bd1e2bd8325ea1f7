-- name: stored_columns
-- The columns of a table that hold what they were given, in order; none where there is no such table.
SELECT attname FROM pg_attribute
WHERE attrelid = to_regclass($1::text) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
ORDER BY attnum;

-- name: identity_columns
-- The columns of a table that count by themselves.
SELECT c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE a.attrelid = to_regclass($1::text) AND a.attidentity <> '';

-- name: continue_identity
-- Let a column count on behind its highest value.
SELECT setval(pg_get_serial_sequence($1::text, $2::text), coalesce($3::bigint, 1), $3::bigint IS NOT NULL);

-- name: has_projects
-- Whether anything is registered; without it there is nothing else.
SELECT EXISTS (SELECT FROM projects);

-- name: object_names_of_session
-- Words in a session's rows that can be names of git objects.
SELECT DISTINCT name[1] AS name
FROM (
    SELECT to_jsonb(w)::text AS words FROM session_worktrees w WHERE session_id = $1
    UNION ALL SELECT to_jsonb(c)::text FROM pending_changes c WHERE session_id = $1
    UNION ALL SELECT to_jsonb(d)::text FROM decisions d WHERE session_id = $1
    UNION ALL SELECT to_jsonb(k)::text FROM checkpoints k WHERE session_id = $1
    UNION ALL SELECT m.blob FROM comments m WHERE session_id = $1
) AS found, regexp_matches(words, '\y[0-9a-f]{40}(?:[0-9a-f]{24})?\y', 'g') AS name;

-- name: move_session_worktree
-- Where a session works from now on.
UPDATE session_worktrees SET worktree_path = $2 WHERE session_id = $1 RETURNING session_id;

-- name: move_project
-- Where a project's repository is from now on.
UPDATE projects SET repo_path = $2 WHERE id = $1 RETURNING id;

-- name: repeat_setups
-- done -> pending: what a setup has made was not taken along.
UPDATE worktree_setups SET state = 'pending', ended_at = NULL WHERE state = 'done' AND recipe IS NOT NULL;
