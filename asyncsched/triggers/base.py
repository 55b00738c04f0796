"""What a trigger is: a pure, frozen value that says at which instants a job is due.

A trigger holds no cursor. `next(after)` is a function of the trigger and an instant alone, so that
any node can ask, nothing needs to be stored back, and missed time is caught up without iterating
every instant of it. The engine itself uses the methods that end in ``_us``: they take and return
Unix microseconds and are what built-in triggers implement; a user's own trigger needs only `next`,
`describe` and `to_dict`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any, ClassVar, Final, Self, TypeAlias, TypeVar, final

from asyncsched.clock import SystemClock, to_datetime, to_us
from asyncsched.errors import ConfigurationError, InvalidTriggerError, SerializationError
from asyncsched.triggers.operators import MAKERS, Combinable

__all__ = [
    "COUNT_LIMIT",
    "Jitter",
    "LintWarning",
    "MicrosecondTrigger",
    "Trigger",
    "register_trigger",
    "trigger_from_dict",
]

Jitter: TypeAlias = float | tuple[float, float] | None
"""Seconds: ``j`` for a delay in [0, j], ``(lo, hi)`` for one in [lo, hi]."""

COUNT_LIMIT: Final = 2_000
"""As many instants are counted by stepping, within a few milliseconds; more are not counted."""
_FIRST_STEP_US: Final = 1_000_000


class LintWarning(str):
    """One sentence about something in a trigger that a person would not expect."""

    __slots__ = ()


class Trigger(Combinable, ABC):
    """A pure value that says at which instants a job is due.

    Subclasses are frozen, hashable and comparable (a frozen dataclass is the usual form), and keep
    these laws, which `asyncsched.testing.check_trigger` tries out: `next` is a function of its
    argument alone, its result is aware and strictly later than the argument, and
    ``trigger_from_dict(t.to_dict()) == t``.
    """

    __slots__ = ()

    kind: ClassVar[str]
    """The name under which the trigger is written to stores."""

    jitter: Jitter = None
    """The jitter that lands on the job when it names none itself, in seconds."""

    @abstractmethod
    def next(self, after: datetime) -> datetime | None:
        """Return the first instant strictly later than ``after``, or ``None`` when there is none.

        Args:
            after: an aware datetime.

        Returns:
            An aware datetime in the trigger's zone, or ``None``.

        Raises:
            ConfigurationError: ``after`` is naive.
        """

    @abstractmethod
    def describe(self) -> str:
        """Return what the trigger does in plain words, such as ``every 5 minutes``."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the trigger as JSON values; `trigger_from_dict` reads them back.

        Returns:
            A mapping with the keys ``kind`` (the registered name), ``v`` (the version of the form)
            and the trigger's own fields.
        """

    @classmethod
    @abstractmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild a trigger from `to_dict`.

        Raises:
            SerializationError: a key is missing, or a value has the wrong shape.
            InvalidTriggerError: a value is out of range.
        """

    def previous(self, at: datetime) -> datetime | None:
        """Return the last instant strictly earlier than ``at``, or ``None``.

        Raises:
            ConfigurationError: ``at`` is naive.
        """
        require_aware(at, "at")
        until = to_us(at) - 1
        found = self.last_us(max(until - _MAX_SPAN_US, _EARLIEST_US), until)
        return None if found is None else to_datetime(found)

    def upcoming(self, after: datetime | None = None, n: int = 10) -> list[datetime]:
        """Return the next ``n`` instants, earliest first; fewer when the trigger ends before.

        Where the trigger follows completion: what they would be if runs took no time.

        Args:
            after: an aware datetime, exclusive; ``None`` means now.
            n: how many at most.
        """
        instants: list[datetime] = []
        cursor = to_datetime(SystemClock().now_us()) if after is None else after
        while len(instants) < n:
            found = self.next(cursor)
            if found is None:
                break
            instants.append(found)
            cursor = found
        return instants

    def lint(self) -> list[LintWarning]:
        """Return what a person would not expect of this trigger, a sentence each; usually nothing."""
        return []

    @property
    def zone(self) -> tzinfo:
        """The zone in which instants are handed out and days begin; UTC when the trigger has none of its own."""
        return UTC

    @property
    def follows_completion(self) -> bool:
        """Whether each further instant counts from the end of the last run; see ``every(..., from_="completion")``.

        Such a trigger cannot be combined with others, as nobody knows its instants ahead of time.
        """
        return False

    # -- how a definition becomes the trigger of one job ---------------------------------------

    def with_timezone(self, timezone: tzinfo) -> "Trigger":
        """Return the trigger with that zone filled in where it names none; otherwise itself."""
        return self

    def anchored(self, at: datetime) -> "Trigger":
        """Return the trigger anchored at the moment its job is added; itself when it needs no anchor."""
        return self

    def for_job(self, job_id: str) -> "Trigger":
        """Return the trigger with what depends on the job's id resolved; itself when nothing does."""
        return self

    def first_us(self, added_at: int) -> int | None:
        """Return the first instant of a job that is added at ``added_at`` (Unix microseconds).

        A recurring trigger starts strictly later, a one-shot at its instant even if that has passed.
        """
        return self.next_us(added_at)

    # -- the engine's own path: Unix microseconds in and out -----------------------------------

    def next_us(self, after: int) -> int | None:
        """Return `next` in Unix microseconds.

        Raises:
            InvalidTriggerError: the trigger broke its laws: a naive or a not later instant.
        """
        found = self.next(to_datetime(after))
        if found is None:
            return None
        if found.tzinfo is None:
            raise InvalidTriggerError(f"{self!r} returned the naive datetime {found!r}; it must be aware", value=found)
        instant = to_us(found)
        if instant <= after:
            raise InvalidTriggerError(
                f"{self!r} returned {found!r}, which is not later than {to_datetime(after)!r}", value=found
            )
        return instant

    def last_us(self, after: int, until: int) -> int | None:
        """Return the last instant in (after, until], or ``None``; logarithmic for any pure trigger.

        Gallops back from ``until`` until an instant is found, then bisects: `next_us` is monotone.
        """
        low, step = until, _FIRST_STEP_US
        while (found := self.next_us(low)) is None or found > until:
            if low <= after:
                return None
            low, step = max(after, low - step), step * 2
        high = until
        while (following := self.next_us(found)) is not None and following <= until:
            middle = (found + high) // 2
            ahead = self.next_us(middle)
            if ahead is not None and ahead <= until:
                found = ahead
            else:
                found, high = following, middle
        return found

    def count_us(self, after: int, until: int) -> int | None:
        """Return how many instants lie in (after, until]; ``None`` when that is too many to count."""
        count, cursor = 0, after
        while count <= COUNT_LIMIT:
            found = self.next_us(cursor)
            if found is None or found > until:
                return count
            count, cursor = count + 1, found
        return None


