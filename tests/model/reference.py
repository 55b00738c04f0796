"""The instants of the triggers that the model draws, by arithmetic on what they are written as."""

from datetime import datetime
from typing import Final

from asyncsched.clock import to_us
from asyncsched.triggers.base import Trigger

__all__ = ["Instants"]

MINUTE: Final = 60_000_000
_MINUTES: Final = {"* * * * *": 1, "*/5 * * * *": 5, "*/20 * * * *": 20}


class Instants:
    """What one trigger yields.

    Attributes:
        is_delay: whether each instant but the first counts from the end of a run.
    """

    def __init__(self, trigger: Trigger | None) -> None:
        fields = {} if trigger is None else trigger.to_dict()
        kind = fields.get("kind")
        self.is_delay: Final = fields.get("from") == "completion"
        self._only = to_us(datetime.fromisoformat(fields["run_date"])) if kind == "date" else None
        self._period: int | None = None
        self._anchor = 0
        self._end: int | None = None
        if kind == "interval":
            self._period, self._anchor = fields["period"], to_us(datetime.fromisoformat(fields["start"]))
            end = fields.get("end")
            self._end = None if end is None else to_us(datetime.fromisoformat(end))
        elif kind == "cron":
            self._period = _MINUTES[fields["expression"]] * MINUTE  # an hour has a whole number of each
        elif kind not in ("date", None):
            raise AssertionError(f"there is no reference for triggers of the kind {kind!r}")

    def first(self, now: int) -> int | None:
        """Return where a trigger begins that is given to a job now: what has passed is only ever a one-shot's."""
        if self._period is None:
            return now if self._only is None else self._only
        if self.is_delay and self._anchor < now:
            return self._bounded(now + self._period)
        return self._bounded(self._later(now - 1))

    def following(self, instant: int) -> int | None:
        """Return the first instant after that one; of a fixed delay, after a run that ended then."""
        if self._period is None:
            return self._only if self._only is not None and self._only > instant else None
        return self._bounded(max(self._anchor, instant + self._period) if self.is_delay else self._later(instant))

    def number(self, first: int, last: int) -> int:
        """Return how many instants there are in (first, last]."""
        if self.is_delay or self._period is None:
            return int(last != first)
        found, bound = self._later(first), last if self._end is None else min(last, self._end)
        return 0 if found > bound else (bound - found) // self._period + 1

    def has(self, instant: int) -> bool:
        """Tell whether it is one."""
        return self.is_delay or self.following(instant - 1) == instant

    def _later(self, instant: int) -> int:
        assert self._period is not None
        if instant < self._anchor:
            return self._anchor
        return instant + self._period - (instant - self._anchor) % self._period

    def _bounded(self, instant: int) -> int | None:
        return None if self._end is not None and instant > self._end else instant
