-- name: try_lock
-- Take a lock of this connection's session if nobody else has it.
SELECT pg_try_advisory_lock($1::bigint);

-- name: wait_for_lock_in_transaction
-- Keep everybody else out until this transaction ends.
SELECT pg_advisory_xact_lock($1::bigint);

-- name: find_lock_holder
-- What the connection that has the lock calls itself.
SELECT a.application_name
FROM pg_locks l
JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory'
  AND l.granted
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.classid::bigint = $1::bigint >> 32
  AND l.objid::bigint = $1::bigint & 4294967295
LIMIT 1;

-- name: probe
-- Nothing but a round trip.
SELECT 1;

-- name: notify
-- Wake whoever listens on a channel.
SELECT pg_notify($1, '');
