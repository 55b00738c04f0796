"""One process of the harness: a scheduler, its jobs, and a client that adds more."""

import faulthandler
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeAlias

import anyio

from asyncsched import JobSpec, Scheduler, StoreUnavailableError, events
from tests.chaos.failpoints import Action, Failpoint, failing
from tests.chaos.jobs import BY_HAND, EDITED, EDITS_MS, MAX_LOST, RECURRING, interval, settle_here, work, work_in_thread
from tests.chaos.places import Place
from tests.chaos.witness import Witness

Loop = Literal["asyncio", "asyncio+uvloop", "trio"]
LOOPS: Final[tuple[Loop, ...]] = ("asyncio", "asyncio+uvloop", "trio")
MAX_CONCURRENT_RUNS: Final = 8

TOLD: Final = (events.JobSubmitted, events.JobExecuted, events.JobError, events.JobCancelled, events.JobLost)
"""The events of runs that the witness is told of."""

ClientCall: TypeAlias = Callable[[], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a process is to be.

    Attributes:
        calm: a file; while it is there, the client adds nothing more and pauses what recurs.
        seed: of what the client does.
        point: where it fails; nowhere if ``None``.
        nth, skip, late_s, action: how it fails at its point, see `Failpoint`.
    """

    place: Place
    witness: Path
    log: Path
    calm: Path
    loop: Loop
    seed: int
    lease_s: float
    point: str | None = None
    nth: int = 1
    skip: int = 0
    late_s: float = 0.0
    action: Action = "kill"


def say_into(path: Path) -> None:
    """Send whatever this process says into a file."""
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    faulthandler.enable(log)


def main(order: Order) -> None:
    """Live until killed, or until SIGTERM comes."""
    say_into(order.log)
    witness = Witness(order.witness, synchronous=True)
    failpoint = Failpoint(
        order.point, witness, nth=order.nth, skip=order.skip, late_s=order.late_s, action=order.action
    )
    if order.point is not None and order.point.endswith(".inside"):
        order.place.trace(failpoint)
    settle_here(witness, failpoint)
    backend, _, uvloop = order.loop.partition("+")
    options = {"use_uvloop": True} if uvloop else {}
    anyio.run(partial(_live, order, witness, failpoint), backend=backend, backend_options=options)


async def _live(order: Order, witness: Witness, failpoint: Failpoint) -> None:
    s = Scheduler(
        failing(order.place.store(), failpoint, witness),
        tasks=[work, work_in_thread],
        lease=order.lease_s,
        shutdown_grace=10,
        history=None,
        max_concurrent_runs=MAX_CONCURRENT_RUNS,
    )
    s.add_listener(lambda event: witness.write("EVENT", type(event).__name__, event.run_id, event.attempt), TOLD)
    async with anyio.create_task_group() as group:
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            async with s:
                witness.write("READY")
                group.start_soon(_Client(s, order, witness).run)
                await anext(aiter(signals))
        group.cancel_scope.cancel()


class _Client:
    """Adds, runs by hand and edits, as the rest of an application would."""

    def __init__(self, s: Scheduler, order: Order, witness: Witness) -> None:
        self._s = s
        self._calm = order.calm
        self._witness = witness
        self._draw = random.Random(order.seed)
        self._name = f"{order.seed:08x}-{os.getpid()}"
        self._count = 0

    async def run(self) -> None:
        await self._persistently(self._define)
        actions = (self._add, self._add, self._run_by_hand, self._run_by_hand, self._edit)
        while not self._calm.exists():
            await self._once(self._draw.choice(actions))
            await anyio.sleep(self._draw.uniform(0.02, 0.2))
        await self._persistently(self._pause)
        self._witness.write("PAUSED")

    async def _once(self, action: ClientCall) -> bool:
        try:
            await action()
        except StoreUnavailableError:
            return False
        return True

    async def _persistently(self, action: ClientCall) -> None:
        while not await self._once(action):  # noqa: ASYNC110 - the store tells nobody that it is back
            await anyio.sleep(0.1)

    async def _define(self) -> None:
        await self._s.add_jobs([one.spec() for one in RECURRING if one.id != EDITED], replace_existing=True)
        if not any(job.id == EDITED for job in await self._s.get_jobs()):
            [edited] = [one for one in RECURRING if one.id == EDITED]
            await self._s.add_jobs([edited.spec()], replace_existing=True)

    async def _pause(self) -> None:
        for one in RECURRING:
            await self._s.pause_job(one.id)

    async def _add(self) -> None:
        on_lost = self._draw.choice(("retry", "retry", "fail"))
        ids = [f"once-{on_lost}-{self._name}-{self._count + n}" for n in range(self._draw.randint(1, 4))]
        self._count += len(ids)
        specs = [
            JobSpec(work, id=one, kwargs={"longest_ms": 30}, on_lost=on_lost, max_lost=MAX_LOST, keep_runs=None)
            for one in ids
        ]
        await self._s.add_jobs(specs)
        self._witness.write_all([("ACCEPT", "job", one) for one in ids])

    async def _run_by_hand(self) -> None:
        run = await self._s.run_job(BY_HAND)
        self._witness.write("ACCEPT", "run", run.id)

    async def _edit(self) -> None:
        milliseconds = self._draw.choice(EDITS_MS)
        now = time.time_ns() // 1000
        job = await self._s.reschedule_job(EDITED, interval(milliseconds))
        self._witness.write("EDIT", job.id, job.revision, milliseconds, now)
