"""``H`` in crontab text: a number that each job draws for itself, the same on every node and restart.

Jenkins's rule: ``H`` is one value of the field's range (days of the month 1-28, so that every month
has it), ``H(a-b)`` one of a-b, and ``H/n`` every n-th value from a first one below n. The draw is a
hash of the job's id and the field's name, so that ``H H * * *`` does not tie the hour to the minute.
"""

import hashlib
import re
from typing import Final

from asyncsched.triggers.cron.crontab import CLASSIC, DAY_OF_MONTH, DAY_OF_WEEK, FIELDS, spell_out
from asyncsched.triggers.cron.field import Field, Item, items

__all__ = ["has_hash", "resolve_hash"]

_HASH: Final = re.compile(r"h(?:\((\w+)-(\w+)\))?(?:/(\d{1,4}))?", re.ASCII)


def has_hash(text: str) -> bool:
    """Return whether an expression has an ``H`` to resolve (one that is part of a name, as in thu, has not)."""
    return re.search(r"(?<![a-z])h(?![a-z])", text.lower()) is not None


def resolve_hash(text: str, job_id: str) -> str:
    """Return the expression with every ``H`` replaced by what this job draws.

    Raises:
        InvalidTriggerError: the expression or a range within ``H(...)`` is not understood.
    """
    fields = [
        ",".join(_resolve(item, job_id) for item in items(field, *written))
        for field, written in zip(FIELDS, spell_out(text), strict=True)
    ]
    given = len(text.split())
    return " ".join(fields[1:6] if given == CLASSIC else fields[: max(given, 6)])


def _resolve(item: Item, job_id: str) -> str:
    written = _HASH.fullmatch(item.text)
    if written is None:
        return item.text
    low, high = _range(item, written[1], written[2])
    draw = int.from_bytes(
        hashlib.blake2b(f"{item.field.name}\0{job_id}".encode(errors="replace"), digest_size=8).digest()
    )
    if written[3] is None:
        return str(low + draw % (high - low + 1))
    step = int(written[3])
    if not 1 <= step <= high - low:
        raise item.error(f"has the step {step}, which is not within 1-{high - low}")
    first = low + draw % step
    # A step that leaves one value only would be refused as larger than its range.
    return f"{first}-{high}/{step}" if first + step <= high else str(first)


def _range(item: Item, low_text: str | None, high_text: str | None) -> tuple[int, int]:
    low, high = _default_range(item.field)
    if low_text is not None and high_text is not None:
        low, high = item.number(low_text), item.number(high_text)
    if low > high:
        raise item.error(f"runs backwards; write H({high}-{low})")
    return low, high


def _default_range(field: Field) -> tuple[int, int]:
    if field is DAY_OF_MONTH:
        return 1, 28
    if field is DAY_OF_WEEK:
        return 0, 6
    return field.low, field.high
