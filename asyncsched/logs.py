"""Which run a log record belongs to."""

from logging import Filter, LogRecord
from typing import Any, final

from asyncsched.context import scope_var
from asyncsched.run import RunRecord

__all__ = ["RunContextFilter", "marks_of"]


@final
class RunContextFilter(Filter):
    """Lets every record pass, and gives it ``job_id``, ``run_id`` and ``attempt`` for the formatter.

    They are those of the job that the record was made in, by whatever logger; ``"-"``, ``"-"`` and
    ``0`` outside of a job. What a record has of its own under these names stays. To be added to
    handlers (``handler.addFilter``), not to loggers: those do not filter what comes from their
    children. A handler that hands records to another thread needs it itself, as it is called in
    the job's context and what comes behind it is not.
    """

    def filter(self, record: LogRecord) -> bool:
        """Mark the record; return True."""
        scope = scope_var.get(None)
        own = record.__dict__
        for name, value in (_OUTSIDE if scope is None else marks_of(scope.run)).items():
            own.setdefault(name, value)
        return True


_OUTSIDE: dict[str, Any] = {"job_id": "-", "run_id": "-", "attempt": 0}


def marks_of(run: RunRecord) -> dict[str, Any]:
    """Return what a log record about a run is marked with: its ``extra``."""
    return {"job_id": run.job_id, "run_id": run.id, "attempt": run.attempt}
