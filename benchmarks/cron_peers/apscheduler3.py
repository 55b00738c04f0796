"""APScheduler 3: `get_next_fire_time`, fed with the instant before, as its scheduler does."""

from datetime import datetime
from typing import Any, cast

from apscheduler.triggers.cron import CronTrigger  # type: ignore[import-not-found,unused-ignore]

from benchmarks.cron_peers.base import Expression, Walk

__all__ = ["parse", "walk"]

_CronTrigger = cast("Any", CronTrigger)


def walk(expression: Expression, start: datetime) -> Walk:
    """Return what walks from an aware start."""
    trigger = _CronTrigger(**expression.fields, timezone=start.tzinfo)

    def go(steps: int) -> datetime:
        instant = start
        for _ in range(steps):
            instant = trigger.get_next_fire_time(instant, instant)
        return instant

    return go


def parse(crontab: str) -> object:
    """Parse a five-field expression."""
    parsed: object = _CronTrigger.from_crontab(crontab, timezone="UTC")
    return parsed
