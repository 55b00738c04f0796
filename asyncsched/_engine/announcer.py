"""From facts to events: the one place that builds event dataclasses.

`Broadcast.wants` is asked first, so nothing is built that nobody reads.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from logging import getLogger
from typing import Any, Final, TypeVar, final

from asyncsched import events
from asyncsched._engine.broadcast import Broadcast
from asyncsched.clock import Clock, to_datetime
from asyncsched.logs import marks_of
from asyncsched.run import Outcome, RunRecord, RunState
from asyncsched.stores.base import Parked, Start

__all__ = ["Announcer", "Settled"]

logger: Final = getLogger("asyncsched")
run_logger: Final = getLogger("asyncsched.run")

S = TypeVar("S", bound=events.SchedulerEvent)
J = TypeVar("J", bound=events.JobEvent)

Settled = tuple[RunRecord, Outcome]
"""A finished row and what the executor returned for it."""


@final
class Announcer:
    """Publishes, in the name of one node, what has been committed."""

    def __init__(
        self,
        broadcast: Broadcast,
        clock: Clock,
        node: str,
        removed: Callable[[str, Iterable[str]], None] = lambda _store, _job_ids: None,
    ) -> None:
        self.broadcast: Final = broadcast
        self.node = node
        self._clock = clock
        self._removed = removed

    def scheduler_event(self, event_type: type[S], **fields: Any) -> None:
        """Publish an event about the scheduler or a store."""
        if self.broadcast.wants(event_type):
            self.broadcast.publish(event_type(at=self._now(), node=self.node, **fields))

    def store_event(self, event_type: type[events.JobStoreEvent], store: str, **fields: Any) -> None:
        """Publish an event about a store."""
        if self.broadcast.wants(event_type):
            self.broadcast.publish(event_type(at=self._now(), node=self.node, store=store, **fields))

    def job_events(self, event_type: type[J], store: str, job_ids: Iterable[str], **fields: Any) -> None:
        """Publish one event a job."""
        if event_type is events.JobRemoved:
            self._removed(store, job_ids)
        if self.broadcast.wants(event_type):
            at = self._now()
            self.broadcast.publish_batch(
                [event_type(at=at, node=self.node, store=store, job_id=job_id, **fields) for job_id in job_ids]
            )

    def parked(self, store: str, parked: Iterable[Parked]) -> None:
        """Tell of jobs that were parked."""
        for item in parked:
            logger.error("job %r in store %r is parked: %s", item.job_id, store, item.reason)
            self.job_events(events.JobParked, store, (item.job_id,), reason=item.reason)

    def submitted(self, store: str, starts: Sequence[Start]) -> None:
        """Tell of attempts that are handed to their executors."""
        if self.broadcast.wants(events.JobSubmitted):
            at = self._now()
            self.broadcast.publish_batch(
                [events.JobSubmitted(**self._identity(at, store, start.run)) for start in starts]
            )

    def verdicts(self, store: str, rows: Iterable[RunRecord]) -> None:
        """Tell of fires that did not become runs."""
        for row in rows:
            self._verdict(store, row)

    def settled(self, store: str, settled: Sequence[Settled]) -> None:
        """Tell of runs that are over, in the order in which they ended."""
        if not any(map(self.broadcast.wants, _OUTCOMES)):
            return
        at = self._now()
        for state, group in groupby(settled, _state):
            if not self.broadcast.wants(_EVENT_OF.get(state, events.JobCancelled)):
                continue
            if state == "succeeded":
                self.broadcast.publish_batch(self._executed(at, store, group))
            else:
                self.broadcast.publish_batch([self._ended(at, store, row, outcome) for row, outcome in group])

    def refused(self, store: str, rows: Iterable[RunRecord]) -> None:
        """Tell of outcomes that the store refused because the attempt was no longer ours."""
        for row in rows:
            logger.warning("run %s (attempt %d) of job %r was no longer ours: its outcome is not recorded", row.id,
                           row.attempt, row.job_id, extra=marks_of(row))  # fmt: skip
            self._one(events.CompletionRejected, store, row)

    def recovered(self, store: str, rows: Iterable[RunRecord]) -> None:
        """Tell of runs whose node died."""
        for row in rows:
            run_logger.warning("run %s of job %r: %s; it is now %s", row.id, row.job_id, row.reason, row.state,
                               extra=marks_of(row))  # fmt: skip
            if row.state == "lost":
                self._one(events.JobLost, store, row)
            elif row.state == "cancelled":
                self._one(events.JobCancelled, store, row)

    def cancelled(self, store: str, row: RunRecord) -> None:
        """Tell of a waiting run that was cancelled."""
        self._one(events.JobCancelled, store, row)

    def progress(self, store: str, row: RunRecord, fraction: float, note: str) -> None:
        """Tell how far a run is."""
        self._one(events.JobProgress, store, row, fraction=fraction, note=note)

    def _verdict(self, store: str, row: RunRecord) -> None:
        if row.state == "missed":
            late = timedelta(microseconds=(row.finished_at or row.scheduled_time) - row.scheduled_time)
            run_logger.warning("job %r: %s of its fires missed (%s), the first %s late", row.job_id,
                               "many" if row.count is None else row.count, row.reason, late,
                               extra=marks_of(row))  # fmt: skip
            self._one(events.JobMissed, store, row, late_by=late, reason=row.reason or "", count=row.count)
        elif row.state == "skipped":
            if row.reason == "max_instances":
                run_logger.warning("job %r: a fire is skipped, max_instances runs are running", row.job_id,
                                   extra=marks_of(row))  # fmt: skip
                self._one(events.JobMaxInstances, store, row)
            self._one(events.JobSkipped, store, row, reason=row.reason or "", count=row.count)
        elif row.state == "coalesced":
            self._one(events.JobCoalesced, store, row, reason=row.reason or "", count=row.count)

    def _executed(self, at: datetime, store: str, settled: Iterable[Settled]) -> list[events.Event]:
        batch: list[events.Event] = []
        fire_time, instant = at, 0
        for row, outcome in settled:
            if row.fire_time != instant:  # jobs that are due together share the datetime
                instant = row.fire_time
                fire_time = to_datetime(instant)
            batch.append(
                events.JobExecuted(
                    at=at,
                    node=self.node,
                    job_id=row.job_id,
                    store=store,
                    run_id=row.id,
                    fire_time=fire_time,
                    attempt=row.attempt,
                    result=outcome.value,
                    duration=timedelta(microseconds=(row.finished_at or 0) - (row.started_at or 0)),
                )
            )
        return batch

    def _ended(self, at: datetime, store: str, row: RunRecord, outcome: Outcome) -> events.RunEvent:
        identity = self._identity(at, store, row)
        match row.state:
            case "failed":
                error = row.error
                return events.JobError(
                    **identity,
                    exception=outcome.exception,
                    exception_text="" if error is None else f"{error.type}: {error.message}",
                    traceback_text="" if error is None else error.traceback,
                )
            case "timed_out":
                return events.JobTimedOut(**identity)
            case "pending":
                error = row.error
                return events.JobRetrying(
                    **identity,
                    delay=timedelta(microseconds=max(0, row.scheduled_time - self._clock.now_us())),
                    exception_text="" if error is None else f"{error.type}: {error.message}",
                )
            case "missed":
                late = timedelta(microseconds=(row.finished_at or 0) - row.scheduled_time)
                return events.JobMissed(**identity, late_by=late, reason=row.reason or "")
            case _:
                return events.JobCancelled(**identity)

    def _one(self, event_type: type[events.RunEvent], store: str, row: RunRecord, **fields: Any) -> None:
        if self.broadcast.wants(event_type):
            self.broadcast.publish(event_type(**self._identity(self._now(), store, row), **fields))

    def _identity(self, at: datetime, store: str, row: RunRecord) -> dict[str, Any]:
        return {
            "at": at,
            "node": self.node,
            "job_id": row.job_id,
            "store": store,
            "run_id": row.id,
            "fire_time": to_datetime(row.fire_time),
            "attempt": row.attempt,
        }

    def _now(self) -> datetime:
        return to_datetime(self._clock.now_us())


def _state(settled: Settled) -> RunState:
    return settled[0].state


_EVENT_OF: Final[Mapping[RunState, type[events.RunEvent]]] = {
    "succeeded": events.JobExecuted,
    "failed": events.JobError,
    "timed_out": events.JobTimedOut,
    "missed": events.JobMissed,
    "pending": events.JobRetrying,
}
_OUTCOMES: Final = (
    events.JobExecuted,
    events.JobError,
    events.JobTimedOut,
    events.JobCancelled,
    events.JobMissed,
    events.JobRetrying,
)
