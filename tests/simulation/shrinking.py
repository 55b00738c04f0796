"""Makes a failing script smaller: leaves out what it fails without."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from tests.simulation.script import Script

__all__ = ["shrink"]

T = TypeVar("T")


def shrink(script: Script, invariant: str, broken_by: Callable[[Script], str | None], budget: int = 150) -> Script:
    """Return a script that breaks the same invariant with as little as could be found.

    Args:
        script: one that breaks it.
        invariant: its number.
        broken_by: runs a script and returns the number of the invariant that it breaks.
        budget: how many scripts may be run.
    """
    left = [budget]

    def still(candidate: Script) -> bool:
        left[0] -= 1
        return broken_by(candidate) == invariant

    smaller = script
    while left[0] > 0:
        before = smaller
        for part in ("faults", "actions", "jobs"):
            smaller = _with_fewer(smaller, part, still, left)
        smaller = _simpler(smaller, still, left)
        if smaller == before:
            break
    return smaller


def _with_fewer(script: Script, part: str, still: Callable[[Script], bool], left: list[int]) -> Script:
    """Leave out halves, then quarters, and so on down to single items."""
    items: Sequence[Any] = getattr(script, part)
    size = max(1, (len(items) + 1) // 2)
    while left[0] > 0 and items:
        at = 0
        while at < len(items) and left[0] > 0:
            fewer = (*items[:at], *items[at + size :])
            candidate = _changed(script, **{part: fewer})
            if still(candidate):
                script, items = candidate, fewer
            else:
                at += size
        if size == 1:
            break
        size //= 2
    return script


def _simpler(script: Script, still: Callable[[Script], bool], left: list[int]) -> Script:
    """Try calmer circumstances, and less time."""
    for change in (
        {"latency": 0.0},
        {"hints": 1.0},
        {"alone": False},
        {"slots": 100},
        {"nodes": max(1, script.nodes - 1)},
        {"seconds": script.seconds / 2},
        {"seconds": script.seconds * 0.8},
    ):
        candidate = _changed(script, **change)
        if left[0] > 0 and candidate != script and _is_sound(candidate) and still(candidate):
            script = candidate
    for place, job in enumerate(script.jobs):
        for name in job.options:
            fewer = {key: value for key, value in job.options.items() if key != name}
            simpler = replace(job, options=fewer)
            candidate = _changed(script, jobs=(*script.jobs[:place], simpler, *script.jobs[place + 1 :]))
            if left[0] > 0 and still(candidate):
                return candidate
    return script


def _is_sound(script: Script) -> bool:
    places = [fault.node for fault in script.faults if fault.node is not None] + [
        action.node for action in script.actions
    ]
    return all(place < script.nodes for place in places)


def _changed(script: Script, **changes: Any) -> Script:
    return replace(script, **changes)
