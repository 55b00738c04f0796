"""From what users write to `Policies`: every value checked, every duration in microseconds. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import timedelta
from typing import Any, Final, cast

from msgspec.structs import replace

from asyncsched.clock import duration_us
from asyncsched.errors import ConfigurationError
from asyncsched.policy import JobDefaults, Limit, Policies, Retry, RetryRule, Unique, UniqueMode

__all__ = ["duration", "overlay", "policies_from", "read_count", "read_unique", "require_sound"]

_LARGEST: Final = 2**31 - 1
_LONGEST_WINDOW: Final = 366 * 86_400 * 1_000_000
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
    return replace(base, **changes) if changes else base


def require_sound(policies: Policies) -> None:
    """Refuse policies from a file that nobody could have written in code.

    Raises:
        ConfigurationError: a value is out of range; the message names the option.
    """
    for name, (target, read) in _READERS.items():
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


def read_count(name: str, value: object, most: int) -> int:
    """Return an int from 1 to the most.

    Raises:
        ConfigurationError: it is none.
    """
    return _at_least(1, most)(name, value)


def read_unique(window: object, mode: object) -> Unique | None:
    """Return how a run is to be the only one of its kind; ``None``: not at all.

    Raises:
        ConfigurationError: a value is wrong.
    """
    checked = _one_of("keep", "replace", "debounce")("unique", mode)
    if window is None:
        if checked != "keep":
            raise ConfigurationError(f"unique={mode!r} needs a window; give unique_for=60, for example")
        return None
    length = _timeout("unique_for", window)
    if length > _LONGEST_WINDOW:
        raise ConfigurationError(f"unique_for={window!r} is longer than a year; give less")
    return Unique(length, cast("UniqueMode", checked))


def _optional(read: Callable[[str, object], Any]) -> Callable[[str, object], Any]:
    return lambda name, value: None if value is None else read(name, value)


def _at_least(lowest: int, most: int = _LARGEST) -> Callable[[str, object], int]:
    def read(name: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= most:
            raise ConfigurationError(f"{name}={value!r:.80} must be an int from {lowest} to {most}")
        return value

    return read


def _one_of(*choices: str) -> Callable[[str, object], str]:
    def read(name: str, value: object) -> str:
        if value not in choices:
            raise ConfigurationError(f"{name}={value!r} must be one of {', '.join(map(repr, choices))}")
        return str(value)

    return read


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
        what = "would stop every run at once" if name == "timeout" else "is no time at all"
        raise ConfigurationError(f"{name}={value!r} {what}; give more than zero seconds, or None")
    return length


def _integer(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**31) <= value < 2**31:
        raise ConfigurationError(f"{name}={value!r:.80} must be an int of 32 bits")
    return value


def _boolean(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name}={value!r} must be True or False")
    return value


def _retry(name: str, value: object) -> RetryRule:
    if isinstance(value, int) and not isinstance(value, bool):
        value = Retry(max_attempts=value) if value >= 1 else value
    names_too = isinstance(value, RetryRule)  # of a file, or handed on
    if isinstance(value, RetryRule):
        value = _as_written(value)
    if not isinstance(value, Retry):
        raise ConfigurationError(f"{name}={value!r:.80} must be a Retry(...), or an int from 1 on: how many attempts")
    backoff = cast("object", value.backoff)
    if isinstance(backoff, bool) or not isinstance(backoff, int | float) or not 1 <= backoff <= _LARGEST:
        raise ConfigurationError(f"{name}: backoff={backoff!r:.80} must be a factor of at least 1")
    return RetryRule(
        max_attempts=_at_least(1)(f"{name}: max_attempts", value.max_attempts),
        delay=duration(f"{name}: delay", value.delay),
        backoff=float(backoff),
        max_delay=duration(f"{name}: max_delay", value.max_delay),
        jitter=_boolean(f"{name}: jitter", value.jitter),
        on=_kinds(f"{name}: on", value.on, names_too=names_too),
        give_up_on=_kinds(f"{name}: give_up_on", value.give_up_on, names_too=names_too),
    )


def _as_written(rule: RetryRule) -> Retry:
    kinds: Any = rule.on, rule.give_up_on
    return Retry(
        max_attempts=rule.max_attempts,
        delay=_in_seconds(rule.delay),
        backoff=rule.backoff,
        max_delay=_in_seconds(rule.max_delay),
        jitter=rule.jitter,
        on=kinds[0],
        give_up_on=kinds[1],
    )


def _kinds(name: str, value: object, *, names_too: bool) -> tuple[str, ...]:
    """Return the names of exception classes, as `Outcome.ancestry` has them."""
    kinds = cast("Sequence[object]", value if isinstance(value, tuple | list) else (value,))
    names: list[str] = []
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, BaseException):
            names.append(
                kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
            )
        elif names_too and isinstance(kind, str) and kind:
            names.append(kind)
        else:
            raise ConfigurationError(f"{name}={value!r:.80} must be a tuple of exception classes, such as (OSError,)")
    return tuple(names)


def _job_id(name: str, value: object) -> str:
    target = getattr(value, "job_id", value)  # a function that was declared as a job
    if not isinstance(target, str) or not target:
        raise ConfigurationError(f"{name}={value!r:.80} must be the id of a job, or a function declared by @s.job")
    return target


def _limit(name: str, value: object) -> str:
    if isinstance(value, Limit):
        value = value.name
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{name}={value!r:.80} must be the name of a Limit")
    return value


_READERS: Final[Mapping[str, tuple[str, Callable[[str, object], Any]]]] = {
    "max_instances": ("max_instances", _optional(_at_least(1))),
    "overlap": ("overlap", _one_of("skip", "queue_one", "queue_all", "cancel_running", "allow")),
    "misfire_grace_time": ("misfire_grace", _optional(duration)),
    "coalesce": ("coalesce", _coalesce),
    "catchup_window": ("catchup_window", _optional(duration)),
    "max_catchup": ("max_catchup", _at_least(1)),
    "jitter": ("jitter", _optional(_jitter)),
    "timeout": ("timeout", _optional(_timeout)),
    "retry": ("retry", _optional(_retry)),
    "on_lost": ("on_lost", _one_of("retry", "fail")),
    "max_lost": ("max_lost", _at_least(0)),
    "pause_after_failures": ("pause_after_failures", _optional(_at_least(1))),
    "on_success": ("on_success", _optional(_job_id)),
    "on_failure": ("on_failure", _optional(_job_id)),
    "limit": ("limit", _optional(_limit)),
    "carry_result": ("carry_result", _boolean),
    "capture_logs": ("capture_logs", _boolean),
    "priority": ("priority", _integer),
    "keep_runs": ("keep_runs", _optional(_at_least(0))),
    "keep_results": ("keep_results", _boolean),
}

_IN_MICROSECONDS: Final = ("misfire_grace_time", "catchup_window", "timeout", "jitter")
