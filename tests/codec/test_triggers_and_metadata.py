"""Triggers and metadata as stores keep them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Self

import pytest

from asyncsched.codec import Codec
from asyncsched.errors import SerializationError
from asyncsched.triggers.base import Trigger, register_trigger

CODEC = Codec()


@register_trigger
@dataclass(frozen=True)
class Fixed(Trigger):
    kind: ClassVar[str] = "tests.codec.fixed"
    instants: tuple[datetime, ...] = ()

    def next(self, after: datetime) -> datetime | None:
        return next((instant for instant in self.instants if instant > after), None)

    def describe(self) -> str:
        return "at fixed instants"

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "v": 1, "instants": [instant.isoformat() for instant in self.instants]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(tuple(datetime.fromisoformat(text) for text in data["instants"].copy()))


class Broken(Fixed):
    def __init__(self, make: Callable[[], Any]) -> None:
        object.__setattr__(self, "make", make)

    def to_dict(self) -> dict[str, Any]:
        form: dict[str, Any] = self.__dict__["make"]()
        return form


def test_a_trigger_comes_back_equal() -> None:
    trigger = Fixed((datetime.fromisoformat("2024-01-01T00:00:00+02:00"),))
    assert CODEC.decode_trigger(CODEC.encode_trigger(trigger)) == trigger


def test_a_trigger_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(SerializationError, match=r"Broken cannot be stored: its to_dict\(\) raised ZeroDivisionError"):
        CODEC.encode_trigger(Broken(lambda: 1 / 0))
    with pytest.raises(SerializationError, match=r"the trigger cannot be stored: in its part \['a'\]: .*object"):
        CODEC.encode_trigger(Broken(lambda: {"a": object()}))


@pytest.mark.parametrize(
    "form",
    [b"[1,{}]", b'[1,{"kind":"os:system"}]', b'[1,{"kind":[]}]', b'[1,{"kind":"tests.codec.fixed"}]', b"[1,[]]"],
)
def test_a_trigger_that_cannot_be_read_is_refused(form: bytes) -> None:
    with pytest.raises(SerializationError):
        CODEC.decode_trigger(form)


def test_a_trigger_class_may_raise_anything_while_it_reads_itself() -> None:
    with pytest.raises(SerializationError, match=r"the stored trigger cannot be read \(AttributeError\)"):
        CODEC.decode_trigger(b'[1,{"kind":"tests.codec.fixed","instants":5}]')


def test_metadata_comes_back_equal() -> None:
    metadata = {"owner": "ops", "$cost": [1, None, {"a": 0.5}]}
    assert CODEC.decode_metadata(CODEC.encode_metadata(metadata)) == metadata


def test_metadata_names_what_cannot_be_stored() -> None:
    with pytest.raises(SerializationError, match=r"the metadata cannot be stored: in its part \['a'\]: "):
        CODEC.encode_metadata({"a": object()})
    with pytest.raises(SerializationError, match="stored metadata cannot be read: it is a list"):
        CODEC.decode_metadata(b"[1,[]]")
