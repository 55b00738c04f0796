"""The policies of a job: what users write, and what it comes down to. Frozen values.

`JobDefaults`, `Retry` and `Limit` are what users write; `Policies` and `RetryRule` are what they
come down to, checked and in one unit.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import Final, Literal, TypeAlias, cast

import msgspec

from asyncsched.errors import ConfigurationError

__all__ = [
    "Coalesce",
    "Duration",
    "JSONValue",
    "JobDefaults",
    "JobState",
    "Limit",
    "OnLost",
    "Overlap",
    "Policies",
    "Retry",
    "RetryRule",
    "Unique",
    "UniqueMode",
]

JSONValue: TypeAlias = "bool | int | float | str | Sequence[JSONValue] | Mapping[str, JSONValue] | None"
Duration: TypeAlias = float | timedelta
"""Seconds, or a timedelta."""
Overlap: TypeAlias = Literal["skip", "queue_one", "queue_all", "cancel_running", "allow"]
Coalesce: TypeAlias = Literal["latest", "earliest", "all"]
OnLost: TypeAlias = Literal["retry", "fail"]
JobState: TypeAlias = Literal["active", "paused", "parked"]
UniqueMode: TypeAlias = Literal["keep", "replace", "debounce"]

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,63}", re.ASCII)
_LONG_AGO: Final = -(2**62)
_LONGEST_KEY: Final = 120
_SHORTEST_PERIOD_S: Final = 0.001
_LONGEST_PERIOD_S: Final = 366 * 86_400.0
_FIELD: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How a failed run is tried again: after ``delay * backoff ** (attempt - 1)`` seconds.

    Attributes:
        max_attempts: how many attempts a run has in all, at least 1.
        delay: seconds before the second attempt.
        backoff: the factor from each delay to the next, at least 1.
        max_delay: the longest delay, in seconds.
        jitter: draw each delay from [0, delay] (full jitter) instead of taking it whole.
        on: exception types that are worth another attempt.
        give_up_on: exception types that are not, whatever ``on`` says.
    """

    max_attempts: int = 3
    delay: float = 1.0
    backoff: float = 2.0
    max_delay: float = 300.0
    jitter: bool = True
    on: tuple[type[BaseException], ...] = (Exception,)
    give_up_on: tuple[type[BaseException], ...] = ()


@dataclass(frozen=True, slots=True)
class Limit:
    """A bound that jobs share by naming it: ``add_job(..., limit="stripe")``. It holds over all nodes of a store.

    Runs that it holds back wait; they are neither skipped nor failed. Edit one by defining it again,
    with `Scheduler.set_limit` or at the next start.

    Attributes:
        name: 1 to 63 of ``A-Z a-z 0-9 _ . -``.
        concurrency: how many attempts may be running at once; ``None`` for any number.
        rate: ``(count, seconds)``: a bucket of ``count`` starts that is filled up evenly within
            ``seconds``; ``None`` for any number.
        key: makes a limit of its own of each value of the job's arguments that it names, such as
            ``"{tenant}"``. Jobs take the key that the limit has when they are defined.

    Raises:
        ConfigurationError: a value is wrong.
    """

    name: str
    concurrency: int | None = None
    rate: tuple[int, float] | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        if not _is_name(self.name):
            raise ConfigurationError(f"Limit({self.name!r}): a name has 1 to 63 letters, digits, '_', '.' or '-'")
        if self.concurrency is not None and not _is_count(self.concurrency):
            raise ConfigurationError(f"Limit({self.name!r}): concurrency={self.concurrency!r} must be an int from 1 on")
        if self.rate is not None and not _is_rate(self.rate):
            raise ConfigurationError(
                f"Limit({self.name!r}): rate={self.rate!r} must be a pair (count, seconds), such as (60, 60.0)"
            )
        if self.key is not None and not _has_field(self.key):
            raise ConfigurationError(
                f"Limit({self.name!r}): key={self.key!r} names no argument; write key='{{tenant}}', for example"
            )

    def key_for(self, arguments: Mapping[str, object]) -> str:
        """Return under what a run with these arguments, by name, is counted.

        Raises:
            ConfigurationError: the key names an argument that is not there.
        """
        return self.name if self.key is None else limit_key(self.name, self.key, arguments)


