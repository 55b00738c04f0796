"""The fixed delay: `every(..., from_="completion")` as a value, before any scheduler is asked."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsched.clock import to_us
from asyncsched.errors import InvalidTriggerError, SerializationError
from asyncsched.testing.trigger_laws import check_trigger
from asyncsched.triggers import (
    AndTrigger,
    BetweenTrigger,
    ExceptTrigger,
    IntervalTrigger,
    OnDaysTrigger,
    OrTrigger,
    Trigger,
    business_days,
    cron,
    every,
    trigger_from_alias,
    trigger_from_dict,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
FIVE = timedelta(minutes=5)
DELAY = every(minutes=5, from_="completion")


@given(seconds=st.integers(-(10**6), 10**6), end=st.none() | st.integers(-(10**6), 10**6))
def test_the_next_instant_is_one_interval_after_whatever_is_asked_about(seconds: int, end: int | None) -> None:
    limit = None if end is None else NOON + timedelta(seconds=end)
    moment = NOON + timedelta(seconds=seconds)
    found = every(minutes=5, end=limit, from_="completion").next(moment)
    assert found == (None if limit is not None and moment + FIVE > limit else moment + FIVE)


@pytest.mark.parametrize(
    ("start", "first"),
    [
        (None, NOON + FIVE),
        ("now", NOON),
        (NOON, NOON),
        (NOON + timedelta(hours=1), NOON + timedelta(hours=1)),
        (NOON - timedelta(days=1, seconds=1), NOON + FIVE),  # has passed: nothing ran then
    ],
)
def test_the_first_instant_is_that_of_a_fixed_rate(start: Any, first: datetime) -> None:
    trigger = every(minutes=5, start=start, from_="completion").with_timezone(BERLIN).anchored(NOON)
    assert trigger.follows_completion
    assert trigger.first_us(to_us(NOON)) == to_us(first)
    ended = first + timedelta(minutes=7)
    assert trigger.next(ended) == ended + FIVE
    assert trigger.anchored(NOON + FIVE) is trigger
    check_trigger(trigger)


def test_a_run_that_someone_asks_for_does_not_bring_the_start_forward() -> None:
    tomorrow = NOON + timedelta(days=1)
    assert every(minutes=5, start=tomorrow, from_="completion").next(NOON) == tomorrow


def test_only_the_first_instant_is_known_ahead_of_time() -> None:
    trigger = every(minutes=5, start=NOON, from_="completion")
    week_before, week_after = to_us(NOON - timedelta(days=7)), to_us(NOON + timedelta(days=7))
    assert trigger.last_us(week_before, week_after) == to_us(NOON)
    assert trigger.count_us(week_before, week_after) == 1
    assert trigger.last_us(to_us(NOON), week_after) is None
    assert trigger.count_us(to_us(NOON), week_after) == 0
    assert trigger.last_us(week_before, to_us(NOON) - 1) is None
    assert trigger.previous(NOON + timedelta(days=1)) == NOON
    assert DELAY.previous(NOON) is None
    assert trigger.upcoming(NOON - FIVE, n=3) == [NOON, NOON + FIVE, NOON + 2 * FIVE]


@pytest.mark.parametrize(
    "trigger",
    [
        DELAY,
        every(hours=1, from_="completion", jitter=30),
        every(1, 2, 3, 4, 5.5, start="now", end="2030-01-01T00:00", timezone="Europe/Berlin", from_="completion"),
        every(seconds=1, start="2026-10-25T02:30:00+01:00", timezone="Europe/Berlin", from_="completion"),
    ],
)
def test_it_is_written_and_read_back(trigger: IntervalTrigger) -> None:
    assert eval(repr(trigger)) == trigger
    assert trigger.to_dict()["from"] == "completion"
    assert trigger.lint() == []
    check_trigger(trigger)
    rate = trigger_from_dict({name: value for name, value in trigger.to_dict().items() if name != "from"})
    assert rate != trigger
    assert not rate.follows_completion
    assert "from" not in rate.to_dict()  # what was stored before there was a choice is what is stored now
    assert rate.jitter == trigger.jitter


def test_it_is_another_value_than_the_fixed_rate() -> None:
    assert len({DELAY, every(minutes=5, from_="completion"), every(seconds=300, from_="completion")}) == 1
    assert every(minutes=5) != DELAY
    assert trigger_from_alias("interval", minutes=5, from_="completion") == DELAY
    assert not every(minutes=5).follows_completion
    assert not cron("0 9 * * *").follows_completion


def test_it_says_what_it_does() -> None:
    assert DELAY.describe() == "every 5 minutes after the last run has ended"
    bounded = every(hours=1, start=NOON, end="2026-04-01T00:00", timezone="UTC", from_="completion")
    words = "every hour after the last run has ended, from 2026-03-01 12:00:00, until 2026-04-01 00:00:00 (UTC)"
    assert bounded.describe() == words


@pytest.mark.parametrize("given", ["end", None, 1, [], "Completion"])
def test_anything_else_to_count_from_is_refused(given: Any) -> None:
    with pytest.raises(InvalidTriggerError, match="'start' for a fixed rate") as caught:
        every(minutes=5, from_=given)
    assert caught.value.field == "from_"
    with pytest.raises(SerializationError, match="is not understood"):
        trigger_from_dict(DELAY.to_dict() | {"from": given})


@pytest.mark.parametrize(
    "combine",
    [
        lambda: DELAY | cron("0 9 * * *"),
        lambda: cron("0 9 * * *") | DELAY,
        lambda: DELAY & cron("0 9 * * *"),
        lambda: cron("0 9 * * *") - DELAY,
        lambda: DELAY - cron("0 9 * * *"),
        lambda: DELAY - business_days,
        lambda: DELAY.on(business_days),
        lambda: DELAY.on(business_days, shift="next"),
        lambda: DELAY.between(NOON, NOON + FIVE),
        lambda: OrTrigger([DELAY]),
        lambda: AndTrigger([every(hours=1), DELAY], threshold=60),
        lambda: BetweenTrigger(DELAY, NOON),
        lambda: ExceptTrigger(DELAY, business_days),
        lambda: OnDaysTrigger.unchecked(DELAY, business_days),
    ],
)
def test_it_is_refused_as_a_part_and_the_remedy_is_named(combine: Callable[[], Trigger]) -> None:
    with pytest.raises(InvalidTriggerError, match=r"not known ahead .* its own start= and end=, .* leave out from_"):
        combine()
