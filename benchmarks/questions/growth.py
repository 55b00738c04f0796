"""Does firing slow down with the number of jobs that are due at one instant?"""

from collections.abc import Sequence
from typing import Final

from benchmarks.questions.base import Case
from benchmarks.questions.fire import measure

__all__ = ["ASKS", "NEEDS", "ROUNDS", "STORES", "cases", "measure"]

ASKS: Final = "growth: fire more and more jobs that are due at one instant"
STORES: Final = ("memory", "sqlite", "postgres")
NEEDS: Final = "schedule"
ROUNDS: Final = 1


def cases(*, quick: bool) -> Sequence[Case]:
    """Return the sizes to measure."""
    sizes = (1_000, 10_000) if quick else (1_000, 10_000, 100_000)
    return [Case(label=f"{size:,} at once", jobs=size, seconds=20.0 if quick else 120.0) for size in sizes]
