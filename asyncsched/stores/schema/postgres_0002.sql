-- Columns are added with constant defaults, which rewrites nothing.
ALTER TABLE SCHEMA.jobs
    ADD COLUMN failures bigint NOT NULL DEFAULT 0,
    -- The encoded result of the last run that succeeded.
    ADD COLUMN carried bytea,
    -- The verdict that the next one may make longer, as JSON.
    ADD COLUMN tail text;

ALTER TABLE SCHEMA.runs
    ADD COLUMN snoozes bigint NOT NULL DEFAULT 0,
    ADD COLUMN limit_key text COLLATE "C",
    ADD COLUMN unique_key text COLLATE "C",
    ADD COLUMN unbound boolean NOT NULL DEFAULT false,
    ADD COLUMN parent text COLLATE "C",
    ADD COLUMN input bytea,
    ADD COLUMN logs text;

-- A pause that ends by itself has its end in `due_at`.
UPDATE SCHEMA.jobs SET due_at = NULL WHERE state = 'paused' AND due_at IS NOT NULL;
DROP INDEX SCHEMA.jobs_due;
CREATE INDEX jobs_due ON SCHEMA.jobs (priority DESC, due_at)
    WHERE state IN ('active', 'paused') AND due_at IS NOT NULL;

-- Named limits, and what their rates have used: `full_at` is when the bucket of a key is full again.
CREATE TABLE SCHEMA.limits (
    name text COLLATE "C" PRIMARY KEY,
    concurrency bigint,
    count bigint,
    period bigint,
    key text
) WITH (fillfactor = 50);
CREATE TABLE SCHEMA.buckets (
    limit_key text COLLATE "C" PRIMARY KEY,
    full_at bigint NOT NULL
) WITH (fillfactor = 50);

-- A fire is recorded once; what someone asked for may share an instant, as NULLs are distinct. The third
-- column keeps what triggers brought about together, so that the newest of it before an instant is one seek,
-- and so is the latest revision.
DROP INDEX SCHEMA.runs_fire;
CREATE UNIQUE INDEX runs_fire ON SCHEMA.runs
    (job_id, revision, (CASE WHEN cause IN ('schedule', 'catchup') THEN fire_time END), fire_time);
-- Verdicts over ranges of instants.
CREATE INDEX runs_ranges ON SCHEMA.runs (job_id, fire_time) WHERE until IS NOT NULL;

-- The live runs of a job. The condition is one that statements have to name: what merely asks for waiting or
-- for running ones must not be planned as a walk through all of them.
DROP INDEX SCHEMA.runs_live;
CREATE INDEX runs_live ON SCHEMA.runs (job_id)
    WHERE CASE WHEN state IN ('running', 'pending') THEN true ELSE false END;

-- Waiting runs under a limit are apart: a long queue behind one that is full is never walked through.
DROP INDEX SCHEMA.runs_pending;
CREATE INDEX runs_pending ON SCHEMA.runs (priority DESC, scheduled_time, number)
    WHERE state = 'pending' AND limit_key IS NULL;
CREATE INDEX runs_queued ON SCHEMA.runs (limit_key, priority, scheduled_time, number)
    WHERE state = 'pending' AND limit_key IS NOT NULL;
CREATE INDEX runs_limited ON SCHEMA.runs (limit_key) WHERE state = 'running' AND limit_key IS NOT NULL;
-- Runs that hold a slot while they wait for their next attempt.
CREATE INDEX runs_retrying ON SCHEMA.runs (job_id) WHERE state = 'pending' AND attempt > 0 AND NOT unbound;
CREATE INDEX runs_unique ON SCHEMA.runs (unique_key, fire_time) WHERE unique_key IS NOT NULL;
