"""What the simulated jobs do, and whom they tell."""

import random
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio

from asyncsched import JobSpec, Limit, Retry, RetryLater, Snooze, current_run, current_scheduler
from asyncsched.run import RunRecord
from tests.simulation.reference import trigger_of
from tests.simulation.script import JobPlan

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HERE", "LIMITS", "Witness", "body", "rare_body", "spec_of"]


class Witness(Protocol):
    """The node that a body runs on, as the body sees it."""

    def began(self, run: RunRecord, stubborn: float) -> None: ...

    def ended(self, run: RunRecord, how: str) -> None: ...

    def now(self) -> datetime: ...

    async def sleep(self, seconds: float) -> None: ...


HERE: dict[int, Witness] = {}
"""The nodes by the identity of their schedulers."""


class SimulatedError(Exception):
    """What a job raises that is to fail."""


LIMITS: Final[dict[str, Limit]] = {
    limit.name: limit
    for limit in (Limit("two", concurrency=2), Limit("slow", rate=(4, 60.0)), Limit("one", 1, (30, 60.0)))
}
"""The named limits that jobs may share."""


async def body(
    seconds: float = 0.0, fails: float = 0.0, asks: float = 0.0, moves: float = 0.0, stubborn: float = 0.0
) -> str:
    """Take a while, or fail, as drawn from the run and the attempt; put up with a cancellation for a while."""
    run = current_run().record
    witness, draw = HERE[id(current_scheduler())], random.Random(f"{run.id} {run.attempt}")
    length, is_failing = seconds * draw.random(), draw.random() < fails
    witness.began(run, stubborn)
    how = "failed" if is_failing else "succeeded"
    try:
        if length:
            await witness.sleep(length)
        if is_failing:
            raise SimulatedError("as drawn")
        if draw.random() < asks:
            how = "asks"
            raise draw.choice((RetryLater, Snooze))(draw.choice((0.0, 3.0, 45.0)))
        if draw.random() < moves:
            current_run().reschedule_at(witness.now() + timedelta(seconds=draw.choice((-5, 1, 33))))
    except anyio.get_cancelled_exc_class():
        how = "cancelled"
        if stubborn:
            with anyio.CancelScope(shield=True):
                await witness.sleep(stubborn)
        raise
    finally:
        witness.ended(run, how)
    return f"{run.id} {run.attempt}"


async def rare_body(**kwargs: float) -> str:
    """Do the same, on nodes that know it."""
    return await body(**kwargs)


def spec_of(plan: JobPlan, start: datetime) -> JobSpec:
    """Return the definition of a planned job, in a world that began at ``start``."""
    names = ("seconds", "fails", "asks", "moves", "stubborn")
    kwargs = {name: value for name in names if (value := getattr(plan, name))}
    retry = None if plan.retry is None else Retry(**plan.retry)
    func: Callable[..., Any] | str = f"{__name__}:{rare_body.__qualname__}" if plan.rare else body
    return JobSpec(func, trigger_of(plan.trigger, start), id=plan.id, kwargs=kwargs, retry=retry, **plan.options)
