"""What the tests of executors share: calls to make, and functions that can be sent to a process."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, cast

from msgspec.structs import replace

from asyncsched.clock import to_us
from asyncsched.codec import Codec
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


class Listener:
    """Stands for the scheduler too, and hears what a run tells it."""

    def __init__(self) -> None:
        self.told: list[tuple[float, str]] = []
        self._codec = Codec()
        self._changed = threading.Condition()

    def tell_progress(self, run: RunRecord, store: str, fraction: float, note: str) -> None:
        assert (run.id, store) == ("run-1", "default")
        with self._changed:
            self.told.append((fraction, note))
            self._changed.notify_all()

    def heard(self, count: int) -> None:
        """Wait in a thread until so much was told."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.told) >= count, WAIT_S)

    def read_instant(self, when: datetime) -> int:
        return to_us(when.replace(tzinfo=UTC))

    def decode_result(self, data: bytes | None) -> Any:
        return self._codec.decode_result(data)


def heard_by(listener: object, call: Call, *, capture_logs: bool = False, **row: Any) -> Call:
    """The same call for a run of that scheduler's; ``row`` changes the run, ``carried`` its job."""
    scope = call.scope
    policies = Policies(capture_logs=capture_logs)
    job = replace(scope.job, policies=policies, carried=row.pop("carried", None))
    return replace(call, scope=replace(scope, job=job, run=replace(scope.run, **row), control=cast("Any", listener)))


def double(number: int) -> int:
    return 2 * number
