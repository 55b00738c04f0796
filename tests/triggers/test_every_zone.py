"""The sweep over all zones, in the form that is quick enough for every run of the suite."""

import random
import zoneinfo
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from asyncsched.triggers.cron.trigger import cron
from asyncsched.triggers.wall import wall_clock
from tests.triggers.zone_sweep import (
    DAY,
    ELAPSED,
    END,
    FIRST,
    HOUR,
    ON_THE_CLOCK,
    POLICIES,
    Case,
    Change,
    History,
    Stretch,
    Sweep,
    at_the_change,
    check_twins,
    daily,
    expected,
    groups_of,
    history_of,
    instants_of,
    looked_up,
    offset_at,
    sweep_all,
)

EPOCH = datetime(1970, 1, 1)


def second(text: str) -> int:
    """The Unix second of an ISO text read as UTC; of a local time, its local second."""
    return int((datetime.fromisoformat(text) - EPOCH).total_seconds())


def test_every_zone_at_every_change_from_2000_to_2045() -> None:
    sweep = sweep_all(full=False)
    assert sweep.differences == []
    assert sweep.changes > 3000
    assert sweep.instants > 100_000


# Shifts of other sizes, whole days skipped or repeated, offsets with seconds: each on the day it happened.
HISTORIC = [
    ("Africa/Monrovia", "1972-01-07", 2670),  # from 44 minutes 30 seconds behind to none
    ("Asia/Kathmandu", "1986-01-01", 900),
    ("Asia/Singapore", "1981-12-31", 1800),
    ("America/Caracas", "2007-12-09", -1800),
    ("Australia/Lord_Howe", "1981-02-28", 1800),
    ("America/Guyana", "1975-08-01", 2700),
    ("Pacific/Kwajalein", "1993-08-21", 86_400),
    ("Pacific/Kiritimati", "1994-12-31", 86_400),
    ("Pacific/Apia", "2011-12-30", 86_400),
    ("Asia/Pyongyang", "2015-08-14", -1800),
    ("Africa/Casablanca", "1978-08-03", -3600),
    ("Europe/London", "1971-10-31", -3600),
    ("Antarctica/Casey", "2010-03-04", -10_800),
    ("Antarctica/Troll", "2026-03-29", 7200),
]


@pytest.mark.parametrize(("key", "day", "shift"), HISTORIC)
def test_changes_that_are_remembered(key: str, day: str, shift: int) -> None:
    zone, sweep = ZoneInfo(key), Sweep(random.Random(key))
    history = history_of(zone, second(day) - 6 * DAY, second(day) + 6 * DAY, HOUR)
    (change,) = (found for found in history.changes if abs(found.instant - second(day)) <= DAY)
    assert change.after - change.before == shift
    first, end = change.instant - 4 * DAY, change.instant + 4 * DAY
    assert looked_up(zone, first, end, 30) == history.stretches(first, end)
    sweep.at(zone, history, change, None, look_up=False)
    assert sweep.differences == []


