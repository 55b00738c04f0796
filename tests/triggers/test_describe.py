"""What a cron trigger says, read by a reader of its own, is what it does."""

import itertools
import random
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncsched.clock import to_us
from asyncsched.errors import InvalidTriggerError
from asyncsched.triggers.cron.trigger import CronTrigger, cron
from tests.triggers.read_description import Reading, read_description

SAYINGS = [
    ("0 9 * * mon-fri", "at 09:00, Monday to Friday"),
    ("* * * * *", "every minute"),
    ("*/15 * * * *", "every 15 minutes"),
    ("3-59/5 * * * *", "every 5 minutes from minute 3 of every hour"),
    ("*/7 * * * *", "at minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56 of every hour"),
    ("0-30/2 * * * *", "at every 2nd minute from 0 to 30 of every hour"),
    ("0 0-20/5 * * *", "at 00:00, 05:00, 10:00, 15:00 and 20:00"),
    ("*/15 9-17 * * mon-fri", "every 15 minutes, during the hours 09 to 17, Monday to Friday"),
    ("* 9 * * *", "every minute, during hour 09"),
    ("0 9-17 * * *", "every hour from 09:00 to 17:00"),
    ("0 8-12,14-18 * * *", "at minute 0 of the hours 08 to 12 and 14 to 18"),
    ("0 */6 * * *", "every 6 hours"),
    ("0 */12 * * *", "at 00:00 and 12:00"),
    ("0 */5 * * *", "at 00:00, 05:00, 10:00, 15:00 and 20:00"),
    ("5 */2 * * *", "at minute 5 of every 2nd hour from 00 to 22"),
    ("* * * * * *", "every second"),
    ("*/10 * * * * *", "every 10 seconds"),
    ("10 * * * * *", "at second 10 of every minute"),
    ("30 */15 * * * *", "at second 30 of the minutes 0, 15, 30 and 45 of every hour"),
    ("5-59/10 * 9-17 * * *", "every 10 seconds from second 5 of every minute during the hours 09 to 17"),
    ("*/20 10,40 8 * * *", "at 08:10:00, 08:10:20, 08:10:40, 08:40:00, 08:40:20 and 08:40:40"),
    ("0 0 1,15 * *", "at 00:00, on day 1 and 15 of the month"),
    ("0 0 1-7 * *", "at 00:00, on day 1 to 7 of the month"),
    ("0 0 */2 * *", "at 00:00, on every 2nd day from 1 to 31 of the month"),
    ("0 0 13 * fri", "at 00:00, on day 13 of the month or on Friday"),
    ("0 0 */2 * fri,sun", "at 00:00, on every 2nd day from 1 to 31 of the month if it is Friday or Sunday"),
    ("0 0 L * *", "at 00:00, on the last day of the month"),
    ("0 0 L-1 * *", "at 00:00, on the day before the last day of the month"),
    ("0 0 L-3 * *", "at 00:00, on the day 3 days before the last day of the month"),
    ("0 0 LW * *", "at 00:00, on the last weekday of the month"),
    ("0 0 15W * *", "at 00:00, on the weekday nearest to day 15 of the month"),
    ("0 0 * * sat-mon", "at 00:00, Saturday to Monday"),
    ("0 12 * * sat,sun", "at 12:00, on Saturday and Sunday"),
    ("0 0 * * 5L,mon#3", "at 00:00, on the last Friday of the month and the third Monday of the month"),
    ("0 0 1 11-2 *", "at 00:00, on day 1 of the month, from November to February"),
    ("0 0 1 1,7 *", "at 00:00, on day 1 of the month, in January and July"),
    ("0 0 12 1 1 ? 2030,2040", "at 12:00, on day 1 of the month, in January, in 2030 and 2040"),
    ("0 0 0 29 2 ? 2000/4", "at 00:00, on day 29 of the month, in February, in every 4th year from 2000 to 9996"),
    ("0 0 0 * * ? 2030-2035", "at 00:00, from 2030 to 2035"),
    ("0 0 0 * * ? 2030-2032", "at 00:00, from 2030 to 2032"),
    ("0 0 0 * * ? 2030,2031", "at 00:00, in 2030 and 2031"),
    ("0-18/2 * * * *", "at every 2nd minute from 0 to 18 of every hour"),
    ("*/30 * * * *", "every 30 minutes"),
    ("0 */8 * * *", "every 8 hours"),
    ("0-5 8 * * *", "at 08:00, 08:01, 08:02, 08:03, 08:04 and 08:05"),
    ("0-6 8 * * *", "at minutes 0 to 6 of hour 08"),
    ("1-7 5 8 * * *", "at seconds 1 to 7 of minute 5 of hour 08"),
    ("0 0 1-31 * fri", "at 00:00"),
    ("0 0 1-3,5,6 * *", "at 00:00, on day 1 to 3, 5 and 6 of the month"),
    (
        "0 0 * * mon#1,tue#2,wed#3,thu#4,fri#5",
        " and ".join(
            [
                "at 00:00, on the first Monday of the month",
                *("the second Tuesday of the month", "the third Wednesday of the month"),
                *("the fourth Thursday of the month", "the fifth Friday of the month"),
            ]
        ),
    ),
    *(
        (f"0 0 0 1 1 ? 2000-2399/{step}", f"at 00:00, on day 1 of the month, in January, in every {words} to {last}")
        for step, words, last in [
            *((2, "2nd year from 2000", 2398), (3, "3rd year from 2000", 2399), (4, "4th year from 2000", 2396)),
            *((11, "11th year from 2000", 2396), (12, "12th year from 2000", 2396), (13, "13th year from 2000", 2390)),
            *((21, "21st year from 2000", 2399), (22, "22nd year from 2000", 2396), (33, "33rd year from 2000", 2396)),
        ]
    ),
    ("0 0 0 1 1 ? 2000-9999/111", "at 00:00, on day 1 of the month, in January, in every 111th year from 2000 to 9992"),
]
FIELDS: list[tuple[dict[str, Any], str]] = [
    (
        {"day": "3rd fri, last sun", "hour": 9},
        "at 09:00, on the third Friday of the month and the last Sunday of the month",
    ),
    ({"week": 53, "day_of_week": "mon"}, "at 00:00, on Monday, in ISO week 53"),
    ({"week": "*/2"}, "at 00:00, in every 2nd ISO week from 1 to 53"),
    ({"week": "1-20", "year": 2030}, "at 00:00, in ISO weeks 1 to 20, in 2030"),
    ({"day": 13, "day_of_week": "fri"}, "at 00:00, on day 13 of the month if it is Friday"),
    ({"day": "last", "day_of_week": "mon-fri"}, "at 00:00, on the last day of the month if it is Monday to Friday"),
    (
        {"hour": 9, "start_date": "2030-01-31", "end_date": "2031-01-31T12:00", "timezone": "UTC"},
        "at 09:00, from 2030-01-31 00:00:00, until 2031-01-31 12:00:00 (UTC)",
    ),
]


