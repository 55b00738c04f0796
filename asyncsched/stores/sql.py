"""Jobs and runs as rows of a SQL database, and back: the columns, and what both directions share.

A row is a tuple in the order of the column lists below. Instants are integers, whatever users
supply (triggers, arguments, results, errors) is bytes that the database never looks into. What
comes back is not trusted: a row whose parts are not what they should be raises
`SerializationError`, and the store parks the job. See `sql_jobs` and `sql_runs`.
"""

from typing import Any, Final, TypeAlias

from asyncsched.errors import SerializationError
from asyncsched.job import JobRecord, Policies
from asyncsched.run import RunRecord

__all__ = [
    "DEFINITION_COLUMNS",
    "FRESH_RUN_COLUMNS",
    "RUN_COLUMNS",
    "STATE_COLUMNS",
    "Row",
    "is_fresh",
    "read_column",
    "readable_text",
    "same_definition",
    "slots_of",
    "storable",
]

Row: TypeAlias = tuple[Any, ...]

STATE_COLUMNS: Final = (
    "id",
    "revision",
    "version",
    "priority",
    "slots",
    "keep_runs",
    "next_fire",
    "due_at",
    "last_fire",
    "state",
    "reason",
    "paused_at",
    "skip_until",
    "failures",
    "carried",
    "tail",
)
"""What a fire may change of a job, and what is looked at without reading its definition."""

DEFINITION_COLUMNS: Final = (
    "task",
    "name",
    "executor",
    "trigger",
    "written",
    "policies",
    "arguments",
    "tags",
    "metadata",
    "added_at",
)
"""What a job is; changed by its owner alone."""

RUN_COLUMNS: Final = (
    "id",
    "job_id",
    "revision",
    "fire_time",
    "scheduled_time",
    "state",
    "cause",
    "attempt",
    "lost_count",
    "node",
    "started_at",
    "finished_at",
    "until",
    "count",
    "reason",
    "result",
    "error",
    "args",
    "kwargs",
    "snoozes",
    "limit_key",
    "unique_key",
    "unbound",
    "parent",
    "input",
    "logs",
)
"""One row of the ledger."""

FRESH_RUN_COLUMNS: Final = RUN_COLUMNS[:11]
"""What a run has that has just been started or enqueued; the others keep their defaults."""


def same_definition(old: JobRecord, new: JobRecord) -> bool:
    """Tell whether the definition columns of both are the very same values, judged by identity."""
    return (
        old.policies is new.policies
        and old.trigger is new.trigger
        and old.args is new.args
        and old.kwargs is new.kwargs
        and old.written is new.written
        and old.metadata is new.metadata
        and old.tags is new.tags
        and old.task is new.task
        and old.name is new.name
        and old.executor is new.executor
        and old.added_at == new.added_at
    )


def is_fresh(run: RunRecord) -> bool:
    """Tell whether `FRESH_RUN_COLUMNS` say all about the run."""
    return (
        run.finished_at is None
        and run.args is None
        and run.kwargs is None
        and run.reason is None
        and run.until is None
        and run.count == 1
        and run.result is None
        and run.error is None
        and run.limit_key is None
        and run.unique_key is None
        and run.parent is None
        and run.input is None
        and run.logs is None
        and run.snoozes == 0
        and not run.unbound
    )


def storable(text: str | None) -> str | None:
    """Return a text for people with lone surrogates and NUL written out, as not every database takes them."""
    if text is None:
        return None
    if "\0" in text:
        text = text.replace("\0", "\\x00")
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def slots_of(policies: Policies) -> int | None:
    """Return how many runs of the job may be running at once; ``None`` for any number."""
    return None if policies.overlap == "allow" else policies.max_instances


def read_column(decode: Any, stored: Any, what: str) -> Any:
    """Decode a column; whatever goes wrong with foreign bytes is one kind of error.

    Raises:
        SerializationError: the column does not hold what it should.
    """
    if not isinstance(stored, bytes | str):
        raise SerializationError(f"the stored {what} are {stored!r:.100}, not bytes")
    try:
        return decode(stored)
    except SerializationError:
        raise
    except Exception as error:
        raise SerializationError(f"the stored {what} cannot be read: {type(error).__name__}: {error}") from error


def readable_text(value: Any) -> str | None:
    """Return a text that a store may have handed out as bytes because it is not UTF-8."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
