"""Several nodes share a heap of runs on one store, and every now and then one of them is killed and replaced.

The witness is not forced onto the disk here: a line that was written outlives the process, which is
all that dies, and the disk would be what is measured otherwise.
"""

import random
import signal
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import anyio

from asyncsched import JobSpec, Scheduler
from tests.chaos import invariants
from tests.chaos.account import Account
from tests.chaos.crew import Crew, Member
from tests.chaos.driver import END_S
from tests.chaos.evidence import Evidence
from tests.chaos.failpoints import Failpoint, failing
from tests.chaos.invariants import Check
from tests.chaos.jobs import MAX_LOST, settle_here, work
from tests.chaos.node import LOOPS, Loop, say_into
from tests.chaos.observer import Observer
from tests.chaos.places import Kind, Place, new_place
from tests.chaos.witness import Witness

CHUNK: Final = 1000
BOUND: Final = 500
"""How many runs a node makes at once."""

STALLED_S: Final = 60.0
"""After how long without any progress the cluster is given up."""

CHECKS: Final[tuple[Check, ...]] = (
    invariants.i1_what_was_accepted_is_there,
    invariants.i1_nothing_ends_without_cause,
    invariants.i2_no_fire_is_doubled,
    invariants.i3_nothing_starts_early,
    invariants.i4_attempts_do_not_overlap,
    invariants.i4_nothing_is_taken_from_the_living,
    invariants.i5_attempts_increase,
    invariants.i6_a_run_completes_once,
    invariants.i6_nothing_begins_after_completion,
    invariants.i6_what_succeeded_was_witnessed,
    invariants.i7_limits_hold,
    invariants.i8_nodes_keep_to_their_bound,
    invariants.i14_no_lease_is_left,
    invariants.i15_nothing_is_held,
    invariants.promise_starts_are_bounded,
    invariants.promise_only_the_dead_lose_runs,
    invariants.promise_processes_live,
)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What one process of a cluster is to be: one that makes runs, or the one that adds ``runs`` jobs."""

    place: Place
    witness: Path
    log: Path
    loop: Loop
    lease_s: float
    runs: int | None = None


def main(order: Task) -> None:
    """Add all the jobs and end, or make runs until killed or told to stop."""
    say_into(order.log)
    witness = Witness(order.witness, synchronous=False)
    failpoint = Failpoint(None, witness)
    settle_here(witness, failpoint)
    s = Scheduler(
        failing(order.place.store(), failpoint, witness),
        tasks=[work],
        lease=order.lease_s,
        history=None,
        max_concurrent_runs=BOUND,
        start_paused=order.runs is not None,
    )
    backend, _, uvloop = order.loop.partition("+")
    live = partial(_work, s, witness) if order.runs is None else partial(_feed, s, witness, order.runs)
    anyio.run(live, backend=backend, backend_options={"use_uvloop": True} if uvloop else {})


async def _work(s: Scheduler, witness: Witness) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async with s:
            witness.write("READY")
            await anext(aiter(signals))


async def _feed(s: Scheduler, witness: Witness, count: int) -> None:
    async with s:
        for start in range(0, count, CHUNK):
            ids = [f"once-retry-{number:07}" for number in range(start, min(start + CHUNK, count))]
            specs = [JobSpec(work, id=one, kwargs={"longest_ms": 0}, max_lost=MAX_LOST) for one in ids]
            await s.add_jobs(specs)
            witness.write_all([("ACCEPT", "job", one) for one in ids])


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How large it is, and how often a node is killed (seconds)."""

    nodes: int = 4
    runs: int = 100_000
    kill_every: float = 2.0
    lease_s: float = 3.0


def share(directory: Path, kind: Kind, plan: Plan, *, seed: int) -> tuple[Account, float]:
    """Return the account, and how many seconds it took to make all the runs."""
    folder = directory / f"{kind}-cluster"
    folder.mkdir()
    place = new_place(kind, folder)
    cluster = _Cluster(folder, place, plan, seed)
    try:
        evidence = cluster.run()
        account = Account.of(evidence, cluster.crew.tally, cycles=cluster.kills, checks=CHECKS)
    finally:
        cluster.crew.close()
        place.remove()
    return account, cluster.took_s


class _Cluster:
    def __init__(self, directory: Path, place: Place, plan: Plan, seed: int) -> None:
        self._place = place
        self._plan = plan
        self._draw = random.Random(f"cluster {seed}")
        self._started = 0
        self.crew = Crew(directory)
        self.kills = 0
        self.took_s = 0.0

    def run(self) -> Evidence:
        """Make all the runs, and kill."""
        began_at = time.monotonic()
        with Observer(self._place) as observer:
            feeder = self._start(runs=self._plan.runs)
            feeder.leaving = True  # it ends by itself
            workers = [self._start() for _ in range(self._plan.nodes)]
            self._kill_until_done(observer, feeder, workers)
            self.took_s = time.monotonic() - began_at
            for worker in workers:
                self.crew.await_word("READY", worker, END_S)
                self.crew.retire(worker)
            self.crew.await_end(END_S)
            last, nodes = observer.look(), observer.nodes()
        return Evidence(
            lines=self.crew.lines(),
            looks=[last],
            nodes=nodes,
            leftovers=self._place.leftovers(),
            strays=[*self.crew.strays, *self._missing(len(last.runs))],
            lease_us=round(self._plan.lease_s * 1_000_000),
            max_concurrent_runs=BOUND,
        )

    def _missing(self, found: int) -> list[str]:
        return [] if found == self._plan.runs else [f"{found} runs are on record, of {self._plan.runs}"]

    def _kill_until_done(self, observer: Observer, feeder: Member, workers: list[Member]) -> None:
        next_kill = time.monotonic() + self._plan.kill_every
        progress, moved_at = 0, time.monotonic()
        while feeder in self.crew.members or observer.has_jobs():
            self.crew.pause(0.1)
            now = time.monotonic()
            if (seen := len(self.crew.lines())) > progress:
                progress, moved_at = seen, now
            if now - moved_at > STALLED_S:
                self.crew.strays.append(f"nothing has moved for {STALLED_S:g} s: {observer.unfinished()}")
                return
            if now >= next_kill:
                next_kill += self._plan.kill_every
                victim = workers.pop(self._draw.randrange(len(workers)))
                self.crew.kill(victim, "at any moment")
                self.kills += 1
                workers.append(self._start())

    def _start(self, *, runs: int | None = None) -> Member:
        loop = LOOPS[self._started % len(LOOPS)]
        self._started += 1
        return self.crew.start(
            main,
            lambda witness, log: Task(
                place=self._place, witness=witness, log=log, loop=loop, lease_s=self._plan.lease_s, runs=runs
            ),
        )
