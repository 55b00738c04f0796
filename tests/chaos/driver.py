"""Runs processes on one store, fails them as the schedule says, and gathers what came of it."""

import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.chaos.crew import Crew, Member
from tests.chaos.evidence import Evidence, Look
from tests.chaos.node import LOOPS, MAX_CONCURRENT_RUNS, Loop, Order, main
from tests.chaos.observer import Observer
from tests.chaos.places import Place
from tests.chaos.schedule import Fault, draw_faults, draw_migrations

PATIENCE_S: Final = 6.0
"""How long a process gets to come to the point where it is to fail."""

END_S: Final = 40.0
"""How long what is left gets to become quiet, and to stop."""

POLL_S: Final = 1.0
"""How late a node may find what nothing has told it of: a beat, three of which make a lease, and the hop there."""


class Episode:
    """One life of one store: processes on it, faults, and then peace.

    Args:
        directory: empty; where the witness and the logs go.
        place: where nothing is yet.
        seed: of the schedule of faults and of what the processes do.
        cycles: how many faults.
        nodes: how many processes there are to be.
        lease_s: how long their leases are.
    """

    def __init__(
        self, directory: Path, place: Place, *, seed: int, cycles: int, nodes: int = 3, lease_s: float = 2.0
    ) -> None:
        self._calm_file = directory / "calm"
        self._place = place
        self._seed = seed
        self._cycles = cycles
        self._count = nodes
        self._lease_s = lease_s
        self._draw = random.Random(f"driver {seed}")
        self._looks: list[Look] = []
        self.crew = Crew(directory)

    def run(self) -> Evidence:
        """Run it; no process of it runs on afterwards, however it ends."""
        try:
            return self._run()
        finally:
            self.crew.close()

    def _run(self) -> Evidence:
        for fault in draw_migrations(self._seed, 1 + self._seed % 3):
            self._fail_at_point(fault)
        for number in range(self._count):
            self._start(LOOPS[(self._seed + number) % len(LOOPS)], self._draw.randrange(2**32))
        self.crew.await_word("READY", self.crew.members[0], PATIENCE_S)
        with Observer(self._place) as observer:
            for fault in draw_faults(self._seed, self._cycles):
                self.crew.pause(fault.after_s)
                self._inflict(fault)
                self._looks.append(observer.look())
            overdue = self._heal(observer)
            self._calm(observer)
            for member in self.crew.staying:
                self._retire(member)
            self.crew.await_end(END_S)
            self._looks.append(observer.look())
            nodes = observer.nodes()
        return Evidence(
            lines=self.crew.lines(),
            looks=self._looks,
            nodes=nodes,
            leftovers=self._place.leftovers(),
            overdue=overdue,
            strays=self.crew.strays,
            lease_us=round(self._lease_s * 1_000_000),
            max_concurrent_runs=MAX_CONCURRENT_RUNS,
        )

    # -- faults ------------------------------------------------------------------------------

    def _inflict(self, fault: Fault) -> None:
        match fault.kind:
            case "point":
                if fault.point is not None and fault.point.startswith("recover."):
                    self._leave_a_run(fault)
                self._fail_at_point(fault)
            case "kill":
                self.crew.kill(self._choose(fault), "at any moment")
            case "freeze":
                self._freeze(self._choose(fault), fault, "at any moment")
            case "massacre":
                self._kill_all()
                self.crew.pause(fault.after_s)
            case "retire":
                self._retire(self._choose(fault))
        self._fill_up(fault)

    def _kill_all(self) -> None:
        for member in list(self.crew.members):
            self.crew.kill(member, "all at once")

    def _leave_a_run(self, fault: Fault) -> None:
        """See to it that the next process is the one that finds a dead node with a run."""
        self._kill_all()
        self._fail_at_point(replace(fault, point="work.begun", action="kill", nth=1))

    def _choose(self, fault: Fault) -> Member:
        choice = self.crew.awake or self.crew.members
        return choice[int(fault.who * len(choice))]

    def _fill_up(self, fault: Fault) -> None:
        """Start processes until there are enough, and stop the oldest of too many."""
        for number in range(self._count - len(self.crew.staying)):
            self._start(LOOPS[(fault.seed + number) % len(LOOPS)], fault.seed ^ number)
        if len(self.crew.awake) > self._count:
            self._retire(self.crew.awake[0])

    def _fail_at_point(self, fault: Fault) -> None:
        """Start a process that fails at a point, and wait until it does."""
        member = self._start(fault.loop, fault.seed, fault)
        point = str(fault.point)
        if point.startswith("leave."):
            self._retire(member)
        kills = fault.action == "kill"
        if not self.crew.await_word("DIE" if kills else "STOP", member, PATIENCE_S):
            self.crew.tally.unreached[point] += 1
            self.crew.kill(member, "in vain")
        elif kills:
            self.crew.tally.kills[point] += 1
            self.crew.bury(member)
        else:
            self._freeze(member, fault, point)

    def _retire(self, member: Member) -> None:
        """Tell a process to stop, once it listens."""
        self.crew.await_word("READY", member, PATIENCE_S)
        self.crew.retire(member)

    def _freeze(self, member: Member, fault: Fault, by: str) -> None:
        seconds = fault.leases * self._lease_s
        self.crew.freeze(member, seconds, dies=fault.dies_frozen, by=by)
        if by.endswith((".inside", ".planning")):  # it may hold a lock: nobody else gets anywhere
            self.crew.pause(seconds)

    def _start(self, loop: Loop, seed: int, fault: Fault | None = None) -> Member:
        def order(witness: Path, log: Path) -> Order:
            calm = Order(
                place=self._place,
                witness=witness,
                log=log,
                calm=self._calm_file,
                loop=loop,
                seed=seed,
                lease_s=self._lease_s,
            )
            if fault is None:
                return calm
            return replace(
                calm, point=fault.point, nth=fault.nth, skip=fault.skip, late_s=fault.late_s, action=fault.action
            )

        return self.crew.start(main, order)

    # -- peace -------------------------------------------------------------------------------

    def _heal(self, observer: Observer) -> list[str]:
        """Fail nothing more, and return what is due for too long after two leases and one poll.

        A queue that has gathered may be longer than that; it has to move on.
        """
        while any(one.thaws_at is not None for one in self.crew.members):
            self.crew.pause(0.05)
        bound_s = 2 * self._lease_s + POLL_S
        self.crew.pause(bound_s)
        before, seen = observer.overdue(round(bound_s * 1_000_000)), len(self.crew.lines())
        if not before:
            return []
        self.crew.pause(POLL_S)
        after = observer.overdue(round(bound_s * 1_000_000))
        moved = {line.arguments[2] for line in self.crew.lines()[seen:] if line.word == "BEGIN"}
        return [f"{job_id}: {after[job_id]}, for more than {bound_s:g} s" for job_id in (before.keys() & after) - moved]

    def _calm(self, observer: Observer) -> None:
        """Let the clients end, and wait until nothing is left to run."""
        self._calm_file.touch()
        give_up_at = time.monotonic() + END_S
        while not (self._are_paused() and observer.is_quiet()):
            if time.monotonic() > give_up_at:
                self.crew.strays.append(f"it did not become quiet within {END_S:g} s: {observer.unfinished()}")
                return
            self.crew.pause(0.05)

    def _are_paused(self) -> bool:
        return all(self.crew.has_said("PAUSED", one) for one in self.crew.staying)
