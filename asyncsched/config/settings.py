"""Whole configurations: the three forms of `Scheduler.from_config`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta, tzinfo
from typing import TYPE_CHECKING, Any, Final, cast

from asyncsched.config.urls import postgres_store, sqlite_store, store_from_url
from asyncsched.config.values import (
    Reader,
    boolean,
    coalesce,
    duration,
    each,
    integer,
    jitter,
    one_of,
    optional,
    require_known,
    section,
    tasks,
    text,
    timezone,
    wrong,
)
from asyncsched.errors import ConfigurationError
from asyncsched.policy import Duration, JobDefaults, Limit, Retry

if TYPE_CHECKING:
    from os import PathLike
    from types import ModuleType

    from asyncsched.executors.base import Executor
    from asyncsched.stores.base import JobStore

__all__ = ["Settings", "read_settings"]

_PREFIX: Final = "asyncsched"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a configuration says, as the keyword arguments of `Scheduler`; see there for their meaning."""

    store: "JobStore | None" = None
    stores: "Mapping[str, JobStore]" = field(default_factory=dict[str, Any])
    executors: "Mapping[str, Executor]" = field(default_factory=dict[str, Any])
    defaults: JobDefaults = field(default_factory=JobDefaults)
    timezone: tzinfo | None = None
    tasks: "tuple[Callable[..., Any] | ModuleType | str, ...]" = ()
    limits: tuple[Limit, ...] = ()
    name: str | None = None
    max_concurrent_runs: int = 1000
    shutdown_grace: Duration | None = 30
    lease: Duration = 30
    history: Duration | None = timedelta(days=7)
    start_paused: bool = False

    def as_keywords(self) -> dict[str, Any]:
        """Return them as a dict, to be passed with ``**``."""
        return {part.name: getattr(self, part.name) for part in fields(self)}


def _retry(value: Any, place: str) -> Retry | int:
    if isinstance(value, Retry):
        return value
    return Retry(**section(value, place, _RETRY)) if isinstance(value, Mapping) else integer(value, place)


def _limit(value: Any, place: str) -> Limit:
    if isinstance(value, Limit):
        return value
    given = section(value, place, _LIMIT)
    try:
        return Limit(place.rpartition(".")[2], **given)
    except ConfigurationError as error:
        raise ConfigurationError(f"{place}: {error}") from None


def _limits(value: Any, place: str) -> tuple[Limit, ...]:
    if isinstance(value, list | tuple):
        found = tuple(cast("Sequence[Any]", value))
        if all(isinstance(limit, Limit) for limit in found):
            return found
        raise wrong(value, place, "a table of limits by name, or a list of Limit objects")
    return tuple(each(_limit)(value, place).values())


def _rate(value: Any, place: str) -> tuple[int, float]:
    if isinstance(value, list | tuple) and len(cast("Sequence[Any]", value)) == 2:  # noqa: PLR2004 - a pair
        count, seconds = cast("Sequence[Any]", value)
        length = duration(seconds, place)
        return integer(count, place), length.total_seconds() if isinstance(length, timedelta) else float(length)
    raise wrong(value, place, "a pair of a count and seconds, such as [60, 60.0]")


def _defaults(value: Any, place: str) -> JobDefaults:
    return value if isinstance(value, JobDefaults) else JobDefaults(**section(value, place, _DEFAULTS))


def _store(value: Any, place: str) -> Any:
    if isinstance(value, str):
        return store_from_url(value)
    if not isinstance(value, Mapping):
        if hasattr(value, "fire_due"):
            return value
        raise wrong(value, place, "a URL, a table with the key 'url' or 'type', or a store")
    options = dict(cast("Mapping[str, Any]", value))
    if "url" in options:
        require_known(options, ("url",), place)
        return store_from_url(text(options["url"], f"{place}.url"))
    kind = one_of("memory", "sqlite", "postgresql")(options.pop("type", None), f"{place}.type")
    if kind == "sqlite":
        return sqlite_store(options, place)
    if kind == "postgresql":
        return postgres_store(options, place)
    require_known(options, (), place)
    return store_from_url("memory://")


def _executor(value: Any, place: str) -> Any:
    if not isinstance(value, str | Mapping):
        if hasattr(value, "accepts_coroutines"):
            return value
        raise wrong(value, place, "a table with the key 'type', or an executor")
    options = {"type": value} if isinstance(value, str) else dict(cast("Mapping[str, Any]", value))
    kind = one_of("thread", "process", "async", "inline")(options.pop("type", None), f"{place}.type")
    known = {"max_workers": integer} if kind in {"thread", "process"} else {}
    import asyncsched.executors as package  # noqa: PLC0415 - loads the pools

    made: dict[str, str] = {
        "thread": "ThreadExecutor",
        "process": "ProcessExecutor",
        "async": "AsyncExecutor",
        "inline": "InlineExecutor",
    }
    return getattr(package, made[kind])(**section(options, place, known))


