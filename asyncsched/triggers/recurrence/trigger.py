"""`RRuleTrigger`: a recurrence of RFC 5545 in a zone."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, tzinfo
from itertools import islice
from typing import Any, ClassVar, Final, Self

from asyncsched.clock import to_datetime, to_us
from asyncsched.errors import ConfigurationError, InvalidTriggerError
from asyncsched.triggers.base import (
    COUNT_LIMIT,
    Jitter,
    LintWarning,
    MicrosecondTrigger,
    Trigger,
    register_trigger,
    require_aware,
)
from asyncsched.triggers.jitter import AnyJitter, read_jitter, stored_jitter
from asyncsched.triggers.moment import Moment, read_optional, require_version, write_moment
from asyncsched.triggers.recurrence.describe import describe_recurrence
from asyncsched.triggers.recurrence.lint import lint_recurrence
from asyncsched.triggers.recurrence.rule import LIMIT, SUB_DAILY, Rule, wrong
from asyncsched.triggers.recurrence.search import Search, local_times, search_for
from asyncsched.triggers.recurrence.stamp import write_stamp
from asyncsched.triggers.recurrence.text import Recurrence, read_recurrence
from asyncsched.triggers.wall import EARLIEST_US, LATEST_US, Fold, Gap, check_policies
from asyncsched.triggers.zone import resolve_zone, zone_key

__all__ = ["RRuleTrigger"]

_SECOND: Final = 1_000_000
_ANY_START: Final = datetime(2000, 1, 1)  # noqa: DTZ001 - a local time
_DEFAULTS: Final[dict[str, Any]] = {"start": None, "timezone": None, "gap": "shift", "fold": "first", "jitter": None}


@register_trigger
@dataclass(frozen=True, slots=True, init=False, repr=False)
class RRuleTrigger(MicrosecondTrigger):
    """Fires at the local times of an RFC 5545 recurrence, in whole seconds. Needs the extra ``rrule``.

    The rule runs in the local time of the zone, as RFC 5545 has it; skipped and repeated local times
    follow ``gap`` and ``fold``. The start is the time from which periods are counted and what the
    rule takes its missing parts from (the time of day, the day); it fires only if it matches the
    rule. Without one the trigger counts from the moment its job is added, to the second. COUNT and
    BYSETPOS are counted in local times, before EXDATE and the changes of the clocks.

    Args:
        text: a bare rule such as ``FREQ=WEEKLY;BYDAY=MO,WE``, or lines of DTSTART, RRULE, RDATE and
            EXDATE, at most 2,000 characters. RRULE is needed once.
        start: the start, instead of DTSTART; in whole seconds. A naive datetime is a local time of
            the zone.
        timezone: the zone of the local times, unless the text names one by TZID or a DTSTART in
            UTC. ``None``: the scheduler's; UTC when asked by itself.
        gap: a local time that the clocks skip fires at the first instant after (``"shift"``) or not
            at all (``"skip"``).
        fold: a local time that comes twice fires at its ``"first"``, its ``"last"`` occurrence, or
            at ``"both"``.
        jitter: lands on the job, in seconds.

    Attributes:
        text: the rule, RDATE and EXDATE in their shortest form; DTSTART and zone are not in it.
        start: the local time of the start; in UTC while an aware one has no zone; or ``None``.
        timezone: the zone, if one is known.
        gap: as given.
        fold: as given.
        jitter: in seconds.

    Raises:
        InvalidTriggerError: the text is not understood, start or zone are given twice, or nothing
            would ever fire before the year 10000.
        ConfigurationError: python-dateutil is not installed, or the zone or a policy is unknown.
    """

    kind: ClassVar[str] = "rrule"

    text: str
    start: datetime | None
    timezone: tzinfo | None
    gap: Gap
    fold: Fold
    jitter: Jitter
    _recurrence: Recurrence = field(compare=False)
    _search: Search | None = field(compare=False)

    def __init__(
        self,
        text: str,
        *,
        start: Moment | None = None,
        timezone: str | tzinfo | None = None,
        gap: Gap = "shift",
        fold: Fold = "first",
        jitter: AnyJitter = None,
    ) -> None:
        self._read_all(text, start, timezone, gap, fold, jitter)
        self._check()

    def _read_all(
        self,
        text: str,
        start: Moment | None,
        timezone: str | tzinfo | None,
        gap: Gap,
        fold: Fold,
        jitter: AnyJitter,
    ) -> None:
        check_policies(gap, fold)
        recurrence = _read(text)
        zone = _one_zone(recurrence.zone, None if timezone is None else resolve_zone(timezone))
        begin = _one_start(recurrence.start, _read_start(start, zone))
        self._fill(replace(recurrence, start=None, zone=None), begin, zone, gap, fold, read_jitter(jitter))

    def _fill(
        self,
        recurrence: Recurrence,
        start: datetime | None,
        zone: tzinfo | None,
        gap: Gap,
        fold: Fold,
        jitter: Jitter,
    ) -> None:
        begin = start if start is None or zone is None else _local(start, zone)
        values = {
            "text": recurrence.text(),
            "start": begin,
            "timezone": zone,
            "gap": gap,
            "fold": fold,
            "jitter": jitter,
            "_recurrence": recurrence,
            "_search": None if begin is None else search_for(recurrence, _local(begin, UTC), zone or UTC, gap, fold),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _remade(self, start: datetime | None, zone: tzinfo | None) -> "RRuleTrigger":
        made = RRuleTrigger.__new__(RRuleTrigger)
        made._fill(self._recurrence, start, zone, self.gap, self.fold, self.jitter)  # noqa: SLF001 - its own
        return made

    def _check(self) -> None:
        """Refuse what can never fire, and what has too many instances below a day."""
        rule = self._recurrence.rule
        if rule.frequency in SUB_DAILY and rule.until is not None:
            _check_number(rule, rule.until, self._search)
        if self._search is None:
            times = local_times(replace(rule, interval=1, count=None, until=None), _ANY_START)
            fires = next(times.ascending(-LATEST_US), None) is not None or bool(self._recurrence.dates)
        else:
            fires = self._search.next(EARLIEST_US // _SECOND) is not None
        if not fires:
            beginning = "" if self.start is None else f" from {self.start.isoformat(sep=' ')}"
            raise InvalidTriggerError(
                f"{self.text!r:.200}{beginning} can never fire: no date before the year 10000 matches all of its parts; "
                "change one of the BY parts, INTERVAL, UNTIL or the start",
                field="RRULE",
                value=self.text,
            )

    @property
    def zone(self) -> tzinfo:
        """The zone of the local times; UTC while none is known."""
        return self.timezone or UTC

    def _found(self, after: int) -> Search:
        if self._search is not None:
            return self._search
        start = _local_second(after, self.zone)
        return Search(self._recurrence, start, self.zone, self.gap, self.fold)

    def next_us(self, after: int) -> int | None:
        """Return the first instant strictly later than ``after``; a year is passed at most once, in a few us."""
        found = self._found(after).next(after // _SECOND)
        return None if found is None else found * _SECOND

    def last_us(self, after: int, until: int) -> int | None:
        """Return the last instant in (after, until], searched backwards."""
        found = self._found(after).previous(after // _SECOND, until // _SECOND)
        return None if found is None else found * _SECOND

    def previous(self, at: datetime) -> datetime | None:
        """Return the last instant strictly earlier than ``at``, however long ago, in the trigger's zone, or ``None``."""
        require_aware(at, "at")
        found = self.last_us(EARLIEST_US, to_us(at) - 1)
        return None if found is None else to_datetime(found).astimezone(self.zone)

    def count_us(self, after: int, until: int) -> int | None:
        """Return how many instants lie in (after, until]; ``None`` when that is too many to count."""
        return self._found(after).count(after // _SECOND, until // _SECOND, COUNT_LIMIT)

    def with_timezone(self, timezone: tzinfo) -> Trigger:
        """Return the trigger in that zone, local times read in it; itself when it names a zone."""
        return self if self.timezone is not None else self._remade(self.start, resolve_zone(timezone))

    def anchored(self, at: datetime) -> Trigger:
        """Return the trigger that starts at the local time of ``at``, to the second; itself when it has a start.

        Raises:
            ConfigurationError: ``at`` is naive.
        """
        if self.start is not None:
            return self
        require_aware(at, "at")
        return self._remade(_local_second(to_us(at), self.zone), self.timezone)

    def describe(self) -> str:
        """Return ``every 2 weeks on Monday and Wednesday at 09:00, from 2030-01-31 (Europe/Berlin)``."""
        start = None if self.start is None else _local(self.start, UTC)
        zone = "" if self.timezone is None else f" ({zone_key(self.timezone)})"
        return describe_recurrence(self._recurrence, start) + zone

    def lint(self) -> list[LintWarning]:
        """Return what a person would not expect of this trigger within the next 400 days, a sentence each."""
        start = None if self.start is None else _local(self.start, UTC)
        return lint_recurrence(self._recurrence, start, self.zone, self.gap, self.fold)

    def to_dict(self) -> dict[str, Any]:
        """Return the trigger as JSON values; what was not given is left out."""
        data: dict[str, Any] = {"kind": self.kind, "v": 1, "text": self.text}
        if self.start is not None:
            data["start"] = write_moment(self.start)
        if self.timezone is not None:
            data["timezone"] = zone_key(self.timezone)
        if self.gap != "shift":
            data["gap"] = self.gap
        if self.fold != "first":
            data["fold"] = self.fold
        return data | stored_jitter(self.jitter)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild the trigger from `to_dict`; one that has ended before it was anchored is read as well."""
        require_version(data)
        made = cls.__new__(cls)
        values = {name: value for name, value in data.items() if name not in {"kind", "v"}}
        made._read_all(**_DEFAULTS | values)  # noqa: SLF001 - its own
        return made

    def __repr__(self) -> str:
        values = {name: value for name, value in self.to_dict().items() if name not in {"kind", "v", "text"}}
        if self.jitter is not None:
            values["jitter"] = self.jitter
        return f"RRuleTrigger({', '.join([repr(self.text), *(f'{name}={value!r}' for name, value in values.items())])})"


def _read(text: object) -> Recurrence:
    try:
        import dateutil.rrule as _  # noqa: F401, PLC0415 - an extra; missing, it is said now and not when a job is due
    except ImportError:
        raise ConfigurationError(
            "a recurrence needs the package python-dateutil, which is not installed; run: pip install asyncsched[rrule]"
        ) from None
    if not isinstance(text, str):
        problem = f"text={text!r:.80} is not text; write for example 'FREQ=WEEKLY;BYDAY=MO'"
        raise InvalidTriggerError(problem, field="text", value=text)
    return read_recurrence(text)


def _read_start(value: Moment | None, zone: tzinfo | None) -> datetime | None:
    # A naive start stays the local time that it is, also where the clocks skip it: `gap` decides then.
    moment = read_optional(value, "start", None)
    if moment is None:
        return None
    if moment.microsecond:
        problem = f"start={value!r} has a fraction of a second; recurrences know whole seconds: drop it"
        raise InvalidTriggerError(problem, field="start", value=value)
    return moment.replace(fold=0) if zone is None else _local(moment, zone)


def _one_zone(named: tzinfo | None, given: tzinfo | None) -> tzinfo | None:
    if named is not None and given is not None and named != given:
        raise InvalidTriggerError(
            f"timezone={zone_key(given)!r} is not the zone {zone_key(named)!r} of the text; write the zone in one place, "
            "as TZID with local times or as timezone=",
            field="timezone",
            value=zone_key(given),
        )
    return given if named is None else named


def _one_start(named: datetime | None, given: datetime | None) -> datetime | None:
    if named is not None and given is not None and named != given:
        raise InvalidTriggerError(
            f"start={given.isoformat()!r} is not the DTSTART {named.isoformat()!r} of the text; write it in one place",
            field="start",
            value=given,
        )
    return given if named is None else named


def _local(moment: datetime, zone: tzinfo) -> datetime:
    """The naive local time of a moment; a naive one is local already."""
    local = moment if moment.tzinfo is None else moment.astimezone(zone)
    return local.replace(tzinfo=None, fold=0)


def _local_second(instant: int, zone: tzinfo) -> datetime:
    moment = to_datetime(min(max(instant, EARLIEST_US), LATEST_US))
    return _local(moment, zone).replace(microsecond=0)


def _check_number(rule: Rule, until: date, search: Search | None) -> None:
    if search is None:
        remedy = f"FREQ={rule.frequency} with UNTIL needs a start: write DTSTART or start="
        raise wrong("UNTIL", write_stamp(until), remedy)
    if len(list(islice(search.times.ascending(-LATEST_US), LIMIT + 1))) > LIMIT:
        remedy = f"FREQ={rule.frequency} until then fires more than {LIMIT} times; use every(...) or cron(...)"
        raise wrong("UNTIL", write_stamp(until), remedy)
