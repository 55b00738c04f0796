"""The times of day at which a pattern matches, as tables of what comes next."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, final

from asyncsched.triggers.cron.pattern import Pattern

__all__ = ["DAY", "TimesOfDay"]

DAY: Final = 86_400


@lru_cache(maxsize=512)
def _ahead(mask: int, size: int) -> Sequence[int]:
    """For each value 0..size the first set bit that is not below it, -1 when there is none."""
    table, following = [-1] * (size + 1), -1
    for value in range(size - 1, -1, -1):
        following = value if mask >> value & 1 else following
        table[value] = following
    return tuple(table)


@lru_cache(maxsize=512)
def _behind(mask: int, size: int) -> Sequence[int]:
    """For each value -1..size-1, at index value + 1, the last set bit that is not above it, or -1."""
    table, before = [-1] * (size + 1), -1
    for value in range(size):
        before = value if mask >> value & 1 else before
        table[value + 1] = before
    return tuple(table)


@final
class TimesOfDay:
    """The matching seconds of a day (0 to 86399), forwards, backwards and counted."""

    __slots__ = (
        "_hours", "_hours_ahead", "_hours_behind", "_minutes", "_minutes_ahead", "_minutes_behind",
        "_per_hour", "_per_minute", "_seconds", "_seconds_ahead", "_seconds_behind", "first", "last", "total",
    )  # fmt: skip

    def __init__(self, pattern: Pattern) -> None:
        self._hours, self._minutes, self._seconds = pattern.hours, pattern.minutes, pattern.seconds
        self._hours_ahead, self._hours_behind = _ahead(pattern.hours, 24), _behind(pattern.hours, 24)
        self._minutes_ahead, self._minutes_behind = _ahead(pattern.minutes, 60), _behind(pattern.minutes, 60)
        self._seconds_ahead, self._seconds_behind = _ahead(pattern.seconds, 60), _behind(pattern.seconds, 60)
        self._per_minute = pattern.seconds.bit_count()
        self._per_hour = self._per_minute * pattern.minutes.bit_count()
        self.total: int = self._per_hour * pattern.hours.bit_count()
        self.first: int = self._hours_ahead[0] * 3600 + self._minutes_ahead[0] * 60 + self._seconds_ahead[0]
        self.last: int = self._hours_behind[24] * 3600 + self._minutes_behind[60] * 60 + self._seconds_behind[60]

    def next(self, second: int) -> int:
        """Return the first matching second of the day that is not before ``second``, -1 when there is none."""
        hour, rest = divmod(second, 3600)
        if self._hours >> hour & 1:
            minute, rest = divmod(rest, 60)
            if self._minutes >> minute & 1:
                found = self._seconds_ahead[rest]
                if found >= 0:
                    return hour * 3600 + minute * 60 + found
            minute = self._minutes_ahead[minute + 1]
            if minute >= 0:
                return hour * 3600 + minute * 60 + self._seconds_ahead[0]
        hour = self._hours_ahead[hour + 1]
        return -1 if hour < 0 else hour * 3600 + self.first % 3600

    def previous(self, second: int) -> int:
        """Return the last matching second of the day that is not after ``second``, -1 when there is none."""
        hour, rest = divmod(second, 3600)
        if self._hours >> hour & 1:
            minute, rest = divmod(rest, 60)
            if self._minutes >> minute & 1:
                found = self._seconds_behind[rest + 1]
                if found >= 0:
                    return hour * 3600 + minute * 60 + found
            minute = self._minutes_behind[minute]
            if minute >= 0:
                return hour * 3600 + minute * 60 + self._seconds_behind[60]
        hour = self._hours_behind[hour]
        return -1 if hour < 0 else hour * 3600 + self.last % 3600

    def count_before(self, second: int) -> int:
        """Return how many matching seconds of the day lie before ``second`` (0 to 86399)."""
        hour, rest = divmod(second, 3600)
        count = (self._hours & (1 << hour) - 1).bit_count() * self._per_hour
        if self._hours >> hour & 1:
            minute, rest = divmod(rest, 60)
            count += (self._minutes & (1 << minute) - 1).bit_count() * self._per_minute
            if self._minutes >> minute & 1:
                count += (self._seconds & (1 << rest) - 1).bit_count()
        return count