@pytest.mark.parametrize(
    ("key", "day"),
    [
        ("Europe/Amsterdam", "1937-07-01"),
        ("Africa/Monrovia", "1972-01-07"),
        ("Africa/Monrovia", "1919-03-01"),
        ("Europe/Dublin", "1916-10-01"),
        ("Europe/Paris", "1911-03-11"),
        ("Asia/Kolkata", "1906-01-01"),
        ("Asia/Manila", "1844-12-31"),
        ("America/Juneau", "1867-10-18"),
        ("Asia/Riyadh", "1947-03-14"),
    ],
)
def test_offsets_with_seconds_are_read_to_the_second(key: str, day: str) -> None:
    zone, sweep = ZoneInfo(key), Sweep(random.Random(key))
    history = history_of(zone, second(day) - 400 * DAY, second(day) + 400 * DAY, DAY)
    assert history.changes
    for change in history.changes:
        first, end = change.instant - 3 * DAY, change.instant + 3 * DAY
        stretches = history.stretches(first, end)
        low, high = sorted((change.instant + change.before, change.instant + change.after))
        for local in (low - 1, low, low + 1, (low + high) // 2, high - 1, high, high + 1):
            sweep.compare_clock(zone, stretches, local)
        for instant in (change.instant - 1, change.instant):
            assert wall_clock(zone).window(instant).offset == offset_at(zone, instant)
    assert sweep.differences == []


def test_a_gap_and_a_fold_of_seconds() -> None:
    # The clocks of Monrovia went from 00:00:00 to 00:44:30; the schedule is of every second there.
    trigger = cron("* * 0 7 1 ? 1972", "Africa/Monrovia")
    first = trigger.next(datetime(1972, 1, 1, tzinfo=UTC))
    assert first is not None
    assert first.replace(tzinfo=None) == datetime(1972, 1, 7, 0, 44, 30)
    daily_there = cron("30 0 * * *", "Africa/Monrovia")
    assert daily_there.next(datetime(1972, 1, 6, 12, tzinfo=UTC)) == first


def test_nothing_fires_before_1970_in_any_zone() -> None:
    for key in sorted(zoneinfo.available_timezones()):
        trigger = cron("0 0 * * *", key)
        found = trigger.next(datetime(1900, 1, 1, tzinfo=UTC))
        assert found is not None
        assert found.replace(tzinfo=None) == datetime(1970, 1, 1), key
        assert trigger.previous(datetime(1969, 12, 29, tzinfo=UTC)) is None


# The reference itself is tried on days that anyone can work out by hand.
def berlin(day: str, case: Case, gap: str = "shift", fold: str = "first") -> list[str]:
    around = second(day)
    stretches = history_of(ZoneInfo("Europe/Berlin")).stretches(around - 3 * DAY, around + 4 * DAY)
    found = expected(case, stretches, gap, fold, around, around + DAY)
    return [(EPOCH + timedelta(seconds=instant)).isoformat()[11:16] for instant in found]


def test_the_reference_keeps_the_rules() -> None:
    half_past_two = daily(2 * HOUR + 1800)
    assert berlin("2026-03-29", half_past_two) == ["01:00"]
    assert berlin("2026-03-29", half_past_two, gap="skip") == []
    assert berlin("2026-10-25", half_past_two) == ["00:30"]
    assert berlin("2026-10-25", half_past_two, fold="last") == ["01:30"]
    assert berlin("2026-10-25", half_past_two, fold="both") == ["00:30", "01:30"]
    assert len(berlin("2026-10-25", ELAPSED[0])) == len(berlin("2026-03-29", ELAPSED[0])) == 24
    assert len(berlin("2026-10-25", ON_THE_CLOCK[0])) == 23
    assert len(berlin("2026-10-25", ON_THE_CLOCK[0], fold="both")) == 24


def test_the_reference_finds_changes_that_lie_close_together() -> None:
    changes = history_of(ZoneInfo("America/Noronha")).changes
    assert [change.instant for change in changes[1:3]] == [second("2000-10-08T02:00"), second("2000-10-15T01:00")]
    assert history_of(ZoneInfo("UTC")) == History(0, ())


def test_the_sweep_notices_a_wrong_answer() -> None:
    zone, sweep = ZoneInfo("Europe/Berlin"), Sweep(random.Random(1))
    change = Change(second("2026-03-29T01:00"), HOUR, 2 * HOUR)
    right = History(HOUR, (change,)).stretches(change.instant - 4 * DAY, change.instant + 4 * DAY)
    wrong = [Stretch(part.first, part.end, HOUR) for part in right]
    case = at_the_change(change, sweep.draw)[0]
    for policy in POLICIES:
        sweep.compare(zone, right, case, policy, change.instant)
    assert sweep.differences == []
    sweep.compare(zone, wrong, case, POLICIES[0], change.instant)
    sweep.compare_clock(zone, wrong, instants_of(change.instant, right, "skip", "first")[0] + 1800)
    check_twins(sweep, ["Europe/Berlin", "Europe/London", "UTC"])
    assert len(sweep.differences) >= 2


def test_zones_of_one_history_are_grouped() -> None:
    groups = groups_of(["Europe/Berlin", "Europe/Vienna", "Europe/London"], every=DAY)
    assert list(groups.values()) == [["Europe/Berlin", "Europe/Vienna"], ["Europe/London"]]
    assert all(FIRST <= change.instant < END for history in groups for change in history.changes)
