"""``H`` in crontab text: a number that each job draws for itself, the same on every node and restart.

Jenkins's rule: ``H`` is one value of the field's range (days of the month 1-28, so that every month
has it), ``H(a-b)`` one of a-b, and ``H/n`` every n-th value from a first one below n. The draw is a
hash of the job's id and the field's name, so that ``H H * * *`` does not tie the hour to the minute.
"""

import hashlib
import re
from dataclasses import replace
from typing import Final

from asyncsched.triggers.cron.field import Item

__all__ = ["WIDEST_DRAW", "draw", "hash_count"]

WIDEST_DRAW: Final = len("1970-9999")
"""How many characters are drawn for one ``H`` at most, a step that follows it not counted."""

_HASH: Final = re.compile(r"h(?:\((\w+)-(\w+)\))?(?:/(\d{1,4}))?", re.ASCII)
_PART_OF_NO_NAME: Final = re.compile(r"(?<![a-z])h(?![a-z])", re.ASCII | re.IGNORECASE)


def hash_count(text: str) -> int:
    """Return how many ``H`` an expression has to draw for (one that is part of a name, as in thu, is none)."""
    return len(_PART_OF_NO_NAME.findall(text))


def draw(item: Item, job_id: str) -> Item:
    """Return what this job draws for an item with ``H``, in the same place; any other item itself.

    Raises:
        InvalidTriggerError: the range or the step of the ``H`` is not understood.
    """
    found = _HASH.fullmatch(item.text)
    if found is None:
        return item
    low, high = _range(item, found[1], found[2])
    number = int.from_bytes(
        hashlib.blake2b(f"{item.field.name}\0{job_id}".encode(errors="replace"), digest_size=8).digest()
    )
    if found[3] is None:
        return replace(item, text=str(low + number % (high - low + 1)))
    step = int(found[3])
    if not 1 <= step <= high - low:
        raise item.error(f"has the step {step}, which is not within 1-{high - low}")
    first = low + number % step
    # A step that leaves one value only would be refused as larger than its range.
    return replace(item, text=f"{first}-{high}/{step}" if first + step <= high else str(first))


def _range(item: Item, low_text: str | None, high_text: str | None) -> tuple[int, int]:
    if low_text is None or high_text is None:
        return item.field.low, item.field.high_draw or item.field.high
    low, high = item.number(low_text), item.number(high_text)
    if low > high:
        raise item.error(f"runs backwards; write H({high}-{low})")
    return low, high
