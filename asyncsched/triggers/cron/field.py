"""The fields of a cron expression, and the values that every front end writes the same way.

An `Item` is one element of a field's list together with the place it was written at, so that
whatever is wrong with it can be said in one sentence: field, value, column and what to write.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from asyncsched.errors import InvalidTriggerError

__all__ = ["FIRST_YEAR", "LAST_YEAR", "LIMIT", "MONTHS", "WEEKDAYS", "Field", "Item", "expand", "items", "mask_of"]

FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 9999
LIMIT: Final = 256
"""How many characters an expression, or one field of it, may have."""

MONTHS: Final = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

_DIGITS: Final = 4
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
        hint: what to say to someone who wrote what another dialect would take.
    """

    name: str
    low: int
    high: int
    names: Mapping[str, int] = field(default_factory=dict[str, int])
    again: int | None = None
    wraps: bool = True
    hint: str = ""

    @property
    def full(self) -> int:
        """The mask of every value."""
        return (1 << self.high + 1) - (1 << self.low)


@dataclass(frozen=True, slots=True)
class Item:
    """One element of a field's list: the field, the text in lower case, and its 1-based column."""

    field: Field
    text: str
    column: int

    def error(self, problem: str) -> InvalidTriggerError:
        """Return the error that says what is wrong with this item."""
        return InvalidTriggerError(
            f"cron {self.field.name} field {self.text!r} at column {self.column} {problem}",
            field=self.field.name,
            value=self.text,
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
            known = f" or a name such as {', '.join(map(repr, list(field.names)[:3]))}" if field.names else ""
            raise self.error(f"is not understood; write a number {field.low}-{field.high}{known}{field.hint}")
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
    for part in text.lower().split(","):
        stripped = part.strip()
        item = Item(field, stripped, column + len(part) - len(part.lstrip()))
        if not stripped:
            raise item.error(f"is empty; write '*' or values {field.low}-{field.high} with commas between them")
        yield item
        column += len(part) + 1


def expand(item: Item) -> list[int]:
    """Return the values of ``*``, ``a``, ``a-b``, ``*/c``, ``a/c`` or ``a-b/c``, in the order written.

    Raises:
        InvalidTriggerError: it is none of these, out of range, or a step that never gets anywhere.
    """
    field = item.field
    base, slash, step_text = item.text.partition("/")
    if base == "*":
        values = list(range(field.low, field.high + 1))
    else:
        written = _RANGE.fullmatch(base)
        if written is None:
            raise item.error(
                f"is not understood; write '*', 'a', 'a-b', '*/n' or 'a-b/n' with values {field.low}-{field.high}{field.hint}"
            )
        first = item.number(written["first"])
        last = written["last"]
        values = (
            _run(item, first, field.high if slash else first) if last is None else _run(item, first, item.number(last))
        )
    return values[:: _step(item, step_text, len(values))] if slash else values


def mask_of(field: Field, text: str, column: int = 1) -> int:
    """Return the values of a whole field as a bit mask: bit n for the value n.

    Raises:
        InvalidTriggerError: an element is not understood.
    """
    if text == "*":
        return field.full
    if text.isascii() and text.isdigit() and len(text) <= _DIGITS and field.low <= int(text) <= field.high:
        return 1 << int(text)
    mask = 0
    for item in items(field, text, column):
        for value in expand(item):
            mask |= 1 << value
    return mask


def _run(item: Item, first: int, last: int) -> list[int]:
    field = item.field
    if first == field.again:
        first = field.low
        last = field.low if last == field.again else last
    if first <= last:
        values = range(first, last + 1)
        return [field.low if value == field.again else value for value in values]
    if not field.wraps:
        raise item.error(f"runs backwards; write '{last}-{first}'")
    return [*range(first, field.high + 1), *range(field.low, last + 1)]


def _step(item: Item, text: str, count: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS and int(text)):
        raise item.error(f"has the step {text!r}; a step is a whole number from 1 on, as in '*/5'")
    step = int(text)
    if step > 1 and step >= count:
        raise item.error(
            f"has the step {step}, which is larger than its range; leave '/{step}' out or write a smaller step"
        )
    return step
