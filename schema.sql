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
-- is_spare: made ahead, and nobody has asked for it yet.
-- last_seq is moved in the transaction that stores the records up to it. Up to compacted_seq adjacent pieces of text are merged.
CREATE TABLE IF NOT EXISTS sessions (
    id         text PRIMARY KEY,
    project_id text NOT NULL REFERENCES projects,
    name       text NOT NULL,
    state      text NOT NULL DEFAULT 'opening' CHECK (state IN ('opening', 'open', 'closing')),
    base_ref   text,
    last_seq   bigint NOT NULL DEFAULT 0 CHECK (last_seq >= 0),
    compacted_seq bigint NOT NULL DEFAULT 0,
    auto_apply boolean NOT NULL DEFAULT false,
    is_spare   boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70);
CREATE INDEX IF NOT EXISTS sessions_by_project ON sessions (project_id, id);

-- base_tree is what changes are measured against; applying a change moves it forward. last_tree is the newest snapshot.
-- committed_tree is as much of base_tree as is on the branch, null as long as that is base_commit's. keep_branch: it outlives the session.
CREATE TABLE IF NOT EXISTS session_worktrees (
    session_id    text PRIMARY KEY REFERENCES sessions ON DELETE CASCADE,
    worktree_path text NOT NULL UNIQUE,
    branch        text NOT NULL,
    base_commit   text NOT NULL,
    base_tree     text NOT NULL,
    last_tree     text,
    committed_tree text,
    keep_branch   boolean NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL DEFAULT now()
);

-- idle <-> active (a turn runs); either -> crashed (agent died), -> closed (evicted or asked for); crashed, closed -> idle (opened again); crashed -> closed.
-- model, mode_id and thinking_option_id are what was chosen last: a prompt that says nothing else keeps them.
-- told is the newest decision (its ordinal) that the agent has heard of.
-- can_steer and can_resume are what the agent said of itself when it was opened: whether a running turn takes more input, and
-- whether an earlier conversation can be taken up. rewind is the point of a conversation that the next opening takes up instead of
-- the newest one.
-- sandbox is what confined its process when it was opened; null where it was opened before that was recorded.
CREATE TABLE IF NOT EXISTS agent_sessions (
    session_id       text NOT NULL REFERENCES sessions ON DELETE CASCADE,
    agent            text NOT NULL,
    backend          text NOT NULL CHECK (backend IN ('opencode_server', 'acp_warm')),
    agent_session_id text,
    server_port      integer,
    model              text,
    mode_id            text,
    thinking_option_id text,
    can_steer        boolean NOT NULL DEFAULT false,
    can_resume       boolean NOT NULL DEFAULT false,
    sandbox          text CHECK (sandbox IN ('bubblewrap', 'landlock', 'none')),
    rewind           jsonb,
    status           text NOT NULL DEFAULT 'idle' CHECK (status IN ('idle', 'active', 'crashed', 'closed')),
    last_active_at   timestamptz NOT NULL DEFAULT now(),
    created_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (session_id, agent)
);

-- pending -> running (claimed) -> completed | failed | cancelled; pending -> cancelled | failed | blocked; blocked (being put into the running turn) -> pending | cancelled | failed;
-- running -> pending only where the turn provably never started. `owner` is the host incarnation that claimed it, `attempt` its fencing number.
-- `prompt_sent` is set just before the prompt is written to the agent: without it the turn provably never started.
-- `sent_seq` is the journal's newest number then, `agent_session_id` the conversation it went to, and `message_id` its name there.
-- `ordinal` is the order of acceptance, whatever clocks do; `place` the order of turns, moved by `position` while a task waits.
CREATE TABLE IF NOT EXISTS tasks (
    id                 text PRIMARY KEY,
    ordinal            bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    position           numeric,
    place              numeric GENERATED ALWAYS AS (coalesce(position, ordinal)) STORED,
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
    sent_seq           bigint,
    agent_session_id   text,
    message_id         text,
    cancel_requested   boolean NOT NULL DEFAULT false,
    idempotency_key    text,
    created_at         timestamptz NOT NULL DEFAULT now(),
    started_at         timestamptz,
    ended_at           timestamptz,
    CHECK ((state = 'running') <= (owner IS NOT NULL)),
    CHECK ((state IN ('completed', 'failed', 'cancelled')) = (ended_at IS NOT NULL))
);
ALTER TABLE tasks
    ADD COLUMN IF NOT EXISTS position numeric,
    ADD COLUMN IF NOT EXISTS place numeric GENERATED ALWAYS AS (coalesce(position, ordinal)) STORED;
