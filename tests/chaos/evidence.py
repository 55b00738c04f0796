"""What an episode left: the witness, the ledger as it was looked at, and what can be read from both."""

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

from asyncsched.job import JobRecord
from asyncsched.run import RunRecord
from tests.chaos.witness import Line


class Look(NamedTuple):
    """All jobs and the whole ledger at one moment."""

    runs: list[RunRecord]
    jobs: list[JobRecord]


@dataclass(eq=False)
class Attempt:
    """One attempt as the witness saw it; ``begun`` and ``over`` are places in the witness.

    ``over`` is where it ended, was cut or died with its process, and ``None`` for none of these.
    """

    run_id: str
    number: int
    job_id: str
    node: str
    pid: int
    begun: int
    over: int | None = None
    how: Literal["END", "CUT", "death"] | None = None

    def __str__(self) -> str:
        return f"attempt {self.number} of run {self.run_id} of {self.job_id}"


@dataclass(frozen=True)
class Evidence:
    """Everything that invariants are checked against.

    Attributes:
        lines: the witness.
        looks: the ledger, now and then; the last one is from after the end of all processes.
        nodes: that the store still knows at the end.
        leftovers: what is still held at the end.
        overdue: what was due for too long, some time after the faults had stopped.
        strays: what processes did of their own accord.
        lease_us: how long leases were.
        max_concurrent_runs: how many runs a process was to make at once.
    """

    lines: list[Line]
    looks: list[Look]
    nodes: list[str] = field(default_factory=list[str])
    leftovers: list[str] = field(default_factory=list[str])
    overdue: list[str] = field(default_factory=list[str])
    strays: list[str] = field(default_factory=list[str])
    lease_us: int = 2_000_000
    max_concurrent_runs: int = 8

    @property
    def runs(self) -> list[RunRecord]:
        """The ledger at the end."""
        return self.looks[-1].runs

    @cached_property
    def deaths(self) -> dict[int, int]:
        """Where in the witness each process died that did not end by itself."""
        return {line.pid: place for place, line in enumerate(self.lines) if line.word in {"KILL", "DIE"}}

    @cached_property
    def attempts(self) -> list[Attempt]:
        """Every attempt that was begun, in the order of the witness."""
        found: list[Attempt] = []
        open_ones: dict[tuple[str, str, int], Attempt] = {}
        for place, line in enumerate(self.lines):
            if line.word == "BEGIN":
                run_id, number, job_id, node = line.arguments
                attempt = Attempt(run_id, int(number), job_id, node, line.pid, place)
                found.append(attempt)
                open_ones[run_id, number, line.pid] = attempt
            elif line.word in {"END", "CUT"}:
                run_id, number, *_ = line.arguments
                attempt = open_ones.pop((run_id, number, line.pid))
                attempt.over, attempt.how = place, "END" if line.word == "END" else "CUT"
        for attempt in open_ones.values():
            attempt.over = self.deaths.get(attempt.pid)
            attempt.how = None if attempt.over is None else "death"
        return found

    @cached_property
    def attempts_of(self) -> dict[str, list[Attempt]]:
        """The attempts by run."""
        found: defaultdict[str, list[Attempt]] = defaultdict(list)
        for attempt in self.attempts:
            found[attempt.run_id].append(attempt)
        return found

    @cached_property
    def completions(self) -> dict[str, list[tuple[int, str]]]:
        """For each run the ends that the store accepted: number of the attempt, and state."""
        found: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
        for line in self.lines:
            if line.word == "DONE" and line.arguments[2] != "pending":
                found[line.arguments[0]].append((int(line.arguments[1]), line.arguments[2]))
        return found

    @cached_property
    def _leases(self) -> dict[str, tuple[list[int], list[int]]]:
        """For each node the places of its renewals, and the instants at which it had asked for them."""
        found: defaultdict[str, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for place, line in enumerate(self.lines):
            if line.word == "LEASE":
                places, instants = found[line.arguments[0]]
                places.append(place)
                instants.append(int(line.arguments[1]))
        return found

    @cached_property
    def pids(self) -> dict[str, int]:
        """The process of each node that was granted a lease."""
        return {line.arguments[0]: line.pid for line in self.lines if line.word == "LEASE"}

    def place_of(self, instant: int) -> int:
        """Return where in the witness an instant of the wall clock lies."""
        return bisect_right(self.lines, instant, key=lambda line: line.wall_us)

    def lease_end(self, node: str, place: int) -> int:
        """Return until when, at least, the node had its lease as far as it was told by then; 0 for never."""
        places, instants = self._leases.get(node, ([], []))
        index = bisect_right(places, place)
        return instants[index - 1] + self.lease_us if index else 0

    def is_given_up(self, attempt: Attempt, place: int) -> bool:
        """Tell whether others were free to take the attempt over by then: its process was gone, or its lease."""
        died = self.deaths.get(attempt.pid)
        return (died is not None and died < place) or self.lease_end(attempt.node, place) <= self.lines[place].wall_us

    def is_live(self, attempt: Attempt, place: int) -> bool:
        """Tell whether the attempt was under way then, and valid."""
        is_under_way = attempt.begun <= place and (attempt.over is None or attempt.over > place)
        return is_under_way and not self.is_given_up(attempt, place)
