from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsched.clock import to_datetime, to_us
from asyncsched.errors import ConfigurationError, InvalidTriggerError, SerializationError
from asyncsched.testing.trigger_laws import check_trigger
from asyncsched.triggers import Trigger, cron, every, register_trigger, trigger_from_dict


@register_trigger
@dataclass(frozen=True, slots=True)
class Listed(Trigger):
    """A user's own trigger: instants from a list."""

    kind: ClassVar[str] = "tests.listed"
    seconds: tuple[int, ...]

    def next(self, after: datetime) -> datetime | None:
        later = [to_datetime(second * 1_000_000) for second in self.seconds]
        return min((instant for instant in later if instant > after), default=None)

    def describe(self) -> str:
        return "as listed"

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "v": 1, "seconds": list(self.seconds)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(tuple(data["seconds"]))


@dataclass(frozen=True, slots=True)
class Broken(Listed):
    def next(self, after: datetime) -> datetime | None:
        return after if self.seconds else after.replace(tzinfo=None) + timedelta(days=1)


@given(st.sets(st.integers(0, 10**6), max_size=30), st.integers(-10, 10**6), st.integers(0, 10**6))
def test_last_and_count_are_found_by_next_alone(seconds: set[int], after: int, span: int) -> None:
    trigger = Listed(tuple(sorted(seconds)))
    inside = [second * 1_000_000 for second in seconds if after < second <= after + span]
    low, high = after * 1_000_000, (after + span) * 1_000_000
    assert trigger.last_us(low, high) == max(inside, default=None)
    assert trigger.count_us(low, high) == len(inside)
    assert trigger.previous(to_datetime(high)) == max(
        (to_datetime(second * 1_000_000) for second in seconds if second < after + span), default=None
    )


def test_too_many_instants_are_not_counted_one_by_one() -> None:
    trigger = Listed(tuple(range(10)))
    assert trigger.count_us(0, 10**9) == 9
    assert Trigger.count_us(every(seconds=1), 0, 10**12) is None
    assert Trigger.last_us(every(seconds=1, start=to_datetime(0)), 0, 10**15 + 5) == 10**15


def test_a_user_s_trigger_keeps_the_laws() -> None:
    check_trigger(Listed((1_700_000_000, 1_710_000_000, 1_720_000_000)))
    with pytest.raises(AssertionError, match="breaks the law that"):
        check_trigger(Broken((1,)))


def test_a_trigger_that_breaks_its_laws_is_refused_by_the_engine_s_path() -> None:
    with pytest.raises(InvalidTriggerError, match="not later"):
        Broken((1,)).next_us(0)
    with pytest.raises(InvalidTriggerError, match="naive"):
        Broken(()).next_us(0)


def test_what_is_no_datetime_is_refused() -> None:
    text: Any = "2026-01-01"
    for ask in (cron("* * * * *").next, cron("* * * * *").previous, every(seconds=1).next):
        with pytest.raises(ConfigurationError, match="'2026-01-01' is not a datetime"):
            ask(text)


def test_a_naive_argument_is_refused() -> None:
    for ask in (cron("* * * * *").next, cron("* * * * *").previous, every(seconds=1).next):
        with pytest.raises(ConfigurationError, match="is naive"):
            ask(datetime(2026, 1, 1))


def test_upcoming_begins_now_and_ends_with_the_trigger() -> None:
    assert cron("* * * * *", "UTC").upcoming(n=2)[0] > datetime(2025, 1, 1, tzinfo=UTC)
    assert len(Listed((1, 2)).upcoming(to_datetime(0))) == 2


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"kind": "nothing"},
        {"kind": ["cron"]},
        {"kind": "cron", "v": 1},
        {"kind": "cron", "v": 2, "expression": "* * * * *"},
        {"kind": "cron", "v": 1, "expression": "61 * * * *"},
        {"kind": "cron", "v": 1, "expression": 5},
        {"kind": "cron", "v": 1, "hour": "1", "hours": "1"},
        {"kind": "interval", "v": 1, "period": "x", "start": None, "end": None, "timezone": None},
        {"kind": "interval", "v": 1, "period": 0, "start": None, "end": None, "timezone": None},
        {"kind": "interval", "v": 1, "period": 10**30, "start": None, "end": None, "timezone": None},
        {"kind": "date", "v": 1, "run_date": "2026-01-01", "timezone": "No/Where"},
        {"kind": "delay", "v": 1},
    ],
)
def test_stored_data_that_cannot_be_read_is_one_kind_of_error(data: dict[str, Any]) -> None:
    with pytest.raises(SerializationError):
        trigger_from_dict(data)


def test_a_kind_is_taken_once() -> None:
    with pytest.raises(ConfigurationError, match="is taken by another class"):

        @register_trigger
        class _Other(Listed):
            kind: ClassVar[str] = "cron"


def test_the_engine_s_path_and_the_public_one_agree() -> None:
    trigger, start = cron("*/7 3 * * *", "Europe/Berlin"), datetime(2026, 3, 28, tzinfo=UTC)
    found = trigger.next(start)
    assert found is not None
    assert to_us(found) == trigger.next_us(to_us(start))
