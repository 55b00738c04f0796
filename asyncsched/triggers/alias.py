"""Triggers by alias and keywords, as `add_job(f, "cron", hour="8-23")` writes them."""

import difflib
from collections.abc import Callable, Mapping
from typing import Any, Final

from asyncsched.errors import ConfigurationError
from asyncsched.triggers.base import Trigger
from asyncsched.triggers.calendar_interval import CalendarIntervalTrigger
from asyncsched.triggers.combined.all_of import AndTrigger
from asyncsched.triggers.combined.any_of import OrTrigger
from asyncsched.triggers.cron.trigger import CronTrigger
from asyncsched.triggers.date import DateTrigger, DelayTrigger
from asyncsched.triggers.interval import IntervalTrigger
from asyncsched.triggers.zone import resolve_zone

__all__ = ["trigger_from_alias"]

_CRON: Final = ("year", "month", "day", "week", "day_of_week", "hour", "minute", "second")
_KEYWORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "date": ("run_date", "timezone"),
    "interval": (
        *("weeks", "days", "hours", "minutes", "seconds"),
        *("start", "end", "start_date", "end_date", "timezone", "jitter", "from_"),
    ),
    "cron": (*_CRON, "start_date", "end_date", "timezone", "gap", "fold", "jitter"),
    "calendarinterval": (
        *("years", "months", "weeks", "days", "hour", "minute", "second"),
        *("start_date", "end_date", "timezone", "gap", "fold", "jitter"),
    ),
    "and": ("triggers", "threshold", "jitter"),
    "or": ("triggers", "jitter"),
}


def trigger_from_alias(alias: str, **fields: Any) -> Trigger:
    """Return the trigger that an alias and its keywords name, in APScheduler's spelling.

    Args:
        alias: ``date``, ``interval``, ``cron``, ``calendarinterval``, ``and`` or ``or``.
        **fields: what the trigger takes; ``start_date`` and ``end_date`` for ``start`` and ``end``
            of an interval too. ``date`` without ``run_date`` is due at the moment it is added.

    Raises:
        ConfigurationError: the alias or a keyword is unknown (near matches are named), or a value
            is wrong (`InvalidTriggerError`).
    """
    # Whoever passes anything else gets the message below instead of a complaint about hashing.
    known = _KEYWORDS.get(alias) if type(alias) is str else None
    if known is None:
        raise ConfigurationError(_unknown_alias(alias))
    for name in fields:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=2)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"it takes {', '.join(known)}"
            raise ConfigurationError(f"the trigger {alias!r} takes no {name!r}; {hint}")
    return _MAKERS[alias](fields)


def _unknown_alias(alias: object) -> str:
    if isinstance(alias, str) and (alias.startswith("@") or len(alias.split()) in {5, 6, 7}):
        return f"{alias!r:.80} is no alias of a trigger; if it is a crontab expression, write cron({alias!r:.80})"
    near = difflib.get_close_matches(str(alias), _KEYWORDS, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"there is no trigger with the alias {alias!r:.80}; {hint}write one of {', '.join(map(repr, _KEYWORDS))}, or pass a Trigger"


def _date(fields: dict[str, Any]) -> Trigger:
    run_date, zone = fields.get("run_date"), fields.get("timezone")
    if run_date is not None:
        return DateTrigger(run_date, zone)
    if zone is not None:
        resolve_zone(zone)  # of no effect, but a mistake in it is said
    return DelayTrigger(0)


def _interval(fields: dict[str, Any]) -> Trigger:
    for name, synonym in (("start", "start_date"), ("end", "end_date")):
        if name in fields and synonym in fields:
            raise ConfigurationError(f"{name!r} and {synonym!r} mean the same; give one of them")
    renamed = {"start_date": "start", "end_date": "end"}
    return IntervalTrigger(**{renamed.get(name, name): value for name, value in fields.items()})


def _cron(fields: dict[str, Any]) -> Trigger:
    return CronTrigger(**fields)


def _calendar_interval(fields: dict[str, Any]) -> Trigger:
    return CalendarIntervalTrigger(**fields)


def _and(fields: dict[str, Any]) -> Trigger:
    return AndTrigger(fields.pop("triggers", ()), **fields)


def _or(fields: dict[str, Any]) -> Trigger:
    return OrTrigger(fields.pop("triggers", ()), **fields)


_MAKERS: Final[Mapping[str, Callable[[dict[str, Any]], Trigger]]] = {
    "date": _date,
    "interval": _interval,
    "cron": _cron,
    "calendarinterval": _calendar_interval,
    "and": _and,
    "or": _or,
}