@pytest.mark.parametrize(("expression", "words"), SAYINGS)
def test_crontab_text_says(expression: str, words: str) -> None:
    assert cron(expression).describe() == words
    fires_as_it_says(cron(expression, "UTC"), random.Random(expression))


@pytest.mark.parametrize(("fields", "words"), FIELDS)
def test_fields_say(fields: dict[str, Any], words: str) -> None:
    assert CronTrigger(**fields).describe() == words
    fires_as_it_says(CronTrigger(**fields), random.Random(words))


POLICIES: list[tuple[CronTrigger, str]] = [
    (cron("30 2 * * *", gap="skip"), "at 02:30, leaving out times that the clocks skip"),
    (cron("30 2 * * *", fold="last"), "at 02:30, at the last of times that come twice"),
    (
        cron("30 2 * * *", "Europe/Berlin", gap="skip", fold="both"),
        "at 02:30, leaving out times that the clocks skip, at both of times that come twice (Europe/Berlin)",
    ),
    (
        CronTrigger(hour=2, end_date="2031-01-31", fold="both", timezone="UTC"),
        "at 02:00, until 2031-01-31 00:00:00, at both of times that come twice (UTC)",
    ),
    (
        cron("H 2 * * *", gap="skip"),
        "'H 2 * * *' with H drawn from the job's id, leaving out times that the clocks skip",
    ),
    (cron("30 2 * * *", gap="shift", fold="first"), "at 02:30"),
    # These run on elapsed time at a change of the clocks, whatever the policies.
    (cron("*/10 2 * * *", gap="skip", fold="both"), "at 02:00, 02:10, 02:20, 02:30, 02:40 and 02:50"),
    (cron("30 * * * *", fold="last"), "at minute 30 of every hour"),
]


@pytest.mark.parametrize(("trigger", "words"), POLICIES)
def test_policies_say(trigger: CronTrigger, words: str) -> None:
    assert trigger.describe() == words


