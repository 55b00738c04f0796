"""What all combining triggers share: their parts are made ready together and looked at as one."""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from datetime import datetime, tzinfo
from typing import cast

from asyncsched.clock import EPOCH, to_datetime
from asyncsched.errors import ConfigurationError, InvalidTriggerError
from asyncsched.triggers.base import COUNT_LIMIT, Jitter, LintWarning, MicrosecondTrigger, Trigger
from asyncsched.triggers.jitter import AnyJitter, read_jitter

__all__ = ["COUNT_LIMIT", "CombinedTrigger", "is_floating", "merged_jitter", "read_parts"]


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

    def lint(self) -> list[LintWarning]:
        """Return the warnings of the parts, each sentence once."""
        return list(dict.fromkeys(warning for part in self.parts for warning in part.lint()))


def is_floating(trigger: Trigger) -> bool:
    """Return whether the trigger needs an anchor still, so that it has no instants of its own yet."""
    return trigger.anchored(EPOCH) is not trigger


def read_parts(triggers: object, kind: str) -> tuple[Trigger, ...]:
    """Return the parts of a combination, checked.

    Raises:
        InvalidTriggerError: it is not a collection of triggers, or holds fewer than one.
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
    if not checked:
        raise InvalidTriggerError(
            f"{kind} of no triggers would never fire; give at least one", field="triggers", value=parts
        )
    return checked


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
