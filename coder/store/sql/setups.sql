-- name: insert_setup
-- What a new worktree's repository asks for. A broken file is failed from the start.
INSERT INTO worktree_setups (session_id, state, source, digest, recipe, error, ended_at)
VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $2 = 'failed' THEN now() END)
RETURNING session_id;

-- name: get_setup
-- One session's setup with its ports.
SELECT u.*, coalesce((
    SELECT jsonb_object_agg(p.name, p.port) FROM leased_ports p WHERE p.session_id = u.session_id
), '{}') AS ports
FROM worktree_setups u
WHERE u.session_id = $1;

-- name: queue_setup
-- untrusted | done | failed | skipped -> pending, while no turn runs in the session.
UPDATE worktree_setups SET state = 'pending', ended_at = NULL
WHERE session_id = $1 AND state = ANY ($2::text[]) AND recipe IS NOT NULL
  AND NOT EXISTS (SELECT FROM tasks t WHERE t.session_id = $1 AND t.state = 'running')
RETURNING session_id;

-- name: begin_setup
-- pending -> running.
UPDATE worktree_setups SET
    state = 'running', log = '', exit_status = NULL, error = NULL, started_at = now(), ended_at = NULL
WHERE session_id = $1 AND state = 'pending'
RETURNING session_id;

-- name: note_setup_log
-- What a running setup has printed so far.
UPDATE worktree_setups SET log = $2 WHERE session_id = $1 AND state = 'running' RETURNING session_id;

-- name: end_setup
-- running -> done | failed | skipped.
UPDATE worktree_setups SET state = $2, error = $3, exit_status = $4, log = coalesce($5, log), ended_at = now()
WHERE session_id = $1 AND state = 'running'
RETURNING session_id;

-- name: skip_setup
-- untrusted | pending | failed -> skipped.
UPDATE worktree_setups SET state = 'skipped', ended_at = now()
WHERE session_id = $1 AND state IN ('untrusted', 'pending', 'failed')
RETURNING session_id;

-- name: setups_in_state
-- The sessions whose setup is in a state.
SELECT session_id FROM worktree_setups WHERE state = $1 ORDER BY created_at;

-- name: untrusted_setups
-- The open sessions of a project that wait for this content to be trusted.
SELECT u.session_id
FROM worktree_setups u
JOIN sessions s ON s.id = u.session_id
WHERE s.project_id = $1 AND u.digest = $2 AND u.state = 'untrusted'
ORDER BY u.created_at;

-- name: is_setup_known
-- Whether any worktree of the project has a setup file of this content.
SELECT EXISTS (
    SELECT FROM worktree_setups u
    JOIN sessions s ON s.id = u.session_id
    WHERE s.project_id = $1 AND u.digest = $2 AND u.recipe IS NOT NULL
);

-- name: trust_setup
-- Remember that a person agreed; once is enough.
INSERT INTO trusted_setups (project_id, digest, trusted_by)
VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING;

-- name: get_trusted_setup
-- Who agreed to this content, and when.
SELECT * FROM trusted_setups WHERE project_id = $1 AND digest = $2;

-- name: hold_project_trust
-- Trust given at the same moment either is seen here or sees what is made here.
SELECT FROM projects p WHERE p.id = $1 FOR NO KEY UPDATE;

-- name: is_session_setup_trusted
-- Whether a session's own setup file may run.
SELECT EXISTS (
    SELECT FROM worktree_setups u
    JOIN sessions s ON s.id = u.session_id
    JOIN trusted_setups t ON t.project_id = s.project_id AND t.digest = u.digest
    WHERE u.session_id = $1
);

-- name: leased_ports
-- Every port that some session has.
SELECT port FROM leased_ports;

-- name: lease_port
-- Give a session a port; no row when another one has it.
INSERT INTO leased_ports (port, session_id, name) VALUES ($1, $2, $3) ON CONFLICT (port) DO NOTHING RETURNING port;
