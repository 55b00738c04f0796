"""Whatever is encoded comes back as an equal value of the same type."""

import math
from collections import OrderedDict
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsched.codec import MAX_ARGUMENTS, MAX_DEPTH, MAX_RESULT, Codec, Unencodable
from asyncsched.errors import SerializationError
from tests.codec.values import TYPES, Colour, Point, Right, Total, exactly, short, values

CODEC = Codec(TYPES)
names = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(["$x", "$tuple", "self"])


@given(values)
def test_a_value_comes_back_exactly(value: Any) -> None:
    assert exactly(CODEC.decode_value(CODEC.encode_value(value)), value)


@given(st.lists(values, max_size=3).map(tuple), st.dictionaries(names, values, max_size=3))
def test_arguments_come_back_exactly(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    decoded = CODEC.decode_arguments(CODEC.encode_arguments(args, kwargs))
    assert exactly(decoded, (args, kwargs))


@given(values)
def test_a_result_comes_back_exactly(value: Any) -> None:
    assert exactly(CODEC.decode_result(CODEC.encode_result(value)), value)


@given(values)
def test_what_was_decoded_is_encoded_to_the_same_bytes(value: Any) -> None:
    data = CODEC.encode_value(value)
    assert CODEC.encode_value(CODEC.decode_value(data)) == data


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (None, b"[1,null]"),
        ([1, "a", 2.5, True], b'[1,[1,"a",2.5,true]]'),
        ({"a": {"b": []}}, b'[1,{"a":{"b":[]}}]'),
        (-0.0, b"[1,-0.0]"),
        (math.nan, b'[1,{"$float":"nan"}]'),
        (-math.inf, b'[1,{"$float":"-inf"}]'),
        (2**64 - 1, b"[1,18446744073709551615]"),
        (2**64, b'[1,{"$int":"10000000000000000"}]'),
        (-(2**63) - 1, b'[1,{"$int":"-8000000000000001"}]'),
        ((), b'[1,{"$tuple":[]}]'),
        ({3, 1, 2}, b'[1,{"$set":[1,2,3]}]'),
        ({"$tuple": 1}, b'[1,{"$$tuple":1}]'),
        ({1: 2}, b'[1,{"$dict":[[1,2]]}]'),
        (b"\x00\xff", b'[1,{"$bytes":"AP8="}]'),
        ("\ud800", b'[1,{"$str":"7aCA"}]'),
        (Decimal("1.10"), b'[1,{"$decimal":"1.10"}]'),
        (UUID(int=1), b'[1,{"$uuid":"00000000000000000000000000000001"}]'),
        (timedelta(days=-1, microseconds=5), b'[1,{"$timedelta":[-1,0,5]}]'),
        (datetime(2024, 1, 2, 3, 4, 5, 6), b'[1,{"$datetime":"2024-01-02T03:04:05.000006"}]'),
        (datetime(2024, 1, 2, tzinfo=UTC), b'[1,{"$datetime":"2024-01-02T00:00:00+00:00"}]'),
        (
            datetime(2024, 10, 27, 3, 30, fold=1, tzinfo=ZoneInfo("Europe/Helsinki")),
            b'[1,{"$datetime":["2024-10-27T03:30:00","Europe/Helsinki",1]}]',
        ),
        (timezone(timedelta(hours=3), "EEST"), b'[1,{"$zone":[10800000000,"EEST"]}]'),
        (Colour.RED, b'[1,{"$enum":["tests.codec.values:Colour","RED"]}]'),
        (Right.READ | Right.RUN, b'[1,{"$enum":["tests.codec.values:Right",5]}]'),
        (Point(x=1), b'[1,{"$dataclass":["tests.codec.values:Point",{"x":1,"y":null}]}]'),
        (Unencodable(type="a.B", text="<B>"), b'[1,{"$unencodable":["a.B","<B>"]}]'),
    ],
)
def test_the_form_of_version_1_is_kept_for_ever(value: Any, form: bytes) -> None:
    assert CODEC.encode_value(value) == form
    assert exactly(CODEC.decode_value(form), value)


def test_arguments_have_a_form_of_their_own() -> None:
    data = CODEC.encode_arguments((1, (2,)), {"$x": 3})
    assert data == b'[1,[1,{"$tuple":[2]}],{"$x":3}]'
    assert CODEC.decode_arguments(data) == ((1, (2,)), {"$x": 3})


def test_the_depth_that_is_allowed_comes_back_and_one_more_is_refused() -> None:
    value: Any = 1
    for level in range(MAX_DEPTH):
        value = [(value,), {"a": value}, {1: value}, Point(x=value)][level % 4] if level % 4 else [value]
    assert exactly(CODEC.decode_value(CODEC.encode_value(value)), value)
    with pytest.raises(SerializationError, match=r"deeper than 64"):
        CODEC.encode_value([value])


def test_the_size_that_is_allowed_comes_back_and_one_more_is_refused() -> None:
    overhead = len(CODEC.encode_value(""))
    text = "x" * (MAX_ARGUMENTS - overhead)
    assert CODEC.decode_value(CODEC.encode_value(text)) == text
    with pytest.raises(SerializationError, match=r"262144"):
        CODEC.encode_value(text + "x")


# -- what cannot be stored ---------------------------------------------------------------------


class Plain: ...


class OtherZone(tzinfo):
    def utcoffset(self, dt: datetime | None, /) -> timedelta:
        return timedelta(0)

    def dst(self, dt: datetime | None, /) -> None: ...

    def tzname(self, dt: datetime | None, /) -> str:
        return "other"


class Pair(NamedTuple):
    a: int
    b: int


