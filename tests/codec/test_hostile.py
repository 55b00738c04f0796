"""Whatever stands in a row, decoding it gives a value or a SerializationError, and soon."""

import contextlib
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asyncsched.codec import MAX_ARGUMENTS, Codec
from asyncsched.errors import SerializationError
from tests.codec.values import TYPES, short, values

CODEC = Codec(TYPES)
READERS: list[Callable[[Any], Any]] = [
    CODEC.decode_value,
    CODEC.decode_arguments,
    CODEC.decode_result,
    CODEC.decode_metadata,
    CODEC.decode_trigger,
]

TAGS = "tuple set frozenset dict int float str bytes decimal uuid date datetime time timedelta zone enum dataclass unencodable x"
tags = st.sampled_from([f"${tag}" for tag in TAGS.split()] + ["$", "$$", "$$tuple", "__class__", "py/object"])
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.sampled_from(
        ["tests.codec.values:Point", "tests.codec.values:Colour", "tests.codec.values:Right", "RED", "os:system"]
    ),
    st.sampled_from(["2024-01-01", "20000-01-01", "10:00", "nan", "Infinity", "sNaN", "9" * 5000, "Europe/Helsinki"]),
)


def tagged(tag: str, content: Any) -> dict[str, Any]:
    return {tag: content}


forms: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=3) | tags, inner, max_size=3),
        st.builds(tagged, tags, inner | st.lists(inner, max_size=3)),
    ),
    max_leaves=16,
)


def read_all(data: Any) -> None:
    for read in READERS:
        with contextlib.suppress(SerializationError):
            read(data)


@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    read_all(data)


@given(forms)
def test_hostile_forms(form: Any) -> None:
    read_all(msgspec.json.encode([1, form]))
    read_all(msgspec.json.encode([1, [form], {"a": form}]))


@settings(max_examples=200)
@given(values, st.data())
def test_mutated_documents(value: Any, data: st.DataObject) -> None:
    document = bytearray(CODEC.encode_arguments((value,), {"a": value}))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(document) - 1))
        document[place : place + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b'"', b"{", b"[", b"$", b"\\ud800", b"\\u0000", b"1e999", b"null"])
        )
        if not document:
            return
    read_all(bytes(document))


@given(st.integers() | st.text() | st.none() | st.floats())
@example(bytearray(b"[1,1]"))
@example(memoryview(b"[1,1]"))
def test_what_is_not_bytes(data: Any) -> None:
    for read in READERS:
        if data is None and read == CODEC.decode_result:
            continue
        with pytest.raises(SerializationError, match=r"not bytes"):
            read(data)


@pytest.mark.parametrize(
    "content",
    [
        b'{"$datetime":"20000-01-01T00:00:00"}',
        b'{"$datetime":["2024-01-01T00:00:00","../../../etc/passwd",0]}',
        b'{"$datetime":["2024-01-01T00:00:00","/etc/passwd",0]}',
        b'{"$datetime":["2024-01-01T00:00:00","Europe",0]}',
        b'{"$datetime":["2024-01-01T00:00:00","os",0]}',
        b'{"$datetime":["2024-01-01T00:00:00","Europe/Helsinki",7]}',
        b'{"$datetime":["2024-01-01T00:00:00",1e300,0]}',
        b'{"$date":20240101}',
        b'{"$time":"25:00"}',
        b'{"$timedelta":[1e308,0,0]}',
        b'{"$timedelta":[99999999999,0,0]}',
        b'{"$zone":"A\\u0000B"}',
        b'{"$zone":86400000000}',
        b'{"$zone":null}',
        b'{"$int":"zz"}',
        b'{"$int":12}',
        b'{"$float":"1.5"}',
        b'{"$float":["nan"]}',
        b'{"$decimal":"one"}',
        b'{"$uuid":"12"}',
        b'{"$bytes":"a"}',
        b'{"$bytes":"\xc3\xa9"}',
        b'{"$str":"/w=="}',
        b'{"$set":[[1]]}',
        b'{"$set":[{"$decimal":"sNaN"}]}',
        b'{"$set":"abc"}',
        b'{"$tuple":{"a":1}}',
        b'{"$dict":[[1]]}',
        b'{"$dict":[[[1],2]]}',
        b'{"$tuple":[],"a":1}',
        b'{"\\u0024tuple":5}',
        b'{"$nothing":1}',
        b'{"$":1}',
        b'{"$enum":["tests.codec.values:Colour","BLUE"]}',
        b'{"$enum":["tests.codec.values:Colour",2]}',
        b'{"$enum":["tests.codec.values:Colour","__class__"]}',
        b'{"$enum":["tests.codec.values:Right",{"$int":"-1000000000000000000000000000"}]}',
        b'{"$enum":["tests.codec.values:Right","1"]}',
        b'{"$enum":["tests.codec.values:Point","x"]}',
        b'{"$dataclass":["tests.codec.values:Colour",{}]}',
        b'{"$dataclass":["tests.codec.values:Point",{"z":1}]}',
        b'{"$dataclass":["tests.codec.values:Point",{"__class__":1}]}',
        b'{"$dataclass":["tests.codec.values:Total",{"total":1}]}',
        b'{"$dataclass":["tests.codec.values:Point",[]]}',
        b'{"$unencodable":[1,2]}',
        b"1e999",
        b"-",
        b"NaN",
        b'"\\ud800"',
        b'"\xed\xa0\x80"',
        b'"\x00"',
        b"[" * 200_000,
        b'{"a":' * 50_000,
        b'{"$tuple":[' * 20_000,
        b"[" * 65 + b"]" * 65,
        b'{"$tuple":[' * 65 + b"]}" * 65,
    ],
    ids=short,
)
def test_a_hostile_value_is_refused(content: bytes) -> None:
    with pytest.raises(SerializationError, match=r"the stored value cannot be read"):
        CODEC.decode_value(b"[1," + content + b"]")


