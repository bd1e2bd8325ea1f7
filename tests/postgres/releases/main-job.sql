-- The schema as it was when the first change (run-main-job) was archived; never edited. One file for each released schema.
-- The whole schema. Safe to apply twice; applied at every boot.
-- Ids are opaque text made by the host. Each CHECK on a state column lists the states; the comment above it names the moves.

CREATE TABLE IF NOT EXISTS projects (
    id             text PRIMARY KEY,
    name           text NOT NULL CHECK (name <> ''),
    repo_path      text NOT NULL UNIQUE,
    default_branch text,
    created_at     timestamptz NOT NULL DEFAULT now()
);

-- opening -> open (worktree ready) -> closing -> row deleted; opening -> closing; closing -> open (the worktree stayed). A row found 'opening' at boot never became usable: it is removed.
-- last_seq is moved in the transaction that stores the records up to it.
CREATE TABLE IF NOT EXISTS sessions (
    id         text PRIMARY KEY,
    project_id text NOT NULL REFERENCES projects,
    name       text NOT NULL,
    state      text NOT NULL DEFAULT 'opening' CHECK (state IN ('opening', 'open', 'closing')),
    base_ref   text,
    last_seq   bigint NOT NULL DEFAULT 0 CHECK (last_seq >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70);
CREATE INDEX IF NOT EXISTS sessions_by_project ON sessions (project_id, id);

-- base_tree is what changes are measured against; applying a change moves it forward.
CREATE TABLE IF NOT EXISTS session_worktrees (
    session_id    text PRIMARY KEY REFERENCES sessions ON DELETE CASCADE,
    worktree_path text NOT NULL UNIQUE,
    branch        text NOT NULL,
    base_commit   text NOT NULL,
    base_tree     text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now()
);

-- idle <-> active (a turn runs); either -> crashed (agent died), -> closed (evicted or asked for); crashed, closed -> idle (opened again); crashed -> closed.
CREATE TABLE IF NOT EXISTS agent_sessions (
    session_id       text NOT NULL REFERENCES sessions ON DELETE CASCADE,
    agent            text NOT NULL,
    backend          text NOT NULL CHECK (backend IN ('opencode_server', 'acp_warm')),
    agent_session_id text,
    server_port      integer,
    status           text NOT NULL DEFAULT 'idle' CHECK (status IN ('idle', 'active', 'crashed', 'closed')),
    last_active_at   timestamptz NOT NULL DEFAULT now(),
    created_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (session_id, agent)
);

-- pending -> running (claimed) -> completed | failed | cancelled; pending -> cancelled | failed | blocked; blocked -> pending | cancelled | failed;
-- running -> pending only where the turn provably never started. `owner` is the host incarnation that claimed it, `attempt` its fencing number.
-- `prompt_sent` is set just before the prompt is written to the agent: without it the turn provably never started.
-- `ordinal` is the order of acceptance, whatever clocks do.
CREATE TABLE IF NOT EXISTS tasks (
    id                 text PRIMARY KEY,
    ordinal            bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    session_id         text NOT NULL REFERENCES sessions ON DELETE CASCADE,
    parent_task_id     text REFERENCES tasks ON DELETE SET NULL,
    agent              text NOT NULL,
    model              text,
    mode_id            text,
    thinking_option_id text,
    feature_values     jsonb NOT NULL DEFAULT '{}',
    attachments        jsonb NOT NULL DEFAULT '[]',
    input              text NOT NULL,
    state              text NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'running', 'completed', 'failed', 'cancelled', 'blocked')),
    error              jsonb,
    stop_reason        text,
    output_summary     text,
    usage              jsonb,
    owner              text,
    attempt            integer NOT NULL DEFAULT 0,
    prompt_sent        boolean NOT NULL DEFAULT false,
    cancel_requested   boolean NOT NULL DEFAULT false,
    idempotency_key    text,
    created_at         timestamptz NOT NULL DEFAULT now(),
    started_at         timestamptz,
    ended_at           timestamptz,
    CHECK ((state = 'running') <= (owner IS NOT NULL)),
    CHECK ((state IN ('completed', 'failed', 'cancelled')) = (ended_at IS NOT NULL))
);
CREATE INDEX IF NOT EXISTS tasks_waiting ON tasks (ordinal) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS tasks_waiting_by_session ON tasks (session_id, ordinal) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS tasks_by_session ON tasks (session_id, ordinal);
CREATE UNIQUE INDEX IF NOT EXISTS tasks_by_order ON tasks (ordinal);
-- The same key from the same session is the same wish.
CREATE UNIQUE INDEX IF NOT EXISTS tasks_one_per_key ON tasks (session_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
-- At most one running turn per session.
CREATE UNIQUE INDEX IF NOT EXISTS tasks_one_running ON tasks (session_id) WHERE state = 'running';

-- Append only. seq is contiguous from 1 per session. `event` is json, not jsonb: it is kept and served as it was encoded.
CREATE TABLE IF NOT EXISTS events (
    session_id text NOT NULL REFERENCES sessions ON DELETE CASCADE,
    seq        bigint NOT NULL CHECK (seq > 0),
    at         timestamptz NOT NULL,
    agent      text,
    task_id    text,
    event      json NOT NULL,
    PRIMARY KEY (session_id, seq)
);

-- pending -> applied | rejected | superseded (a later turn changed the file again); applied -> reverted.
-- At most one pending row per file of a session.
CREATE TABLE IF NOT EXISTS pending_changes (
    id            text PRIMARY KEY,
    session_id    text NOT NULL REFERENCES sessions ON DELETE CASCADE,
    task_id       text REFERENCES tasks ON DELETE SET NULL,
    agent         text NOT NULL,
    file_path     text NOT NULL,
    old_path      text,
    operation     text NOT NULL CHECK (operation IN ('create', 'edit', 'delete', 'rename')),
    base_blob     text,
    new_blob      text,
    base_mode     text,
    new_mode      text,
    is_binary     boolean NOT NULL DEFAULT false,
    added_lines   integer NOT NULL DEFAULT 0,
    deleted_lines integer NOT NULL DEFAULT 0,
    status        text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'applied', 'rejected', 'reverted', 'superseded')),
    created_at    timestamptz NOT NULL DEFAULT now(),
    decided_at    timestamptz,
    decided_by    text,
    reason        text
);
CREATE UNIQUE INDEX IF NOT EXISTS pending_changes_one_pending ON pending_changes (session_id, file_path) WHERE status = 'pending';
CREATE INDEX IF NOT EXISTS pending_changes_by_session ON pending_changes (session_id, id);

