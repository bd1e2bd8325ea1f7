-- name: insert_checkpoint
-- A point to go back to, with the point that every agent's conversation is at.
INSERT INTO checkpoints (id, session_id, task_id, agent, kind, tree, seq, created_at, conversations)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, coalesce(
    jsonb_object_agg(
        agent, coalesce(rewind, jsonb_build_object('agent_session_id', agent_session_id)) || jsonb_build_object('told', told)
    ),
    '{}'
)
FROM agent_sessions
WHERE session_id = $2;

-- name: get_checkpoint
-- One checkpoint.
SELECT * FROM checkpoints WHERE id = $1;

-- name: list_checkpoints
-- A keyset page of a session's checkpoints, newest first.
-- `BETWEEN` and the order keep the planner at the session's own index: it would go through all newer ones of other sessions.
SELECT * FROM checkpoints
WHERE session_id BETWEEN $1 AND $1 AND ($2::text IS NULL OR id < $2)
ORDER BY session_id DESC, id DESC
LIMIT $3;

-- name: conversations_at_checkpoint
-- For every agent: the point its conversation is at now, the one it was at then (null: it had not begun), and the first prompt since.
SELECT
    a.agent,
    a.can_resume,
    coalesce(a.rewind, jsonb_build_object('agent_session_id', a.agent_session_id)) AS present,
    c.conversations -> a.agent AS past,
    t.sent_seq IS NOT NULL AS was_prompted,
    t.message_id
FROM checkpoints c
JOIN agent_sessions a ON a.session_id = c.session_id
LEFT JOIN LATERAL (
    SELECT sent_seq, message_id
    FROM tasks
    WHERE session_id = c.session_id
      AND agent = a.agent
      AND sent_seq > c.seq
      AND agent_session_id = coalesce(c.conversations -> a.agent ->> 'agent_session_id', agent_session_id)
    ORDER BY sent_seq
    LIMIT 1
) t ON true
WHERE c.id = $1 AND c.conversations IS NOT NULL
ORDER BY a.agent;
