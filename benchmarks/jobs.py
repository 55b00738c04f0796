"""The jobs that every system runs: importable by name, the same for all."""

import time
from typing import Final

lateness: Final[list[float]] = []
"""Seconds from the due instant to the first line of the job, one entry a run."""


async def nothing() -> None:
    """Do nothing."""


async def note_lateness(due: float) -> None:
    """Note how late this run started; ``due`` is the due instant in Unix seconds."""
    lateness.append(time.time() - due)
