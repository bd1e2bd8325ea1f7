-- name: reserve_key
-- Take a key before its command runs; no row when it was taken.
INSERT INTO idempotency_keys (scope, key, body_hash, owner)
VALUES ($1, $2, $3, $4)
ON CONFLICT (scope, key) DO NOTHING
RETURNING key;

-- name: get_key
-- What a key was taken for, and what was answered.
SELECT * FROM idempotency_keys WHERE scope = $1 AND key = $2;

-- name: answer_key
-- Keep the answer, once.
UPDATE idempotency_keys SET status = $3, response = $4
WHERE scope = $1 AND key = $2 AND status IS NULL
RETURNING key;

-- name: release_key
-- Give back a key whose command did nothing.
DELETE FROM idempotency_keys WHERE scope = $1 AND key = $2 AND status IS NULL;

-- name: drop_unanswered_keys
-- Give back what dead runs had taken.
DELETE FROM idempotency_keys WHERE status IS NULL AND owner <> $1;

-- name: drop_old_keys
-- Forget answers that nobody will ask for again.
DELETE FROM idempotency_keys WHERE created_at < $1;
