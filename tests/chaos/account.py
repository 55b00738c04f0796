"""The account of one or more episodes: what was done, and what came of it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from tests.chaos import invariants
from tests.chaos.crew import Tally
from tests.chaos.evidence import Evidence
from tests.chaos.failpoints import POINTS
from tests.chaos.invariants import Check

LOSSES = (
    invariants.i1_every_instant_has_its_verdict,
    invariants.i1_every_revision_is_without_gaps,
    invariants.i1_what_was_accepted_is_there,
    invariants.i1_nothing_ends_without_cause,
)
DOUBLES = (
    invariants.i2_no_fire_is_doubled,
    invariants.i6_a_run_completes_once,
    invariants.i6_nothing_begins_after_completion,
)


@dataclass
class Account:
    """``lost``, ``doubled``, ``unwitnessed`` and ``broken`` are to be zero and empty.

    Attributes:
        broken: what breaks each invariant that is broken, by its name.
    """

    cycles: int = 0
    tally: Tally = field(default_factory=Tally)
    states: "Counter[str]" = field(default_factory=Counter[str])
    attempts: int = 0
    refused: int = 0
    broken: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    @classmethod
    def of(cls, evidence: Evidence, tally: Tally, *, cycles: int, checks: Iterable[Check]) -> Self:
        """Check an episode and return its account."""
        found = {check.__name__: list(check(evidence)) for check in checks}
        return cls(
            cycles=cycles,
            tally=tally,
            states=Counter(run.state for run in evidence.runs),
            attempts=len(evidence.attempts),
            refused=sum(line.word == "REFUSED" for line in evidence.lines),
            broken={name: sentences for name, sentences in found.items() if sentences},
        )

    def __add__(self, other: "Account") -> "Account":
        names = self.broken.keys() | other.broken.keys()
        return Account(
            cycles=self.cycles + other.cycles,
            tally=Tally(
                self.tally.kills + other.tally.kills,
                self.tally.freezes + other.tally.freezes,
                self.tally.unreached + other.tally.unreached,
            ),
            states=self.states + other.states,
            attempts=self.attempts + other.attempts,
            refused=self.refused + other.refused,
            broken={name: self.broken.get(name, []) + other.broken.get(name, []) for name in sorted(names)},
        )

    @property
    def lost(self) -> int:
        """How many fires, jobs or runs came to nothing."""
        return self._count(LOSSES)

    @property
    def doubled(self) -> int:
        """How many fires were made, or runs completed, twice."""
        return self._count(DOUBLES)

    @property
    def unwitnessed(self) -> int:
        """How many runs are on record as succeeded that nobody saw."""
        return self._count((invariants.i6_what_succeeded_was_witnessed,))

    @property
    def never_reached(self) -> list[str]:
        """The points at which no process has failed."""
        return [point for point in POINTS if not self.tally.kills[point] + self.tally.freezes[point]]

    @property
    def _was_aimed(self) -> bool:
        """Whether processes were to fail at points at all, and some point was missed."""
        return 0 < len(self.never_reached) < len(POINTS)

    def _count(self, checks: Iterable[Check]) -> int:
        return sum(len(self.broken.get(check.__name__, [])) for check in checks)

    def _verdict(self) -> str:
        counts = f"lost {self.lost}, doubled {self.doubled}, unwitnessed {self.unwitnessed}"
        return f"{counts}, invariants broken {len(self.broken)}"

    def __str__(self) -> str:
        tally = self.tally
        return "\n".join(
            [
                f"cycles {self.cycles}: {tally.kills.total()} kills, {tally.freezes.total()} freezes",
                f"  killed: {_listed(tally.kills)}",
                f"  frozen: {_listed(tally.freezes)}",
                f"  not reached in time: {_listed(tally.unreached)}",
                *([f"  never reached: {', '.join(self.never_reached)}"] if self._was_aimed else []),
                f"runs {sum(self.states.values())}: {_listed(self.states)}",
                f"  attempts begun {self.attempts}, late completions refused {self.refused}",
                self._verdict(),
                *(
                    f"  {name}: {len(found)} times\n    " + "\n    ".join(found[:5])
                    for name, found in self.broken.items()
                ),
            ]
        )


def _listed(counts: "Counter[str]") -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"
