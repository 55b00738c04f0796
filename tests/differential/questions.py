"""What is asked of a library and of ours, and what comes back."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias
from zoneinfo import ZoneInfo

from asyncsched.errors import ConfigurationError
from asyncsched.triggers.base import MicrosecondTrigger
from asyncsched.triggers.calendar_interval import CalendarIntervalTrigger
from asyncsched.triggers.cron import CronTrigger
from asyncsched.triggers.interval import IntervalTrigger
from asyncsched.triggers.wall import Fold, Gap

__all__ = ["COUNT", "Answer", "Language", "Question", "ask_ours", "at", "trigger_of"]

Language: TypeAlias = Literal["crontab", "fields", "interval", "calendar"]
COUNT = 10


@dataclass(frozen=True, kw_only=True)
class Question:
    """Which instants come first after a start.

    Attributes:
        language: crontab text, APScheduler's fields, an interval's or a calendar interval's arguments.
        text: the crontab text.
        fields: the keyword arguments of the other languages.
        zone: the key of the zone.
        start: Unix seconds, exclusive.
        count: how many instants.
        anchor: where an interval begins, in Unix seconds.
        first_day: the first day of a calendar interval, as ISO text.
        gap: how ours is asked to take skipped local times.
        fold: how ours is asked to take repeated local times.
        until: Unix seconds, inclusive: instants after it are left out.
    """

    language: Language = "crontab"
    text: str = ""
    fields: Mapping[str, str | int] = field(default_factory=dict[str, str | int])
    zone: str = "UTC"
    start: int
    count: int = COUNT
    anchor: int = 0
    first_day: str = ""
    gap: Gap = "shift"
    fold: Fold = "first"
    until: int = 1 << 62

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        written = self.text or ", ".join(f"{name}={value!r}" for name, value in self.fields.items())
        return f"{self.language} {written!r} in {self.zone} after {datetime.fromtimestamp(self.start, UTC)}"


@dataclass(frozen=True)
class Answer:
    """The instants in Unix seconds, and what ended them before ``count`` were found, if it was an error."""

    instants: tuple[int, ...]
    error: str | None = None

    @property
    def refused(self) -> bool:
        """Whether there is nothing but an error."""
        return self.error is not None and not self.instants


def at(text: str) -> int:
    """The Unix seconds of an ISO text, in UTC unless it names an offset."""
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def trigger_of(question: Question) -> MicrosecondTrigger:
    """Our trigger for a question."""
    zone, gap, fold = question.zone, question.gap, question.fold
    fields: dict[str, Any] = dict(question.fields)
    if question.language == "crontab":
        return CronTrigger.from_crontab(question.text, zone, gap=gap, fold=fold)
    if question.language == "fields":
        return CronTrigger(**fields, timezone=zone, gap=gap, fold=fold)
    if question.language == "calendar":
        return CalendarIntervalTrigger(**fields, start_date=question.first_day, timezone=zone, gap=gap, fold=fold)
    return IntervalTrigger(**fields, start=datetime.fromtimestamp(question.anchor, ZoneInfo(zone)), timezone=zone)


def _instants(question: Question) -> Iterator[int]:
    trigger, cursor, left = trigger_of(question), question.start * 1_000_000, question.count
    while left and (found := trigger.next_us(cursor)) is not None and found <= question.until * 1_000_000:
        yield found // 1_000_000
        cursor, left = found, left - 1


def ask_ours(question: Question) -> Answer:
    """The answer of our triggers."""
    try:
        return Answer(tuple(_instants(question)))
    except ConfigurationError as error:
        return Answer((), str(error))
