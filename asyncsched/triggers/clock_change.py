"""What `lint` says of a local time that the clocks of a zone skip or repeat."""

from datetime import datetime, tzinfo

from asyncsched.clock import to_datetime
from asyncsched.triggers.wall import Window
from asyncsched.triggers.zone import zone_key

__all__ = ["clock_change"]


def clock_change(local: int, window: Window, zone: tzinfo, gap: str, fold: str) -> str:
    """Return the sentence about a local time that falls into a change of the clocks.

    Args:
        local: the local time in seconds, read as if it were UTC.
        window: the stretch of time that ends with the change.
        zone: the zone whose clocks change.
        gap: the policy for skipped times.
        fold: the policy for repeated times.
    """
    when = f"the local time {_shown(local)}"
    if window.behind > window.offset:
        border = _shown(window.end + window.behind)
        outcome = f"it fires at {border} instead" if gap == "shift" else "it does not fire that day"
        return f"{when} is skipped by the clocks in {zone_key(zone)}: {outcome} (gap={gap!r})"
    outcome = "it fires both times" if fold == "both" else f"it fires at the {fold} of the two"
    return f"{when} comes twice by the clocks in {zone_key(zone)}: {outcome} (fold={fold!r})"


def _shown(local: int) -> datetime:
    return to_datetime(local * 1_000_000).replace(tzinfo=None)
