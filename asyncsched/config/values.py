"""Readers of single values: from what a configuration may hold to what `Scheduler` takes."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta, tzinfo
from os import PathLike, fspath
from typing import Any, Final, TypeAlias, cast

from asyncsched.errors import ConfigurationError
from asyncsched.job import Duration
from asyncsched.stores.redaction import SECRET, redact

Reader: TypeAlias = Callable[[Any, str], Any]
"""(the value as configured, its dotted place) -> the value as `Scheduler` takes it."""

_WORDS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


def wrong(value: Any, place: str, expected: str) -> ConfigurationError:
    """Return the error for a value that a reader does not understand; secrets are not shown."""
    secret = redact(value) if isinstance(value, str) else value
    shown = "***" if SECRET.search(f"{place}=") else f"{secret!r:.200}"
    return ConfigurationError(f"{place} = {shown} is not understood; expected {expected}")


def integer(value: Any, place: str) -> int:
    """Read a whole number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,18}\s*", value, re.ASCII):
        return int(value)
    raise wrong(value, place, "a whole number")


def duration(value: Any, place: str) -> Duration:
    """Read seconds, or a timedelta."""
    if isinstance(value, int | float | timedelta) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,18}(\.\d*)?\s*", value, re.ASCII):
        return float(value) if "." in value else int(value)
    raise wrong(value, place, "a number of seconds")


def boolean(value: Any, place: str) -> bool:
    """Read true or false."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _WORDS:
        return _WORDS[value.strip().lower()]
    raise wrong(value, place, "true or false")


def text(value: Any, place: str) -> str:
    """Read text."""
    if isinstance(value, str):
        return value
    raise wrong(value, place, "text")


def path(value: Any, place: str) -> str:
    """Read a path."""
    if isinstance(value, str | PathLike):
        return str(fspath(cast("str | PathLike[str]", value)))
    raise wrong(value, place, "a path")


def optional(reader: Reader) -> Reader:
    """Make a reader that also takes nothing: ``None``, or text such as ``none``."""

    def read(value: Any, place: str) -> Any:
        if value is None or (isinstance(value, str) and value.strip().lower() in {"none", "null", ""}):
            return None
        return reader(value, place)

    return read


def one_of(*words: str) -> Reader:
    """Make a reader of one of these words."""

    def read(value: Any, place: str) -> Any:
        if value in words:
            return value
        near = f"did you mean {found}? " if (found := nearest(str(value), words)) else ""
        raise wrong(value, place, f"one of {', '.join(map(repr, words))}; {near}".rstrip("; "))

    return read


def coalesce(value: Any, place: str) -> Any:
    """Read a coalesce policy, or true or false."""
    if isinstance(value, bool) or (isinstance(value, str) and value.strip().lower() in _WORDS):
        return boolean(value, place)
    return one_of("latest", "earliest", "all")(value, place)


def jitter(value: Any, place: str) -> Any:
    """Read seconds, or a pair of them."""
    parts: Any = value.split(",") if isinstance(value, str) and "," in value else value
    if not isinstance(parts, list | tuple):
        return duration(parts, place)
    pair = [duration(part, place) for part in cast("Iterable[Any]", parts)]
    if len(pair) != 2:  # noqa: PLR2004 - the least and the greatest
        raise wrong(value, place, "a number of seconds, or two: the least and the greatest")
    return pair[0], pair[1]


def timezone(value: Any, place: str) -> tzinfo:
    """Read a time zone or its name."""
    if isinstance(value, tzinfo):
        return value
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - a fifth of the time that this module takes to load

    try:
        return ZoneInfo(text(value, place))
    except (OSError, LookupError, ValueError) as error:
        raise wrong(value, place, "the name of a time zone, such as 'Europe/Helsinki'") from error


def tasks(value: Any, place: str) -> tuple[Any, ...]:
    """Read a list of tasks; in text they are separated by commas."""
    items: Any = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
    if isinstance(items, list | tuple | set | frozenset):
        return tuple(cast("Iterable[Any]", items))
    raise wrong(value, place, 'a list of modules and functions, such as ["app.jobs", "app.mail:send"]')


def each(reader: Reader) -> Reader:
    """Make a reader of a table whose keys are free and whose values are all of one kind."""

    def read(value: Any, place: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise wrong(value, place, "a table of names")
        items = cast("Mapping[str, Any]", value).items()
        return {str(name): reader(item, f"{place}.{name}") for name, item in items}

    return read


def section(value: Any, place: str, readers: Mapping[str, Reader]) -> dict[str, Any]:
    """Read a table whose keys are known."""
    if not isinstance(value, Mapping):
        raise wrong(value, place, f"a table with keys such as {', '.join(list(readers)[:3])}")
    given = cast("Mapping[str, Any]", value)
    require_known(given, readers, place)
    return {key: readers[key](item, f"{place}.{key}" if place else key) for key, item in given.items()}


def require_known(given: Iterable[str], known: Iterable[str], place: str) -> None:
    """Refuse keys that are not known."""
    names = list(known)
    for key in given:
        if key not in names:
            near = f"did you mean {found}? " if (found := nearest(key, names)) else ""
            where = f" in {place}" if place else ""
            known_keys = f"known are {', '.join(names)}" if names else "none is known there"
            raise ConfigurationError(f"unknown key {key!r}{where}; {near}{known_keys}")


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known words that look alike, as text; empty when none does."""
    from difflib import get_close_matches  # noqa: PLC0415 - needed for an error alone

    return " or ".join(map(repr, get_close_matches(word[:80], list(known), cutoff=0.55)))
