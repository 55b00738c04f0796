-- Jobs: the state that every fire changes. What a job is stands in `definitions`, under the same
-- number, so that a fire rewrites a few integers and never the arguments.
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    -- Changes with every write of the definition, unlike any number that counts from one again when
    -- a job is removed and added: what was decoded under a stamp stays true.
    stamp INTEGER NOT NULL DEFAULT (random()),
    revision INTEGER NOT NULL CHECK (typeof(revision) = 'integer'),
    version INTEGER NOT NULL CHECK (typeof(version) = 'integer'),
    priority INTEGER NOT NULL CHECK (typeof(priority) = 'integer'),
    slots INTEGER CHECK (typeof(slots) IN ('integer', 'null')),
    keep_runs INTEGER CHECK (typeof(keep_runs) IN ('integer', 'null')),
    next_fire INTEGER CHECK (typeof(next_fire) IN ('integer', 'null')),
    due_at INTEGER CHECK (typeof(due_at) IN ('integer', 'null')),
    last_fire INTEGER CHECK (typeof(last_fire) IN ('integer', 'null')),
    state TEXT NOT NULL CHECK (state IN ('active', 'paused', 'parked')),
    reason TEXT,
    paused_at INTEGER CHECK (typeof(paused_at) IN ('integer', 'null')),
    skip_until INTEGER CHECK (typeof(skip_until) IN ('integer', 'null'))
);

CREATE INDEX jobs_due ON jobs (priority DESC, due_at) WHERE state = 'active' AND due_at IS NOT NULL;

CREATE INDEX jobs_parked ON jobs (id) WHERE state = 'parked';

CREATE TABLE definitions (
    number INTEGER PRIMARY KEY,
    task TEXT,
    name TEXT,
    executor TEXT,
    "trigger" BLOB,
    written BLOB,
    policies BLOB,
    arguments BLOB,
    tags TEXT,
    metadata BLOB,
    added_at INTEGER
);

-- The ledger: runs, and verdicts of fires that did not run.
CREATE TABLE runs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    job_id TEXT NOT NULL,
    revision INTEGER NOT NULL CHECK (typeof(revision) = 'integer'),
    fire_time INTEGER NOT NULL CHECK (typeof(fire_time) = 'integer'),
    scheduled_time INTEGER NOT NULL CHECK (typeof(scheduled_time) = 'integer'),
    state TEXT NOT NULL,
    cause TEXT NOT NULL,
    attempt INTEGER NOT NULL CHECK (typeof(attempt) = 'integer'),
    lost_count INTEGER NOT NULL CHECK (typeof(lost_count) = 'integer'),
    node TEXT,
    started_at INTEGER,
    finished_at INTEGER,
    until INTEGER,
    "count" INTEGER DEFAULT 1,
    reason TEXT,
    result BLOB,
    error BLOB,
    args BLOB,
    kwargs BLOB,
    -- That of the job, so that waiting runs can be claimed in the order of an index.
    priority INTEGER NOT NULL DEFAULT 0,
    -- Whether someone asked for it to be cancelled by the node that makes it.
    cancel_asked INTEGER NOT NULL DEFAULT 0
);

-- A fire is recorded once; manual runs may share an instant. Revision before instant, so that the
-- latest revision of a job is one seek.
CREATE UNIQUE INDEX runs_fire ON runs (job_id, revision, fire_time, (CASE cause WHEN 'manual' THEN id ELSE '' END));
CREATE INDEX runs_newest ON runs (fire_time);
CREATE INDEX runs_running ON runs (job_id) WHERE state = 'running';
CREATE INDEX runs_waiting ON runs (job_id) WHERE state = 'pending';
CREATE INDEX runs_pending ON runs (priority DESC, scheduled_time, job_id) WHERE state = 'pending';

-- Of nothing that a claim or an outcome changes, so that it costs them nothing.
CREATE INDEX runs_cancel_asked ON runs (id) WHERE cancel_asked = 1;

-- The running schedulers. Names that jobs may be run with are JSON lists of texts.
CREATE TABLE nodes (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT,
    process TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    tasks BLOB NOT NULL,
    executors BLOB NOT NULL,
    joined_at INTEGER NOT NULL,
    lease_until INTEGER NOT NULL
);
