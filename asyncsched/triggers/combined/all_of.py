"""And: whenever several triggers fire together, exactly or within a threshold of each other.

A *match* is a stretch of time, as short as can be, in which every trigger fires at least once; it
fires at its first instant. With a threshold of zero that is the intersection of the triggers. With
a larger one, matches can overlap (A at 0 s, B at 0.4 s, A at 0.5 s); of those the shortest counts, so
that nothing fires twice for one and the same meeting. All of this is decided by looking at the
neighbourhood of a match alone, which keeps `next` a pure function of its argument.

The search leaps: whoever fires last says from where the others are asked again, so that everything
in between is never looked at.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Final, NamedTuple, Self, final

from asyncsched.clock import to_datetime
from asyncsched.errors import InvalidTriggerError
from asyncsched.triggers.base import Jitter, Trigger, register_trigger, trigger_from_dict
from asyncsched.triggers.combined.parts import (
    COUNT_LIMIT,
    CombinedTrigger,
    is_floating,
    is_settled,
    merged_jitter,
    next_within,
    read_parts,
)
from asyncsched.triggers.duration import duration_text, whole_microseconds
from asyncsched.triggers.jitter import AnyJitter, stored_jitter
from asyncsched.triggers.moment import require_version
from asyncsched.triggers.wall import EARLIEST_US, LATEST_US

__all__ = ["AndTrigger"]

_LONGEST: Final = LATEST_US - EARLIEST_US
_LEAPS: Final = 10_000
"""How often one search may leap: about a tenth of a second, and far more than triggers that ever meet need."""

_NESTED_LEAPS: Final = 2_000
"""The same where a part is a search itself."""


class _Match(NamedTuple):
    """The shortest stretch in which every part fires; the tightest one is the smallest tuple.

    Attributes:
        length: from its first to its last instant, in microseconds.
        leader: which part holds its beginning, firing there and not again until its end.
        start: its first instant.
    """

    length: int
    leader: int
    start: int

    @property
    def end(self) -> int:
        return self.start + self.length


@final
class _Leaps:
    """How many leaps a search may take, and how far it has come."""

    __slots__ = ("left", "reached")

    def __init__(self, left: int) -> None:
        self.left = left
        self.reached = 0

    def take(self, cursor: int) -> bool:
        """Take one; return whether there is still one left after it."""
        self.left -= 1
        self.reached = cursor
        return self.left > 0


@register_trigger
@dataclass(frozen=True, slots=True, init=False, repr=False)
class AndTrigger(CombinedTrigger):
    """Fires whenever all of its triggers do. Also ``a & b``, which asks for the very same instant.

    The threshold is that of APScheduler 4: triggers that fire within that many seconds of each
    other fire together, at the earliest of their instants. Of overlapping meetings the closest one
    counts, so that an exact one always does and none is counted twice.

    Args:
        triggers: one or more triggers.
        threshold: how far apart the instants of one meeting may lie, in seconds, inclusive.
        jitter: lands on the job, in seconds; without it the one that the triggers agree on.

    Attributes:
        triggers: the parts, in the order given.
        threshold: in microseconds.
        jitter: as it lands on the job.

    Raises:
        InvalidTriggerError: the triggers never fire together, or not within a bounded search; no
            triggers are given, or something that is none; the threshold is negative. `next` raises
            it as well when triggers that met before do not meet again within a bounded search.
        ConfigurationError: the triggers name different jitters.
    """

    kind: ClassVar[str] = "and"

    triggers: tuple[Trigger, ...]
    threshold: int
    jitter: Jitter
    _floating: bool = field(compare=False)

    def __init__(
        self, triggers: Iterable[Trigger], threshold: float | timedelta = 1.0, *, jitter: AnyJitter = None
    ) -> None:
        apart = whole_microseconds(threshold, "threshold")
        if apart < 0:
            raise InvalidTriggerError(
                f"threshold={threshold!r} is negative; write seconds from 0 (the very same instant) on",
                field="threshold",
                value=threshold,
            )
        if apart > _LONGEST:
            raise InvalidTriggerError(
                f"threshold={threshold!r:.80} is longer than ten thousand years; write seconds, such as 1.0",
                field="threshold",
                value=threshold,
            )
        self._fill(read_parts(triggers, "AndTrigger"), apart, jitter)
        if is_settled(self) and self.next_us(EARLIEST_US) is None:
            raise InvalidTriggerError(f"{self!r:.500} can never fire: its triggers never fire together", value=self)

    def _fill(self, parts: tuple[Trigger, ...], threshold: int, jitter: AnyJitter) -> None:
        object.__setattr__(self, "triggers", parts)
        object.__setattr__(self, "threshold", threshold)
        object.__setattr__(self, "jitter", merged_jitter(parts, jitter))
        object.__setattr__(self, "_floating", any(map(is_floating, parts)))

    @classmethod
    def combining(cls, left: Trigger, right: Trigger) -> Self:
        """Return ``left & right``; further ones are joined into one flat trigger."""
        flat = [
            part
            for side in (left, right)
            for part in (side.triggers if isinstance(side, cls) and not side.threshold else (side,))
        ]
        return cls(flat, threshold=0)

    @property
    def parts(self) -> tuple[Trigger, ...]:
        """The triggers it is made of."""
        return self.triggers

    def rebuilt(self, parts: tuple[Trigger, ...]) -> Trigger:
        """Return the same combination of other parts.

        Raises:
            InvalidTriggerError: these never fire together.
        """
        return AndTrigger(parts, timedelta(microseconds=self.threshold), jitter=self.jitter)

    def next_us(self, after: int) -> int | None:
        """Return the first meeting strictly later than ``after``, in Unix microseconds.

        Raises:
            InvalidTriggerError: a bounded search found none, and no end either.
        """
        if self._floating:
            return self.anchored_us(after).next_us(after)
        return self._first(after, LATEST_US)

    def next_within(self, after: int, until: int) -> int | None:
        """Return the first meeting in (after, until], or ``None``; nothing beyond is searched for."""
        return CombinedTrigger.next_within(self, after, until) if self._floating else self._first(after, until)

    def _first(self, after: int, until: int) -> int | None:
        leaps = _Leaps(self._budget())
        found = self._search(after, until, leaps)
        if leaps.left:
            return found
        raise InvalidTriggerError(
            f"{self!r:.500} was searched from {to_datetime(after)} to {to_datetime(leaps.reached)} without finding its "
            "triggers together; check that they can meet, or give a threshold in seconds",
            value=self,
        )

    def _budget(self) -> int:
        return _NESTED_LEAPS if any(isinstance(part, CombinedTrigger) for part in self.triggers) else _LEAPS

    def _search(self, after: int, until: int, leaps: "_Leaps") -> int | None:
        """The first meeting in (after, until]; ``None`` as well when no leaps are left."""
        if not self.threshold:
            return self._exact(after, until, leaps)
        cursor = after
        while leaps.take(cursor):
            match = self._match_after(cursor, until + self.threshold)
            if match is None or match.start > until:
                return None
            if match.length <= self.threshold:
                if self._counts(match):
                    return match.start
                cursor = match.start
            else:
                cursor = match.end - self.threshold - 1
        return None

    def _exact(self, after: int, until: int, leaps: "_Leaps") -> int | None:
        """`_search` for the very same instant: each trigger in turn is asked from where the one before it fires."""
        candidate, agreed = after + 1, 0
        while leaps.take(candidate):
            for part in self.triggers:
                found = next_within(part, candidate - 1, until)
                if found is None:
                    return None
                agreed = agreed + 1 if found == candidate else 1
                candidate = found
                if agreed >= len(self.triggers):
                    return candidate
        return None

    def last_us(self, after: int, until: int) -> int | None:
        """Return the last meeting in (after, until].

        Raises:
            InvalidTriggerError: a bounded search found none, and no end either.
        """
        if self._floating or self.threshold:
            return CombinedTrigger.last_us(self, after, until)
        candidate, agreed = until, 0
        for _ in range(self._budget()):
            for part in self.triggers:
                found = part.last_us(after, candidate)
                if found is None:
                    return None
                agreed = agreed + 1 if found == candidate else 1
                candidate = found
                if agreed >= len(self.triggers):
                    return candidate
        raise InvalidTriggerError(
            f"{self!r:.500} was searched back from {to_datetime(until)} to {to_datetime(candidate)} without finding its "
            "triggers together; check that they can meet, or give a threshold in seconds",
            value=self,
        )

    def count_us(self, after: int, until: int) -> int | None:
        """Return how many meetings lie in (after, until]; ``None`` when it takes thousands of leaps to say."""
        if self._floating:
            return CombinedTrigger.count_us(self, after, until)
        leaps, count, cursor = _Leaps(COUNT_LIMIT), 0, after
        while (found := self._search(cursor, until, leaps)) is not None:
            count, cursor = count + 1, found
        return count if leaps.left else None

    def _match_after(self, cursor: int, until: int) -> _Match | None:
        """The first match that begins later than that, however long; ``None`` when a trigger does not fire up to the bound."""
        end = cursor
        for part in self.triggers:
            found = next_within(part, cursor, until)
            if found is None:
                return None
            end = max(end, found)
        return self._match_until(cursor, end)

    def _match_until(self, cursor: int, end: int) -> _Match | None:
        """The shortest stretch in (cursor, end] that ends there, unless a trigger does not fire in it."""
        starts: list[int] = []
        for part in self.triggers:
            last = part.last_us(cursor, end)
            if last is None:
                return None
            starts.append(last)
        start = min(starts)
        return _Match(end - start, starts.index(start), start)

    def _counts(self, match: _Match) -> bool:
        """Whether no tighter match overlaps this one."""
        if match.length == 0:
            return True
        # One that is tighter ends before this.
        limit = match.end + self.threshold
        later = self._match_after(match.start, limit)
        while later is not None and later.start <= match.end:
            if later < match:
                return False
            later = self._match_after(later.start, limit)
        return not self._is_beaten_from_before(match)

    def _is_beaten_from_before(self, match: _Match) -> bool:
        end = match.end
        while True:
            # The matches before this one end at the instants before its own end, the latest first.
            ends = [last for part in self.triggers if (last := part.last_us(match.start - 1, end - 1)) is not None]
            if not ends:
                return False
            end = max(ends)
            earlier = self._match_until(match.start - self.threshold - 1, end)
            if earlier is not None and earlier.start < match.start and earlier < match:
                return True

    def first_us(self, added_at: int) -> int | None:
        """Return the first meeting of a job added then; at that very moment only when every trigger fires at once."""
        at_once = all(part.first_us(added_at) == added_at for part in self.triggers)
        return added_at if at_once else self.next_us(added_at)

    def describe(self) -> str:
        """Return ``every 5 minutes; and only together with: at 09:00 (Europe/Berlin)``."""
        within = f" (within {duration_text(self.threshold)})" if self.threshold else ""
        return f"; and only together with{within}: ".join(part.describe() for part in self.triggers)

    def to_dict(self) -> dict[str, Any]:
        """Return the trigger as JSON values, its parts nested; the threshold in microseconds."""
        parts = [part.to_dict() for part in self.triggers]
        return {
            "kind": self.kind,
            "v": 1,
            "triggers": parts,
            "threshold": self.threshold,
            **stored_jitter(self.jitter),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild the trigger from `to_dict`. It is not searched again."""
        require_version(data)
        made = cls.__new__(cls)
        parts = read_parts(list(map(trigger_from_dict, data["triggers"])), "AndTrigger")
        threshold = whole_microseconds(timedelta(microseconds=data["threshold"]), "threshold")
        made._fill(parts, max(threshold, 0), data.get("jitter"))  # noqa: SLF001 - its own
        return made

    def __repr__(self) -> str:
        words = [f"[{', '.join(map(repr, self.triggers))}]"]
        if self.threshold != 1_000_000:  # noqa: PLR2004 - the default, in microseconds
            seconds, rest = divmod(self.threshold, 1_000_000)
            words.append(f"threshold={seconds if not rest else self.threshold / 1_000_000!r}")
        if self.jitter is not None:
            words.append(f"jitter={self.jitter!r}")
        return f"AndTrigger({', '.join(words)})"
