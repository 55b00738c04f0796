"""The expressions that are measured, in each dialect, and what an adapter must be able to do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

__all__ = ["EXPRESSIONS", "ZONES", "Expression", "Peer", "Walk", "usual_expressions"]

Walk = Callable[[int], datetime]
"""Goes so many instants on, one by one, and returns the last: the work under the clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """One schedule.

    Attributes:
        name: in words.
        crontab: as text, seconds first where there are six fields.
        fields: the same in APScheduler's field language.
        steps: how many instants one walk goes, so that none leaves the 21st century.
    """

    name: str
    crontab: str
    fields: Mapping[str, str | int] = field(default_factory=dict[str, str | int])
    steps: int = 200


EXPRESSIONS: Final = (
    Expression(name="every minute", crontab="* * * * *", fields={"minute": "*"}),
    Expression(name="every 5 minutes", crontab="*/5 * * * *", fields={"minute": "*/5"}),
    Expression(name="every 10 seconds", crontab="*/10 * * * * *", fields={"second": "*/10"}),
    Expression(name="every 6 hours", crontab="0 */6 * * *", fields={"hour": "*/6"}),
    Expression(name="daily at 09:00", crontab="0 9 * * *", fields={"hour": 9}),
    Expression(
        name="every 15 minutes, weekdays 9-17",
        crontab="*/15 9-17 * * 1-5",
        fields={"day_of_week": "mon-fri", "hour": "9-17", "minute": "*/15"},
    ),
    Expression(
        name="hourly, weekdays 9-17", crontab="0 9-17 * * 1-5", fields={"day_of_week": "mon-fri", "hour": "9-17"}
    ),
    Expression(
        name="Sundays at 04:30", crontab="30 4 * * 0", fields={"day_of_week": "sun", "hour": 4, "minute": 30}
    ),
    Expression(name="first and fifteenth", crontab="0 0 1,15 * *", fields={"day": "1,15"}),
    Expression(name="last day of the month", crontab="0 0 L * *", fields={"day": "last"}),
    Expression(name="third Friday", crontab="0 0 * * 5#3", fields={"day": "3rd fri"}),
    Expression(name="29 February", crontab="0 0 29 2 *", fields={"month": 2, "day": 29}, steps=12),
    Expression(
        name="1 January at 10:15", crontab="15 10 1 1 *", fields={"month": 1, "day": 1, "hour": 10, "minute": 15}, steps=50
    ),
)  # fmt: skip
ZONES: Final = ("UTC", "America/New_York", "Europe/Berlin")


def usual_expressions() -> Sequence[str]:
    """Return some hundred different five-field expressions of the kinds that people write."""
    daily = [f"{minute} {hour} * * *" for minute in range(0, 60, 7) for hour in range(0, 24, 5)]
    weekly = [f"{minute} {hour} * * {day}" for minute in (0, 30, 45) for hour in (1, 6, 22) for day in (0, 3, "1-5")]
    paced = [
        f"*/{step} {first}-{last} * * 1-5" for step in (5, 10, 15, 20, 30) for first in (7, 8, 9) for last in (17, 18)
    ]
    monthly = [f"{minute} 3 {day} * *" for minute in (5, 10, 20) for day in ("1", "15", "1,15", "1-7", "*/2")]
    return [*daily, *weekly, *paced, *monthly]


class Peer(Protocol):
    """A library under measurement: a module with these names."""

    def walk(self, expression: Expression, start: datetime) -> Walk | None:
        """Return what walks from an aware start; ``None`` when the library cannot say the expression.

        Parsing is done before it returns, unless the library parses while it walks.
        """
        ...

    def parse(self, crontab: str) -> object:
        """Parse a five-field expression."""
        ...