def limit_key(name: str, key: str, arguments: Mapping[str, object]) -> str:
    """Return under what a run of a limit with such a key is counted; ``name:value``, long values by their digest.

    Raises:
        ConfigurationError: the key names an argument that is not there.
    """

    def value_of(match: "re.Match[str]") -> str:
        if match[1] not in arguments:
            known = ", ".join(sorted(arguments)) or "none"
            raise ConfigurationError(
                f"the key {key!r} of the limit {name!r} names the argument {match[1]!r}, which is not given; "
                f"the arguments are: {known}"
            )
        try:
            return str(arguments[match[1]])
        except Exception as error:
            raise ConfigurationError(
                f"the argument {match[1]!r}, which the key {key!r} of the limit {name!r} names, cannot be written as text"
            ) from error

    value = _FIELD.sub(value_of, key)
    if len(value) > _LONGEST_KEY or not value.isprintable():
        value = blake2b(value.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{name}:{value}"


def _is_name(name: object) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def _has_field(key: object) -> bool:
    return isinstance(key, str) and _FIELD.search(key) is not None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**31


def _is_rate(rate: object) -> bool:
    if not isinstance(rate, tuple):
        return False
    pair = cast("tuple[object, ...]", rate)
    if len(pair) != 2:  # noqa: PLR2004 - a pair
        return False
    count, seconds = pair
    is_duration = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    return _is_count(count) and is_duration and _SHORTEST_PERIOD_S <= cast("float", seconds) <= _LONGEST_PERIOD_S


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDefaults:
    """The policies that a job has when its own definition does not name them.

    Attributes:
        max_instances: how many runs of one job may be running at once, over all nodes of its store;
            ``None`` for any number.
        overlap: what happens to a fire when that many run already.
        misfire_grace_time: seconds by which a start may be late before the fire is recorded
            ``missed``; ``None`` runs it however late.
        coalesce: which of several fires that fell due unseen is run: the latest, the earliest, all.
        catchup_window: seconds; fires older than that are recorded ``missed`` whatever coalesce says.
        max_catchup: with ``"all"``, how many of the newest are run.
        jitter: seconds by which a start is delayed, see `asyncsched.triggers.Jitter`.
        timeout: seconds that an attempt may take; ``None`` for any time.
        retry: how a failed run is tried again; an int is ``Retry(max_attempts=n)``.
        on_lost: whether a run whose node died is started again (``"retry"``) or recorded ``lost``.
        max_lost: how many times it is started again.
        pause_after_failures: pause the job after that many failed runs in a row.
        priority: a larger one starts earlier when not everything can start at once.
        keep_runs: how many finished runs of the job the ledger keeps; ``None`` for all that
            ``history`` keeps.
        keep_results: whether return values are kept in the ledger (up to 64 KiB encoded).
        limit: the name of a `Limit` that its runs share with others.
        carry_result: hand the result of its last successful run to the next, as
            ``current_run().last_result``.
        capture_logs: keep what is logged in a run with it (up to 16 KiB).
    """

    max_instances: int | None = 1
    overlap: Overlap = "skip"
    misfire_grace_time: Duration | None = None
    coalesce: Coalesce | bool = "latest"
    catchup_window: Duration | None = None
    max_catchup: int = 100
    jitter: Duration | tuple[float, float] | None = None
    timeout: Duration | None = None
    retry: Retry | int | None = None
    on_lost: OnLost = "retry"
    max_lost: int = 3
    pause_after_failures: int | None = None
    priority: int = 0
    keep_runs: int | None = 100
    keep_results: bool = True
    limit: str | None = None
    carry_result: bool = False
    capture_logs: bool = False


class RetryRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """A `Retry`, checked: durations in microseconds, exceptions by their names."""

    max_attempts: int = 3
    delay: int = 1_000_000
    backoff: float = 2.0
    max_delay: int = 300_000_000
    jitter: bool = True
    on: tuple[str, ...] = ("Exception",)
    give_up_on: tuple[str, ...] = ()


class Policies(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The policies of one job, checked and in one unit: every duration in microseconds.

    ``limit_by`` is the key of the job's limit as it was when the job was defined, ``limit_key`` what
    that comes to with the job's own arguments.
    """

    max_instances: int | None = 1
    overlap: Overlap = "skip"
    misfire_grace: int | None = None
    coalesce: Coalesce = "latest"
    catchup_window: int | None = None
    max_catchup: int = 100
    jitter: tuple[int, int] | None = None
    timeout: int | None = None
    on_lost: OnLost = "retry"
    max_lost: int = 3
    priority: int = 0
    keep_runs: int | None = 100
    keep_results: bool = True
    retry: RetryRule | None = None
    pause_after_failures: int | None = None
    on_success: str | None = None
    on_failure: str | None = None
    carry_result: bool = False
    capture_logs: bool = False
    limit: str | None = None
    limit_by: str | None = None
    limit_key: str | None = None


class Unique(msgspec.Struct, frozen=True):
    """How `JobStore.enqueue` treats a run whose ``unique_key`` another one has had of late.

    ``window`` is how far back that other may have been asked for, in microseconds, judged by its
    ``fire_time``; cancelled ones do not count. ``keep``: it stands for the new one, whatever its
    state. ``replace``: if it waits for its first attempt, it is cancelled and the new one takes its
    place. ``debounce``: if it so waits, however long ago it was asked for, it is put off to
    ``window`` from now, and a new one begins no earlier than that either.
    """

    window: int
    mode: UniqueMode = "keep"

    def since(self, now: int) -> int:
        """Return from when on a run counts as asked for of late."""
        return _LONG_AGO if self.mode == "debounce" else now - self.window
