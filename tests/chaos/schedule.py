"""Which faults come when: drawn once from a seed, so that the same seed brings the same ones."""

import random
from dataclasses import dataclass
from typing import Final, Literal

from tests.chaos.failpoints import MIGRATION, POINTS, Action
from tests.chaos.node import LOOPS, Loop

FaultKind = Literal["point", "kill", "freeze", "massacre", "retire"]

ANY_MOMENT: Final[tuple[FaultKind, ...]] = (
    "kill",
    "kill",
    "kill",
    "kill",
    "kill",
    "freeze",
    "freeze",
    "freeze",
    "massacre",
    "retire",
)
"""What befalls processes for each time that every point has had its turn."""

MIGRATION_STATEMENTS: Final = 30
"""How many statements of a migration may pass before the process that makes it is killed."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: ``point``: a fresh process fails at ``point``; ``kill`` or ``freeze``: one that runs, at
            any moment; ``massacre``: all of them are killed; ``retire``: one is stopped politely.
        nth, skip, late_s: see `Failpoint`.
        after_s: how long the processes are left alone before.
        leases: for how many leases a frozen one stays so.
        dies_frozen: whether a frozen one is killed instead of going on.
        who: chooses among the processes that run.
        loop: what the fresh process runs on.
        seed: of the fresh process.
    """

    kind: FaultKind
    point: str | None = None
    action: Action = "kill"
    nth: int = 1
    skip: int = 0
    late_s: float = 0.0
    after_s: float = 0.0
    leases: float = 1.5
    dies_frozen: bool = False
    who: float = 0.0
    loop: Loop = "asyncio"
    seed: int = 0


def draw_faults(seed: int, cycles: int) -> list[Fault]:
    """Return so many faults; each point has had its turn before any has its second."""
    draw = random.Random(seed)
    faults: list[Fault] = []
    deck: list[tuple[FaultKind, str | None]] = []
    while len(faults) < cycles:
        if not deck:
            deck = [("point", point) for point in POINTS if point != MIGRATION]
            deck.extend((kind, None) for kind in ANY_MOMENT)
            draw.shuffle(deck)
        faults.append(_fault(draw, *deck.pop()))
    return faults


def draw_migrations(seed: int, count: int) -> list[Fault]:
    """Return so many faults in the making of the tables."""
    draw = random.Random(f"migration {seed}")
    return [
        _fault(draw, "point", MIGRATION, skip=draw.randrange(MIGRATION_STATEMENTS), may_freeze=False)
        for _ in range(count)
    ]


def _fault(
    draw: random.Random, kind: FaultKind, point: str | None, *, skip: int | None = None, may_freeze: bool = True
) -> Fault:
    often = point is not None and point.split(".")[0] in {"claim", "work", "finish"}
    freezes = may_freeze and draw.random() < 0.25
    return Fault(
        kind=kind,
        point=point,
        action="freeze" if freezes else "kill",
        nth=draw.randint(1, 6) if often else 1,
        skip=draw.randrange(6) if skip is None else skip,
        late_s=draw.choice((0.0, draw.uniform(0.0, 0.004))),
        after_s=draw.uniform(0.0, 0.4),
        leases=draw.uniform(1.1, 1.6),
        dies_frozen=draw.random() < 0.3,
        who=draw.random(),
        loop=draw.choice(LOOPS),
        seed=draw.randrange(2**32),
    )