_RETRY: Final[Mapping[str, Reader]] = {
    "max_attempts": integer,
    "delay": duration,
    "backoff": duration,
    "max_delay": duration,
    "jitter": boolean,
}

_LIMIT: Final[Mapping[str, Reader]] = {
    "concurrency": optional(integer),
    "rate": optional(_rate),
    "key": optional(text),
}

_DEFAULTS: Final[Mapping[str, Reader]] = {
    "max_instances": optional(integer),
    "overlap": one_of("skip", "queue_one", "queue_all", "cancel_running", "allow"),
    "misfire_grace_time": optional(duration),
    "coalesce": coalesce,
    "catchup_window": optional(duration),
    "max_catchup": integer,
    "jitter": optional(jitter),
    "timeout": optional(duration),
    "retry": optional(_retry),
    "on_lost": one_of("retry", "fail"),
    "max_lost": integer,
    "pause_after_failures": optional(integer),
    "priority": integer,
    "keep_runs": optional(integer),
    "keep_results": boolean,
    "limit": optional(text),
    "carry_result": boolean,
    "capture_logs": boolean,
}

_SETTINGS: Final[Mapping[str, Reader]] = {
    "store": optional(_store),
    "stores": each(_store),
    "executors": each(_executor),
    "defaults": _defaults,
    "timezone": optional(timezone),
    "tasks": tasks,
    "limits": _limits,
    "name": optional(text),
    "max_concurrent_runs": integer,
    "shutdown_grace": optional(duration),
    "lease": duration,
    "history": optional(duration),
    "start_paused": boolean,
}


# -- whole configurations ------------------------------------------------------------------------


def read_settings(config: "Mapping[str, Any] | str | PathLike[str]") -> Settings:
    """Read a configuration.

    Args:
        config: a nested mapping; a mapping with dotted keys, with or without the prefix
            ``asyncsched.``; or the path of a TOML file with a table ``[asyncsched]``, or with the
            keys at its top level. Text is understood where a number, true, false or "none" is
            expected. Where a store or an executor is expected, an object will do.

    Raises:
        ConfigurationError: a key is unknown, a value is not understood (with its dotted place), or
            the file cannot be read.
    """
    given = config if isinstance(config, Mapping) else _toml(config)
    values = section(_nested(given), "", _SETTINGS)
    stores: dict[str, Any] = values.get("stores", {})
    if "default" in stores:
        if values.get("store") is not None:
            raise ConfigurationError("store and stores.default both name the default store; leave one of them out")
        values["store"] = stores.pop("default")
    return Settings(**values)


def _toml(path: "str | PathLike[str]") -> Mapping[str, Any]:
    import tomllib  # noqa: PLC0415 - needed for files alone

    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib would be loaded for this alone
            return tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(
            f"the configuration file {path!r} cannot be read: {error.strerror}; pass the path of a TOML file, or a mapping"
        ) from error
    except ValueError as error:
        raise ConfigurationError(f"the configuration file {path!r} is not TOML: {error}") from error


def _nested(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Unfold dotted keys, and step into the table ``asyncsched`` if there is one."""
    nested: dict[str, Any] = {}
    for key, value in config.items():
        *tables, last = str(key).split(".")
        table = nested
        for name in tables:
            table = _table_in(table, name, str(key))
        _put(table, last, value, str(key))
    own = nested.get(_PREFIX)
    return cast("Mapping[str, Any]", own) if isinstance(own, Mapping) else nested


def _table_in(table: dict[str, Any], name: str, whole: str) -> dict[str, Any]:
    below = table.setdefault(name, {})
    if not isinstance(below, dict):
        raise ConfigurationError(f"{whole} lies within {name}, which has a value of its own; leave one out")
    return cast("dict[str, Any]", below)


def _put(table: dict[str, Any], key: str, value: Any, whole: str) -> None:
    if isinstance(value, Mapping):
        below = _table_in(table, key, whole)
        for name, item in cast("Mapping[str, Any]", value).items():
            _put(below, name, item, f"{whole}.{name}")
    elif key in table:
        raise ConfigurationError(f"{whole} is given twice; leave one out")
    else:
        table[key] = value
