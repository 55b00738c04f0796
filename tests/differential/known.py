"""Every listed disagreement."""

from collections.abc import Sequence
from typing import Final

from tests.differential.disagreement import Difference, Disagreement, Example, asked
from tests.differential.known_apscheduler import KNOWN as APSCHEDULER
from tests.differential.known_croniter import KNOWN as CRONITER
from tests.differential.known_cronsim import KNOWN as CRONSIM
from tests.differential.peers import PEERS

__all__ = ["KNOWN", "known_of"]


def _oversized(difference: Difference) -> bool:
    return difference.side == "refused by ours" and "larger than its range" in (difference.ours.error or "")


KNOWN: Final[Sequence[Disagreement]] = (
    *CRONITER,
    *CRONSIM,
    *APSCHEDULER,
    Disagreement(
        name="oversized-step",
        peers=PEERS[:2],
        example=Example(
            question=asked("*/90 12 * * *"),
            ours="larger than its range",
            theirs=["2025-01-01 12:00:00+00:00", "2025-01-02 12:00:00+00:00", "2025-01-03 12:00:00+00:00"],
        ),
        explains=_oversized,
    ),
)


def known_of(peer: str) -> list[Disagreement]:
    """The disagreements of one library."""
    return [each for each in KNOWN if peer in each.peers]
