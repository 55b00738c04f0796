"""What all combining triggers share: their parts are made ready together and looked at as one."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, tzinfo
from typing import Final, cast

from asyncsched.clock import EPOCH, SystemClock, to_datetime
from asyncsched.errors import ConfigurationError, InvalidTriggerError
from asyncsched.triggers.base import COUNT_LIMIT, Jitter, LintWarning, MicrosecondTrigger, Trigger, require_aware
from asyncsched.triggers.interval import IntervalTrigger
from asyncsched.triggers.jitter import AnyJitter, read_jitter
from asyncsched.triggers.wall import EARLIEST_US, LATEST_US

__all__ = ["COUNT_LIMIT", "CombinedTrigger", "is_floating", "is_settled", "merged_jitter", "next_within", "read_parts"]

_BOTH: Final = 2
_SECOND: Final = 1_000_000
_NESTING_LIMIT: Final = 32
"""How deeply triggers may be nested: what is written can be read back, and each level costs time."""


class CombinedTrigger(MicrosecondTrigger):
    """Base of the triggers that are made of others.

    A combination is made ready for a job by making its parts ready. Asked by itself while a part
    has no anchor yet, it counts from the instant it is asked about, as that part would.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def parts(self) -> tuple[Trigger, ...]:
        """The triggers it is made of."""

    @abstractmethod
    def rebuilt(self, parts: tuple[Trigger, ...]) -> Trigger:
        """Return the same combination of other parts."""

    @property
    def zone(self) -> tzinfo:
        """The zone of the first part."""
        return self.parts[0].zone

    @property
    def timezone(self) -> tzinfo | None:
        """The zone that the first part names, ``None`` while it names none."""
        zone: tzinfo | None = getattr(self.parts[0], "timezone", None)
        return zone

    def with_timezone(self, timezone: tzinfo) -> Trigger:
        """Return the combination with that zone filled into the parts that name none; itself when none changes."""
        return self._each(lambda part: part.with_timezone(timezone))

    def anchored(self, at: datetime) -> Trigger:
        """Return the combination with its parts anchored at that moment; itself when none needs an anchor."""
        return self._each(lambda part: part.anchored(at))

    def for_job(self, job_id: str) -> Trigger:
        """Return the combination with what depends on the job's id resolved; itself when nothing does."""
        return self._each(lambda part: part.for_job(job_id))

    def _each(self, change: Callable[[Trigger], Trigger]) -> Trigger:
        parts = tuple(change(part) for part in self.parts)
        unchanged = all(new is old for new, old in zip(parts, self.parts, strict=True))
        return self if unchanged else self.rebuilt(parts)

    def anchored_us(self, instant: int) -> Trigger:
        """Return the combination anchored at an instant in Unix microseconds."""
        return self.anchored(to_datetime(instant))

    def next_within(self, after: int, until: int) -> int | None:
        """Return the first instant in (after, until], or ``None``; nothing beyond is searched for."""
        found = self.next_us(after)
        return None if found is None or found > until else found

    def last_us(self, after: int, until: int) -> int | None:
        """Return the last instant in (after, until]: gallops back from ``until`` and bisects.

        A part without an anchor counts from ``after``.
        """
        ready = self._counted_from(after)
        low, step = until, _SECOND
        while (found := next_within(ready, low, until)) is None:
            if low <= after:
                return None
            low, step = max(after, low - step), step * 2
        high = until
        while (following := next_within(ready, found, until)) is not None:
            middle = (found + high) // 2
            ahead = next_within(ready, middle, until)
            found, high = (ahead, high) if ahead is not None else (following, middle)
        return found

    def count_us(self, after: int, until: int) -> int | None:
        """Return how many instants lie in (after, until] by stepping; ``None`` when there are thousands."""
        ready, count, cursor = self._counted_from(after), 0, after
        while (found := next_within(ready, cursor, until)) is not None:
            if count == COUNT_LIMIT:
                return None
            count, cursor = count + 1, found
        return count

    def _counted_from(self, instant: int) -> Trigger:
        return self.anchored_us(min(max(instant, EARLIEST_US), LATEST_US))

    def previous(self, at: datetime) -> datetime | None:
        """Return the last instant strictly earlier than ``at``; ``None`` too while a part has no anchor."""
        require_aware(at, "at")
        return None if is_floating(self) else MicrosecondTrigger.previous(self, at)

    def upcoming(self, after: datetime | None = None, n: int = 10) -> list[datetime]:
        """Return the next ``n`` instants; a part without an anchor counts from ``after`` (now when ``None``)."""
        start = to_datetime(SystemClock().now_us()) if after is None else after
        require_aware(start, "after")
        return Trigger.upcoming(self.anchored(start), start, n)

    def lint(self) -> list[LintWarning]:
        """Return the warnings of the parts, each sentence once."""
        return list(dict.fromkeys(warning for part in self.parts for warning in part.lint()))


