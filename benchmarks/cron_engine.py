"""Measure what only asyncsched has: the engine's own path, and catching up over ten years. Prints a JSON line.

Started by ``cron_triggers.py``.
"""

import itertools
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from statistics import geometric_mean, median
from typing import Final, get_args

from asyncsched import cron, every
from asyncsched._engine.instants import schedule_fire
from asyncsched._engine.plan import plan_due
from asyncsched.clock import to_us
from asyncsched.job import Coalesce, JobRecord, Policies
from asyncsched.triggers import Trigger
from benchmarks.cron_peers.base import EXPRESSIONS, ZONES

_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_TEN_YEARS: Final = timedelta(days=3652)
_ROUNDS: Final = 31


def _microseconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1e6


def _engine_path() -> dict[str, float]:
    found: dict[str, float] = {}
    for zone in ZONES:
        costs = list[float]()
        for expression in EXPRESSIONS:
            trigger, taken = cron(expression.crontab, zone), list[float]()
            for day in range(_ROUNDS):
                start = to_us(_START + timedelta(days=day * 11))
                taken.append(_microseconds(lambda: _go(trigger, start, expression.steps)) / expression.steps)  # noqa: B023 - called at once
            costs.append(median(taken))
        found[f"next_us, geometric mean, {zone}"] = geometric_mean(costs)
    return found


def _go(trigger: Trigger, instant: int, steps: int) -> None:
    for _ in range(steps):
        instant = trigger.next_us(instant) or instant


def _catch_up() -> dict[str, float]:
    found: dict[str, float] = {}
    now = to_us(_START + _TEN_YEARS)
    numbers = itertools.count()
    triggers: dict[str, Trigger] = {
        "every second": every(seconds=1, start=_START),
        "* * * * * *, UTC": cron("* * * * * *", "UTC"),
        "* * * * * *, Europe/Berlin": cron("* * * * * *", "Europe/Berlin"),
    }
    for (name, trigger), coalesce in itertools.product(triggers.items(), get_args(Coalesce)):
        policies = Policies(coalesce=coalesce, misfire_grace=None)
        job = JobRecord(
            id="job", task="t", name="n", executor="async", trigger=trigger, written=trigger,
            policies=policies, added_at=to_us(_START),
        )  # fmt: skip
        due = schedule_fire(job, to_us(_START))
        taken = [
            _microseconds(lambda: plan_due(due, now, 0, 0, node="n", new_run_id=lambda: f"r{next(numbers)}"))  # noqa: B023 - called at once
            for _ in range(_ROUNDS)
        ]
        found[f"{name}, coalesce={coalesce}: the first time"] = taken[0] / 1000
        found[f"{name}, coalesce={coalesce}: median"] = median(taken) / 1000
    return found


def main() -> None:
    """Measure and print."""
    caught = _catch_up()  # before anything has looked at the zones
    answer = {
        "microseconds of one next time on the engine's own path (Unix microseconds in and out)": _engine_path(),
        "milliseconds to plan ten missed years of every second (315 million instants)": caught,
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
