import collections
import itertools
import random
from calendar import isleap
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from asyncsched.errors import InvalidTriggerError
from asyncsched.triggers.base import trigger_from_dict
from asyncsched.triggers.cron.field import LIMIT
from asyncsched.triggers.cron.keywords import KEYWORDS
from asyncsched.triggers.cron.trigger import CronTrigger, cron
from tests.triggers.fuzz import CRONTAB, Strings, Subject, Timing, check, complaints


@pytest.mark.parametrize("seed", range(4))
def test_thousands_of_strings_are_parsed_or_refused_with_their_place(seed: int) -> None:
    outcomes = collections.Counter[str | None]()
    for subject in itertools.islice(Strings(random.Random(seed)), 2000):
        outcomes[check(subject)] += 1
    assert outcomes[None] > 300
    for name in CRONTAB:
        assert outcomes[name] + outcomes[name.replace("_of_", "-of-").replace("day", "day-of-month")] > 5
    assert outcomes["expression"] > 50


@pytest.mark.parametrize(
    ("expression", "field", "value", "column"),
    [
        ("H(2-5)  0 0 1 61x", "day-of-month", "0", 11),
        ("H(2-5)  0 1 1 61x", "day-of-week", "61x", 15),
        ("\t* *\x0bH 1 FRI,Foo", "day-of-week", "Foo", 14),
        ("0 H,61 * * *", "hour", "61", 5),
        ("H H(1-) * * *", "hour", "H(1-)", 3),
        ("0 0 H/29 * *", "day-of-month", "H/29", 5),
        ("* * 2-7/H * *", "day-of-month", "2-7/H", 5),
        ("0 İ,61 * * *", "hour", "İ", 3),
        ("0 1,İ,61 * * *", "hour", "İ", 5),
        ("0 0 * * MON,Mon#6", "day-of-week", "Mon#6", 13),
        ("0 0 H(30-31) 2 *", "day-of-month", "0 0 H(30-31) 2 *", None),
    ],
)
def test_errors_show_what_was_written_where_it_stands(
    expression: str, field: str, value: str, column: int | None
) -> None:
    with pytest.raises(InvalidTriggerError) as caught:
        cron(expression)
    assert (caught.value.field, caught.value.value, caught.value.column) == (field, value, column)
    assert repr(value) in str(caught.value)


def test_the_value_of_a_keyword_is_shown_as_it_was_written() -> None:
    with pytest.raises(InvalidTriggerError, match="'Foo' at column 7") as caught:
        CronTrigger(day_of_week="Sun,1,Foo")
    assert (caught.value.value, caught.value.column) == ("Foo", 7)


def longest_draws() -> list[str]:
    """Expressions at the limit, and those that draw the most for what they are long."""
    steps = ",".join(f"H/{step}" for step in range(2, 12))
    hours = ",".join(f"H/{step}" for step in range(2, 8))
    return [
        f"{steps} {hours} * * *",
        f"0 0 {hours} * *",
        f"0 0 0 * * * {hours}",
        "H H H H H H H",
        ",".join("H" * 24) + " * * * *",
    ]


@pytest.mark.parametrize("expression", longest_draws())
@pytest.mark.parametrize("job_id", ["", "a", "b", "c", "job-1"])
def test_what_is_drawn_for_h_can_always_be_read_back(expression: str, job_id: str) -> None:
    check(Subject(expression, job_id))
    padded = expression + " " * (LIMIT - len(expression) - 8 * expression.count("H"))
    assert check(Subject(padded, job_id)) is None
    with pytest.raises(InvalidTriggerError, match="once its H are drawn; 256 are allowed"):
        Subject(padded + " ").make()


def test_a_drawn_trigger_that_was_stored_before_is_read() -> None:
    stored = {"kind": "cron", "v": 1, "expression": "12-59/15 3 * * *", "timezone": "UTC"}
    assert trigger_from_dict(stored).to_dict() == stored


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("0 0 15W,15W,L,L * *", "0 0 15W,L * *"),
        ("0 0 * * fri#2,fri#2,5L,friL", "0 0 * * fri#2,5L"),
        ("0 0 0 * * * */2,*/2,*/4,1972", "0 0 0 * * * */2"),
        ("0 0 0 * * * */2,1971/2", "0 0 0 * * * *"),
    ],
)
def test_what_is_written_twice_costs_and_means_nothing_more(written: str, meant: str) -> None:
    assert cron(written).pattern == cron(meant).pattern


def test_years_are_those_that_are_written_and_have_a_day() -> None:
    trigger = cron("0 0 0 29 2 ? 1971/3,*/10,9999", "UTC")
    wanted = {*range(1971, 10_000, 3), *range(1970, 10_000, 10), 9999}
    assert trigger.pattern.years == tuple(sorted(wanted))
    fires = [found.year for found in trigger.upcoming(datetime(1970, 1, 1, tzinfo=UTC), 3000)]
    assert fires == [year for year in sorted(wanted) if isleap(year)]


def test_years_with_weeks_are_those_that_have_such_a_week() -> None:
    trigger = CronTrigger(year="*/3", week="1,53", timezone="UTC")
    fires = [found.date() for found in trigger.upcoming(datetime(1969, 12, 31, tzinfo=UTC), 100_000)]
    # Weeks 1 and 53 lie within a few days of a turn of the year.
    turns = (date(year, 1, 1) + timedelta(days=n) for year in range(1970, 10_000) for n in range(-6, 12))
    assert fires == [
        day for day in turns if day.isocalendar().week in {1, 53} and day.year >= 1970 and (day.year - 1970) % 3 == 0
    ]


@pytest.mark.parametrize("name", KEYWORDS)
@pytest.mark.parametrize("value", [10**40, "9" * 5000, "\0", "1,,2", "x" * 3, [1], 2.5])
def test_every_field_refuses_nonsense_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidTriggerError) as caught:
        Subject({name: value}).make()
    assert caught.value.field == name
    assert list(complaints(Subject({name: value}), caught.value)) == []


def test_a_message_that_does_not_name_its_place_is_noticed() -> None:
    subject = Subject("0 0 61 * *")
    assert list(complaints(subject, InvalidTriggerError("no"))) == [
        *("no value", "neither the whole expression nor a column")
    ]
    misplaced = InvalidTriggerError("the day '61' at column 3", field="day-of-month", value="61", column=3)
    assert list(complaints(subject, misplaced)) == ["at column 3 stands '0 61 * *'"]


def test_the_same_seed_makes_the_same_strings() -> None:
    first, again = (list(itertools.islice(Strings(random.Random(5)), 50)) for _ in range(2))
    assert first == again
    assert len({repr(subject) for subject in first}) > 40


def test_the_timed_run_counts_what_was_refused(capsys: pytest.CaptureFixture[str]) -> None:
    timing = Timing()
    for text in ("0 9 * * *", "0 25 * * *", "0 9 * * mon-fri"):
        timing.add(Subject(text))
    timing.report()
    assert (len(timing.parse), len(timing.first), timing.refused) == (3, 2, 1)
    assert "3 strings, 1 refused" in capsys.readouterr().out