REFUSED: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
    ((1, Plain()), {}, r"^positional argument 2 cannot be stored: values of the type .*Plain cannot .* pass an id"),
    ((), {"when": [{"a": Plain()}]}, r"^argument 'when' cannot be stored: in its part \[0\]\['a'\]: "),
    ((Point(x=(Plain(),)),), {}, r"in its part \.x\[0\]: "),
    (({Plain(): 1},), {}, r"in its part  ?\(a key\): "),
    ((frozenset({Plain()}),), {}, r"in its part \{\.\.\.\}: "),
    ((Pair(1, 2),), {}, r"Pair cannot be stored; it would come back as a plain tuple"),
    ((OrderedDict(),), {}, r"OrderedDict cannot be stored; it would come back as a plain dict"),
    ((bytearray(b"a"),), {}, r"pass bytes\(value\)"),
    ((print,), {}, r"look the object up inside the job"),
    ((datetime(2024, 1, 1, tzinfo=OtherZone()),), {}, r"OtherZone cannot be stored; use zoneinfo.ZoneInfo"),
    ((timezone(timedelta(hours=1), "\ud800"),), {}, r"zone name '\\ud800' is not valid Unicode"),
    (("x" * MAX_ARGUMENTS,), {}, r"the largest is positional argument 1\) .* 262155 bytes are"),
    (("x" * 400_000,), {}, r"^positional argument 1 cannot be stored: it is larger than 262144 bytes"),
    (("é" * 80_000,), {"a": "é" * 90_000}, r"^the arguments \(the largest is argument 'a'\) cannot be stored: 340"),
    ((b"x" * 250_000,), {}, r"bytes are needed"),
    (([None] * MAX_ARGUMENTS,), {}, r"larger than 262144 bytes"),
    ((), {"\ud800": 1}, r"not valid Unicode"),
]


@pytest.mark.parametrize(("args", "kwargs", "message"), REFUSED, ids=short)
def test_a_refusal_names_the_argument_the_part_and_the_remedy(
    args: tuple[Any, ...], kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises(SerializationError, match=message):
        CODEC.encode_arguments(args, kwargs)


def test_an_unregistered_class_is_refused_with_the_decorator() -> None:
    for value in (Point(), Colour.RED):
        with pytest.raises(SerializationError, match=r"@register_type"):
            Codec().encode_value(value)


def test_values_do_not_appear_in_a_refusal() -> None:
    with pytest.raises(SerializationError) as caught:
        CODEC.encode_arguments(({"secret", Plain()},), {})
    assert "secret" not in str(caught.value)


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(SerializationError, match=r"contains itself"):
        CODEC.encode_arguments((loop,), {})


def test_a_small_object_that_would_unfold_into_a_huge_one_is_refused_at_once() -> None:
    value: Any = {"a": 1}
    for _ in range(60):
        value = {1: value, 2: value, "a": value}
    with pytest.raises(SerializationError, match=r"larger than"):
        CODEC.encode_value(value)
    with pytest.raises(SerializationError, match=r"larger than"):
        CODEC.encode_value(["x" * 100_000] * 1_000_000)


def test_a_dataclass_with_an_unset_field_is_refused() -> None:
    bare = object.__new__(Point)
    with pytest.raises(SerializationError, match=r"the field 'x' of a tests.codec.values:Point has no value"):
        CODEC.encode_arguments((bare,), {})


# -- results -----------------------------------------------------------------------------------


class Rude:
    def __repr__(self) -> str:
        raise SystemExit(3)


class Odd:
    def __repr__(self) -> str:
        return "\ud800\x00" + "x" * 10_000_000


class Strange(type):
    def __hash__(cls) -> int:
        raise KeyboardInterrupt

    @property
    def __module__(cls) -> str:  # type: ignore[override]
        raise GeneratorExit


class Stranger(metaclass=Strange): ...


def kept(value: Any) -> Unencodable:
    data = CODEC.encode_result(value)
    assert data is not None
    assert len(data) <= MAX_RESULT
    decoded = CODEC.decode_result(data)
    assert isinstance(decoded, Unencodable)
    return decoded


def test_no_result_is_no_bytes() -> None:
    assert CODEC.encode_result(None) is None
    assert CODEC.decode_result(None) is None


def test_a_result_that_cannot_be_stored_is_kept_as_its_repr() -> None:
    assert kept(Plain).text.startswith("<class '")
    assert kept(Plain()).type.endswith(".Plain")
    assert kept([Plain()]).type == "builtins.list"


def test_a_result_whose_repr_raises_or_is_odd_is_still_kept() -> None:
    assert kept(Rude()).text == "<its repr raised SystemExit>"
    assert kept(Odd()).text.startswith("\\ud800\x00x")
    assert kept(Stranger()).type == "object"


@pytest.mark.parametrize(
    "value", ["x" * 100_000, [1] * 100_000, "é" * 60_000, {"a": b"x" * 100_000}, [1 << 1_000_000]], ids=short
)
def test_a_large_result_is_kept_as_a_short_text(value: Any) -> None:
    found = kept(value)
    assert len(found.text) <= 1000
    assert found.type == f"builtins.{type(value).__name__}"


# -- registered classes ------------------------------------------------------------------------


def test_a_field_that_is_not_there_gets_its_default() -> None:
    assert CODEC.decode_value(b'[1,{"$dataclass":["tests.codec.values:Point",{"x":5}]}]') == Point(x=5)


def test_a_field_that_the_constructor_does_not_take_is_restored() -> None:
    value = Total([1])
    value.total = 7
    assert CODEC.decode_value(CODEC.encode_value(value)).total == 7
