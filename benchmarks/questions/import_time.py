"""How long does a program wait for the import?"""

import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Final

from benchmarks.questions.base import Answer, Case, Place
from benchmarks.systems.base import System

ASKS: Final = "import, in a process of its own"
STORES: Final = ("memory", "sqlite", "postgres")
NEEDS: Final = "schedule"
ROUNDS: Final = 1

_PROGRAM: Final = """\
import time
begun = time.perf_counter()
try:
    import asyncio, anyio, anyio._backends._asyncio
except ImportError:
    import asyncio
between = time.perf_counter()
{imports}
print(time.perf_counter() - begun, time.perf_counter() - between)
"""


def cases(*, quick: bool) -> Sequence[Case]:
    """Return the sizes to measure."""
    return (Case(label="fresh process", seconds=1.0 if quick else 3.0),)


async def measure(system: System, place: Place, case: Case) -> Answer | None:
    """Take the fastest of a few processes, after one that compiles what is not compiled yet."""
    program = _PROGRAM.format(imports=system.imports[place.store])
    taken: list[tuple[float, float]] = []
    stop_at = time.perf_counter() + case.seconds
    while len(taken) < 3 or time.perf_counter() < stop_at:
        command = [sys.executable, "-c", program]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: ASYNC221 - nothing else waits
        first, second = printed.split()
        taken.append((float(first), float(second)))
    whole, above = min(taken[1:])
    return Answer(figures={"import ms": whole * 1000, "above asyncio+anyio ms": above * 1000})
