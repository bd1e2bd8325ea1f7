-- name: get_draft
-- What is written and not sent in a session.
SELECT * FROM drafts WHERE session_id = $1;

-- name: write_draft
-- The last one written counts.
INSERT INTO drafts (session_id, text, updated_at) VALUES ($1, $2, clock_timestamp())
ON CONFLICT (session_id) DO UPDATE SET text = EXCLUDED.text, updated_at = EXCLUDED.updated_at
RETURNING *;
