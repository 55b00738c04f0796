"""What the processes of the harness schedule: recurring jobs, jobs that are run by hand, one-shots."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import anyio

from asyncsched import IntervalTrigger, JobSpec, current_run, every, task
from asyncsched.run import RunRecord
from tests.chaos.failpoints import Failpoint
from tests.chaos.witness import Witness

ANCHOR: Final = datetime(2025, 1, 1, tzinfo=UTC)
MAX_LOST: Final = 100
"""So many nodes may die under one run; none is given up for that here."""


@dataclass(frozen=True, kw_only=True)
class Definition:
    """One recurring job. ``longest_ms`` bounds how long its runs take."""

    id: str
    every_ms: int
    longest_ms: int = 20
    on_lost: str = "retry"
    max_instances: int = 1
    overlap: str = "skip"
    coalesce: str = "latest"
    executor: str = "async"

    @property
    def trigger(self) -> IntervalTrigger:
        return interval(self.every_ms)

    def spec(self) -> JobSpec:
        return JobSpec(
            work_in_thread if self.executor == "thread" else work,
            self.trigger,
            id=self.id,
            kwargs={"longest_ms": self.longest_ms},
            on_lost=self.on_lost,
            max_instances=self.max_instances,
            overlap=self.overlap,
            coalesce=self.coalesce,
            executor=self.executor,
            keep_runs=None,
            max_lost=MAX_LOST,
        )


RECURRING: Final = (
    Definition(id="plain", every_ms=200),
    Definition(id="failing-over", every_ms=250, on_lost="fail", max_instances=3),
    Definition(id="one-by-one", every_ms=300, overlap="queue_all", coalesce="all", longest_ms=50),
    Definition(id="three-at-once", every_ms=150, max_instances=3, overlap="queue_all", coalesce="all", longest_ms=50),
    Definition(id="fragile-queue", every_ms=350, on_lost="fail", overlap="queue_all", coalesce="all"),
    Definition(id="long", every_ms=700, longest_ms=2500, max_instances=2),
    Definition(id="threaded", every_ms=400, executor="thread", longest_ms=50),
    Definition(id="by-hand", every_ms=10**10, max_instances=3, longest_ms=30),
    Definition(id="edited", every_ms=200),
)
EDITED: Final = "edited"
BY_HAND: Final = "by-hand"
EDITS_MS: Final = (150, 200, 250)


def interval(milliseconds: int) -> IntervalTrigger:
    """Return the trigger; it has a fixed anchor, so that every process writes down the same one."""
    return every(seconds=milliseconds / 1000, start=ANCHOR)


@dataclass
class Here:
    """What the jobs of this process tell."""

    witness: Witness
    failpoint: Failpoint


_here: list[Here] = []


def settle_here(witness: Witness, failpoint: Failpoint) -> None:
    """Say once for this process whom its jobs tell what they do."""
    _here[:] = [Here(witness, failpoint)]


def _tell(word: str, run: RunRecord) -> None:
    _here[0].witness.write(word, run.id, run.attempt, run.job_id, run.node, durably=True)


def _length_s(run: RunRecord, longest_ms: int) -> float:
    return random.Random(run.id).uniform(0, longest_ms / 1000)


async def attempt(seconds: float) -> None:
    """Take so long, and say so; what every job does."""
    run, hit = _began()
    try:
        await anyio.sleep(seconds)
        hit("work.middle")
    except anyio.get_cancelled_exc_class():
        _tell("CUT", run)
        raise
    _ended(run, hit)


@task("work")
async def work(longest_ms: int) -> int:
    """Take a while; returns the number of the attempt."""
    run = current_run().record
    await attempt(_length_s(run, longest_ms))
    return run.attempt


@task("work_in_thread")
def work_in_thread(longest_ms: int) -> int:
    """Do the same in a thread, where nobody can cut it."""
    run, hit = _began()
    time.sleep(_length_s(run, longest_ms))
    hit("work.middle")
    _ended(run, hit)
    return run.attempt


def _began() -> tuple[RunRecord, Callable[[str], Any]]:
    run, hit = current_run().record, _here[0].failpoint.hit
    _tell("BEGIN", run)
    hit("work.begun")
    return run, hit


def _ended(run: RunRecord, hit: Callable[[str], Any]) -> None:
    _tell("END", run)
    hit("work.ended")
