-- name: insert_comment
-- Begin a thread.
INSERT INTO comments (
    id, session_id, change_id, file_path, side, line, text, before, after, blob, body, "by", status, created_at
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'open', $13);

-- name: insert_reply
-- Say more in a thread.
INSERT INTO comment_replies (id, thread_id, body, "by", created_at) VALUES ($1, $2, $3, $4, $5);

-- name: read_comments
-- Whole threads, in the order they were begun.
SELECT comments.*, coalesce(
    (SELECT jsonb_agg(to_jsonb(reply) ORDER BY ordinal) FROM comment_replies AS reply WHERE thread_id = comments.id), '[]'
) AS replies
FROM comments
WHERE id = ANY ($1::text[])
ORDER BY id;

-- name: list_comments
-- A keyset page of a session's threads, newest first.
-- `BETWEEN` and the order keep the planner at the session's own index: it would go through all newer ones of other sessions.
SELECT id FROM comments
WHERE session_id BETWEEN $1 AND $1 AND ($2::text IS NULL OR status = $2) AND ($3::text IS NULL OR id < $3)
ORDER BY session_id DESC, id DESC
LIMIT $4;

-- name: open_comments
-- The threads of a session that are not settled.
SELECT id FROM comments WHERE session_id = $1 AND status = 'open';

-- name: unsent_comments
-- Open threads of which an agent has not heard everything: never sent to it, said more since, or the prompt was lost.
SELECT id FROM comments
WHERE session_id = $1 AND status = 'open' AND NOT EXISTS (
    SELECT FROM tasks
    WHERE tasks.id = comments.task_id
        AND agent = $2
        AND (state NOT IN ('failed', 'cancelled') OR stop_reason = 'steered')
        AND sent_replies = (SELECT count(*) FROM comment_replies WHERE thread_id = comments.id)
);

-- name: move_comment
-- Where the thread's line is in a newer text.
UPDATE comments SET file_path = $2, blob = $3, line = $4, before = $5, after = $6
WHERE id = $1 AND status = 'open'
RETURNING id;

-- name: set_comment_status
-- Leave one of the named states: open -> resolved | outdated, and back.
UPDATE comments
SET status = $3,
    resolved_at = CASE WHEN $3 = 'open' THEN NULL ELSE now() END,
    resolved_by = CASE WHEN $3 = 'open' THEN NULL ELSE $4 END,
    reason = CASE WHEN $3 = 'open' THEN NULL ELSE $5 END,
    blob = coalesce($6, blob)
WHERE id = $1 AND status = ANY ($2::text[])
RETURNING id;

-- name: mark_comment_sent
-- The thread is part of a prompt, unless another one has taken it since it was read.
UPDATE comments SET task_id = $3, sent_at = $4, sent_replies = $5
WHERE id = $1 AND task_id IS NOT DISTINCT FROM $2
RETURNING id;
