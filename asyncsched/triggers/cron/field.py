"""The fields of a cron expression, and the values that every front end writes the same way.

An `Item` is one element of a field's list together with the place it was written at, so that
whatever is wrong with it can be said in one sentence: field, value, column and what to write.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import compress, count
from typing import Final, TypeVar

from asyncsched.errors import InvalidTriggerError

__all__ = [
    "FIRST_YEAR",
    "LAST_YEAR",
    "LIMIT",
    "MONTHS",
    "WEEKDAYS",
    "Field",
    "Item",
    "distinct",
    "items",
    "mask_of",
    "mask_of_item",
    "years_of",
]

FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 9999
LIMIT: Final = 256
"""How many characters an expression, or one field of it, may have."""

MONTHS: Final = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

_Value = TypeVar("_Value")
_ALL_YEARS: Final = (1 << LAST_YEAR + 1) - (1 << FIRST_YEAR)
_TRUE_FOR_ONE: Final = bytes.maketrans(b"0", b"\0")
_DIGITS: Final = 4
_LONGEST_NAME: Final = 9
_RANGE: Final = re.compile(r"(?P<first>\w+)(?:-(?P<last>\w+))?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field: its name, its range, and the names that stand for numbers in it.

    Attributes:
        name: as it is called in messages.
        low: the smallest value.
        high: the largest value.
        names: what may be written for a number, in lower case.
        again: a number beyond ``high`` that means ``low`` once more (7 for Sunday in crontab text).
        wraps: whether a range may run past the end and go on at the start, as ``fri-mon`` does.
        high_draw: the largest value that ``H`` draws by itself, when that is not ``high``.
        hint: what to say to someone who wrote what another dialect would take.
    """

    name: str
    low: int
    high: int
    names: Mapping[str, int] = field(default_factory=dict[str, int])
    again: int | None = None
    wraps: bool = True
    high_draw: int | None = None
    hint: str = ""

    @property
    def full(self) -> int:
        """The mask of every value."""
        return (1 << self.high + 1) - (1 << self.low)


@dataclass(frozen=True, slots=True)
class Item:
    """One element of a field's list.

    Attributes:
        field: the field.
        text: what it means, in lower case.
        column: where it begins, counted from 1.
        written: the text as it was written; messages show this one.
    """

    field: Field
    text: str
    column: int
    written: str

    def error(self, problem: str) -> InvalidTriggerError:
        """Return the error that says what is wrong with this item."""
        return InvalidTriggerError(
            f"cron {self.field.name} field {self.written!r} at column {self.column} {problem}",
            field=self.field.name,
            value=self.written,
            column=self.column,
        )

    def number(self, text: str) -> int:
        """Return the value of a number or a name.

        Raises:
            InvalidTriggerError: it is neither, or out of the field's range.
        """
        field = self.field
        if text in field.names:
            return field.names[text]
        if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
            near = difflib.get_close_matches(text[:_LONGEST_NAME], field.names, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            known = f" or a name such as {', '.join(map(repr, list(field.names)[:3]))}" if field.names else ""
            raise self.error(
                f"is not understood{meant or ';'} write a number {field.low}-{field.high}{known}{field.hint}"
            )
        value = int(text)
        if field.low <= value <= field.high:
            return value
        if value == field.again:
            return value
        raise self.error(f"is out of range {field.low}-{field.again or field.high}{field.hint}")


def items(field: Field, text: str, column: int = 1) -> Iterator[Item]:
    """Split a field's text at its commas.

    Raises:
        InvalidTriggerError: an element is empty.
    """
    for part in text.split(","):
        written = part.strip()
        # Columns are counted in what was written: lower case may be longer.
        item = Item(field, written.lower(), column + len(part) - len(part.lstrip()), written)
        if not written:
            raise item.error(f"is empty; write '*' or values {field.low}-{field.high} with commas between them")
        yield item
        column += len(part) + 1


def mask_of(field: Field, text: str, column: int = 1, meaning: Callable[[Item], Item] | None = None) -> int:
    """Return the values of a whole field as a bit mask: bit n for the value n.

    Args:
        field: the field.
        text: what was written.
        column: where it begins, counted from 1.
        meaning: called with each item, returns the one to read in its place; ``None`` when each stands for itself.

    Raises:
        InvalidTriggerError: an element is not understood.
    """
    if text == "*":
        return field.full
    if text.isascii() and text.isdigit() and len(text) <= _DIGITS and field.low <= int(text) <= field.high:
        return 1 << int(text)
    mask = 0
    for item in items(field, text, column):
        mask |= mask_of_item(item if meaning is None else meaning(item))
    return mask


def mask_of_item(item: Item) -> int:
    """Return the values of ``*``, ``a``, ``a-b``, ``*/c``, ``a/c`` or ``a-b/c`` as a bit mask.

    Raises:
        InvalidTriggerError: it is none of these, out of range, or a step that never gets anywhere.
    """
    field = item.field
    base, slash, step_text = item.text.partition("/")
    first, last = _ends(item, base, stepped=bool(slash))
    mask = _every(_step(item, step_text, last - first + 1) if slash else 1, first, last)
    # What runs past the end goes on at the start.
    return mask & field.full | mask >> field.high - field.low + 1 & field.full


def distinct(values: Iterable[_Value]) -> tuple[_Value, ...]:
    """Return the values without those that were written before, so that a list costs no more than what it means."""
    return tuple(dict.fromkeys(values))


def years_of(mask: int) -> tuple[int, ...] | None:
    """Return the years in a mask, ascending; ``None`` for all from `FIRST_YEAR` to `LAST_YEAR`."""
    if mask == _ALL_YEARS:
        return None
    flags = f"{mask >> FIRST_YEAR:b}"[::-1].encode().translate(_TRUE_FOR_ONE)
    return tuple(compress(count(FIRST_YEAR), flags))


def _ends(item: Item, base: str, *, stepped: bool) -> tuple[int, int]:
    """Return the first and the last value, the last one beyond the field's range when it wraps."""
    field = item.field
    if base == "*":
        return field.low, field.high
    written = _RANGE.fullmatch(base)
    if written is None:
        raise item.error(
            f"is not understood; write '*', 'a', 'a-b', '*/n' or 'a-b/n' with values {field.low}-{field.high}{field.hint}"
        )
    first = item.number(written["first"])
    last_alone = field.high if stepped else first
    last = last_alone if written["last"] is None else item.number(written["last"])
    if first == field.again:
        first, last = field.low, field.low if last == field.again else last
    if first <= last:
        return first, last
    if not field.wraps:
        raise item.error(f"runs backwards; write '{last}-{first}'")
    return first, last + field.high - field.low + 1


def _every(step: int, first: int, last: int) -> int:
    """The mask of every step-th value; arithmetic on all at once, because years are thousands."""
    terms = (last - first) // step + 1
    return ((1 << step * terms) - 1) // ((1 << step) - 1) << first


def _step(item: Item, text: str, values: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS and int(text)):
        written = item.written.partition("/")[2]
        raise item.error(f"has the step {written!r}; a step is a whole number from 1 on, as in '*/5'")
    step = int(text)
    if step > 1 and step >= values:
        raise item.error(
            f"has the step {step}, which is larger than its range; leave '/{step}' out or write a smaller step"
        )
    return step
