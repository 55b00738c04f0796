"""croniter: `get_next`; it writes the seconds last."""

from datetime import datetime
from typing import Any, cast

from croniter import croniter  # type: ignore[import-not-found,import-untyped,unused-ignore]

from benchmarks.cron_peers.base import Expression, Walk

__all__ = ["parse", "walk"]

_croniter = cast("Any", croniter)
_SIX = 6


def walk(expression: Expression, start: datetime) -> Walk:
    """Return what walks from an aware start."""
    fields = expression.crontab.split()
    iterator = _croniter(" ".join(fields[1:] + fields[:1]) if len(fields) == _SIX else expression.crontab, start)

    def go(steps: int) -> datetime:
        instant = start
        for _ in range(steps):
            instant = iterator.get_next(datetime)
        return instant

    return go


def parse(crontab: str) -> object:
    """Parse a five-field expression."""
    parsed: object = _croniter(crontab)
    return parsed