def next_within(trigger: Trigger, after: int, until: int) -> int | None:
    """Return the first instant of any trigger in (after, until], or ``None``."""
    if isinstance(trigger, CombinedTrigger):
        return trigger.next_within(after, until)
    found = trigger.next_us(after)
    return None if found is None or found > until else found


def is_floating(trigger: Trigger) -> bool:
    """Return whether the trigger needs an anchor still, so that it has no instants of its own yet."""
    return trigger.anchored(EPOCH) is not trigger


def is_settled(trigger: Trigger) -> bool:
    """Return whether the instants of the parts are known as they will be to each other.

    They are not while one needs an anchor, draws from the job's id, or gets another zone than the one
    that a second part names. While none names a zone they all get the same one.
    """
    parts = list(_leaves(trigger))
    if any(is_floating(part) or part.for_job("") is not part for part in parts):
        return False
    return len(set(_zones_named(trigger))) < _BOTH


def _leaves(trigger: Trigger) -> Iterator[Trigger]:
    if not isinstance(trigger, CombinedTrigger):
        yield trigger
        return
    for part in trigger.parts:
        yield from _leaves(part)


def _zones_named(trigger: Trigger) -> Iterator[bool]:
    """Yield for each part whether it names its zone; nothing for one whose instants depend on none."""
    bounds = (getattr(trigger, "start", None), getattr(trigger, "end", None))
    if any(isinstance(bound, datetime) and bound.tzinfo is None for bound in bounds):
        yield False
    if isinstance(trigger, CombinedTrigger):
        for part in trigger.parts:
            yield from _zones_named(part)
    elif not isinstance(trigger, IntervalTrigger):
        yield trigger.with_timezone(UTC) is trigger


def read_parts(triggers: object, kind: str) -> tuple[Trigger, ...]:
    """Return the parts of a combination, checked.

    Raises:
        InvalidTriggerError: it is not a collection of triggers, holds fewer than one, or one whose instants
            are not known ahead of time.
    """
    if isinstance(triggers, Trigger) or not isinstance(triggers, Iterable):
        problem = f"{kind} takes a list of triggers, not {triggers!r:.80}; write for example {kind}([every(hours=1), cron('0 9 * * *')])"
        raise InvalidTriggerError(problem, field="triggers", value=triggers)
    parts = tuple(cast("Iterable[object]", triggers))
    checked = tuple(part for part in parts if isinstance(part, Trigger))
    for part in parts:
        if not isinstance(part, Trigger):
            problem = (
                f"{part!r:.80} is not a trigger, so it cannot be part of {kind}; write for example cron('0 9 * * *')"
            )
            raise InvalidTriggerError(problem, field="triggers", value=part)
    for part in checked:
        if part.follows_completion:
            problem = f"{part!r:.300} counts from the end of the last run, so its instants are not known ahead of time"
            remedy = "bound it by its own start= and end=, give each trigger a job of its own, or leave out from_"
            raise InvalidTriggerError(f"{problem} and it cannot be part of {kind}; {remedy}", field="from_", value=part)
    if not checked:
        raise InvalidTriggerError(
            f"{kind} of no triggers would never fire; give at least one", field="triggers", value=parts
        )
    if _nesting(checked) >= _NESTING_LIMIT:
        raise InvalidTriggerError(
            f"triggers are nested more than {_NESTING_LIMIT} deep here; join them in one flat OrTrigger([...]) first",
            field="triggers",
            value=parts,
        )
    return checked


def _nesting(level: tuple[Trigger, ...]) -> int:
    """How deeply the deepest of these triggers is nested, followed as far as the limit."""
    depth = 0
    while depth < _NESTING_LIMIT:
        level = tuple(part for trigger in level if isinstance(trigger, CombinedTrigger) for part in trigger.parts)
        if not level:
            break
        depth += 1
    return depth


def merged_jitter(parts: Iterable[Trigger], jitter: AnyJitter) -> Jitter:
    """Return the jitter of a combination: its own, or the one that its parts agree on.

    Raises:
        ConfigurationError: the parts name different ones and the combination names none.
    """
    if jitter is not None:
        return read_jitter(jitter)
    named = list(dict.fromkeys(part.jitter for part in parts if part.jitter is not None))
    if len(named) > 1:
        raise ConfigurationError(
            f"the combined triggers name different jitters, {' and '.join(map(repr, named))}, and a job has one; "
            "leave it out of the triggers and give it to the job: add_job(..., jitter=...)"
        )
    return named[0] if named else None
