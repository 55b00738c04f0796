"""cronsim: its iterator."""

from datetime import UTC, datetime
from typing import Any, cast

from cronsim import CronSim  # type: ignore[import-not-found,unused-ignore]

from benchmarks.cron_peers.base import Expression, Walk

__all__ = ["parse", "walk"]

_CronSim = cast("Any", CronSim)
_START = datetime(2026, 1, 1, tzinfo=UTC)


def walk(expression: Expression, start: datetime) -> Walk:
    """Return what walks from an aware start."""
    iterator = _CronSim(expression.crontab, start)

    def go(steps: int) -> datetime:
        instant = start
        for _ in range(steps):
            instant = next(iterator)
        return instant

    return go


def parse(crontab: str) -> object:
    """Parse a five-field expression."""
    parsed: object = _CronSim(crontab, _START)
    return parsed