@pytest.mark.parametrize(
    "data", [b"", b"1", b"{}", b"[]", b"[1]", b"[true,1]", b'["1",1]', b"[0,1]", b"[-1,1]", b"[1,1,1,1]"]
)
def test_what_is_no_document_is_refused(data: bytes) -> None:
    for read in READERS:
        with pytest.raises(SerializationError):
            read(data)


@pytest.mark.parametrize("version", [2, 10**30, 10**4000], ids=short)
def test_a_newer_version_is_said_to_be_newer(version: int) -> None:
    data = f"[{version},{{}}]".encode()
    with pytest.raises(SerializationError, match=r"written by a newer asyncsched|cannot be read"):
        CODEC.decode_value(data)
    with pytest.raises(SerializationError, match=r"written by a newer asyncsched.*upgrade"):
        CODEC.decode_arguments(b"[2,[],{},null]")


@pytest.mark.parametrize(
    "name",
    ["os:system", "subprocess:Popen", "asyncsched.codec.values:Point", "this", "antigravity:geohash", "builtins:eval"],
)
def test_nothing_is_imported_by_a_name_in_a_row(name: str) -> None:
    before = set(sys.modules)
    for tag, content in (("$dataclass", [name, {"args": ["true"]}]), ("$enum", [name, "x"])):
        with pytest.raises(SerializationError, match=f"{name}.* is not registered in this process"):
            CODEC.decode_value(msgspec.json.encode([1, {tag: content}]))
    for form in ({"py/object": name}, {"__import__": name}, {"module": name, "kind": name}):
        assert CODEC.decode_value(msgspec.json.encode([1, form])) == form
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    "content",
    [
        b'{"$int":"' + b"f" * 260_000 + b'"}',
        b'{"$decimal":"' + b"9" * 260_000 + b'"}',
        b'{"$decimal":"1e999999999999999999"}',
        b"9" * 260_000,
        b"0." + b"9" * 260_000,
        b"[" + b",".join([b"{}"] * 80_000) + b"]",
        b'{"$set":[' + b",".join(b'{"$int":"%x"}' % (k * (2**61 - 1)) for k in range(20, 5000)) + b"]}",
        b'{"$dataclass":["' + b"x" * 260_000 + b'",{}]}',
        b'{"$' + b"x" * 260_000 + b'":1}',
        b'"' + b"\\u0000" * 40_000 + b'"',
    ],
    ids=short,
)
def test_the_time_that_the_worst_documents_take_is_bounded(content: bytes) -> None:
    started = time.process_time()
    read_all(b"[1," + content + b"]")
    assert time.process_time() - started < 5


def test_a_document_above_the_limit_is_not_even_parsed() -> None:
    with pytest.raises(SerializationError, match=f"{MAX_ARGUMENTS + 1} bytes where {MAX_ARGUMENTS} are allowed"):
        CODEC.decode_arguments(b"[" * (MAX_ARGUMENTS + 1))


def test_a_class_whose_constructor_raises_is_reported_without_the_value() -> None:
    with pytest.raises(
        SerializationError, match=r"content of a \$dataclass in it is not right \(TypeError\)"
    ) as caught:
        CODEC.decode_value(b'[1,{"$dataclass":["tests.codec.values:Total",{"total":"secret"}]}]')
    assert "secret" not in str(caught.value)
