-- name: move_last_seqs
-- Take the next numbers of several journals, each from the number the writer saw; it keeps other writers out until commit.
UPDATE sessions s SET last_seq = n.last, updated_at = now()
FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS n (session_id, before, last)
WHERE s.id = n.session_id AND s.last_seq = n.before
RETURNING s.id;

-- name: last_seqs
-- Where the journals of these sessions stand.
SELECT id, last_seq FROM sessions WHERE id = ANY ($1::text[]);

-- name: last_seq
-- Where a journal stands.
SELECT last_seq FROM sessions WHERE id = $1;

-- name: all_last_seqs
-- Where every journal stands.
SELECT id, last_seq FROM sessions;

-- name: page_events
-- Records after a number, in order.
SELECT seq, at, agent, task_id, event::text AS event
FROM events
WHERE session_id = $1 AND seq > $2
ORDER BY seq
LIMIT $3;

-- name: tail_events
-- The newest records, newest first.
SELECT seq, at, agent, task_id, event::text AS event
FROM events
WHERE session_id = $1
ORDER BY seq DESC
LIMIT $2;
