"""What any cron expression comes down to: sets of numbers, whichever language it was written in."""

from dataclasses import dataclass, replace
from typing import Final

__all__ = ["ALL_HOURS", "ALL_MINUTES", "ALL_MONTHS", "ALL_SECONDS", "ALL_WEEKS", "DayMatch", "Pattern"]

ALL_SECONDS: Final = (1 << 60) - 1
ALL_MINUTES: Final = (1 << 60) - 1
ALL_HOURS: Final = (1 << 24) - 1
ALL_MONTHS: Final = (1 << 13) - 2
ALL_WEEKS: Final = (1 << 54) - 2
_SATURDAY: Final = 5
_SUNDAY: Final = 6
_ALL_WEEKDAYS: Final = 0b111_1111
_ALL_DAYS: Final = (1 << 32) - 2


@dataclass(frozen=True, slots=True, kw_only=True)
class DayMatch:
    """A set of days within a month: those that match any of its parts. Weekdays count from Monday = 0.

    Attributes:
        days: mask of days, bit n for day n.
        from_last: days before the last one: 0 is the last day itself.
        nearest: the weekday (Monday to Friday) nearest to each of these days, within the month.
        last_workday: the last day that is Monday to Friday.
        weekdays: mask of weekdays.
        nth: pairs (weekday, n): the n-th of its kind in the month, -1 for the last.
    """

    days: int = 0
    from_last: tuple[int, ...] = ()
    nearest: tuple[int, ...] = ()
    last_workday: bool = False
    weekdays: int = 0
    nth: tuple[tuple[int, int], ...] = ()

    @property
    def everything(self) -> bool:
        """Whether every day matches."""
        return self.days == _ALL_DAYS or self.weekdays == _ALL_WEEKDAYS

    def mask(self, length: int, first_weekday: int) -> int:
        """Return the days that match in a month of that length which begins on that weekday."""
        inside = (1 << length + 1) - 2
        found = self.days & inside
        for back in self.from_last:
            found |= 1 << length - back if back < length else 0
        for day in self.nearest:
            found |= 1 << _nearest_workday(day, length, first_weekday) if day <= length else 0
        if self.last_workday:
            found |= 1 << _nearest_workday(length, length, first_weekday)
        for weekday in range(7):
            if self.weekdays >> weekday & 1:
                found |= _EVERY_SEVENTH << (weekday - first_weekday) % 7 & inside
        for weekday, n in self.nth:
            found |= _nth(weekday, n, length, first_weekday) & inside
        return found


_EVERY_SEVENTH: Final = 0b10_0000010_0000010_0000010_0000010


def _nth(weekday: int, n: int, length: int, first_weekday: int) -> int:
    first = (weekday - first_weekday) % 7 + 1
    day = first + (n - 1) * 7 if n > 0 else first + (length - first) // 7 * 7
    return 1 << day


def _nearest_workday(day: int, length: int, first_weekday: int) -> int:
    """Quartz's rule: Saturday goes back, Sunday goes on, neither out of the month."""
    weekday = (first_weekday + day - 1) % 7
    if weekday == _SATURDAY:
        return day - 1 if day > 1 else day + 2
    if weekday == _SUNDAY:
        return day + 1 if day < length else day - 2
    return day


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """The local times at which an expression fires, as masks: bit n stands for the value n.

    Attributes:
        seconds: mask of seconds 0-59.
        minutes: mask of minutes 0-59.
        hours: mask of hours 0-23.
        months: mask of months 1-12.
        years: the years, ascending; ``None`` for every year.
        weeks: mask of ISO weeks 1-53.
        day: the days that the day-of-month field names.
        weekday: the days that the day-of-week field names.
        either: whether a day matches when one of the two does, instead of both.
        elapsed: whether it runs on elapsed time at a change of the clocks (its minute or hour
            field begins with ``*``), as Debian's cron has it.
        also: further patterns that a day has to match as well; see `joined`.
    """

    seconds: int
    minutes: int
    hours: int
    months: int
    years: tuple[int, ...] | None
    weeks: int
    day: DayMatch
    weekday: DayMatch
    either: bool
    elapsed: bool
    also: tuple["Pattern", ...] = ()

    def day_mask(self, length: int, first_weekday: int) -> int:
        """Return the days that match in a month of that length which begins on that weekday."""
        day, weekday = self.day.mask(length, first_weekday), self.weekday.mask(length, first_weekday)
        mask = day | weekday if self.either else day & weekday
        for other in self.also:
            mask &= other.day_mask(length, first_weekday)
        return mask

    def joined(self, other: "Pattern") -> "Pattern | None":
        """Return the pattern of the local times that match both; ``None`` when no time of day does."""
        seconds, minutes, hours = self.seconds & other.seconds, self.minutes & other.minutes, self.hours & other.hours
        if not (seconds and minutes and hours):
            return None
        years = self.years if other.years is None else other.years
        if self.years is not None and other.years is not None:
            years = tuple(year for year in self.years if year in other.years)
        return replace(
            self,
            seconds=seconds,
            minutes=minutes,
            hours=hours,
            months=self.months & other.months,
            years=years,
            weeks=self.weeks & other.weeks,
            also=(*self.also, other),
        )
