from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncsched.triggers.day_series import LAST_DAY, date_of, day_of, day_series, missed_month


def chain(start: date, months: int, days: int, end: date) -> list[date]:
    """The dates one after the other: months are added until the date exists, then days."""
    found, day = list[date](), start
    while day <= end:
        found.append(day)
        following = stepped(day, months)
        if following is None or end - following < timedelta(days):
            break
        day = following + timedelta(days)
    return found


def stepped(day: date, months: int) -> date | None:
    year, month = day.year, day.month
    while True:
        month += months
        year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
        if year > 9999:
            return None
        try:
            return date(year, month, day.day)
        except ValueError:
            continue


starts = st.dates(date(1890, 1, 1), date(2110, 12, 31)) | st.sampled_from(
    [date(1896, 2, 29), date(2000, 2, 29), date(2024, 2, 29), date(2030, 1, 31), date(2030, 8, 30), date(1970, 1, 1)]
)
months_of = st.sampled_from([0, 0, 1, 2, 3, 6, 7, 11, 12, 13, 24, 36, 48, 60, 96, 1200, 4800]) | st.integers(0, 200)
days_of = st.sampled_from([0, 0, 1, 7, 14]) | st.integers(0, 800)
steps = st.tuples(months_of, days_of).filter(any)


@settings(max_examples=300, deadline=None)
@given(
    starts,
    steps,
    st.integers(0, 60_000),
    st.lists(st.tuples(st.integers(-500, 61_000), st.integers(0, 30_000)), min_size=1, max_size=8),
)
def test_a_series_is_what_stepping_through_it_finds(
    start: date, step: tuple[int, int], length: int, asked: list[tuple[int, int]]
) -> None:
    end = start + timedelta(length)
    expected = [day_of(day) for day in chain(start, *step, end)]
    series = day_series(day_of(start), day_of(end), *step)
    for ahead, span in asked:
        day = day_of(start) + ahead
        assert series.next(day) == min((other for other in expected if other >= day), default=None)
        assert series.previous(day) == max((other for other in expected if other <= day), default=None)
        assert series.count(day, day + span) == sum(day <= other < day + span for other in expected)


@pytest.mark.parametrize(
    ("start", "months", "days"),
    [
        (date(1896, 2, 29), 12, 0),
        (date(1896, 2, 29), 36, 0),
        (date(2004, 2, 29), 48, 0),
        (date(2000, 2, 29), 1200, 0),
        (date(2000, 1, 29), 13, 0),
        (date(2000, 1, 31), 25, 0),
        (date(2000, 12, 30), 1, 0),
        (date(2000, 1, 31), 5, 3),
        (date(2000, 2, 29), 12, 1461),
    ],
)
def test_a_series_leads_to_the_end_of_the_calendar(start: date, months: int, days: int) -> None:
    expected = [day_of(day) for day in chain(start, months, days, date_of(LAST_DAY))]
    series = day_series(day_of(start), LAST_DAY, months, days)
    assert series.count(day_of(start), LAST_DAY + 1) == len(expected)
    assert series.previous(LAST_DAY) == expected[-1]
    assert series.next(expected[-1]) == expected[-1]
    assert series.next(expected[-1] + 1) is None
    assert series.next(LAST_DAY + 9) is None


def test_a_series_that_ends_before_it_starts_is_empty() -> None:
    for months, days in ((0, 1), (1, 0), (1, 1)):
        series = day_series(10, 5, months, days)
        assert (series.next(0), series.previous(20), series.count(0, 20)) == (None, None, 0)


@pytest.mark.parametrize(
    ("day", "months", "missed"),
    [
        (date(2030, 1, 31), 1, date(2030, 2, 1)),
        (date(2030, 1, 31), 2, None),
        (date(2030, 8, 31), 3, date(2030, 11, 1)),
        (date(2028, 2, 29), 12, date(2029, 2, 1)),
        (date(2028, 2, 29), 48, None),
        (date(2030, 1, 28), 1, None),
        (date(9999, 12, 31), 2, None),
    ],
)
def test_a_month_that_lacks_the_day_is_named(day: date, months: int, missed: date | None) -> None:
    assert missed_month(day_of(day), months) == missed