def moments(draw: random.Random, reading: Reading, trigger: CronTrigger) -> list[datetime]:
    """Local times worth asking about: where it fires, one part of such a time changed, what is read, and any."""
    year = draw.choice([draw.randint(1971, 9998), *(min(reading.years | {9998}) for _ in range(2)), 2028, 2026])
    start = datetime(year, 1, 1) + timedelta(seconds=draw.randrange(365 * 86_400))
    fires = [found.replace(tzinfo=None) for found in trigger.upcoming(start.replace(tzinfo=UTC), 4)]
    found = list(fires)
    for local in fires:
        found += [local + timedelta(seconds=n) for n in (1, -1, 60, -3600, 86_400, -7 * 86_400, draw.randrange(10**6))]
    times = [*(local.time() for local in fires[:2]), *draw.sample(sorted(reading.times), 1)]
    times.append(
        time(draw.randrange(24), draw.choice([0, 30, draw.randrange(60)]), draw.choice([0, draw.randrange(60)]))
    )
    days = [start + timedelta(days=n) for n in (0, *(draw.randrange(-366, 366) for _ in range(12)))]
    found += [datetime.combine(day, moment) for day, moment in itertools.product([*days, *fires[:2]], times)]
    return [local for local in found if 1970 <= local.year <= 9998]


def fires_as_it_says(trigger: CronTrigger, draw: random.Random) -> None:
    words = trigger.describe()
    reading = read_description(words)
    for local in moments(draw, reading, trigger):
        instant = to_us(local.replace(tzinfo=UTC))
        assert (trigger.next_us(instant - 1) == instant) == reading(local), (words, trigger, local)


def numbers(low: int, high: int) -> st.SearchStrategy[str]:
    value = st.integers(low, high)
    pair = st.tuples(value, value).map(sorted)
    return st.one_of(
        st.just("*"),
        st.just(str(low)),
        value.map(str),
        pair.map(lambda ends: f"{ends[0]}-{ends[1]}"),
        st.just(f"{low + (high - low) // 3}-{high - (high - low) // 4}"),
        st.integers(2, (high - low) // 2).map(lambda step: f"*/{step}"),
        st.tuples(value, st.integers(1, 9))
        .filter(lambda two: two[0] + two[1] <= high)
        .map(lambda two: f"{two[0]}/{two[1]}"),
        st.lists(value, min_size=2, max_size=5).map(lambda many: ",".join(map(str, many))),
    )


def lists_of(*elements: st.SearchStrategy[str] | str) -> st.SearchStrategy[str]:
    each = [st.just(element) if isinstance(element, str) else element for element in elements]
    return st.lists(st.one_of(each), min_size=1, max_size=3).map(",".join)


years = st.one_of(st.sampled_from(["*", "*", "2030", "2028-2033", "2000/4", "2026,2030,2040-2044", "1999/7"]))
days = st.one_of(
    numbers(1, 31), st.just("?"), lists_of("L", "L-1", "L-3", "LW", "15W", "1W", "31W", "13", "29-31", "1-15/3")
)
weekdays = st.one_of(
    numbers(0, 6), st.just("?"), lists_of("5L", "fri#2", "sat-mon", "7", "mon#5", "wed", "0L", "tue#3", "sun#4")
)
five = st.tuples(numbers(0, 59), numbers(0, 23), days, numbers(1, 12), weekdays)
seven = st.tuples(numbers(0, 59), *(numbers(0, 59), numbers(0, 23), days, numbers(1, 12), weekdays), years)
expressions = st.one_of(five, seven).map(" ".join)
fields_of_keywords = st.fixed_dictionaries(
    {},
    optional={
        "year": years,
        "month": numbers(1, 12),
        "day": st.one_of(
            numbers(1, 31), lists_of("last", "2nd tue", "3rd fri", "4th mon", "last sun", "1st mon", "5th sat", "13")
        ),
        "week": numbers(1, 53),
        "day_of_week": numbers(0, 6),
        "hour": numbers(0, 23),
        "minute": numbers(0, 59),
        "second": numbers(0, 59),
    },
).filter(bool)
seeds = st.randoms(use_true_random=False)


def possible(make: Callable[[], CronTrigger]) -> CronTrigger | None:
    try:
        return make()
    except InvalidTriggerError as error:
        if "can never fire" in str(error):
            return None
        raise


@settings(max_examples=600, deadline=None)
@given(expressions, seeds)
def test_what_any_expression_says_is_what_it_does(expression: str, draw: random.Random) -> None:
    trigger = possible(lambda: cron(expression, "UTC"))
    if trigger is not None:
        fires_as_it_says(trigger, draw)


@settings(max_examples=400, deadline=None)
@given(fields_of_keywords, seeds)
def test_what_any_fields_say_is_what_they_do(fields: dict[str, Any], draw: random.Random) -> None:
    trigger = possible(lambda: CronTrigger(**fields, timezone="UTC"))
    if trigger is not None:
        fires_as_it_says(trigger, draw)


# Days about which the clocks change: by an hour, by half an hour, at midnight, by a day, and negatively.
CHANGES = [
    *(("Europe/Berlin", datetime(2026, 3, 29)), ("Europe/Berlin", datetime(2026, 10, 25))),
    *(("America/New_York", datetime(2027, 3, 14)), ("America/New_York", datetime(2027, 11, 7))),
    *(("Australia/Lord_Howe", datetime(2026, 10, 4)), ("Australia/Lord_Howe", datetime(2026, 4, 5))),
    *(("America/Sao_Paulo", datetime(2018, 11, 4)), ("America/Sao_Paulo", datetime(2018, 2, 18))),
    *(("Europe/Dublin", datetime(2044, 3, 27)), ("Pacific/Apia", datetime(2011, 12, 30))),
]
near_hours = st.one_of(st.sampled_from(["2", "1", "0", "23", "1-3", "0-5", "22-2", "0,2,3"]), numbers(0, 23)).filter(
    lambda text: not text.startswith("*")
)
near_minutes = st.one_of(st.sampled_from(["0", "30", "15,45", "1-59/7", "0-59"]), numbers(0, 59)).filter(
    lambda text: not text.startswith("*")
)
near_days = st.sampled_from(["* * *", "* * sun", "* * fri-sun", "25-31 * *", "4-18/7 * *", "4 * sun"])
policies = st.fixed_dictionaries({}, optional={"gap": st.just("skip"), "fold": st.sampled_from(["last", "both"])})


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(CHANGES), near_minutes, near_hours, near_days, policies)
def test_what_is_said_of_changing_clocks_is_what_happens(
    change: tuple[str, datetime], minute: str, hour: str, day: str, policy: dict[str, Any]
) -> None:
    zone, changed = change
    trigger = cron(f"{minute} {hour} {day}", zone, **policy)
    first, last = ((changed + timedelta(days=n)).replace(tzinfo=UTC) for n in (-1, 2))
    said = read_description(trigger.describe()).instants(changed - timedelta(days=3), changed + timedelta(days=4))
    expected = sorted(to_us(instant) for instant in said if first < instant <= last)
    assert fires_between(trigger, to_us(first), to_us(last)) == expected, (trigger.describe(), trigger)


