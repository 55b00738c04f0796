"""`CronTrigger`: crontab text or APScheduler's fields, in a zone, between bounds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any, ClassVar, Final, Self, TypeAlias

from asyncsched.clock import EPOCH
from asyncsched.errors import InvalidTriggerError
from asyncsched.triggers.base import Jitter, LintWarning, MicrosecondTrigger, Trigger, register_trigger
from asyncsched.triggers.cron.crontab import drawn_text, expression_text, parse_crontab
from asyncsched.triggers.cron.describe import describe_pattern, describe_policies
from asyncsched.triggers.cron.hashed import hash_count
from asyncsched.triggers.cron.keywords import KEYWORDS, field_text, parse_keywords
from asyncsched.triggers.cron.lint import lint_pattern
from asyncsched.triggers.cron.pattern import Pattern
from asyncsched.triggers.cron.search import Search, search_for
from asyncsched.triggers.jitter import AnyJitter, read_jitter, stored_jitter
from asyncsched.triggers.moment import Moment, read_optional, require_version, utc_of, write_moment
from asyncsched.triggers.wall import EARLIEST_US, LATEST_US, Fold, Gap, check_policies
from asyncsched.triggers.zone import resolve_zone, zone_key

__all__ = ["CronTrigger", "cron"]

FieldValue: TypeAlias = int | str | None
_SECOND: Final = 1_000_000


@register_trigger
@dataclass(frozen=True, slots=True, init=False, repr=False)
class CronTrigger(MicrosecondTrigger):
    """Fires at the local times that match a set of fields, in whole seconds.

    The constructor takes APScheduler's field language; `CronTrigger.from_crontab` and `cron` take
    crontab text. Local times that a change of the clocks skips or repeats follow ``gap`` and
    ``fold``, unless the minute or hour field begins with ``*`` (its effective value, defaults filled
    in): then, as in Debian's cron, every real instant whose local time matches fires, both times in
    a repeated hour and none in a skipped one. Years from 1970 to 9999 can match.

    Args:
        year: with the next seven, an int or text: ``*``, ``*/a``, ``a-b``, ``a-b/c``, lists. Fields
            left of the first one given default to every value, those right of the last one to
            their smallest.
        month: 1-12 or names.
        day: 1-31, ``last``, ``3rd fri``, ``last sun``.
        week: ISO week, 1-53.
        day_of_week: 0-6 or names; 0 is Monday.
        hour: 0-23.
        minute: 0-59.
        second: 0-59.
        start_date: nothing fires before it; it may fire itself. Microseconds are rounded up.
        end_date: nothing fires after it; it may fire itself.
        timezone: the zone of the local times. ``None``: the scheduler's; UTC when asked by itself.
        gap: a local time that the clocks skip fires at the first instant after (``"shift"``) or not
            at all (``"skip"``). Several that are skipped together fire once.
        fold: a local time that comes twice fires at its ``"first"``, its ``"last"`` occurrence, or
            at ``"both"``.
        jitter: lands on the job, in seconds.

    Attributes:
        expression: the crontab text, ``None`` when made from fields.
        fields: the fields as they were given, in the order of the arguments; all ``None`` when made
            from crontab text.

    Raises:
        InvalidTriggerError: a field is not understood, or no date ever matches.
        ConfigurationError: the zone, a policy or a date is wrong.
    """

    kind: ClassVar[str] = "cron"

    expression: str | None
    fields: tuple[str | None, ...]
    start_date: datetime | None
    end_date: datetime | None
    timezone: tzinfo | None
    gap: Gap
    fold: Fold
    jitter: Jitter
    _search: Search = field(compare=False)
    _open: tzinfo | None = field(compare=False)

    def __init__(
        self,
        *,
        year: FieldValue = None,
        month: FieldValue = None,
        day: FieldValue = None,
        week: FieldValue = None,
        day_of_week: FieldValue = None,
        hour: FieldValue = None,
        minute: FieldValue = None,
        second: FieldValue = None,
        start_date: Moment | None = None,
        end_date: Moment | None = None,
        timezone: str | tzinfo | None = None,
        gap: Gap = "shift",
        fold: Fold = "first",
        jitter: AnyJitter = None,
    ) -> None:
        values = (year, month, day, week, day_of_week, hour, minute, second)
        fields = tuple(field_text(name, value) for name, value in zip(KEYWORDS, values, strict=True))
        self._fill(None, fields, (start_date, end_date), timezone, gap, fold, jitter)

    @classmethod
    def from_crontab(
        cls,
        expression: str,
        timezone: str | tzinfo | None = None,
        *,
        start_date: Moment | None = None,
        end_date: Moment | None = None,
        gap: Gap = "shift",
        fold: Fold = "first",
        jitter: AnyJitter = None,
    ) -> Self:
        """Return the trigger for crontab text.

        Args:
            expression: 5 fields (minute hour day-of-month month day-of-week, crontab(5)), 6 (second
                first), 7 (year last), or a macro such as ``@daily``. 0 and 7 are Sunday. ``H`` is
                drawn from the job's id when the trigger is given to a job. At most 256 characters,
                each ``H`` counted as the nine that may be drawn for it.
            timezone: as for the class; so are the other arguments.
            start_date: nothing fires before it.
            end_date: nothing fires after it.
            gap: what becomes of skipped local times.
            fold: what becomes of repeated local times.
            jitter: lands on the job, in seconds.

        Raises:
            InvalidTriggerError: the text is not understood, or no date ever matches.
            ConfigurationError: the zone, a policy or a date is wrong.
        """
        text = expression_text(expression)
        made = cls.__new__(cls)
        made._fill(text, (None,) * len(KEYWORDS), (start_date, end_date), timezone, gap, fold, jitter)  # noqa: SLF001 - its own
        return made

    def _fill(
        self,
        expression: str | None,
        fields: tuple[str | None, ...],
        bounds: tuple[Moment | None, Moment | None],
        timezone: str | tzinfo | None,
        gap: Gap,
        fold: Fold,
        jitter: AnyJitter,
    ) -> None:
        check_policies(gap, fold)
        pattern = _pattern(expression, fields)
        zone = None if timezone is None else resolve_zone(timezone)
        start, end = read_optional(bounds[0], "start_date", zone), read_optional(bounds[1], "end_date", zone)
        if start is not None and end is not None and utc_of(end) < utc_of(start):
            raise InvalidTriggerError(f"end_date={end} lies before start_date={start}", field="end_date", value=end)
        values = {
            "expression": None if expression is None else " ".join(expression.split()),
            "fields": fields,
            "start_date": start,
            "end_date": end,
            "timezone": zone,
            "gap": gap,
            "fold": fold,
            "jitter": read_jitter(jitter),
            "_search": search_for(pattern, zone or UTC, gap, fold),
            # The zone of a trigger without dates, which `next` need not look at then.
            "_open": (zone or UTC) if start is None and end is None else None,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _remade(self, expression: str | None, zone: tzinfo | None) -> "CronTrigger":
        # The dates are read in the zone where there is one; in the usual case they are instants already.
        made = CronTrigger.__new__(CronTrigger)
        bounds = (self.start_date, self.end_date)
        made._fill(expression, self.fields, bounds, zone, self.gap, self.fold, self.jitter)  # noqa: SLF001 - its own
        return made

    @property
    def zone(self) -> tzinfo:
        """The zone of the local times; UTC while none is known."""
        return self.timezone or UTC

    @property
    def pattern(self) -> Pattern:
        """The local times that match, as sets of numbers."""
        return _pattern(self.expression, self.fields)

    def _bounds(self, after: int, until: int) -> tuple[int, int]:
        """The seconds [first, end) whose instants lie in (after, until] and within the trigger's dates."""
        if self.start_date is not None:
            after = max(after, utc_of(self.start_date) - 1)
        if self.end_date is not None:
            until = min(until, utc_of(self.end_date))
        return max(after, EARLIEST_US) // _SECOND + 1, min(until, LATEST_US) // _SECOND + 1

    def next(self, after: datetime) -> datetime | None:
        """Return the first instant strictly later than ``after``, in the trigger's zone, or ``None``."""
        zone = self._open
        if zone is None:
            return MicrosecondTrigger.next(self, after)
        try:
            since = after - EPOCH
        except TypeError:  # naive, or no datetime at all
            return MicrosecondTrigger.next(self, after)
        found = self._search.next(since.days * 86_400 + since.seconds + 1)
        return None if found is None else datetime.fromtimestamp(found, zone)

    def next_us(self, after: int) -> int | None:
        """Return the first instant strictly later than ``after``, both in Unix microseconds."""
        if self._open is not None:
            found = self._search.next(after // _SECOND + 1)
            return None if found is None else found * _SECOND
        first, end = self._bounds(after, LATEST_US)
        found = self._search.next(first)
        return None if found is None or found >= end else found * _SECOND

    def last_us(self, after: int, until: int) -> int | None:
        """Return the last instant in (after, until], searched backwards."""
        first, end = self._bounds(after, until)
        found = self._search.previous(end - 1) if end > first else None
        return None if found is None or found < first else found * _SECOND

    def count_us(self, after: int, until: int) -> int | None:
        """Return how many instants lie in (after, until], without stepping through them."""
        first, end = self._bounds(after, until)
        return self._search.count(first, end) if end > first else 0

    def common(self, other: "CronTrigger") -> Callable[[int, int], int] | None:
        """Return what counts the instants in (after, until] that both triggers have, for the same zone and policies.

        Where the clocks skip local times of both, it may count one too few, never one too many.

        Returns:
            A function of two Unix microseconds; ``None`` for another zone or policies.
        """
        mine, joined = self._search, self.pattern.joined(other.pattern)
        if self.zone != other.zone or mine.policies != other._search.policies:  # noqa: SLF001 - its own
            return None
        if joined is None:
            return lambda after, until: 0  # noqa: ARG005 - of no concern to nothing
        search = search_for(joined, self.zone, self.gap, self.fold)

        def count(after: int, until: int) -> int:
            (first, end), (low, high) = self._bounds(after, until), other._bounds(after, until)  # noqa: SLF001 - its own
            return search.count(max(first, low), min(end, high))

        return count

    def with_timezone(self, timezone: tzinfo) -> Trigger:
        """Return the trigger in that zone, naive dates read in it; itself when it names a zone."""
        return self if self.timezone is not None else self._remade(self.expression, resolve_zone(timezone))

    def for_job(self, job_id: str) -> Trigger:
        """Return the trigger with every ``H`` replaced by what the job draws; itself when it has none."""
        if self.expression is None or not hash_count(self.expression):
            return self
        return self._remade(drawn_text(self.expression, job_id), self.timezone)

    def describe(self) -> str:
        """Return the trigger in words, such as ``at 09:00, Monday to Friday (Europe/Berlin)``."""
        words = [describe_pattern(self.pattern)]
        if self.expression is not None and hash_count(self.expression):
            words = [f"{self.expression!r} with H drawn from the job's id"]
        for preposition, moment in (("from", self.start_date), ("until", self.end_date)):
            if moment is not None:
                local = moment if moment.tzinfo is None else moment.astimezone(self.zone).replace(tzinfo=None)
                words.append(f"{preposition} {local.isoformat(sep=' ')}")
        if not self.pattern.elapsed:
            words += describe_policies(self.gap, self.fold)
        return ", ".join(words) + ("" if self.timezone is None else f" ({zone_key(self.timezone)})")

    def lint(self) -> list[LintWarning]:
        """Return what a person would not expect of this trigger within the next 400 days, a sentence each."""
        return lint_pattern(self.pattern, self.zone, self.gap, self.fold, self._written())

    def _written(self) -> dict[str, str]:
        if self.expression is not None:
            return {"expression": self.expression}
        return {name: text for name, text in zip(KEYWORDS, self.fields, strict=True) if text is not None}

    def to_dict(self) -> dict[str, Any]:
        """Return the trigger as JSON values; what was not given is left out."""
        data: dict[str, Any] = {"kind": self.kind, "v": 1, **self._written()}
        for name, moment in (("start_date", self.start_date), ("end_date", self.end_date)):
            if moment is not None:
                data[name] = write_moment(moment)
        if self.timezone is not None:
            data["timezone"] = zone_key(self.timezone)
        if self.gap != "shift":
            data["gap"] = self.gap
        if self.fold != "first":
            data["fold"] = self.fold
        return data | stored_jitter(self.jitter)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild the trigger from `to_dict`."""
        require_version(data)
        values = {name: value for name, value in data.items() if name not in {"kind", "v"}}
        return cls.from_crontab(**values) if "expression" in values else cls(**values)

    def __repr__(self) -> str:
        values = {name: value for name, value in self.to_dict().items() if name not in {"kind", "v", "expression"}}
        if self.jitter is not None:
            values["jitter"] = self.jitter
        words = [f"{name}={value!r}" for name, value in values.items()]
        if self.expression is None:
            return f"CronTrigger({', '.join(words)})"
        return f"CronTrigger.from_crontab({', '.join([repr(self.expression), *words])})"


def cron(
    expression: str,
    timezone: str | tzinfo | None = None,
    *,
    jitter: AnyJitter = None,
    gap: Gap = "shift",
    fold: Fold = "first",
) -> CronTrigger:
    """Return the trigger for crontab text; see `CronTrigger.from_crontab`."""
    return CronTrigger.from_crontab(expression, timezone, jitter=jitter, gap=gap, fold=fold)


def _pattern(expression: str | None, fields: tuple[str | None, ...]) -> Pattern:
    return parse_keywords(fields) if expression is None else parse_crontab(expression)
