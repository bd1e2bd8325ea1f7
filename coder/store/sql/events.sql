-- name: move_last_seqs
-- Take the next numbers of several journals, each from the number the writer saw; it keeps other writers out until commit.
UPDATE sessions s SET last_seq = n.last, updated_at = now()
FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS n (session_id, before, last)
WHERE s.id = n.session_id AND s.last_seq = n.before
RETURNING s.id;

-- name: append_events
-- Take the next numbers of one journal and store a few records under them.
SELECT append_events($1, $2, $3, $4, $5, $6, $7);

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
-- Records between two numbers, both excluded, oldest first; lengths only where a merged record has to be cut.
SELECT seq, first_seq, at, until, agent, task_id, event::text AS event,
    CASE WHEN first_seq <= $2 OR seq >= $3 THEN lengths END AS lengths
FROM events
WHERE session_id = $1
  AND seq > $2
  AND seq <= coalesce((SELECT min(seq) FROM events WHERE session_id = $1 AND seq >= $3 - 1), $3)
ORDER BY seq
LIMIT $4;

-- name: page_events_before
-- The newest records before a number, newest first; lengths only where a merged record has to be cut.
SELECT seq, first_seq, at, until, agent, task_id, event::text AS event,
    CASE WHEN seq >= $2 THEN lengths END AS lengths
FROM events
WHERE session_id = $1
  AND seq <= coalesce((SELECT min(seq) FROM events WHERE session_id = $1 AND seq >= $2 - 1), $2)
ORDER BY seq DESC
LIMIT $3;
