"""From what users write to `Policies`: every value checked, every duration in microseconds. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import timedelta
from typing import Any, Final, cast

from msgspec.structs import replace

from asyncsched.clock import duration_us
from asyncsched.errors import ConfigurationError
from asyncsched.job import JobDefaults, Policies

__all__ = ["duration", "overlay", "policies_from", "require_sound"]

_NOT_YET: Final = "is not supported by this version of asyncsched; leave it out"
_LARGEST: Final = 2**31 - 1
_LONGEST: Final = 10_000 * 366 * 86_400 * 1_000_000


def policies_from(defaults: JobDefaults) -> Policies:
    """Return the policies of a job that names none itself.

    Raises:
        ConfigurationError: a value is out of range.
    """
    return overlay(Policies(), {item.name: getattr(defaults, item.name) for item in fields(defaults)})


def overlay(base: Policies, options: Mapping[str, Any]) -> Policies:
    """Return the policies with the given options laid over; ``...`` leaves the base's value.

    Raises:
        ConfigurationError: a value is out of range; the message names the option.
    """
    changes: dict[str, Any] = {}
    for name, value in options.items():
        if value is not ...:
            target, read = _READERS[name]
            changes[target] = read(name, value)
    changes.pop("", None)
    return replace(base, **changes) if changes else base


def require_sound(policies: Policies) -> None:
    """Refuse policies from a file that nobody could have written in code.

    Raises:
        ConfigurationError: a value is out of range; the message names the option.
    """
    for name, (target, read) in _READERS.items():
        if target:
            value = getattr(policies, target)
            read(name, _in_seconds(value) if name in _IN_MICROSECONDS else value)


def _in_seconds(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_in_seconds, cast("tuple[int, ...]", value)))
    return None if value is None else value / 1_000_000


def duration(name: str, value: object) -> int:
    """Return a duration given in seconds or as a timedelta in microseconds.

    Raises:
        ConfigurationError: it is no number, negative, or absurdly long.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | timedelta):
        raise ConfigurationError(f"{name}={value!r} is not a duration; give seconds as a number, or a timedelta")
    try:
        length = duration_us(value)
    except (ValueError, OverflowError):
        length = -1
    if not 0 <= length <= _LONGEST:
        raise ConfigurationError(f"{name}={value!r} is out of range; give a duration of zero or more seconds")
    return length


def _optional(read: Callable[[str, object], Any]) -> Callable[[str, object], Any]:
    return lambda name, value: None if value is None else read(name, value)


def _at_least(lowest: int) -> Callable[[str, object], int]:
    def read(name: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= _LARGEST:
            raise ConfigurationError(f"{name}={value!r:.80} must be an int from {lowest} to {_LARGEST}")
        return value

    return read


def _one_of(*choices: str) -> Callable[[str, object], str]:
    def read(name: str, value: object) -> str:
        if value not in choices:
            raise ConfigurationError(f"{name}={value!r} must be one of {', '.join(map(repr, choices))}")
        return str(value)

    return read


def _overlap(name: str, value: object) -> str:
    if value == "cancel_running":
        raise ConfigurationError(f"{name}={value!r} {_NOT_YET}")
    return _one_of("skip", "queue_one", "queue_all", "allow")(name, value)


def _coalesce(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "latest" if value else "all"
    return _one_of("latest", "earliest", "all")(name, value)


def _jitter(name: str, value: object) -> tuple[int, int]:
    if not isinstance(value, tuple):
        return 0, duration(name, value)
    bounds = cast("tuple[object, ...]", value)
    if len(bounds) != 2:  # noqa: PLR2004 - a pair
        raise ConfigurationError(f"{name}={value!r} must be a number of seconds or a pair (least, greatest)")
    least, greatest = duration(name, bounds[0]), duration(name, bounds[1])
    if least > greatest:
        raise ConfigurationError(
            f"{name}={value!r} has its bounds the wrong way round; write {(bounds[1], bounds[0])!r}"
        )
    return least, greatest


def _timeout(name: str, value: object) -> int:
    length = duration(name, value)
    if length == 0:
        raise ConfigurationError(f"{name}={value!r} would stop every run at once; give more than zero seconds, or None")
    return length


def _integer(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**31) <= value < 2**31:
        raise ConfigurationError(f"{name}={value!r:.80} must be an int of 32 bits")
    return value


def _boolean(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name}={value!r} must be True or False")
    return value


def _not_yet(name: str, value: object) -> None:
    if value is not None:
        raise ConfigurationError(f"{name}={value!r} {_NOT_YET}")


_READERS: Final[Mapping[str, tuple[str, Callable[[str, object], Any]]]] = {
    "max_instances": ("max_instances", _optional(_at_least(1))),
    "overlap": ("overlap", _overlap),
    "misfire_grace_time": ("misfire_grace", _optional(duration)),
    "coalesce": ("coalesce", _coalesce),
    "catchup_window": ("catchup_window", _optional(duration)),
    "max_catchup": ("max_catchup", _at_least(1)),
    "jitter": ("jitter", _optional(_jitter)),
    "timeout": ("timeout", _optional(_timeout)),
    "retry": ("", _not_yet),
    "on_lost": ("on_lost", _one_of("retry", "fail")),
    "max_lost": ("max_lost", _at_least(0)),
    "pause_after_failures": ("", _not_yet),
    "priority": ("priority", _integer),
    "keep_runs": ("keep_runs", _optional(_at_least(0))),
    "keep_results": ("keep_results", _boolean),
}

_IN_MICROSECONDS: Final = ("misfire_grace_time", "catchup_window", "timeout", "jitter")
