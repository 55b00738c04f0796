-- Every statement that concerns few rows finds them by an index on values that it was given, never by
-- joining what it was given with a table: the order of such a join may have been planned while the
-- table was empty.

-- Jobs: the state that every fire changes. What a job is stands in `definitions`, under the same
-- number, so that a fire rewrites a few integers and never the arguments. Task and executor stand
-- here, as claims pass over what a node cannot run.
CREATE SEQUENCE SCHEMA.job_blocks;
CREATE TABLE SCHEMA.jobs (
    -- Handed out by the writers, who take them from the sequence in blocks: so that both rows of a job
    -- can be written at once.
    number bigint PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE,
    -- Changes with every write of the definition: what was decoded under a stamp stays true. Made by
    -- the writer, who knows by it whether a row that it finds is its own.
    stamp bigint NOT NULL,
    task text COLLATE "C",
    executor text COLLATE "C",
    revision bigint NOT NULL,
    version bigint NOT NULL,
    priority bigint NOT NULL,
    slots bigint,
    keep_runs bigint,
    next_fire bigint,
    due_at bigint,
    last_fire bigint,
    state text NOT NULL CHECK (state IN ('active', 'paused', 'parked')),
    reason text,
    paused_at bigint,
    skip_until bigint
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX jobs_due ON SCHEMA.jobs (priority DESC, due_at) WHERE state = 'active' AND due_at IS NOT NULL;
CREATE INDEX jobs_parked ON SCHEMA.jobs (id) WHERE state = 'parked';

CREATE TABLE SCHEMA.definitions (
    number bigint PRIMARY KEY,
    name text,
    trigger bytea,
    written bytea,
    policies bytea,
    arguments bytea,
    tags text,
    metadata bytea,
    added_at bigint
) WITH (autovacuum_vacuum_scale_factor = 0.05);

-- The ledger: runs, and verdicts of fires that did not run.
CREATE TABLE SCHEMA.runs (
    -- Tells apart what was recorded at the same instant.
    number bigint GENERATED ALWAYS AS IDENTITY,
    id text COLLATE "C" PRIMARY KEY,
    job_id text COLLATE "C" NOT NULL,
    revision bigint NOT NULL,
    fire_time bigint NOT NULL,
    scheduled_time bigint NOT NULL,
    state text NOT NULL,
    cause text NOT NULL,
    attempt bigint NOT NULL,
    lost_count bigint NOT NULL,
    node text COLLATE "C",
    started_at bigint,
    finished_at bigint,
    until bigint,
    count bigint DEFAULT 1,
    reason text,
    result bytea,
    error bytea,
    args bytea,
    kwargs bytea,
    -- That of the job, so that waiting runs can be claimed in the order of an index.
    priority bigint NOT NULL DEFAULT 0,
    cancel_asked boolean
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05);

-- A fire is recorded once; manual runs may share an instant. Revision before instant, so that the
-- latest revision of a job is one seek.
CREATE UNIQUE INDEX runs_fire
    ON SCHEMA.runs (job_id, revision, fire_time, (CASE cause WHEN 'manual' THEN id ELSE '' END));
CREATE INDEX runs_newest ON SCHEMA.runs (fire_time);
CREATE INDEX runs_live ON SCHEMA.runs (job_id) WHERE state IN ('running', 'pending');
CREATE INDEX runs_running ON SCHEMA.runs (node) WHERE state = 'running';
CREATE INDEX runs_pending ON SCHEMA.runs (priority DESC, scheduled_time, number) WHERE state = 'pending';

CREATE TABLE SCHEMA.nodes (
    id text COLLATE "C" PRIMARY KEY,
    name text,
    process text NOT NULL,
    host text NOT NULL,
    pid bigint NOT NULL,
    tasks text NOT NULL,
    executors text NOT NULL,
    joined_at bigint NOT NULL,
    lease_until bigint NOT NULL
) WITH (fillfactor = 50);
