"""Except: whenever one trigger fires and another does not, or on the days that a calendar leaves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Self

from asyncsched.clock import to_datetime
from asyncsched.errors import InvalidTriggerError
from asyncsched.triggers.base import Jitter, LintWarning, Trigger, register_trigger, trigger_from_dict
from asyncsched.triggers.calendars.base import Calendar, calendar_from_dict
from asyncsched.triggers.combined.on_days import OnDaysTrigger
from asyncsched.triggers.combined.parts import (
    CombinedTrigger,
    is_floating,
    is_settled,
    merged_jitter,
    next_within,
    read_parts,
)
from asyncsched.triggers.combined.solid import REGULAR_US, grid_of, solid_until
from asyncsched.triggers.cron.trigger import CronTrigger
from asyncsched.triggers.jitter import AnyJitter, stored_jitter
from asyncsched.triggers.moment import require_version
from asyncsched.triggers.wall import EARLIEST_US, LATEST_US

__all__ = ["ExceptTrigger"]

_STEPS: Final = 50_000
"""How many instants in a row one search passes over: some tenths of a second."""
_PATIENCE: Final = 16
"""How many are passed over one by one before the length of the run is found by counting."""
_LINT_STEPS: Final = 500


@register_trigger
@dataclass(frozen=True, slots=True, init=False, repr=False)
class ExceptTrigger(CombinedTrigger):
    """Fires when its base does and what is excluded does not. Also ``base - excluded``.

    Another trigger excludes its very instants: ``cron("0 * * * *") - cron("0 12 * * *")`` fires on
    every hour but noon. A calendar excludes its whole days, as they begin in the zone of the base.

    Args:
        base: the trigger that fires.
        excluded: a trigger or a calendar.
        jitter: lands on the job, in seconds; without it that of the base.

    Attributes:
        base: as given.
        excluded: as given.
        jitter: as it lands on the job.

    Raises:
        InvalidTriggerError: nothing is left of the base, or something is no trigger. `next` raises
            it as well when a bounded search finds neither an instant that is left nor an end.
    """

    kind: ClassVar[str] = "except"

    base: Trigger
    excluded: Trigger | Calendar
    jitter: Jitter
    _kept: Trigger | None = field(compare=False)
    _floating: bool = field(compare=False)

    def __init__(self, base: Trigger, excluded: Trigger | Calendar, *, jitter: AnyJitter = None) -> None:
        self._fill(base, excluded, jitter)
        if is_settled(self) and not self._ever_fires() and base.next_us(EARLIEST_US) is not None:
            raise InvalidTriggerError(f"{self!r:.500} can never fire: everything is excluded", value=self)

    def _ever_fires(self) -> bool:
        # Before the first of these two a search leaps over less.
        return any(self.next_us(instant) is not None for instant in (REGULAR_US, EARLIEST_US))

    def _fill(self, base: Trigger, excluded: Trigger | Calendar, jitter: AnyJitter) -> None:
        by_days = isinstance(excluded, Calendar)
        read_parts([base] if by_days else [base, excluded], "ExceptTrigger")
        values = {
            "base": base,
            "excluded": excluded,
            "jitter": merged_jitter([base], jitter),
            "_kept": OnDaysTrigger.unchecked(base, ~excluded) if isinstance(excluded, Calendar) else None,
            "_floating": any(map(is_floating, [base] if isinstance(excluded, Calendar) else [base, excluded])),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def parts(self) -> tuple[Trigger, ...]:
        """The base, and what is excluded where that is a trigger."""
        return (self.base,) if isinstance(self.excluded, Calendar) else (self.base, self.excluded)

    def rebuilt(self, parts: tuple[Trigger, ...]) -> Trigger:
        """Return the same combination of other parts."""
        excluded = self.excluded if isinstance(self.excluded, Calendar) else parts[1]
        return ExceptTrigger(parts[0], excluded, jitter=self.jitter)

    def next_us(self, after: int) -> int | None:
        """Return the first instant strictly later than ``after`` that is not excluded, in Unix microseconds.

        Raises:
            InvalidTriggerError: a bounded search found none, and no end either.
        """
        if self._floating:
            return self.anchored_us(after).next_us(after)
        if self._kept is not None:
            return self._kept.next_us(after)
        return self._first(after, LATEST_US)

    def next_within(self, after: int, until: int) -> int | None:
        """Return the first instant in (after, until] that is not excluded, or ``None``; nothing beyond is searched for."""
        if self._floating:
            return CombinedTrigger.next_within(self, after, until)
        return self._first(after, until) if self._kept is None else next_within(self._kept, after, until)

    def _excludes(self, instant: int) -> bool:
        return isinstance(self.excluded, Trigger) and next_within(self.excluded, instant - 1, instant) == instant

    def _first(self, after: int, until: int) -> int | None:
        cursor = after
        for step in range(_STEPS):
            found = next_within(self.base, cursor, until)
            if found is None or not self._excludes(found):
                return found
            cursor = found if step % _PATIENCE else self._end_of_run(found, until)
        raise InvalidTriggerError(
            f"{self!r:.500} was searched from {to_datetime(after)} to {to_datetime(cursor)} and everything was excluded; "
            "exclude whole days by a calendar, or write the rest as fields of a cron trigger",
            value=self,
        )

    def _end_of_run(self, excluded: int, until: int) -> int:
        """An instant up to which everything is excluded, found by counting where that is possible."""
        base, other = self.base, self.excluded
        grid = grid_of(base)
        if grid is not None and isinstance(other, Trigger):
            excluded = solid_until(other, grid, excluded, until)
        common = base.common(other) if isinstance(base, CronTrigger) and isinstance(other, CronTrigger) else None
        if common is None:
            return excluded
        low, step = excluded, 60_000_000
        # All of the base's instants in a stretch are excluded when as many are common to both.
        while (high := min(low + step, LATEST_US)) > low and base.count_us(excluded, high) == common(excluded, high):
            low, step = high, step * 4
        while high - low > 1_000_000:  # noqa: PLR2004 - a second, the grain of both
            middle = (low + high) // 2
            low, high = (middle, high) if base.count_us(low, middle) == common(low, middle) else (low, middle)
        return low

    def last_us(self, after: int, until: int) -> int | None:
        """Return the last instant in (after, until] that is not excluded."""
        if self._floating:
            return self._counted_from(after).last_us(after, until)
        if self._kept is not None:
            return self._kept.last_us(after, until)
        for _ in range(_PATIENCE):
            found = self.base.last_us(after, until)
            if found is None or not self._excludes(found):
                return found
            until = found - 1
        return CombinedTrigger.last_us(self, after, until)

    def first_us(self, added_at: int) -> int | None:
        """Return the first instant of a job added then."""
        if self._kept is not None:
            return self._kept.first_us(added_at)
        first = self.base.first_us(added_at)
        if first is None or not self._excludes(first):
            return first
        return self.next_us(max(first, added_at))

    def lint(self) -> list[LintWarning]:
        """Return the warnings of the parts, and one when the excluded instants never meet those of the base."""
        warnings = CombinedTrigger.lint(self)
        if isinstance(self.excluded, Calendar) or self._floating:
            return warnings
        cursor = EARLIEST_US
        for _ in range(_LINT_STEPS):
            mine, other = self.base.next_us(cursor), self.excluded.next_us(cursor)
            if mine is None or other is None:
                break
            if mine == other:
                return warnings
            cursor = max(mine, other) - 1
        sentence = (
            "nothing seems to be left out: the excluded trigger fires at none of the instants of the other; "
            "instants are compared exactly, so write times of day as fields of a cron trigger and days as a calendar"
        )
        return [*warnings, LintWarning(sentence)]

    def describe(self) -> str:
        """Return ``every hour, except: at 12:00``."""
        if isinstance(self.excluded, Calendar):
            return f"{self.base.describe()}, except on {self.excluded.describe()}"
        return f"{self.base.describe()}; except: {self.excluded.describe()}"

    def to_dict(self) -> dict[str, Any]:
        """Return the trigger as JSON values, both parts nested."""
        name = "days" if isinstance(self.excluded, Calendar) else "excluded"
        parts = {"base": self.base.to_dict(), name: self.excluded.to_dict()}
        return {"kind": self.kind, "v": 1, **parts, **stored_jitter(self.jitter)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild the trigger from `to_dict`. It is not searched again."""
        require_version(data)
        excluded = calendar_from_dict(data["days"]) if "days" in data else trigger_from_dict(data["excluded"])
        made = cls.__new__(cls)
        made._fill(trigger_from_dict(data["base"]), excluded, data.get("jitter"))  # noqa: SLF001 - its own
        return made

    def __repr__(self) -> str:
        jitter = "" if self.jitter is None else f", jitter={self.jitter!r}"
        return f"ExceptTrigger({self.base!r}, {self.excluded!r}{jitter})"
