-- name: figures
-- How much there is of what the operator watches; each from an index or a small table.
SELECT
    (SELECT count(*) FROM sessions WHERE state = 'open' AND NOT is_spare) AS sessions,
    (SELECT count(*) FROM sessions WHERE state = 'open' AND is_spare) AS spares,
    (SELECT count(*) FROM tasks WHERE state = 'pending') AS pending,
    (SELECT count(*) FROM tasks WHERE state = 'running') AS running,
    (SELECT count(*) FROM tasks WHERE state = 'blocked') AS blocked,
    (SELECT coalesce(greatest(extract(epoch FROM now() - min(created_at)), 0), 0)::float8
        FROM tasks WHERE state = 'pending') AS oldest_seconds,
    (SELECT coalesce(max(waiting), 0)
        FROM (SELECT count(*) AS waiting FROM tasks WHERE state = 'pending' GROUP BY session_id) AS queues) AS longest_queue,
    (SELECT count(*) FROM pending_changes WHERE status = 'pending') AS pending_changes;
