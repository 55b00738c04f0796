"""This checkout: the public `next`, an aware datetime in and out."""

from datetime import datetime

from asyncsched import cron
from benchmarks.cron_peers.base import Expression, Walk

__all__ = ["parse", "walk"]


def walk(expression: Expression, start: datetime) -> Walk:
    """Return what walks from an aware start."""
    trigger = cron(expression.crontab, start.tzinfo)

    def go(steps: int) -> datetime:
        instant = start
        for _ in range(steps):
            instant = trigger.next(instant) or start
        return instant

    return go


def parse(crontab: str) -> object:
    """Parse a five-field expression."""
    return cron(crontab, "UTC")