-- These were on `ordinal` once, under names of their own.
DROP INDEX IF EXISTS tasks_waiting, tasks_waiting_by_session;
CREATE INDEX IF NOT EXISTS tasks_by_place ON tasks (place) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS tasks_by_session_and_place ON tasks (session_id, place) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS tasks_open ON tasks (ordinal) WHERE state IN ('pending', 'blocked', 'running');
CREATE INDEX IF NOT EXISTS tasks_by_session ON tasks (session_id, ordinal);
CREATE UNIQUE INDEX IF NOT EXISTS tasks_by_order ON tasks (ordinal);
-- The same key from the same session is the same wish.
CREATE UNIQUE INDEX IF NOT EXISTS tasks_one_per_key ON tasks (session_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
-- At most one running turn per session.
CREATE UNIQUE INDEX IF NOT EXISTS tasks_one_running ON tasks (session_id) WHERE state = 'running';

-- Append only, but for text that is merged once its turn has ended: such a row covers first_seq..seq, `lengths` has the characters of
-- each of these numbers, and it was said from `at` until `until`. The numbers of all rows are contiguous from 1 per session.
-- `event` is json, not jsonb: it is kept and served as it was encoded.
CREATE TABLE IF NOT EXISTS events (
    session_id text NOT NULL REFERENCES sessions ON DELETE CASCADE,
    seq        bigint NOT NULL CHECK (seq > 0),
    at         timestamptz NOT NULL,
    agent      text,
    task_id    text,
    event      json NOT NULL,
    first_seq  bigint,
    until      timestamptz,
    lengths    integer[],
    PRIMARY KEY (session_id, seq),
    CHECK (num_nulls(first_seq, until, lengths) IN (0, 3)),
    CHECK (first_seq < seq AND cardinality(lengths) = seq - first_seq + 1)
);

-- pending -> applied | rejected | superseded (a later turn changed the file again); applied -> reverted.
-- At most one pending row per file of a session. A decided part of a file is a row of its own, split from the pending one, whose sides
-- become those of what is left.
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
    reason        text,
    contributors  text[] NOT NULL DEFAULT '{}',
    is_secret     boolean NOT NULL DEFAULT false,
    split_from    text,
    target        text CHECK (target IN ('checkout', 'branch')),
    commit        text,
    decision_id   text,
    queued        jsonb NOT NULL DEFAULT '[]'
);
CREATE UNIQUE INDEX IF NOT EXISTS pending_changes_one_pending ON pending_changes (session_id, file_path) WHERE status = 'pending';
CREATE INDEX IF NOT EXISTS pending_changes_by_session ON pending_changes (session_id, id);

-- queued (decided while a turn ran) -> underway -> done; queued -> withdrawn | refused (it does not fit any more);
-- underway -> refused | queued: it was cut off, and what it had written was taken back by its plan.
CREATE TABLE IF NOT EXISTS decisions (
    id         text PRIMARY KEY,
    ordinal    bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    session_id text NOT NULL REFERENCES sessions ON DELETE CASCADE,
    verb       text NOT NULL CHECK (verb IN ('apply', 'reject', 'revert', 'restore', 'update')),
    target     text NOT NULL DEFAULT 'checkout' CHECK (target IN ('checkout', 'branch')),
    picks      jsonb NOT NULL,
    checkpoint_id text,
    "by"       text NOT NULL,
    reason     text,
    state      text NOT NULL CHECK (state IN ('queued', 'underway', 'done', 'refused', 'withdrawn')),
    plan       jsonb,
    error      jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz,
    CHECK ((state = 'underway') <= (plan IS NOT NULL)),
    CHECK ((state IN ('done', 'refused', 'withdrawn')) = (ended_at IS NOT NULL))
);
CREATE INDEX IF NOT EXISTS decisions_by_session ON decisions (session_id, id);
CREATE INDEX IF NOT EXISTS decisions_open ON decisions (session_id, ordinal) WHERE state IN ('queued', 'underway');

