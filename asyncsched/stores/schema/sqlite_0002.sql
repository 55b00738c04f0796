-- What outlives an attempt: failures in a row, what is carried to the next run, and the verdict that
-- the next one may make longer.
ALTER TABLE jobs ADD COLUMN failures INTEGER NOT NULL DEFAULT 0 CHECK (typeof(failures) = 'integer');
ALTER TABLE jobs ADD COLUMN carried BLOB;
ALTER TABLE jobs ADD COLUMN tail TEXT;

ALTER TABLE runs ADD COLUMN snoozes INTEGER NOT NULL DEFAULT 0 CHECK (typeof(snoozes) = 'integer');
ALTER TABLE runs ADD COLUMN limit_key TEXT;
ALTER TABLE runs ADD COLUMN unique_key TEXT;
ALTER TABLE runs ADD COLUMN unbound INTEGER NOT NULL DEFAULT 0 CHECK (unbound IN (0, 1));
ALTER TABLE runs ADD COLUMN parent TEXT;
ALTER TABLE runs ADD COLUMN input BLOB;
ALTER TABLE runs ADD COLUMN logs TEXT;

-- A paused job is due where its pause ends by itself, and then only.
UPDATE jobs SET due_at = NULL WHERE state = 'paused';
DROP INDEX jobs_due;
CREATE INDEX jobs_due ON jobs (priority DESC, due_at) WHERE state IN ('active', 'paused') AND due_at IS NOT NULL;

-- What a trigger brought about is recorded once; other runs may share an instant. The two stand apart,
-- so that the latest of either up to an instant is one seek.
DROP INDEX runs_fire;
CREATE UNIQUE INDEX runs_fire ON runs (
    job_id,
    revision,
    (CASE cause WHEN 'schedule' THEN 0 WHEN 'catchup' THEN 0 ELSE 1 END),
    fire_time,
    (CASE cause WHEN 'schedule' THEN '' WHEN 'catchup' THEN '' ELSE id END)
);

DROP INDEX runs_running;
CREATE INDEX runs_running ON runs (job_id, unbound, limit_key) WHERE state = 'running';
DROP INDEX runs_waiting;
CREATE INDEX runs_waiting ON runs (job_id, attempt, unbound) WHERE state = 'pending';
-- Those that hold a slot while they wait for another attempt.
CREATE INDEX runs_again ON runs (job_id) WHERE state = 'pending' AND attempt > 0 AND unbound = 0;

-- Waiting runs in the order in which they start, with all that is asked of them before. Those of a named
-- limit wait by its key, as a long queue may stand behind a full one.
DROP INDEX runs_pending;
CREATE INDEX runs_pending ON runs (priority DESC, scheduled_time, job_id, attempt, unbound, cause)
    WHERE state = 'pending' AND limit_key IS NULL;
CREATE INDEX runs_held_back ON runs (limit_key, priority, scheduled_time, job_id, attempt, unbound, cause)
    WHERE state = 'pending' AND limit_key IS NOT NULL;

CREATE INDEX runs_unique ON runs (unique_key, fire_time) WHERE unique_key IS NOT NULL;

CREATE TABLE limits (
    name TEXT NOT NULL PRIMARY KEY,
    concurrency INTEGER,
    "count" INTEGER,
    period INTEGER,
    "key" TEXT
) WITHOUT ROWID;

-- When the bucket of a key is full again; a key without a row has not been used of late.
CREATE TABLE buckets (
    limit_key TEXT NOT NULL PRIMARY KEY,
    full_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX buckets_full ON buckets (full_at);
