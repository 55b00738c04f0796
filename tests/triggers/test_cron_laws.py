import contextlib
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncsched.clock import to_us
from asyncsched.errors import InvalidTriggerError
from asyncsched.testing.trigger_laws import check_trigger
from asyncsched.triggers import CronTrigger, cron, trigger_from_dict
from asyncsched.triggers.cron.clockface import TimesOfDay
from asyncsched.triggers.cron.days import MatchingDays
from asyncsched.triggers.cron.pattern import Pattern
from asyncsched.triggers.cron.search import Search
from asyncsched.triggers.wall import Fold, Gap, wall_clock
from tests.triggers.reference import scan

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Africa/Casablanca"]


def numbers(low: int, high: int) -> st.SearchStrategy[str]:
    value = st.integers(low, high)
    return st.one_of(
        st.just("*"),
        value.map(str),
        st.tuples(value, value).map(lambda pair: f"{pair[0]}-{pair[1]}"),
        st.integers(2, (high - low) // 2).map(lambda step: f"*/{step}"),
        st.lists(value, min_size=2, max_size=4).map(lambda many: ",".join(map(str, many))),
    )


days = st.one_of(numbers(1, 31), st.sampled_from(["L", "L-2", "LW", "15W", "1W", "31W", "?"]))
weekdays = st.one_of(numbers(0, 6), st.sampled_from(["*", "?", "5L", "fri#2", "sat-mon", "7", "mon,thu"]))
expressions = st.tuples(numbers(0, 59), numbers(0, 23), days, numbers(1, 12), weekdays).map(" ".join)


def written(make: Callable[[], CronTrigger]) -> CronTrigger | None:
    try:
        return make()
    except InvalidTriggerError as error:
        if "can never fire" in str(error):
            return None
        raise


@settings(max_examples=80, deadline=None)
@given(
    expressions, st.sampled_from(ZONES), st.sampled_from(["shift", "skip"]), st.sampled_from(["first", "last", "both"])
)
def test_any_expression_keeps_the_laws(expression: str, zone: str, gap: Gap, fold: Fold) -> None:
    trigger = written(lambda: cron(expression, zone, gap=gap, fold=fold))
    if trigger is None:
        return
    check_trigger(trigger, [datetime(2024, 3, 30, 22, 15, tzinfo=UTC), datetime(2031, 10, 20, tzinfo=UTC)])
    assert eval(repr(trigger)) == trigger
    assert trigger_from_dict(trigger.to_dict()).describe() == trigger.describe()
    instants = trigger.upcoming(datetime(2024, 10, 20, tzinfo=UTC), 60)
    if instants:
        assert trigger.count_us(to_us(datetime(2024, 10, 20, tzinfo=UTC)), to_us(instants[-1])) == len(instants)
        assert [trigger.previous(later) for later in instants[1:]] == instants[:-1]


@pytest.mark.parametrize("gap", ["shift", "skip"])
@pytest.mark.parametrize("fold", ["first", "last", "both"])
@pytest.mark.parametrize(
    ("zone", "around"),
    [
        ("Europe/Berlin", datetime(2026, 3, 29, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 10, 25, tzinfo=UTC)),
        ("America/New_York", datetime(2040, 3, 11, tzinfo=UTC)),
        ("America/New_York", datetime(2040, 11, 4, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 4, 4, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 10, 3, tzinfo=UTC)),
        ("America/Sao_Paulo", datetime(2018, 11, 4, tzinfo=UTC)),
        ("America/Sao_Paulo", datetime(2018, 2, 18, tzinfo=UTC)),
        ("Pacific/Apia", datetime(2011, 12, 30, tzinfo=UTC)),
        ("Europe/Dublin", datetime(2026, 10, 25, tzinfo=UTC)),
        ("Africa/Casablanca", datetime(2026, 2, 15, tzinfo=UTC)),
        ("Asia/Beirut", datetime(2026, 3, 29, tzinfo=UTC)),
    ],
)
def test_changes_of_the_clocks_are_as_a_slow_scan_finds_them(zone: str, around: datetime, gap: Gap, fold: Fold) -> None:
    draw = random.Random(f"{zone}{around}{gap}{fold}")
    start, end = around - timedelta(days=1), around + timedelta(days=2)
    for hour in ("2", "0", "1,2", "*", "0-3"):
        minute = draw.choice(["0", "30", "15,45", "5-50", "*/20"])
        trigger = cron(f"{minute} {hour} * * *", zone, gap=gap, fold=fold)
        pattern = trigger.pattern

        def matches(local: datetime, pattern: Pattern = pattern) -> bool:
            return bool(pattern.hours >> local.hour & 1 and pattern.minutes >> local.minute & 1)

        elapsed = minute.startswith("*") or hour == "*"
        expected = scan(matches, ZoneInfo(zone), start, end, elapsed=elapsed, gap=gap, fold=fold)
        found = [instant for instant in trigger.upcoming(start, len(expected) + 1) if instant <= end]
        assert [instant.astimezone(UTC) for instant in found] == expected
        assert trigger.count_us(to_us(start), to_us(end)) == len(expected)
        assert trigger.last_us(to_us(start), to_us(end)) == to_us(expected[-1])


def test_thousands_of_strings_are_parsed_or_refused() -> None:
    draw = random.Random(7)
    words = [
        *"0123456789*/-,?#LWH() @",
        "fri",
        "jan",
        "L-3",
        "15W",
        "H(0-5)",
        "*/7",
        "61",
        "@daily",
        "99999",
        "é",
        "٣",
        "\0",
    ]
    parsed = 0
    for _ in range(6000):
        odd = ("".join(draw.choices(words, k=draw.randint(1, 3))) for _ in range(draw.choice([1, 5, 5, 5, 6, 7])))
        text = " ".join(draw.choice(["*", "1-2", word]) for word in odd)
        try:
            trigger = cron(text).for_job("a")
        except InvalidTriggerError:
            continue
        parsed += 1
        trigger.next_us(0)
    assert parsed > 50


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40), st.sampled_from(["minute", "day", "day_of_week", "year", "month"]))
def test_any_text_in_a_field_is_parsed_or_refused(text: str, name: str) -> None:
    fields: dict[str, Any] = {name: text}
    makers: list[Callable[[], CronTrigger]] = [lambda: cron(text), lambda: CronTrigger(**fields)]
    for make in makers:
        with contextlib.suppress(InvalidTriggerError):
            trigger = make()
            assert trigger.next_us(0) is None or trigger.describe()