# How far `previous` looks back, and the first instant that any zone can still show as a datetime.
_MAX_SPAN_US: Final = 200 * 366 * 86_400 * 1_000_000
_EARLIEST_US: Final = to_us(datetime(1, 1, 3, tzinfo=UTC))


class MicrosecondTrigger(Trigger):
    """Base of the built-in triggers: they compute in Unix microseconds and convert at the edge."""

    __slots__ = ()

    @abstractmethod
    def next_us(self, after: int) -> int | None:
        """Return the first instant strictly later than ``after``, both in Unix microseconds."""

    def next(self, after: datetime) -> datetime | None:
        """Return the first instant strictly later than ``after``, in the trigger's zone, or ``None``."""
        require_aware(after, "after")
        found = self.next_us(to_us(after))
        return None if found is None else to_datetime(found).astimezone(self.zone)

    def previous(self, at: datetime) -> datetime | None:
        """Return the last instant strictly earlier than ``at``, in the trigger's zone, or ``None``."""
        found = super().previous(at)
        return None if found is None else found.astimezone(self.zone)


def require_aware(value: object, name: str) -> None:
    """Refuse a naive datetime, and what is none.

    Raises:
        ConfigurationError: it is no datetime, or has no zone.
    """
    if not isinstance(value, datetime):
        raise ConfigurationError(f"{name}={value!r:.80} is not a datetime; write for example datetime.now(UTC)")
    if value.tzinfo is None or value.utcoffset() is None:
        raise ConfigurationError(
            f"{name}={value!r} is naive: it could mean many instants; give it a zone, "
            "for example datetime(..., tzinfo=UTC) or ZoneInfo('Europe/Helsinki')"
        )


@final
class _Kinds:
    """The closed set of trigger kinds that stored data may name."""

    def __init__(self) -> None:
        self.readers: dict[str, Callable[[Mapping[str, Any]], Trigger]] = {}


_kinds: Final = _Kinds()
_T = TypeVar("_T", bound=Trigger)


def register_trigger(cls: type[_T]) -> type[_T]:
    """Register a trigger class under its ``kind``, so that stores may hold it. A class decorator.

    Raises:
        ConfigurationError: another class is registered under that kind.
    """
    known = _kinds.readers.get(cls.kind)
    if known is not None and known != cls.from_dict:
        raise ConfigurationError(f"the trigger kind {cls.kind!r} is taken by another class; choose another kind")
    _kinds.readers[cls.kind] = cls.from_dict
    MAKERS[cls.kind] = getattr(cls, "combining", cls)
    return cls


def trigger_from_dict(data: Mapping[str, Any]) -> Trigger:
    """Rebuild a trigger from `Trigger.to_dict`.

    Only registered kinds are built; nothing is imported by name.

    Raises:
        SerializationError: it is no mapping, the kind is unknown or the fields cannot be read.
    """
    if not isinstance(data, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - what a store holds is anything
        raise SerializationError(f"the stored trigger {data!r:.300} cannot be read: it is not a mapping")
    kind = data.get("kind")
    reader = _kinds.readers.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise SerializationError(
            f"unknown trigger kind {kind!r}; known: {', '.join(sorted(_kinds.readers))}; "
            "a trigger of your own needs @register_trigger"
        )
    try:
        return reader(data)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise SerializationError(f"the stored trigger {dict(data)!r:.300} cannot be read: {error}") from error
    except RecursionError as error:
        raise SerializationError("the stored trigger cannot be read: it is nested too deeply") from error
