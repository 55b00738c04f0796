"""What the codec's tests are made of: classes to register, strategies, and an equality that is exact."""

import enum
import math
import struct
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from asyncsched.codec import TypeRegistry


class Colour(enum.Enum):
    RED = object()
    GREEN = 2


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Word(enum.StrEnum):
    YES = "yes"


class Right(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()
    RUN = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    x: Any = 0
    y: Any = None


@dataclass
class Total:
    parts: Any
    total: Any = field(init=False, default=None)


TYPES = TypeRegistry()
for _cls in (Colour, Level, Word, Right, Point, Total):
    TYPES.register(_cls)

zones: st.SearchStrategy[tzinfo] = st.one_of(
    st.sampled_from(["UTC", "Europe/Helsinki", "America/New_York", "Australia/Lord_Howe", "Etc/GMT+5"]).map(ZoneInfo),
    st.just(UTC),
    st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59)).map(timezone),
    st.integers(-100_000, 100_000).map(lambda offset: timezone(timedelta(microseconds=offset))),
    st.builds(timezone, st.just(timedelta(hours=3)), st.sampled_from(["EEST", "UTC", ""])),
)
maybe_zones = st.none() | zones


def _folded(moment: Any, fold: int) -> Any:
    return moment.replace(fold=fold)


leaves: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.integers(min_value=10**300, max_value=10**301),
    st.floats(),
    st.text(),
    st.text(st.characters()),
    st.text(st.characters(min_codepoint=0xD7FF, max_codepoint=0xE000)),
    st.sampled_from(["", "$", "$$", "$tuple", "\x00", "\u2028"]),
    st.binary(),
    st.decimals(),
    st.uuids(),
    st.dates(),
    st.datetimes(timezones=maybe_zones),
    st.builds(_folded, st.datetimes(timezones=maybe_zones), st.integers(0, 1)),
    st.times(timezones=maybe_zones),
    st.builds(_folded, st.times(), st.integers(0, 1)),
    st.timedeltas(),
    zones,
    st.sampled_from([*Colour, *Level, *Word, *Right, Right(0), Right.READ | Right.RUN]),
)

keys: st.SearchStrategy[Any] = st.one_of(
    st.text(st.characters()),
    st.sampled_from(["$", "$$", "$tuple", "a"]),
    st.integers(),
    st.none(),
    st.dates(),
    st.tuples(st.integers(), st.text()),
    st.sampled_from(Colour),
)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(max_size=4) | st.sampled_from(["$", "$$a", "$tuple"]), inner, max_size=4),
        st.dictionaries(keys, inner, max_size=4),
        st.sets(keys, max_size=4),
        st.frozensets(keys, max_size=4),
        st.builds(Point, x=inner, y=inner),
        st.builds(_total, inner, inner),
    )


def _total(parts: Any, total: Any) -> Total:
    made = Total(parts)
    made.total = total
    return made


values: st.SearchStrategy[Any] = st.recursive(leaves, _containers, max_leaves=12)


def exactly(left: Any, right: Any) -> bool:
    """Whether two values are equal down to their types, zones, folds, signs and order; NaN equals NaN."""
    if type(left) is not type(right):
        return False
    kind = type(left).__name__
    if kind in {"list", "tuple"}:
        return len(left) == len(right) and all(map(exactly, left, right))
    if kind == "dict":
        return exactly(list(left.items()), list(right.items()))
    if kind in {"set", "frozenset"}:
        return bool(left == right) and sorted(map(_kind, left)) == sorted(map(_kind, right))
    if is_dataclass(left) and not isinstance(left, type):
        return all(exactly(getattr(left, part.name), getattr(right, part.name)) for part in fields(left))
    return _same_leaf(left, right)


def _same_leaf(left: Any, right: Any) -> bool:
    if isinstance(left, float):
        both_nan = math.isnan(left) and math.isnan(right)
        return both_nan or struct.pack("d", left) == struct.pack("d", right)
    if isinstance(left, Decimal):
        return bool(left.as_tuple() == right.as_tuple())
    if isinstance(left, datetime | time):
        same_wall = left.replace(tzinfo=None) == right.replace(tzinfo=None)
        return same_wall and left.fold == right.fold and exactly(left.tzinfo, right.tzinfo)
    if isinstance(left, timezone):
        return bool((left.utcoffset(None), left.tzname(None)) == (right.utcoffset(None), right.tzname(None)))
    if isinstance(left, ZoneInfo):
        return bool(left.key == right.key)
    same: bool = left == right
    return same


def _kind(value: Any) -> str:
    return type(value).__qualname__


def short(value: Any) -> str:
    """The name of a test's parameter, which must not be as large as the parameter."""
    return ascii(value)[:40] if isinstance(value, str | bytes) else type(value).__name__
