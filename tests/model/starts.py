"""What has been started under named limits, counted anew from the rows."""

from typing import Final

from asyncsched._engine.limiting import LimitRow
from tests.model.checks import Step

__all__ = ["Starts"]

_REMEMBERED: Final = 200


class Starts:
    """The instants at which runs were started under each key, since its limit was last defined."""

    def __init__(self) -> None:
        self._rows: dict[str, LimitRow] = {}
        self._began: dict[str, list[int]] = {}

    def define(self, limit: LimitRow) -> None:
        """Note that a limit has another rate from now on."""
        self._rows[limit.name] = limit
        for key in [key for key in self._began if key.partition(":")[0] == limit.name]:
            del self._began[key]

    def follow(self, step: Step) -> None:
        """Hold what began against the limits: never more at once, never more in any stretch of time."""
        for run in step.begun:
            limit = None if run.limit_key is None else self._rows.get(run.limit_key.partition(":")[0])
            if limit is None or run.limit_key is None:
                continue
            running = [row.id for row in step.after.runs.values()
                       if row.limit_key == run.limit_key and row.state == "running"]  # fmt: skip
            bound = limit.concurrency
            assert bound is None or len(running) <= bound, f"{running} run under {run.limit_key}, and {bound} may"
            began = self._began.setdefault(run.limit_key, [])
            began.append(step.now)
            del began[:-_REMEMBERED]
            if limit.count is not None and limit.period is not None:
                self._check_rate(run.limit_key, limit.count, limit.period, step.now)

    def _check_rate(self, limit_key: str, count: int, period: int, now: int) -> None:
        for since in self._began[limit_key]:
            number = sum(since <= at <= now for at in self._began[limit_key])
            most = count + (now - since) * count // period
            assert number <= most or since > now, f"{number} began under {limit_key} since {since}, and {most} may"
