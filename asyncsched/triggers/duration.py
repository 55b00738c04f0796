"""Durations of triggers: read to whole microseconds, written as words."""

from datetime import timedelta
from fractions import Fraction
from math import isfinite
from typing import Any, Final

from asyncsched.errors import InvalidTriggerError

__all__ = ["UNITS", "duration_text", "split_microseconds", "whole_microseconds"]

UNITS: Final = {
    "weeks": 604_800_000_000,
    "days": 86_400_000_000,
    "hours": 3_600_000_000,
    "minutes": 60_000_000,
    "seconds": 1_000_000,
}
"""Microseconds of each unit, the longest first."""


def whole_microseconds(amount: Any, name: str, unit: int = 1_000_000) -> int:
    """Return an amount of a unit (or a timedelta) in microseconds, rounded to the nearest.

    Raises:
        InvalidTriggerError: it is not a finite number.
    """
    if isinstance(amount, timedelta):
        return amount // timedelta(microseconds=1)
    if isinstance(amount, int) and not isinstance(amount, bool):
        return amount * unit
    if not isinstance(amount, float) or not isfinite(amount):
        hint = "; write numbers by their units, for example every(minutes=5)" if name in UNITS else ""
        raise InvalidTriggerError(f"{name}={amount!r:.80} is not a finite number{hint}", field=name, value=amount)
    return round(Fraction(amount) * unit)


def split_microseconds(microseconds: int) -> dict[str, int | float]:
    """Return the units that add up to a duration, the longest first, those of zero left out."""
    parts: dict[str, int | float] = {}
    rest = microseconds
    for name, unit in UNITS.items():
        whole, rest = divmod(rest, unit)
        if whole:
            parts[name] = whole
    if rest:
        parts["seconds"] = parts.get("seconds", 0) + rest / 1_000_000
    return parts


def duration_text(microseconds: int) -> str:
    """Return a duration in words, such as ``1 hour and 30 minutes``; ``0 seconds`` for none."""
    parts = [_counted(amount, name) for name, amount in split_microseconds(microseconds).items()]
    if not parts:
        return "0 seconds"
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _counted(amount: float, name: str) -> str:
    return f"{amount:g} {name[:-1]}" if amount == 1 else f"{amount:.6f}".rstrip("0").rstrip(".") + f" {name}"
