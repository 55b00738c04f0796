"""The stored form of values. It is a public format: what one version wrote, every later one reads.

A document is UTF-8 JSON: an array that begins with the version of the form, 1. A value is
``[1, value]``, the arguments of a run are ``[1, [positional, ...], {name: value, ...}]``.

``null``, booleans, strings, finite numbers (integers within 64 bits), arrays (a Python list) and
objects (a dict whose keys are all strings) stand for themselves. Everything else is an object with
one key, which begins with a single ``$``:

=================  ======================================================================
``$tuple``         array of items; so are ``$set`` and ``$frozenset``, in a fixed order
``$dict``          array of [key, value] pairs, where not every key is a string
``$int``           hexadecimal digits, for what does not fit into 64 bits
``$float``         ``nan``, ``inf`` or ``-inf``
``$str``           base64 of UTF-8 with surrogates, for text that is not valid Unicode
``$bytes``         base64
``$decimal``       the text of a Decimal
``$uuid``          32 hexadecimal digits
``$date``          ISO 8601
``$datetime``      ISO 8601, with a fixed offset or none; or [ISO 8601, zone, fold]
``$time``          the same
``$timedelta``     [days, seconds, microseconds]
``$zone``          a zone: an IANA key, a UTC offset in microseconds, or [offset, name]
``$enum``          [registered name, member name], or the integer of a flag
``$dataclass``     [registered name, {field: value, ...}]
``$unencodable``   [type, text]: a result of which only the text was kept
=================  ======================================================================

A key of a user's own dict that begins with ``$`` gets a second one in front (names of keyword
arguments do not need it). Names of classes are looked up in a `TypeRegistry`, never imported.
"""

from dataclasses import dataclass
from typing import Final

from asyncsched.errors import SerializationError

__all__ = [
    "LEAST_INT",
    "MARK",
    "MAX_ARGUMENTS",
    "MAX_DEPTH",
    "MAX_RESULT",
    "MOST_INT",
    "VERSION",
    "Malformed",
    "Unencodable",
    "UnstorableError",
]

VERSION: Final = 1
"""The version of the form that is written; this one and all before it are read."""

MAX_ARGUMENTS: Final = 256 * 1024
"""The greatest size of encoded arguments, metadata, triggers and single values, in bytes."""

MAX_RESULT: Final = 64 * 1024
"""The greatest size of an encoded result, in bytes."""

MAX_DEPTH: Final = 64
"""How many containers may stand within each other."""

MARK: Final = "$"
LEAST_INT: Final = -(2**63)
MOST_INT: Final = 2**64 - 1


class Malformed(Exception):  # noqa: N818 - a finding inside the codec; users get a SerializationError
    """Stored data that is not of the form. The message holds no values, so that it can be logged."""


class UnstorableError(SerializationError):
    """A value of a type that cannot be stored; unlike size and depth, one part of it alone is to blame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unencodable:
    """What is left of a result that could not be stored, or was too large.

    Attributes:
        type: the dotted name of its type.
        text: its repr, shortened.
    """

    type: str
    text: str
