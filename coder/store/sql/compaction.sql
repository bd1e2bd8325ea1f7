-- name: sessions_to_compact
-- Sessions with records that nobody has looked at for pieces of text to merge.
SELECT id FROM sessions WHERE compacted_seq < last_seq ORDER BY id;

-- name: stretch_to_compact
-- The next records to look at, in order, with the event of those that are text.
SELECT e.seq, e.first_seq, e.at, e.until, e.agent, e.task_id, e.lengths, s.compacted_seq,
    CASE WHEN e.event ->> 'type' IN ('text', 'reasoning') THEN e.event::text END AS event
FROM sessions s
JOIN events e ON e.session_id = s.id AND e.seq > s.compacted_seq
WHERE s.id = $1
ORDER BY e.seq
LIMIT $2;

-- name: move_compacted_seq
-- Take a stretch, unless somebody else has or a turn runs; it keeps others out until commit.
UPDATE sessions SET compacted_seq = $3
WHERE id = $1 AND compacted_seq = $2
  AND NOT EXISTS (SELECT FROM tasks WHERE session_id = $1 AND state = 'running')
RETURNING id;

-- name: drop_merged_events
-- What has become part of the records behind it.
DELETE FROM events e
USING unnest($2::bigint[], $3::bigint[]) AS m (first_seq, seq)
WHERE e.session_id = $1 AND e.seq >= m.first_seq AND e.seq < m.seq;

-- name: merge_event
-- Let a record cover what was dropped before it.
UPDATE events SET first_seq = $3, at = $4, until = $5, lengths = $6, event = $7
WHERE session_id = $1 AND seq = $2;
