"""What every trigger can be combined with: the operators, and the two methods of their kind.

The combining classes stand above `asyncsched.triggers.base`, as they are triggers themselves. They
register their kind like every other, and are built by it here, so that no module imports upwards.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal

from asyncsched.triggers.calendars.base import Calendar
from asyncsched.triggers.moment import Moment

if TYPE_CHECKING:
    from asyncsched.triggers.base import Trigger

__all__ = ["MAKERS", "Combinable"]

MAKERS: Final[dict[str, Callable[..., Any]]] = {}
"""Kind of a trigger -> what makes one of its parts."""


class Combinable:
    """What can be part of a combination. Each operator returns a new trigger."""

    __slots__ = ()

    def __or__(self, other: "Trigger") -> "Trigger":
        """Return the trigger that fires whenever one of the two does: `OrTrigger`."""
        return _combined("or", self, other)

    def __and__(self, other: "Trigger") -> "Trigger":
        """Return the trigger that fires whenever both do, at the very same instant: `AndTrigger`."""
        return _combined("and", self, other)

    def __sub__(self, other: "Trigger | Calendar") -> "Trigger":
        """Return the trigger that fires when this one does and the other does not: `ExceptTrigger`.

        Args:
            other: a trigger, whose instants are left out, or a calendar, whose days are.
        """
        return _combined("except", self, other)

    def between(self, start: Moment | None = None, end: Moment | None = None) -> "Trigger":
        """Return the trigger bounded: nothing fires before ``start`` or after ``end``: `BetweenTrigger`.

        Args:
            start: the first instant that may fire, inclusive; ``None`` for no bound. A naive
                datetime is read in the zone of the trigger.
            end: the last instant that may fire, inclusive; ``None`` for no bound.

        Raises:
            InvalidTriggerError: a bound cannot be read, both are missing, or ``end`` lies before ``start``.
        """
        return _combined("between", self, start, end)

    def on(self, days: Calendar, shift: Literal["next", "previous"] | None = None) -> "Trigger":
        """Return the trigger restricted to the days of a calendar: `OnDaysTrigger`.

        Args:
            days: the days, told apart in the zone of the trigger.
            shift: what becomes of an instant on another day: ``None`` leaves it out, ``"next"`` and
                ``"previous"`` move it to the same time of day on the nearest day of the calendar
                after or before.

        Raises:
            InvalidTriggerError: ``days`` is no calendar, or the trigger never fires on such a day.
        """
        return _combined("on", self, days, shift)


def _combined(kind: str, *arguments: object) -> "Trigger":
    made: Trigger = MAKERS[kind](*arguments)
    return made
