"""What to fire, skip, coalesce or give up: pure functions over frozen values.

No await, no clock, no store, no randomness. The current instant is the parameter ``now`` (the
store's clock, Unix microseconds) and ids come from ``new_run_id``. Stores call a `Planner` once for
each due job inside the transaction that locked it, and write down what it returns.
"""

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from asyncsched.job import JobRecord
from asyncsched.run import RunRecord

__all__ = ["Decision", "LostPlanner", "Planner", "UnplannableError"]


class UnplannableError(Exception):
    """A job cannot be planned; it is to be parked with this text as its reason."""


class Decision(msgspec.Struct, frozen=True):
    """What becomes of one due job: its row from now on, and the rows to add to the ledger.

    ``runs`` holds runs to start at once (``running``, already owned by the planning node), runs
    that wait (``pending``) and verdicts of fires that do not run.
    """

    job: JobRecord
    runs: tuple[RunRecord, ...]


Planner: TypeAlias = Callable[[JobRecord, int, int, int], Decision]
"""(job, now, how many of its runs are running, how many are pending) -> what becomes of it."""

LostPlanner: TypeAlias = Callable[[JobRecord | None, RunRecord, int], RunRecord]
"""(job or ``None`` if it is gone, a run whose node died, now) -> the run's row from now on."""

