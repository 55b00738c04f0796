"""The jitter that a trigger may carry to its job."""

from datetime import timedelta
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from asyncsched.errors import ConfigurationError
from asyncsched.triggers.base import Jitter

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["AnyJitter", "read_jitter", "stored_jitter"]

AnyJitter: TypeAlias = Jitter | timedelta


def read_jitter(jitter: Any) -> Jitter:
    """Return the jitter in seconds: a number, a pair (low, high), or ``None``.

    Raises:
        ConfigurationError: it is negative, not finite, or neither a number of seconds nor a pair.
    """
    if jitter is None:
        return None
    if isinstance(jitter, timedelta):
        return _seconds(jitter.total_seconds(), jitter)
    if not isinstance(jitter, tuple | list):
        return _seconds(jitter, jitter)
    bounds = [_seconds(bound, jitter) for bound in cast("Sequence[Any]", jitter)]
    match bounds:
        case [low, high] if low <= high:
            return low, high
        case _:
            raise ConfigurationError(f"jitter={jitter!r} is not a pair (low, high) with low <= high, in seconds")


def stored_jitter(jitter: Jitter) -> dict[str, Any]:
    """Return the entry that `to_dict` of a trigger adds for its jitter; empty when there is none."""
    if jitter is None:
        return {}
    return {"jitter": list(jitter) if isinstance(jitter, tuple) else jitter}


def _seconds(value: Any, jitter: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
        raise ConfigurationError(
            f"jitter={jitter!r} is not a delay in seconds: write a number >= 0, a pair (low, high), or None"
        )
    return value