-- conversations has the point of every agent's conversation, by agent; null: made before these were kept.
CREATE TABLE IF NOT EXISTS checkpoints (
    id         text PRIMARY KEY,
    session_id text NOT NULL REFERENCES sessions ON DELETE CASCADE,
    task_id    text REFERENCES tasks ON DELETE SET NULL,
    agent      text,
    kind       text NOT NULL CHECK (kind IN ('opened', 'turn', 'restore', 'update')),
    tree       text NOT NULL,
    seq        bigint NOT NULL,
    conversations jsonb,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS checkpoints_by_session ON checkpoints (session_id, id);

-- untrusted (its commands wait for a person's word) -> pending -> running -> done | failed | skipped; untrusted, pending, failed -> skipped;
-- done, failed, skipped -> pending (run again). No row: the repository asks for nothing. Without a recipe its file could not be understood.
-- Prompts wait while it `holds`; a broken file holds nothing, because no run could mend it.
CREATE TABLE IF NOT EXISTS worktree_setups (
    session_id  text PRIMARY KEY REFERENCES sessions ON DELETE CASCADE,
    state       text NOT NULL CHECK (state IN ('untrusted', 'pending', 'running', 'done', 'failed', 'skipped')),
    source      text NOT NULL,
    digest      text NOT NULL,
    recipe      jsonb,
    holds       boolean GENERATED ALWAYS AS
        (state IN ('untrusted', 'pending', 'running') OR (state = 'failed' AND recipe IS NOT NULL)) STORED,
    log         text NOT NULL DEFAULT '',
    exit_status integer,
    error       jsonb,
    created_at  timestamptz NOT NULL DEFAULT now(),
    started_at  timestamptz,
    ended_at    timestamptz,
    CHECK (recipe IS NOT NULL OR state IN ('failed', 'skipped'))
);

-- A person agreed once that a setup file of this content may run for this project.
CREATE TABLE IF NOT EXISTS trusted_setups (
    project_id text NOT NULL REFERENCES projects ON DELETE CASCADE,
    digest     text NOT NULL CHECK (digest ~ '^[0-9a-f]{64}$'),
    trusted_by text NOT NULL,
    trusted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, digest)
);

-- One session at most has a port; it is given back with the session.
CREATE TABLE IF NOT EXISTS leased_ports (
    port       integer PRIMARY KEY CHECK (port BETWEEN 1024 AND 65535),
    session_id text NOT NULL REFERENCES sessions ON DELETE CASCADE,
    name       text NOT NULL,
    UNIQUE (session_id, name)
);

-- open -> resolved (by a person, or by the host when the lines have changed) | outdated (the file is no text any more);
-- resolved -> open; outdated -> open | resolved.
-- line, text, before and after say where in `blob` the thread hangs; sent_replies is how many replies the prompt task_id held.
CREATE TABLE IF NOT EXISTS comments (
    id           text PRIMARY KEY,
    session_id   text NOT NULL REFERENCES sessions ON DELETE CASCADE,
    change_id    text NOT NULL REFERENCES pending_changes ON DELETE CASCADE,
    file_path    text NOT NULL,
    side         text NOT NULL CHECK (side IN ('base', 'new')),
    line         integer NOT NULL CHECK (line > 0),
    text         text NOT NULL,
    before       text[] NOT NULL,
    after        text[] NOT NULL,
    blob         text NOT NULL,
    body         text NOT NULL CHECK (body <> ''),
    "by"         text NOT NULL,
    status       text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'resolved', 'outdated')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    resolved_at  timestamptz,
    resolved_by  text,
    reason       text,
    task_id      text REFERENCES tasks ON DELETE SET NULL,
    sent_at      timestamptz,
    sent_replies integer NOT NULL DEFAULT 0,
    CHECK ((status = 'open') = (resolved_at IS NULL))
);
CREATE INDEX IF NOT EXISTS comments_by_session ON comments (session_id, id);
CREATE INDEX IF NOT EXISTS comments_open ON comments (session_id, id) WHERE status = 'open';

