import collections
import itertools
import random
from typing import Any

import pytest

from asyncsched.errors import InvalidTriggerError
from asyncsched.triggers.cron.field import LIMIT
from asyncsched.triggers.cron.hashed import has_hash
from asyncsched.triggers.cron.keywords import KEYWORDS
from tests.triggers.fuzz import CRONTAB, Strings, Subject, Timing, check, complaints


def in_doubt(subject: Subject) -> bool:
    """Text whose columns are tried by themselves, below: with an H, or with a letter that is longer in lower case."""
    return "İ" in str(subject.given) or (isinstance(subject.given, str) and has_hash(subject.given))


def is_long_hash(subject: Subject) -> bool:
    return isinstance(subject.given, str) and has_hash(subject.given) and len(subject.given) > LIMIT // 2


@pytest.mark.parametrize("seed", range(4))
def test_thousands_of_strings_are_parsed_or_refused_with_their_place(seed: int) -> None:
    outcomes = collections.Counter[str | None]()
    for subject in itertools.islice(Strings(random.Random(seed)), 2000):
        if not is_long_hash(subject):
            outcomes[check(subject, place=not in_doubt(subject))] += 1
    assert outcomes[None] > 300
    for name in CRONTAB:
        assert outcomes[name] + outcomes[name.replace("_of_", "-of-").replace("day", "day-of-month")] > 5
    assert outcomes["expression"] > 50


@pytest.mark.xfail(strict=True, reason="columns of an expression with H are those of the text after the draw")
def test_the_column_of_an_expression_with_h_is_that_of_the_written_text() -> None:
    check(Subject("H(2-5)  0 0 0 61x"))


@pytest.mark.xfail(strict=True, reason="columns are counted in the lower case of the text, which may be longer")
def test_a_letter_that_is_longer_in_lower_case_does_not_move_the_column() -> None:
    check(Subject("0 İ,61 * * *"))


@pytest.mark.xfail(strict=True, reason="an expression that is too long after the draw cannot be read back")
def test_a_long_list_of_h_can_be_read_back() -> None:
    check(Subject(",".join("H" * 120) + " * * * *"))


@pytest.mark.parametrize("name", KEYWORDS)
@pytest.mark.parametrize("value", [10**40, "9" * 5000, "\0", "1,,2", "x" * 3, [1], 2.5])
def test_every_field_refuses_nonsense_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidTriggerError) as caught:
        Subject({name: value}).make()
    assert caught.value.field == name
    assert list(complaints(Subject({name: value}), caught.value, place=True)) == []


def test_a_message_that_does_not_name_its_place_is_noticed() -> None:
    subject = Subject("0 0 61 * *")
    assert list(complaints(subject, InvalidTriggerError("no"), place=True)) == [
        *("no value", "neither the whole expression nor a column")
    ]
    misplaced = InvalidTriggerError("the day '61' at column 3", field="day-of-month", value="61", column=3)
    assert list(complaints(subject, misplaced, place=True)) == ["at column 3 stands '0 61 * *'"]


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
