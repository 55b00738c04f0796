"""Group commit of outcomes.

Outcomes gather while the previous write is in flight and are written together: there is no timer
and no fixed batch. Slots are given back, waiters woken and events published once the store has
committed. While the store is away the outcomes wait here and are written when it returns, if they
are still valid then.
"""

from collections.abc import Callable, Iterable, Sequence
from logging import getLogger
from typing import Final, final

import anyio
from msgspec.structs import replace

from asyncsched import events
from asyncsched._engine.announcer import Announcer, Settled
from asyncsched._engine.ending import again, wants
from asyncsched._engine.following import Following, effects_of
from asyncsched._engine.runner import MISFIRE, TIMEOUT
from asyncsched._engine.trouble import Trouble
from asyncsched.codec import Codec
from asyncsched.logs import marks_of
from asyncsched.run import OVER_STATES, Outcome, RunRecord, RunState
from asyncsched.stores.base import JobStore, Start

__all__ = ["Recorder", "settle_run"]

logger: Final = getLogger("asyncsched.run")

BATCH: Final = 500


def settle_run(
    start: Start, outcome: Outcome, *, started_at: int, finished_at: int, reason: str | None, codec: Codec
) -> RunRecord:
    """Return the row of a run whose attempt ended with that outcome: over, or waiting for its next attempt."""
    state: RunState = outcome.kind
    result = None
    if state == "succeeded":
        if outcome.value is not None and start.job.policies.keep_results:
            result = codec.encode_result(outcome.value)
    elif state == "cancelled" and reason == TIMEOUT:
        state = "timed_out"
    elif state == "cancelled" and reason == MISFIRE:
        state = "missed"
    row = replace(
        start.run,
        state=state,
        started_at=None if state == "missed" else started_at,
        finished_at=finished_at,
        result=result,
        error=outcome.error,
        reason=reason,
    )
    if outcome.notes is not None and outcome.notes.logs is not None:
        row = replace(row, logs=outcome.notes.logs)
    if state in ("failed", "timed_out"):
        return again(start.job, row, outcome, finished_at) or row
    return row


@final
class Waiter:
    """One wait for the end of a run; it gets the last row even if the ledger keeps none.

    Attributes:
        over: set once ``row`` is there.
        row: the row of the run that is over.
    """

    __slots__ = ("over", "row")

    def __init__(self) -> None:
        self.over: anyio.Event = anyio.Event()
        self.row: RunRecord | None = None