def test_ten_years_of_every_second_are_counted_without_stepping() -> None:
    trigger = cron("* * * * * *", "Europe/Berlin")
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)
    assert trigger.count_us(to_us(start), to_us(end)) == (end - start).total_seconds()
    assert trigger.last_us(to_us(start), to_us(end)) == to_us(end)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["30 2 29 2 *", "0 0 1 1 *", "0 0 L * *", "30 2 * * 0L", "15 1 15W 3,10 ?", "0 0 0 1 4 ? 2030/7", "30 2 29 3 *", "30 2 25 10 *"]),
    st.sampled_from(ZONES),
    st.sampled_from(["shift", "skip"]),
    st.sampled_from(["first", "last", "both"]),
    st.integers(to_us(datetime(1971, 1, 1, tzinfo=UTC)) // 1_000_000, to_us(datetime(2200, 1, 1, tzinfo=UTC)) // 1_000_000),
)  # fmt: skip
def test_sparse_instants_are_the_same_whether_the_year_is_known_or_not(
    expression: str, zone: str, gap: Gap, fold: Fold, start: int
) -> None:
    """A year whose clock changes were not looked up yet is crossed without looking them up."""
    pattern = cron(expression, zone).pattern

    def fresh() -> Search:
        wall_clock.cache_clear()
        return Search(MatchingDays(pattern), TimesOfDay(pattern), ZoneInfo(zone), gap, fold)

    unknown, cursor = list[int | None](), start
    for _ in range(4):
        following = fresh().next(cursor)
        unknown.append(following)
        cursor = cursor if following is None else following + 1
    search, known, cursor = fresh(), list[int | None](), start
    for _ in range(4):
        for ahead in range(0, 3 * 366 * 86_400, 86_400 * 100):
            wall_clock(ZoneInfo(zone)).window(cursor + ahead)
        following = search.next(cursor)
        known.append(following)
        cursor = cursor if following is None else following + 1
    backwards = [None if found is None else search.previous(found) for found in known]
    assert unknown == known == backwards
