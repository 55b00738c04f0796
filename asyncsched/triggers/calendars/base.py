"""What a calendar is: a pure, frozen set of days that a trigger can be restricted to or kept off.

A calendar knows days, not instants and not zones: the trigger that uses it says in which zone a day
begins. This module stands below the triggers and does not know them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, ClassVar, Final, Self, TypeVar, final

from asyncsched.errors import ConfigurationError, InvalidTriggerError, SerializationError

__all__ = [
    "SEARCH_DAYS",
    "Calendar",
    "calendar_from_dict",
    "read_name",
    "register_calendar",
    "require_calendar_version",
]

SEARCH_DAYS: Final = 3_660
"""How many days a search walks one by one before it gives up: about ten years."""

_NAME_LIMIT: Final = 200
_DAY: Final = timedelta(days=1)
_WEEK: Final = 7


class Calendar(ABC):
    """A set of days.

    Subclasses are frozen, hashable and comparable values (a frozen dataclass is the usual form),
    `includes` is a function of its argument alone, and ``calendar_from_dict(c.to_dict()) == c``. One
    of your own needs the abstract methods only, and `register_calendar` so that stores may hold it.
    """

    __slots__ = ()

    kind: ClassVar[str]
    """The name under which the calendar is written to stores."""

    @abstractmethod
    def includes(self, day: date) -> bool:
        """Return whether the day belongs to the calendar."""

    @abstractmethod
    def describe(self) -> str:
        """Return the calendar in plain words that follow ``on``, such as ``Monday to Friday``."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the calendar as JSON values with the keys ``kind`` and ``v``, for `calendar_from_dict`."""

    @classmethod
    @abstractmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild a calendar from `to_dict`.

        Raises:
            SerializationError: a key is missing, or a value has the wrong shape.
            InvalidTriggerError: a value is out of range.
        """

    @property
    def repeats_after(self) -> date | None:
        """The day after which every week has the same days, or no days at all; ``None`` when that is not known.

        A search that finds nothing in a whole week after that day has reached the end of the
        calendar. Where it is not known, a search gives up after about ten years, which a trigger
        reports as an error because it might not be the end.
        """
        return None

    def next(self, day: date) -> date | None:
        """Return the first day of the calendar that is not before ``day``.

        Returns:
            ``None`` when there is none; also when it is not known how the calendar goes on
            (`repeats_after`) and about ten years have been searched.
        """
        return self._walk(day, _DAY, included=True)

    def previous(self, day: date) -> date | None:
        """Return the last day of the calendar that is not after ``day``; ``None`` when a search finds none."""
        return self._walk(day, -_DAY, included=True)

    def next_outside(self, day: date) -> date | None:
        """Return the first day that is not before ``day`` and does not belong to the calendar, or ``None``."""
        return self._walk(day, _DAY, included=False)

    def previous_outside(self, day: date) -> date | None:
        """Return the last day that is not after ``day`` and does not belong to the calendar, or ``None``."""
        return self._walk(day, -_DAY, included=False)

    def _walk(self, day: date, step: timedelta, *, included: bool) -> date | None:
        settled = self.repeats_after if step == _DAY else None
        edge = date.max if step == _DAY else date.min
        for _ in range(SEARCH_DAYS if settled is None else max((settled - day).days, 0) + _WEEK + 1):
            if self.includes(day) == included:
                return day
            if day == edge:
                return None
            day += step
        return None

    @final
    def __contains__(self, day: object) -> bool:
        if isinstance(day, datetime):
            raise ConfigurationError(
                f"{day!r} is a datetime; a calendar knows days, so say in which zone: "
                "moment.astimezone(zone).date() in calendar"
            )
        return isinstance(day, date) and self.includes(day)

    @final
    def __or__(self, other: "Calendar") -> "Calendar":
        """Return the days that belong to either."""
        return _kinds.classes["or"](self, other)

    @final
    def __and__(self, other: "Calendar") -> "Calendar":
        """Return the days that belong to both."""
        return _kinds.classes["and"](self, other)

    @final
    def __sub__(self, other: "Calendar") -> "Calendar":
        """Return the days that belong to this one and not to the other."""
        return _kinds.classes["except"](self, other)

    @final
    def __invert__(self) -> "Calendar":
        """Return the days that do not belong to the calendar."""
        return _kinds.classes["not"](self)


def read_name(name: object) -> str | None:
    """Return the name of a calendar, checked.

    Raises:
        InvalidTriggerError: it is not text, empty, or longer than 200 characters.
    """
    if name is None:
        return None
    if not isinstance(name, str) or not 0 < len(name.strip()) <= _NAME_LIMIT:
        raise InvalidTriggerError(
            f"name={name!r:.80} is not a name for a calendar; write text of 1 to {_NAME_LIMIT} characters, "
            "such as 'Finnish holidays'",
            field="name",
            value=name,
        )
    return name.strip()


@final
class _Kinds:
    """The closed set of calendar kinds that stored data may name."""

    def __init__(self) -> None:
        self.readers: dict[str, Callable[[Mapping[str, Any]], Calendar]] = {}
        self.classes: dict[str, Callable[..., Calendar]] = {}


_kinds: Final = _Kinds()
_C = TypeVar("_C", bound=Calendar)


def register_calendar(cls: type[_C]) -> type[_C]:
    """Register a calendar class under its ``kind``, so that stores may hold it. A class decorator.

    Raises:
        ConfigurationError: another class is registered under that kind.
    """
    known = _kinds.readers.get(cls.kind)
    if known is not None and known != cls.from_dict:
        raise ConfigurationError(f"the calendar kind {cls.kind!r} is taken by another class; choose another kind")
    _kinds.readers[cls.kind] = cls.from_dict
    _kinds.classes[cls.kind] = cls
    return cls


def calendar_from_dict(data: Mapping[str, Any]) -> Calendar:
    """Rebuild a calendar from `Calendar.to_dict`.

    Only registered kinds are built; nothing is imported by name.

    Raises:
        SerializationError: the kind is unknown or the fields cannot be read.
    """
    try:
        kind = data.get("kind")
        reader = _kinds.readers.get(kind) if isinstance(kind, str) else None
        if reader is not None:
            return reader(data)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise SerializationError(f"the stored calendar {data!r:.300} cannot be read: {error}") from error
    except RecursionError as error:
        raise SerializationError("the stored calendar cannot be read: it is nested too deeply") from error
    raise SerializationError(
        f"unknown calendar kind {kind!r:.80}; known: {', '.join(sorted(_kinds.readers))}; "
        "a calendar of your own needs @register_calendar"
    )


def require_calendar_version(data: Mapping[str, Any]) -> None:
    """Refuse a stored calendar that was written in another form than the one this package reads.

    Raises:
        SerializationError: its version is not 1.
    """
    if data.get("v") != 1:
        raise SerializationError(f"the stored calendar {data!r:.200} is not of version 1, the one that is read here")