-- pending -> selected (an option was chosen) | cancelled (turn ended or cancelled) | expired (nobody answered).
CREATE TABLE IF NOT EXISTS permission_requests (
    id         text PRIMARY KEY,
    session_id text NOT NULL REFERENCES sessions ON DELETE CASCADE,
    task_id    text REFERENCES tasks ON DELETE CASCADE,
    agent      text NOT NULL,
    tool_call  jsonb NOT NULL,
    options    jsonb NOT NULL,
    status     text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'selected', 'cancelled', 'expired')),
    option_id  text,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    decided_at timestamptz,
    decided_by text
);
CREATE INDEX IF NOT EXISTS permission_requests_by_session ON permission_requests (session_id, id);

-- What a probe found, kept between starts.
CREATE TABLE IF NOT EXISTS available_agents (
    id           text PRIMARY KEY,
    install_path text,
    version      text,
    probe        jsonb,
    probed_at    timestamptz
);

-- Answers to commands that came with an idempotency key; response is null while the command runs.
CREATE TABLE IF NOT EXISTS idempotency_keys (
    scope      text NOT NULL,
    key        text NOT NULL,
    body_hash  text NOT NULL,
    owner      text NOT NULL,
    status     integer,
    response   jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (scope, key)
);

-- Whoever inserts a task wakes the dispatcher, in the same transaction. The payload is a hint; the row is the truth.
CREATE OR REPLACE FUNCTION notify_tasks_new() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tasks_new', NEW.id);
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER tasks_new AFTER INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION notify_tasks_new();