@final
class Recorder:
    """Writes the outcomes of one store's runs."""

    def __init__(
        self,
        *,
        name: str,
        store: JobStore,
        codec: Codec,
        now_us: Callable[[], int],
        announcer: Announcer,
        trouble: Trouble,
        committed: Callable[[int, bool, int | None], None],
    ) -> None:
        self._name = name
        self._store = store
        self._codec = codec
        self._now_us = now_us
        self._announcer = announcer
        self._trouble = trouble
        self._committed = committed
        self._queue: list[tuple[Start, Outcome, int, int, str | None]] = []
        self._writing_count = 0
        self._broken = False
        self._arrived = anyio.Event()
        self._waiters: dict[str, list[Waiter]] = {}

    @property
    def busy(self) -> bool:
        """Whether outcomes are being written or wait to be."""
        return not self._broken and self.unsettled > 0

    @property
    def unsettled(self) -> int:
        """How many outcomes are being written or wait to be."""
        return self._writing_count + len(self._queue)

    @property
    def stalled(self) -> bool:
        """Whether it waits for a store that is away."""
        return self._trouble.resting

    def abandon(self) -> int:
        """Give up what could not be written, once `run` has ended; return how many outcomes that is.

        Their runs are taken over by whoever finds this node gone.
        """
        count = self.unsettled
        if count:
            logger.error("%d outcomes of runs could not be written to store %r", count, self._name)
        self._queue, self._writing_count = [], 0
        return count

    def put(self, start: Start, outcome: Outcome, started_at: int, reason: str | None) -> None:
        """Take the outcome of an attempt; never waits."""
        finished_at = max(started_at, self._now_us())  # what is known of the store's clock may be set right
        self._queue.append((start, outcome, started_at, finished_at, reason))
        if not self._arrived.is_set():
            self._arrived.set()

    def waiter(self, run_id: str) -> Waiter:
        """Return what will be told once the outcome of that run has been committed by this node."""
        waiter = Waiter()
        self._waiters.setdefault(run_id, []).append(waiter)
        return waiter

    def drop_waiter(self, run_id: str, waiter: Waiter) -> None:
        """Forget a waiter that waits no longer."""
        waiters = self._waiters.get(run_id, [])
        if waiter in waiters:
            waiters.remove(waiter)
        if not waiters:
            self._waiters.pop(run_id, None)

    async def run(self) -> None:
        """Write outcomes as they come; runs until cancelled."""
        try:
            while True:
                if not self._queue:
                    self._arrived = anyio.Event()
                    await self._arrived.wait()
                await self._write()
        finally:
            self._broken = True

    async def _write(self) -> None:
        batch, self._queue = self._queue[:BATCH], self._queue[BATCH:]
        self._writing_count = len(batch)
        settled: list[Settled] = [(self._row(*item), item[1]) for item in batch]
        following = self._following(batch, settled)
        try:
            finished = await self._trouble.until_done(
                "recorder",
                lambda: self._store.finish([row for row, _ in settled], following.complete, following.effects),
            )
        except anyio.get_cancelled_exc_class():
            self._writing_count = 0
            self._queue[:0] = batch  # cut while waiting for the store: nothing of it is written
            raise
        if finished.refused:
            refused = {(row.id, row.node, row.attempt) for row in finished.refused}
            settled = [item for item in settled if (item[0].id, item[0].node, item[0].attempt) not in refused]
            self._announcer.refused(self._name, finished.refused)
        self._log(settled)
        self._announcer.settled(self._name, settled)
        following.tell(self._announcer, finished.stranded)
        if finished.finished:
            self._announcer.job_events(events.JobRemoved, self._name, finished.finished, reason="finished")
        self._writing_count = 0
        self._committed(len(batch), finished.pending, following.due_at)
        if self._waiters:
            self._wake(row for row, _ in settled)

    def _row(self, start: Start, outcome: Outcome, started_at: int, finished_at: int, reason: str | None) -> RunRecord:
        return settle_run(
            start, outcome, started_at=started_at, finished_at=finished_at, reason=reason, codec=self._codec
        )

    def _following(
        self, batch: Sequence[tuple[Start, Outcome, int, int, str | None]], settled: Sequence[Settled]
    ) -> Following:
        """Return what is to follow from the ends in a batch, for those runs from which anything may."""
        following = Following(self._name)
        for (row, outcome), item in zip(settled, batch, strict=True):
            job = item[0].job
            if wants(job, outcome) and row.state in OVER_STATES:
                following.effects[row.id] = effects_of(job, row, outcome, self._codec)
        return following

    def _wake(self, rows: Iterable[RunRecord]) -> None:
        for row in rows:
            for waiter in self._waiters.pop(row.id, ()) if row.state in OVER_STATES else ():
                waiter.row = row
                waiter.over.set()

    def _log(self, settled: list[Settled]) -> None:
        for row, outcome in settled:
            if row.state == "succeeded":
                continue
            error, marks = row.error, marks_of(row)
            text = "" if error is None else f"{error.type}: {error.message}"
            if row.state == "pending":
                logger.warning(
                    "run %s of job %r is tried again: %s %s", row.id, row.job_id, row.reason, text, extra=marks
                )
            elif outcome.kind == "failed":
                logger.error(
                    "run %s of job %r failed: %s", row.id, row.job_id, text, exc_info=outcome.exception, extra=marks
                )
            else:
                logger.warning("run %s of job %r is %s: %s", row.id, row.job_id, row.state, row.reason, extra=marks)
