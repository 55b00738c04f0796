"""What the tests of executors share: calls to make, and functions that can be sent to a process."""

from collections.abc import Callable
from typing import Any, Final, cast

from asyncsched.context import Control, RunScope
from asyncsched.executors import Call
from asyncsched.job import JobRecord, Policies
from asyncsched.run import RunRecord

WAIT_S: Final = 20.0
"""How long anything that should happen soon may take on a busy machine."""

CONTROL: Final = cast("Control", object())
"""What stands for the scheduler that started a run."""


def call_of(func: Callable[..., Any], *args: Any, run_id: str = "run-1", **kwargs: Any) -> Call:
    job = JobRecord(
        id="job-1",
        task="tests:job",
        name="a job",
        executor="any",
        trigger=None,
        written=None,
        policies=Policies(),
        added_at=0,
    )
    run = RunRecord(id=run_id, job_id="job-1", revision=1, fire_time=0, scheduled_time=0, state="running", attempt=1)
    return Call(func, args, kwargs, RunScope(job, run, "default", CONTROL, func))


def double(number: int) -> int:
    return 2 * number
