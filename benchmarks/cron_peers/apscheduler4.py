"""APScheduler 4: the stateful trigger, begun just after the start."""

from datetime import datetime, timedelta
from typing import Any, cast

from apscheduler.triggers.cron import CronTrigger  # type: ignore[import-not-found,unused-ignore]

from benchmarks.cron_peers.base import Expression, Walk

__all__ = ["parse", "walk"]

_CronTrigger = cast("Any", CronTrigger)


def walk(expression: Expression, start: datetime) -> Walk:
    """Return what walks from an aware start."""
    # A whole second: it would hand on the microseconds of its start time.
    begin = start + timedelta(seconds=1)
    trigger = _CronTrigger(**expression.fields, timezone=start.tzinfo, start_time=begin)

    def go(steps: int) -> datetime:
        instant = start
        for _ in range(steps):
            instant = trigger.next()
        return instant

    return go


def parse(crontab: str) -> object:
    """Parse a five-field expression."""
    parsed: object = _CronTrigger.from_crontab(crontab, timezone="UTC")
    return parsed
