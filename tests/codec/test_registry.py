"""Which classes stored data may name, and under which names."""

import enum
from dataclasses import InitVar, dataclass, field
from typing import Any, cast

import pytest

from asyncsched.codec import Codec, TypeRegistry, default_types, register_type
from asyncsched.errors import ConfigurationError


def colour() -> type[enum.Enum]:
    class Colour(enum.Enum):
        RED = 1

    return Colour


@register_type
class Size(enum.Enum):
    SMALL = 1


@register_type(name="box")
@dataclass(frozen=True)
class Box:
    size: Size


def test_the_decorator_registers_for_every_codec_and_returns_the_class() -> None:
    value = [Box(Size.SMALL)]
    assert Codec().encode_value(value) == (
        b'[1,[{"$dataclass":["box",{"size":{"$enum":["' + f"{__name__}:Size".encode() + b'","SMALL"]}}]}]]'
    )
    assert Codec().decode_value(Codec().encode_value(value)) == value
    assert {"box", f"{__name__}:Size"} <= set(default_types.names())


def test_registering_again_is_no_error() -> None:
    types = TypeRegistry()
    assert types.register(Size) == types.register(Size) == f"{__name__}:Size"


def test_one_name_for_two_classes_is_refused_and_nothing_changes() -> None:
    types = TypeRegistry()
    types.register(Size, "thing")
    with pytest.raises(ConfigurationError, match=r"'thing' belongs to .*Size.* already.*register_type"):
        types.register(Box, "thing")
    known = types.named("thing")
    assert known is not None
    assert known.cls is Size


def test_a_class_that_was_defined_anew_replaces_the_former_one() -> None:
    types = TypeRegistry()
    old, new = colour(), colour()
    types.register(old)
    types.register(new)
    codec = Codec(types)
    assert codec.decode_value(codec.encode_value(old["RED"])) is new["RED"]


def test_a_renamed_class_is_written_under_its_first_name_and_read_under_all() -> None:
    types = TypeRegistry()
    types.register(Size, "new")
    types.register(Size, "old")
    codec = Codec(types)
    assert codec.encode_value(Size.SMALL) == b'[1,{"$enum":["new","SMALL"]}]'
    assert codec.decode_value(b'[1,{"$enum":["old","SMALL"]}]') is Size.SMALL


@dataclass
class NeedsMore:
    size: int = field(init=False)
    seed: InitVar[int]

    def __post_init__(self, seed: int) -> None:
        self.size = seed


@pytest.mark.parametrize("value", [int, Size.SMALL, object(), "Size"])
def test_what_is_neither_enum_nor_dataclass_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"neither an Enum nor a dataclass"):
        register_type(cast("type", value))


def test_a_dataclass_that_cannot_be_rebuilt_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"constructor also needs seed"):
        register_type(NeedsMore)


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"is empty"):
        register_type(Size, name="")