CREATE TABLE IF NOT EXISTS comment_replies (
    id         text PRIMARY KEY,
    ordinal    bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    thread_id  text NOT NULL REFERENCES comments ON DELETE CASCADE,
    body       text NOT NULL CHECK (body <> ''),
    "by"       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS comment_replies_by_thread ON comment_replies (thread_id, ordinal);

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
CREATE INDEX IF NOT EXISTS permission_requests_waiting ON permission_requests (id) WHERE status = 'pending';

-- What a person has written into a session's prompt and not sent yet; the last one written counts.
CREATE TABLE IF NOT EXISTS drafts (
    session_id text PRIMARY KEY REFERENCES sessions ON DELETE CASCADE,
    text       text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

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
-- A few records of one session, in one round trip. 'elsewhere': the journal does not stand just before the first. 'refused': a row is not
-- taken, for reasons that are about the row itself; the numbers are taken then, and the rows are the caller's to store.
CREATE OR REPLACE FUNCTION append_events(
    journal text, before bigint, seqs bigint[], times timestamptz[], agents text[], task_ids text[], bodies json[]
) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    UPDATE sessions SET last_seq = before + cardinality(seqs), updated_at = now() WHERE id = journal AND last_seq = before;
    IF NOT FOUND THEN
        RETURN 'elsewhere';
    END IF;
    BEGIN
        INSERT INTO events (session_id, seq, at, agent, task_id, event)
            SELECT journal, n.* FROM unnest(seqs, times, agents, task_ids, bodies) AS n;
    EXCEPTION
        WHEN feature_not_supported OR data_exception OR integrity_constraint_violation OR with_check_option_violation
            OR program_limit_exceeded OR plpgsql_error THEN
            RETURN 'refused';
    END;
    RETURN 'stored';
END $$;

CREATE OR REPLACE FUNCTION notify_tasks_new() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tasks_new', NEW.id);
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER tasks_new AFTER INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION notify_tasks_new();

-- Columns that came after the first version of their tables.
ALTER TABLE sessions
    ADD COLUMN IF NOT EXISTS auto_apply boolean NOT NULL DEFAULT false,
    ADD COLUMN IF NOT EXISTS is_spare boolean NOT NULL DEFAULT false,
    ADD COLUMN IF NOT EXISTS compacted_seq bigint NOT NULL DEFAULT 0;
ALTER TABLE session_worktrees
    ADD COLUMN IF NOT EXISTS last_tree text,
    ADD COLUMN IF NOT EXISTS committed_tree text,
    ADD COLUMN IF NOT EXISTS keep_branch boolean NOT NULL DEFAULT false;
ALTER TABLE agent_sessions
    ADD COLUMN IF NOT EXISTS model text,
    ADD COLUMN IF NOT EXISTS mode_id text,
    ADD COLUMN IF NOT EXISTS thinking_option_id text,
    ADD COLUMN IF NOT EXISTS can_steer boolean NOT NULL DEFAULT false,
    ADD COLUMN IF NOT EXISTS told bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS can_resume boolean NOT NULL DEFAULT false,
    ADD COLUMN IF NOT EXISTS sandbox text CHECK (sandbox IN ('bubblewrap', 'landlock', 'none')),
    ADD COLUMN IF NOT EXISTS rewind jsonb;
ALTER TABLE tasks
    ADD COLUMN IF NOT EXISTS sent_seq bigint,
    ADD COLUMN IF NOT EXISTS agent_session_id text,
    ADD COLUMN IF NOT EXISTS message_id text;
ALTER TABLE checkpoints ADD COLUMN IF NOT EXISTS conversations jsonb;
ALTER TABLE pending_changes
    ADD COLUMN IF NOT EXISTS contributors text[] NOT NULL DEFAULT '{}',
    ADD COLUMN IF NOT EXISTS is_secret boolean NOT NULL DEFAULT false,
    ADD COLUMN IF NOT EXISTS split_from text,
    ADD COLUMN IF NOT EXISTS target text CHECK (target IN ('checkout', 'branch')),
    ADD COLUMN IF NOT EXISTS commit text,
    ADD COLUMN IF NOT EXISTS decision_id text,
    ADD COLUMN IF NOT EXISTS queued jsonb NOT NULL DEFAULT '[]';
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'events'::regclass AND attname = 'first_seq') THEN
        ALTER TABLE events
            ADD COLUMN first_seq bigint,
            ADD COLUMN until timestamptz,
            ADD COLUMN lengths integer[],
            ADD CHECK (num_nulls(first_seq, until, lengths) IN (0, 3)),
            ADD CHECK (first_seq < seq AND cardinality(lengths) = seq - first_seq + 1);
    END IF;
END
$$;
