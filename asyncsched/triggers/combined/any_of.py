"""Or: whenever one of several triggers fires."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Self

from asyncsched.triggers.base import Jitter, Trigger, register_trigger, trigger_from_dict
from asyncsched.triggers.combined.parts import (
    COUNT_LIMIT,
    CombinedTrigger,
    is_floating,
    merged_jitter,
    read_parts,
)
from asyncsched.triggers.jitter import AnyJitter, stored_jitter
from asyncsched.triggers.moment import require_version
from asyncsched.triggers.wall import LATEST_US

__all__ = ["OrTrigger"]

_FIRST_SPAN_US: Final = 86_400_000_000


@register_trigger
@dataclass(frozen=True, slots=True, init=False, repr=False)
class OrTrigger(CombinedTrigger):
    """Fires whenever one of its triggers does, once where several do at the same instant. Also ``a | b``.

    Args:
        triggers: one or more triggers.
        jitter: lands on the job, in seconds; without it the one that the triggers agree on.

    Attributes:
        triggers: the parts, in the order given.
        jitter: as it lands on the job.

    Raises:
        InvalidTriggerError: no triggers are given, or something that is none.
        ConfigurationError: the triggers name different jitters.
    """

    kind: ClassVar[str] = "or"

    triggers: tuple[Trigger, ...]
    jitter: Jitter
    _floating: bool = field(compare=False)

    def __init__(self, triggers: Iterable[Trigger], *, jitter: AnyJitter = None) -> None:
        parts = read_parts(triggers, "OrTrigger")
        object.__setattr__(self, "triggers", parts)
        object.__setattr__(self, "jitter", merged_jitter(parts, jitter))
        object.__setattr__(self, "_floating", any(map(is_floating, parts)))

    @classmethod
    def combining(cls, left: Trigger, right: Trigger) -> Self:
        """Return ``left | right``; further ones are joined into one flat trigger."""
        return cls(
            tuple(part for side in (left, right) for part in (side.triggers if isinstance(side, cls) else (side,)))
        )

    @property
    def parts(self) -> tuple[Trigger, ...]:
        """The triggers it is made of."""
        return self.triggers

    def rebuilt(self, parts: tuple[Trigger, ...]) -> Trigger:
        """Return the same combination of other parts."""
        return OrTrigger(parts, jitter=self.jitter)

    def next_us(self, after: int) -> int | None:
        """Return the first instant of any part strictly later than ``after``, in Unix microseconds."""
        return self.anchored_us(after).next_us(after) if self._floating else self.next_within(after, LATEST_US)

    def next_within(self, after: int, until: int) -> int | None:
        """Return the first instant of any part in (after, until], or ``None``.

        What is itself a search is asked farther and farther ahead, so that one part which has to look
        for long, or in vain, does not keep back what another one finds soon.
        """
        if self._floating:
            return CombinedTrigger.next_within(self, after, until)
        searches = [part for part in self.triggers if isinstance(part, CombinedTrigger)]
        simple = [part for part in self.triggers if not isinstance(part, CombinedTrigger)]
        plain = [found for part in simple if (found := part.next_us(after)) is not None]
        limit = min([until, *plain])
        span = _FIRST_SPAN_US if searches else limit
        while (bound := min(after + span, limit)) < limit:
            coming = [found for part in searches if (found := part.next_within(after, bound)) is not None]
            if coming:
                return min(coming)
            span *= 16
        coming = [found for part in searches if (found := part.next_within(after, limit)) is not None]
        return min([*coming, *(found for found in plain if found == limit)], default=None)

    def last_us(self, after: int, until: int) -> int | None:
        """Return the last instant of any part in (after, until]."""
        if self._floating:
            return self._counted_from(after).last_us(after, until)
        found = [instant for part in self.triggers if (instant := part.last_us(after, until)) is not None]
        return max(found, default=None)

    def count_us(self, after: int, until: int) -> int | None:
        """Return how many instants lie in (after, until]; ``None`` when there are thousands."""
        if self._floating:
            return self._counted_from(after).count_us(after, until)
        counts = [part.count_us(after, until) for part in self.triggers]
        if any(count is None or count > COUNT_LIMIT for count in counts):
            return counts[0] if len(counts) == 1 else None
        return CombinedTrigger.count_us(self, after, until)

    def first_us(self, added_at: int) -> int | None:
        """Return the first instant of a job added then. A date that has passed counts when nothing else is to come."""
        firsts = [first for part in self.triggers if (first := part.first_us(added_at)) is not None]
        coming = [first for first in firsts if first >= added_at]
        return min(coming) if coming else max(firsts, default=None)

    def describe(self) -> str:
        """Return ``every 5 minutes; or at 09:00 (Europe/Berlin)``."""
        return "; or ".join(part.describe() for part in self.triggers)

    def to_dict(self) -> dict[str, Any]:
        """Return the trigger as JSON values, its parts nested."""
        parts = [part.to_dict() for part in self.triggers]
        return {"kind": self.kind, "v": 1, "triggers": parts, **stored_jitter(self.jitter)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild the trigger from `to_dict`."""
        require_version(data)
        return cls(tuple(map(trigger_from_dict, data["triggers"])), jitter=data.get("jitter"))

    def __repr__(self) -> str:
        jitter = "" if self.jitter is None else f", jitter={self.jitter!r}"
        return f"OrTrigger([{', '.join(map(repr, self.triggers))}]{jitter})"