def fires_between(trigger: CronTrigger, after: int, until: int) -> list[int]:
    found, instant = list[int](), trigger.next_us(after)
    while instant is not None and instant <= until:
        found.append(instant)
        instant = trigger.next_us(instant)
    return found


def test_the_reader_knows_what_the_clocks_skip_and_repeat() -> None:
    day, plain = datetime(2026, 3, 29), "every 30 minutes, during hour 02"
    shifted = read_description(f"{plain} (Europe/Berlin)").instants(day, day + timedelta(days=1))
    assert shifted == {datetime(2026, 3, 29, 1, tzinfo=UTC)}
    left_out = read_description(f"{plain}, leaving out times that the clocks skip (Europe/Berlin)")
    assert left_out.instants(day, day + timedelta(days=1)) == set()
    for words, hours in (
        ("", {0}),
        (", at the last of times that come twice", {1}),
        (", at both of times that come twice", {0, 1}),
    ):
        reading = read_description(f"at 02:30{words} (Europe/Berlin)")
        instants = reading.instants(datetime(2026, 10, 25), datetime(2026, 10, 26))
        assert instants == {datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in hours}


@pytest.mark.parametrize(
    "words",
    [
        *("", "every 15 minutes please", "at 9", "at 09:00 on Friday", "at 09:00, on Fridays", "every 7th minute"),
        *(
            "every 7 minutes",
            "every 5 hours",
            "every 5 minutes from minute 7 of every hour",
            "at minutes 0 and 7",
            "every 5 minutes, during",
            "at 09:00, in Octember",
            "at 09:00, on day 5",
            "at every 2th minute from 0 to 30 of every hour",
            "at 00:00, on every 11st day from 1 to 31 of the month",
            "at 09:00, at the first of times that come twice",
            "at 09:00, at both of times that come twice, leaving out times that the clocks skip",
        ),
    ],
)
def test_the_reader_does_not_guess(words: str) -> None:
    with pytest.raises(ValueError, match="is not understood"):
        read_description(words)


def test_the_reader_knows_english_and_the_calendar() -> None:
    reading = read_description(
        "at 08:30 and 20:30, on the weekday nearest to day 1 of the month, from November to January"
    )
    assert reading(datetime(2026, 11, 2, 8, 30))  # the first is a Sunday
    assert not reading(datetime(2026, 11, 1, 8, 30))
    assert not reading(datetime(2026, 10, 1, 8, 30))
    assert not reading(datetime(2026, 11, 2, 8, 31))
    friday = read_description("every minute, on day 13 of the month if it is Friday (Europe/Berlin)")
    assert friday(datetime(2026, 11, 13, 5, 5))
    assert not friday(datetime(2026, 12, 13, 5, 5))
    assert friday.zone == "Europe/Berlin"
