"""On the days of a calendar: instants on other days are left out, or moved to the nearest one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, timedelta, timezone
from typing import Any, ClassVar, Final, Self

from asyncsched.clock import to_datetime
from asyncsched.errors import InvalidTriggerError
from asyncsched.triggers.base import (
    Jitter,
    MicrosecondTrigger,
    Trigger,
    register_trigger,
    trigger_from_dict,
)
from asyncsched.triggers.calendars.base import Calendar, calendar_from_dict
from asyncsched.triggers.combined.day_shift import Shift, ShiftedDays, misses
from asyncsched.triggers.combined.parts import CombinedTrigger, is_floating, is_settled, read_parts
from asyncsched.triggers.moment import require_version
from asyncsched.triggers.wall import EARLIEST_US, LATEST_US

__all__ = ["OnDaysTrigger"]

# Whatever zone a trigger will get, each of its instants falls on the date that it has in one of these.
_FARTHEST_ZONES: Final = (UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-12)))


@register_trigger
@dataclass(frozen=True, slots=True, init=False, repr=False)
class OnDaysTrigger(CombinedTrigger):
    """Fires on the days of a calendar only. Also ``base.on(days, shift=...)``.

    Which day an instant belongs to is decided in the zone of the base. A moved instant keeps its
    local time of day; where the clocks skip that time it becomes the first instant after the gap,
    where they repeat it the first occurrence. What is moved onto an instant that is there already
    adds nothing. An instant moves by ten years at most; farther from the calendar it is left out.

    Args:
        base: the trigger that is restricted.
        days: the days to keep to.
        shift: what becomes of an instant on another day: ``None`` leaves it out, ``"next"`` and
            ``"previous"`` move it to the nearest day of the calendar after or before.

    Attributes:
        base: as given.
        days: as given.
        shift: as given.
        jitter: that of the base; it lands on the job.

    Raises:
        InvalidTriggerError: ``base`` is no trigger, ``days`` no calendar, ``shift`` is not
            understood, or the base never fires on such a day. `next` raises it as well when a
            bounded search finds neither an instant nor the end of the calendar.
    """

    kind: ClassVar[str] = "on"

    base: Trigger
    days: Calendar
    shift: Shift
    jitter: Jitter = field(compare=False)
    _settled: ShiftedDays | None = field(compare=False)

    def __init__(self, base: Trigger, days: Calendar, shift: Shift = None) -> None:
        self._fill(base, days, shift)
        if _never_fires(self):
            problem = f"{self!r:.500} can never fire: {base.describe()} has no instant on {days.describe()}"
            raise InvalidTriggerError(
                f"{problem}; choose other days, or shift='next' or 'previous' to move instants there",
                field="days",
                value=days,
            )

    def _fill(self, base: Trigger, days: object, shift: Shift) -> None:
        read_parts([base], "OnDaysTrigger")
        if not isinstance(days, Calendar):
            problem = (
                f"days={days!r:.80} is not a calendar; write for example .on(business_days) or DateCalendar([...])"
            )
            raise InvalidTriggerError(problem, field="days", value=days)
        if shift not in (None, "next", "previous"):
            problem = f"shift={shift!r:.80} is not understood; write 'next', 'previous' or None"
            raise InvalidTriggerError(problem, field="shift", value=shift)
        settled = None if is_floating(base) else ShiftedDays(base, days, shift)
        values = {"base": base, "days": days, "shift": shift, "jitter": base.jitter, "_settled": settled}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def parts(self) -> tuple[Trigger, ...]:
        """The base."""
        return (self.base,)

    def rebuilt(self, parts: tuple[Trigger, ...]) -> "OnDaysTrigger":
        """Return another base restricted to the same days; it is not searched again."""
        return OnDaysTrigger.unchecked(parts[0], self.days, self.shift)

    @classmethod
    def unchecked(cls, base: Trigger, days: Calendar, shift: Shift = None) -> Self:
        """Return the trigger without searching whether it ever fires."""
        made = cls.__new__(cls)
        made._fill(base, days, shift)  # noqa: SLF001 - its own
        return made

    def _search(self, counted_from: int) -> ShiftedDays:
        """The search over the base, anchored at an instant where it has no anchor yet."""
        if self._settled is not None:
            return self._settled
        instant = to_datetime(min(max(counted_from, EARLIEST_US), LATEST_US))
        return ShiftedDays(self.base.anchored(instant), self.days, self.shift)

    def next_us(self, after: int) -> int | None:
        """Return the first instant strictly later than ``after``, in Unix microseconds.

        Raises:
            InvalidTriggerError: a bounded search found none, and no end of the calendar either.
        """
        return self._search(after).first(after)

    def last_us(self, after: int, until: int) -> int | None:
        """Return the last instant in (after, until]; with a shift it gallops back from ``until`` and bisects."""
        if self.shift is None:
            return self._search(after).last_own(after, until)
        return CombinedTrigger.last_us(self, after, until)

    def next_within(self, after: int, until: int) -> int | None:
        """Return the first instant in (after, until], or ``None``."""
        return self._search(after).first(after, until)

    def kept_until(self, instant: int) -> int:
        """Return an instant up to which every day from ``instant`` on belongs to the calendar, as far as is known."""
        return instant if self._settled is None else self._settled.kept_until(instant)

    def first_us(self, added_at: int) -> int | None:
        """Return the first instant of a job that is added then.

        A one-shot that has passed is due at once, also when it has passed only because it was moved
        back; so is the instant at which the job is added, for a base that starts with it.
        """
        first = self.base.first_us(added_at)
        moved = None if first is None else self._search(added_at).moved(first)
        if first is None or moved is None or moved > added_at:
            return self.next_us(added_at)
        # A trigger that names the same first instant still when that has passed is a one-shot.
        due_at_once = moved == first or self.base.first_us(first + 1) == first
        return moved if due_at_once else self.next_us(added_at)

    def describe(self) -> str:
        """Return ``at 09:00, on business days only``."""
        if self.shift is None:
            return f"{self.base.describe()}, on {self.days.describe()} only"
        place = f"the {self.shift} of {self.days.describe()}"
        return f"{self.base.describe()}, moved to {place} where it falls on another day"

    def to_dict(self) -> dict[str, Any]:
        """Return the trigger as JSON values, base and calendar nested."""
        parts = {"base": self.base.to_dict(), "days": self.days.to_dict(), "shift": self.shift}
        return {"kind": self.kind, "v": 1, **parts}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild the trigger from `to_dict`. It is not searched again."""
        require_version(data)
        made = cls.__new__(cls)
        made._fill(trigger_from_dict(data["base"]), calendar_from_dict(data["days"]), data["shift"])  # noqa: SLF001 - its own
        return made

    def __repr__(self) -> str:
        shift = "" if self.shift is None else f", shift={self.shift!r}"
        return f"OnDaysTrigger({self.base!r}, {self.days!r}{shift})"


def _never_fires(trigger: OnDaysTrigger) -> bool:
    """Whether a search from the first instant of the base finds nothing; only asked of what is settled and cheap."""
    base = trigger.base
    if not isinstance(base, MicrosecondTrigger) or not is_settled(base):
        return False
    zones = _FARTHEST_ZONES if base.with_timezone(UTC) is not base else (base.zone,)
    return all(misses(base.with_timezone(zone), trigger.days, trigger.shift) for zone in zones)
