-- name: all_available_agents
-- The probe cache.
SELECT * FROM available_agents ORDER BY id;

-- name: upsert_available_agent
-- What a probe found.
INSERT INTO available_agents (id, install_path, version, probe, probed_at)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (id) DO UPDATE SET
    install_path = EXCLUDED.install_path,
    version = EXCLUDED.version,
    probe = EXCLUDED.probe,
    probed_at = EXCLUDED.probed_at
RETURNING *;

-- name: delete_available_agent
-- Forget a provider that is no longer in the catalogue.
DELETE FROM available_agents WHERE id = $1;
