"""Or is the union, and the intersection, except the difference, between a part: compared with sets of instants."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import product
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asyncsched.clock import to_us
from asyncsched.errors import ConfigurationError, InvalidTriggerError, SerializationError
from asyncsched.testing.trigger_laws import check_trigger
from asyncsched.triggers.base import Trigger, trigger_from_dict
from asyncsched.triggers.combined.all_of import AndTrigger
from asyncsched.triggers.combined.any_of import OrTrigger
from asyncsched.triggers.combined.bounded import BetweenTrigger
from asyncsched.triggers.combined.without import ExceptTrigger
from asyncsched.triggers.cron.trigger import CronTrigger, cron
from asyncsched.triggers.date import after, at
from asyncsched.triggers.interval import IntervalTrigger, every

T = TypeVar("T")

START = datetime(2026, 3, 28, 12, tzinfo=UTC)
SPAN = timedelta(hours=36)  # the clocks of Berlin change within it
SECOND = 1_000_000
NAMES = {
    "OrTrigger": OrTrigger,
    "AndTrigger": AndTrigger,
    "ExceptTrigger": ExceptTrigger,
    "BetweenTrigger": BetweenTrigger,
    "CronTrigger": CronTrigger,
    "IntervalTrigger": IntervalTrigger,
}

crons = st.sampled_from(
    ["*/20 * * * *", "0 * * * *", "30 2 * * *", "0,30 0-6 * * *", "10-40/10 */3 * * *", "0 2 29 3 *", "0 12 L * ?"]
).flatmap(lambda text: st.sampled_from(["UTC", "Europe/Berlin"]).map(lambda zone: cron(text, zone)))
intervals = st.tuples(st.sampled_from([10, 15, 40, 60, 90, 600]), st.integers(0, 50)).map(
    lambda pair: every(minutes=pair[0], start=datetime(2026, 1, 1, 0, pair[1], tzinfo=UTC))
)
dates = st.integers(0, 36).map(lambda hours: at(START + timedelta(hours=hours)))
simple: st.SearchStrategy[Trigger] = st.one_of(crons, intervals, dates)


def instants(trigger: Trigger, start: datetime = START, end: datetime = START + SPAN) -> list[datetime]:
    found, cursor = list[datetime](), start
    while (following := trigger.next(cursor)) is not None and following <= end:
        cursor = following.astimezone(UTC)
        found.append(cursor)
    return found


def wrong(value: Any) -> Any:
    """What a type checker would not let through."""
    return value


def made(make: Callable[[], T]) -> T | None:
    try:
        return make()
    except InvalidTriggerError as error:
        if "can never fire" in str(error) or "was searched" in str(error):
            return None
        raise


@settings(max_examples=60, deadline=None)
@given(st.lists(simple, min_size=1, max_size=4))
def test_or_is_the_union(parts: list[Trigger]) -> None:
    union = OrTrigger(parts)
    expected = sorted({instant for part in parts for instant in instants(part)})
    assert instants(union) == expected
    assert union.count_us(to_us(START), to_us(START + SPAN)) == len(expected)
    check_trigger(union, [START], steps=40)


@settings(max_examples=60, deadline=None)
@given(simple, simple)
def test_and_is_the_intersection(left: Trigger, right: Trigger) -> None:
    both = made(lambda: left & right)
    expected = sorted(set(instants(left)) & set(instants(right)))
    if both is None:
        assert expected == []
        return
    assert instants(both) == expected
    assert both.count_us(to_us(START), to_us(START + SPAN)) == len(expected)
    check_trigger(both, [START], steps=10)


@settings(max_examples=60, deadline=None)
@given(simple, simple)
def test_except_is_the_difference(left: Trigger, right: Trigger) -> None:
    rest = made(lambda: left - right)
    expected = sorted(set(instants(left)) - set(instants(right)))
    if rest is None or made(lambda: rest.next(START)) is None:
        # Nothing is left at all, or nothing any more, which a bounded search may say with an error.
        assert expected == []
        return
    assert instants(rest) == expected
    assert rest.count_us(to_us(START), to_us(START + SPAN)) == len(expected)
    check_trigger(rest, [START], steps=20)


@settings(max_examples=40, deadline=None)
@given(simple, st.integers(-3, 40), st.integers(0, 40))
def test_between_is_a_part(base: Trigger, first: int, hours: int) -> None:
    start, end = START + timedelta(hours=first), START + timedelta(hours=first + hours)
    part = base.between(start, end)
    expected = [instant for instant in instants(base) if start <= instant <= end]
    assert instants(part) == expected
    assert part.count_us(to_us(START), to_us(START + SPAN)) == len(expected)
    check_trigger(part, [START], steps=20)


def meetings(grids: list[list[int]], threshold: int) -> list[int]:
    """The rule read slowly: shortest stretches with an instant of each grid; of two that overlap the better one."""
    stretches = {(min(choice), max(choice)) for choice in product(*grids)}
    shortest = [
        (low, high)
        for low, high in stretches
        if not any(low <= other[0] and other[1] <= high and other != (low, high) for other in stretches)
    ]
    close = {
        (
            high - low,
            next(number for number, grid in enumerate(grids) if max(at for at in grid if at <= high) == low),
            low,
        ): high
        for low, high in shortest
        if high - low <= threshold
    }
    return sorted(
        low
        for (length, leader, low), high in close.items()
        if length == 0
        or not any(
            other < (length, leader, low) and other[2] <= high and other_high >= low
            for other, other_high in close.items()
        )
    )


grids = st.tuples(st.integers(1, 9), st.integers(0, 8))


@settings(max_examples=120, deadline=None)
@example(chosen=[(1, 0), (2, 0), (2, 1)], threshold=1)
@given(st.lists(grids, min_size=2, max_size=3), st.integers(0, 6))
def test_a_threshold_brings_neighbours_together(chosen: list[tuple[int, int]], threshold: int) -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    parts = [every(seconds=period, start=begin + timedelta(seconds=first)) for period, first in chosen]
    trigger = made(lambda: AndTrigger(parts, threshold=threshold))
    expected = meetings([list(range(first, 60, period)) for period, first in chosen], threshold)
    if trigger is None:
        assert expected == []
        return
    found = [
        to_us(instant) - to_us(begin)
        for instant in instants(trigger, begin - timedelta(1), begin + timedelta(seconds=45))
    ]
    assert [instant // SECOND for instant in found] == [low for low in expected if low <= 45]


def test_the_threshold_is_that_of_apscheduler() -> None:
    first = datetime(2020, 5, 16, 14, 17, 30, 254212, tzinfo=UTC)
    second = first + timedelta(seconds=1)
    trigger = AndTrigger([at(first), at(second)])
    assert instants(trigger, first - timedelta(1), second) == [first]
    with pytest.raises(InvalidTriggerError, match="never fire together"):
        AndTrigger([at(first), at(second)], threshold=0.999)
    # An exact meeting counts once, whatever lies within the threshold around it.
    midnight = AndTrigger([every(seconds=1, start=first.replace(microsecond=0)), cron("0 0 * * *", "UTC")])
    assert [found.isoformat()[:19] for found in midnight.upcoming(first, 2)] == [
        "2020-05-17T00:00:00",
        "2020-05-18T00:00:00",
    ]
    # Two that never meet exactly: each instant belongs to one meeting.
    even, odd = every(seconds=4, start=first), every(seconds=4, start=second)
    assert instants(AndTrigger([even, odd]), first - timedelta(1), first + timedelta(seconds=12)) == [
        first + timedelta(seconds=seconds) for seconds in (0, 4, 8, 12)
    ]


def test_operators_join_flatly_and_print_what_can_be_pasted() -> None:
    a, b, c = cron("0 9 * * *", "UTC"), cron("0 9 * * mon", "UTC"), every(hours=1, start=START)
    assert a | b | c == OrTrigger([a, b, c]) == a | (b | c)
    assert a & b & c == AndTrigger([a, b, c], threshold=0)
    assert a - b == ExceptTrigger(a, b)
    assert a.between(START) == BetweenTrigger(a, START)
    for trigger in (
        a | b | c,
        AndTrigger([a, b]),
        AndTrigger([a, b], 0.5, jitter=(1, 2)),
        a - b,
        a.between(START, None),
    ):
        assert eval(repr(trigger), dict(NAMES)) == trigger
        assert trigger_from_dict(trigger.to_dict()) == trigger
        assert hash(trigger_from_dict(trigger.to_dict())) == hash(trigger)
    assert (a | b) != (b | a)
    assert (a | b) != AndTrigger([a, b])


def test_parts_are_made_ready_together() -> None:
    added = datetime(2026, 1, 1, 10, 7, tzinfo=UTC)
    trigger = (every(minutes=10) | cron("H 12 * * *")) - cron("27 10 * * *")
    ready = trigger.with_timezone(ZoneInfo("Europe/Berlin")).anchored(added).for_job("a job")
    # In Berlin 10:27 is 09:27 UTC, so that nothing of the first instants is left out.
    assert [found.isoformat()[11:16] for found in ready.upcoming(added, 3)] == ["11:17", "11:27", "11:37"]
    assert ready.with_timezone(ZoneInfo("UTC")) is ready
    assert ready.anchored(START) is ready
    assert ready.for_job("another") is ready
    assert ready.zone == ZoneInfo("Europe/Berlin")
    # Asked by itself, the interval counts from the instant it is asked about.
    assert trigger.next(added) == added + timedelta(minutes=10)
    local = cron("0 9 * * *").between("2026-01-02", datetime(2026, 1, 3, 9)).with_timezone(ZoneInfo("Europe/Berlin"))
    assert [found.isoformat() for found in local.upcoming(added)] == [
        "2026-01-02T09:00:00+01:00",
        "2026-01-03T09:00:00+01:00",
    ]


@pytest.mark.parametrize(
    ("trigger", "first"),
    [
        (at(START - timedelta(days=1)) | every(hours=1, start=START), START),
        (at(START - timedelta(days=1)) | at(START - timedelta(days=2)), START - timedelta(days=1)),
        (every(hours=1, start=START) & every(hours=2, start=START), START),
        (cron("0 * * * *", "UTC") & every(hours=1, start=START - timedelta(hours=3)), START + timedelta(hours=1)),
        (every(hours=1, start=START) - at(START), START + timedelta(hours=1)),
        (at(START - timedelta(days=1)) - at(START), START - timedelta(days=1)),
        (every(hours=1, start=START).between(START, START), START),
        (every(hours=1, start=START).between(START + timedelta(hours=3)), START + timedelta(hours=3)),
        (every(hours=1, start=START).between(None, START - timedelta(hours=3)), None),
        (after(60) | at(START + timedelta(hours=1)), START + timedelta(minutes=1)),
    ],
)
def test_the_first_instant_of_a_job(trigger: Trigger, first: datetime | None) -> None:
    found = trigger.anchored(START).first_us(to_us(START))
    assert found == (None if first is None else to_us(first))


def test_jitter_is_the_one_that_the_parts_agree_on() -> None:
    assert (every(hours=1, jitter=5) | cron("0 9 * * *")).jitter == 5
    assert (every(hours=1, jitter=5) & cron("0 9 * * *", jitter=5)).jitter == 5
    assert (every(hours=1) - cron("0 9 * * *", jitter=5)).jitter is None
    assert OrTrigger([every(hours=1, jitter=5), cron("0 9 * * *", jitter=3)], jitter=(1, 2)).jitter == (1, 2)
    with pytest.raises(ConfigurationError, match="different jitters, 5 and 3"):
        _ = every(hours=1, jitter=5) | cron("0 9 * * *", jitter=3)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: cron("0 9 * * *") | wrong(5), "5 is not a trigger"),
        (lambda: cron("0 9 * * *") & wrong("@daily"), "'@daily' is not a trigger"),
        (lambda: cron("0 9 * * *") - wrong(date(2026, 1, 1)), "is not a trigger"),
        (lambda: OrTrigger([]), "of no triggers"),
        (lambda: OrTrigger(wrong(cron("0 9 * * *"))), "takes a list of triggers"),
        (lambda: AndTrigger([cron("0 9 * * *")], threshold=-1), "threshold=-1 is negative"),
        (lambda: AndTrigger([cron("0 9 * * *")], threshold=wrong("1")), "threshold='1' is not a finite number"),
        (lambda: cron("0 9 * * *") - cron("0 9 * * *"), "everything is excluded"),
        (lambda: cron("0 9 * * mon") & cron("0 9 * * tue"), "was searched|never fire"),
        (lambda: cron("0 9 * * *").between(), "needs a start, an end or both"),
        (lambda: cron("0 9 * * *").between("2026-01-02", "2026-01-01"), "lies before start"),
        (lambda: cron("0 9 * * *").between("tomorrow"), "is not an ISO 8601"),
    ],
)
def test_nonsense_is_refused(make: Callable[[], Any], problem: str) -> None:
    with pytest.raises(InvalidTriggerError, match=problem):
        make()


@pytest.mark.parametrize(
    ("base", "excluded", "expected"),
    [
        # Runs of thousands and millions of excluded instants are counted, not stepped through.
        ("* * * * * *", "* * * * 1-11 *", "2026-12-01T00:00:00"),
        ("*/5 * * * *", "* 1-23 * * *", "2026-03-29T00:00:00"),
        ("* * * * *", "0 * * * * * 2026", "2027-01-01T00:00:00"),
        ("* * * * * *", "* * 9-23 * * *", "2026-03-29T00:00:00"),
    ],
)
def test_long_runs_of_excluded_instants_are_leapt_over(base: str, excluded: str, expected: str) -> None:
    for zone in ("UTC", "Europe/Berlin"):
        trigger = cron(base, zone) - cron(excluded, zone)
        found = trigger.next(START)
        assert found is not None
        assert found.isoformat()[:19] == expected


def test_triggers_that_hardly_ever_meet_are_refused_within_bounds() -> None:
    slow = every(seconds=86_399, start=datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(InvalidTriggerError, match=r"was searched from .* without finding its triggers together"):
        _ = slow & every(days=1, start=datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC))
    leap = cron("0 0 29 2 *", "UTC") & cron("0 0 * * sun", "UTC")
    assert [found.year for found in leap.upcoming(START, 3)] == [2032, 2060, 2088]
    ended = cron("0 0 * * *", "UTC") & cron("0 0 0 1 1 ? 2020", "UTC")
    assert ended.next(START) is None


def test_meetings_far_apart_are_not_counted_for_seconds() -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    rare = every(seconds=61, start=begin) & cron("* * * * *", "UTC")
    assert rare.count_us(to_us(begin), to_us(begin + timedelta(days=1))) == 23
    assert rare.count_us(to_us(begin), to_us(begin + timedelta(days=3650))) is None
    assert rare.last_us(to_us(begin), to_us(begin + timedelta(days=1))) == to_us(begin + timedelta(seconds=23 * 3660))


def test_what_is_left_out_in_vain_is_said() -> None:
    warning = (every(minutes=7, start=START + timedelta(seconds=1)) - cron("* 12-13 * * *", "UTC")).lint()
    assert any("nothing seems to be left out" in text for text in warning)
    assert not any("left out" in text for text in (cron("0 * * * *", "UTC") - cron("0 12 * * *", "UTC")).lint())
    assert any(
        "2 does not divide" in text or "day 31" in text for text in (cron("0 9 31 * *") | cron("0 8 31 * *")).lint()
    )


def test_descriptions_name_every_part() -> None:
    hourly, noon = cron("0 * * * *", "UTC"), cron("0 12 * * *", "UTC")
    assert (hourly | noon).describe() == f"{hourly.describe()}; or {noon.describe()}"
    assert (hourly & noon).describe() == f"{hourly.describe()}; and only together with: {noon.describe()}"
    assert AndTrigger([hourly, noon], 90).describe().count("(within 1 minute and 30 seconds)") == 1
    assert (hourly - noon).describe() == f"{hourly.describe()}; except: {noon.describe()}"
    bounded = hourly.between("2026-01-01", "2026-02-01").describe()
    assert bounded == f"{hourly.describe()}, between 2026-01-01 00:00:00+00:00 and 2026-02-01 00:00:00+00:00"


@pytest.mark.parametrize("kind", ["or", "and", "except", "between"])
def test_a_stored_combination_that_cannot_be_read_is_an_error(kind: str) -> None:
    wrong_forms: list[dict[str, Any]] = [{}, {"triggers": 5}, {"triggers": [{}]}, {"base": {"kind": "none"}}]
    for rest in wrong_forms:
        with pytest.raises(SerializationError):
            trigger_from_dict({"kind": kind, "v": 1, **rest})
