-- name: upsert_agent_session
-- Record an agent session as it was just opened; the rewind that it was opened at is done with.
INSERT INTO agent_sessions
    (session_id, agent, backend, agent_session_id, server_port, status, can_steer, can_resume, sandbox, last_active_at, told)
VALUES (
    $1, $2, $3, $4, $5, $6, $7, $8, $11, $9, (SELECT coalesce(max(ordinal), 0) FROM decisions WHERE session_id = $1)
)
ON CONFLICT (session_id, agent) DO UPDATE SET
    backend = EXCLUDED.backend,
    agent_session_id = EXCLUDED.agent_session_id,
    server_port = EXCLUDED.server_port,
    status = EXCLUDED.status,
    can_steer = EXCLUDED.can_steer,
    sandbox = EXCLUDED.sandbox,
    can_resume = EXCLUDED.can_resume,
    rewind = CASE WHEN agent_sessions.rewind = $10 THEN NULL ELSE agent_sessions.rewind END,
    last_active_at = EXCLUDED.last_active_at
RETURNING *;

-- name: get_agent_session
-- One agent session.
SELECT * FROM agent_sessions WHERE session_id = $1 AND agent = $2;

-- name: list_agent_sessions
-- Every agent that ever took a turn in a session.
SELECT * FROM agent_sessions WHERE session_id = $1 ORDER BY created_at, agent;

-- name: move_agent_session
-- Leave one of the named states for another; a port goes with the server behind it.
UPDATE agent_sessions SET
    status = $4,
    server_port = CASE WHEN $4 IN ('crashed', 'closed') THEN NULL ELSE server_port END,
    last_active_at = now()
WHERE session_id = $1 AND agent = $2 AND status = ANY ($3::text[])
RETURNING *;

-- name: remember_choices
-- What was chosen last; null leaves what was remembered.
UPDATE agent_sessions SET
    model = coalesce($3, model),
    mode_id = coalesce($4, mode_id),
    thinking_option_id = coalesce($5, thinking_option_id)
WHERE session_id = $1 AND agent = $2;

-- name: reset_agent_sessions
-- After a crash no agent lives: active -> crashed, idle -> closed.
UPDATE agent_sessions SET
    status = CASE status WHEN 'active' THEN 'crashed' ELSE 'closed' END,
    server_port = NULL
WHERE status IN ('active', 'idle')
RETURNING *;

-- name: rewind_of
-- The point of a conversation that the next opening takes up, where one was chosen.
SELECT rewind FROM agent_sessions WHERE session_id = $1 AND agent = $2;

-- name: set_rewind
-- The next opening takes up this point; the agent is told again what it heard after it.
UPDATE agent_sessions SET
    rewind = $3,
    told = coalesce($4, (SELECT max(ordinal) FROM decisions WHERE session_id = $1), 0)
WHERE session_id = $1 AND agent = $2;

-- name: set_told
-- An agent has heard of everything up to this decision.
UPDATE agent_sessions SET told = $3 WHERE session_id = $1 AND agent = $2;
