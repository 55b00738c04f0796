"""What APScheduler does otherwise than ours. The reasons stand in docs/cron-dialects.md under the same ids."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

from tests.differential.clocks import HOUR, changes, gap_before, offset
from tests.differential.disagreement import (
    Difference,
    Disagreement,
    Example,
    asked,
    fires_at_local,
    fires_within,
    never_fires,
)
from tests.differential.questions import Question, at

__all__ = ["KNOWN"]

_BOTH: Final = ("apscheduler3", "apscheduler4")
_CRONTAB: Final = ("minute", "hour", "day", "month", "day_of_week")
_FROM_MONDAY: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FROM_SUNDAY: Final = ("sun", *_FROM_MONDAY)
_NUMBER: Final = re.compile(r"(?<![/\w])[0-7]")
_STAR_STEP: Final = re.compile(r"\*/(\d+)")
_STEPPED: Final = re.compile(r"\b([0-7](?:-[0-7])?)/\d+")
_NUMBERS: Final = re.compile(r"(?<![/\w])([0-6])(?:-([0-6]))?(?:/(\d+))?")
_RANGE: Final = re.compile(r"(\d+)-(\d+)")
_AFTER_NAME: Final = re.compile(r"\b([a-z]{3}(?:-[a-z]{3})?)[/#][^,]*", re.IGNORECASE)

Rewrite: TypeAlias = Callable[[re.Match[str]], str]


def _as_fields(question: Question) -> Question:
    """Fields in place of crontab text: all of them must match, and weekday numbers are written as names."""
    if question.language != "crontab":
        return question
    fields: dict[str, str | int] = dict(zip(_CRONTAB, question.text.split(), strict=True))
    written = _weekday(replace(question, language="fields", text="", fields=fields), _NUMBER, _named(_FROM_SUNDAY))
    return _weekday(written, _STAR_STEP, lambda found: ",".join(_FROM_SUNDAY[: 7 : int(found[1])]))


def _numbered_from_monday(found: re.Match[str]) -> str:
    first, last, step = (None if text is None else int(text) for text in found.groups())
    if first is None or (last is None and step is None):
        return _FROM_MONDAY[first or 0]
    return ",".join(_FROM_MONDAY[first : 7 if last is None else last + 1 : step])


def _named(names: Sequence[str]) -> Rewrite:
    return lambda found: names[int(found[0])]


def _before_the_rest(found: re.Match[str]) -> str:
    return found[1]


def _stepped_from_monday(found: re.Match[str]) -> str:
    return ",".join(_FROM_MONDAY[:: int(found[1])])


def _weekday_anywhere(question: Question, pattern: re.Pattern[str], new: Rewrite) -> Question:
    return _crontab_weekday(_weekday(question, pattern, new), pattern, new)


def _weekday(question: Question, pattern: re.Pattern[str], new: Rewrite) -> Question:
    if question.language != "fields" or "day_of_week" not in question.fields:
        return question
    text = pattern.sub(new, str(question.fields["day_of_week"]))
    return replace(question, fields={**question.fields, "day_of_week": text})


def _crontab_weekday(question: Question, pattern: re.Pattern[str], new: Rewrite) -> Question:
    if question.language != "crontab":
        return question
    *words, weekday = question.text.split()
    return replace(question, text=" ".join([*words, pattern.sub(new, weekday)]))


def _wraps(difference: Difference) -> bool:
    texts = [str(text) for text in difference.question.fields.values()]
    runs = [(int(first), int(last)) for text in texts for first, last in _RANGE.findall(text)]
    return difference.side == "refused by theirs" and any(first > last for first, last in runs)


def _twice(question: Question) -> Question:
    return replace(question, fold="both") if question.language == "fields" else question


def _shows_a_skipped_time(difference: Difference) -> bool:
    """It hands out the skipped local times themselves, read with the offset before the gap.

    They stand in place of the end of the gap, and hide what matches as long after it as the gap is wide.
    """
    question = difference.question
    change = gap_before(question.zone, difference.instant)
    if change is None or question.language != "fields":
        return False
    if difference.side == "missing":
        return fires_within(question, change)
    return fires_at_local(question, difference.instant + change.before)


def _loses_a_midnight(difference: Difference) -> bool:
    """Days are added as elapsed time: after a gap it arrives past midnight, and looks on from there."""
    question, instant = difference.question, difference.instant
    earlier = [found for found in difference.theirs.instants if found < instant]
    since_midnight = (instant + offset(question.zone, instant)) % (24 * HOUR)
    near = changes(question.zone, max([question.start, *earlier]) - 24 * HOUR, instant)
    return difference.side == "missing" and any(change.forward > since_midnight for change in near)


def _moves_from_a_lost_day(difference: Difference) -> bool:
    """A whole day is skipped: it fires at its time of the day after, from which 3 goes on counting."""
    question = difference.question
    if question.language != "calendar":
        return False
    lost = [
        change
        for change in changes(question.zone, question.start, difference.instant + 24 * HOUR)
        if change.forward >= 24 * HOUR
    ]
    fired = difference.theirs.instants
    return any(0 <= instant - change.instant < 24 * HOUR for change in lost for instant in fired)


def _adds_to_the_wall_clock(difference: Difference) -> bool:
    question = difference.question
    if question.language != "interval":
        return False
    units: dict[str, Any] = dict(question.fields)
    local, expected = datetime.fromtimestamp(question.anchor, ZoneInfo(question.zone)), list[int]()
    for _ in range(question.count):
        expected.append(int(local.timestamp()))
        local += timedelta(**units)
    return list(difference.theirs.instants) == expected


KNOWN: Final[Sequence[Disagreement]] = (
    Disagreement(
        name="apscheduler3-crontab-monday",
        peers=_BOTH[:1],
        example=Example(
            question=asked("0 12 * * 1"),
            ours=["2025-01-06 12:00:00+00:00", "2025-01-13 12:00:00+00:00", "2025-01-20 12:00:00+00:00"],
            theirs=["2025-01-07 12:00:00+00:00", "2025-01-14 12:00:00+00:00", "2025-01-21 12:00:00+00:00"],
        ),
        translate=lambda question: _crontab_weekday(question, _NUMBERS, _numbered_from_monday),
    ),
    Disagreement(
        name="apscheduler-crontab-weekday-step",
        peers=_BOTH,
        example=Example(
            question=asked("0 12 * * */2"),
            ours=["2025-01-02 12:00:00+00:00", "2025-01-04 12:00:00+00:00", "2025-01-05 12:00:00+00:00"],
            theirs=["2025-01-01 12:00:00+00:00", "2025-01-03 12:00:00+00:00", "2025-01-05 12:00:00+00:00"],
        ),
        translate=lambda question: _crontab_weekday(question, _STAR_STEP, _stepped_from_monday),
    ),
    Disagreement(
        name="apscheduler4-weekday-step",
        peers=_BOTH[1:],
        example=Example(
            question=asked({"day_of_week": "1-5/2", "hour": 12}),
            ours=["2025-01-02 12:00:00+00:00", "2025-01-04 12:00:00+00:00", "2025-01-07 12:00:00+00:00"],
            theirs=["2025-01-01 12:00:00+00:00", "2025-01-02 12:00:00+00:00", "2025-01-03 12:00:00+00:00"],
        ),
        translate=lambda question: _weekday_anywhere(question, _STEPPED, _before_the_rest),
    ),
    Disagreement(
        name="apscheduler-crontab-and",
        peers=_BOTH,
        example=Example(
            question=asked("0 12 13 * fri"),
            ours=["2025-01-03 12:00:00+00:00", "2025-01-10 12:00:00+00:00", "2025-01-13 12:00:00+00:00"],
            theirs=["2025-06-13 12:00:00+00:00", "2026-02-13 12:00:00+00:00", "2026-03-13 12:00:00+00:00"],
        ),
        translate=_as_fields,
    ),
    Disagreement(
        name="apscheduler-no-wrapping",
        peers=_BOTH,
        example=Example(
            question=asked({"hour": "22-2"}),
            ours=["2025-01-01 01:00:00+00:00", "2025-01-01 02:00:00+00:00", "2025-01-01 22:00:00+00:00"],
            theirs="must not be higher than the maximum",
        ),
        explains=_wraps,
    ),
    Disagreement(
        name="apscheduler-trailing-text",
        peers=_BOTH,
        example=Example(
            question=asked({"day_of_week": "mon-fri/2", "hour": 12}),
            ours=["2025-01-01 12:00:00+00:00", "2025-01-03 12:00:00+00:00", "2025-01-06 12:00:00+00:00"],
            theirs=["2025-01-01 12:00:00+00:00", "2025-01-02 12:00:00+00:00", "2025-01-03 12:00:00+00:00"],
        ),
        translate=lambda question: _weekday(question, _AFTER_NAME, _before_the_rest),
    ),
    Disagreement(
        name="apscheduler4-weekday-sunday",
        peers=_BOTH[1:],
        example=Example(
            question=asked({"day_of_week": 1, "hour": 12}),
            ours=["2025-01-07 12:00:00+00:00", "2025-01-14 12:00:00+00:00", "2025-01-21 12:00:00+00:00"],
            theirs=["2025-01-06 12:00:00+00:00", "2025-01-13 12:00:00+00:00", "2025-01-20 12:00:00+00:00"],
        ),
        translate=lambda question: _weekday(question, _NUMBER, _named(_FROM_SUNDAY)),
    ),
    Disagreement(
        name="apscheduler-fold-twice",
        peers=_BOTH,
        example=Example(
            question=asked({"hour": 2, "minute": 30}, "Europe/Berlin", "2025-10-25 12:00"),
            ours=["2025-10-26 02:30:00+02:00", "2025-10-27 02:30:00+01:00", "2025-10-28 02:30:00+01:00"],
            theirs=["2025-10-26 02:30:00+02:00", "2025-10-26 02:30:00+01:00", "2025-10-27 02:30:00+01:00"],
        ),
        translate=_twice,
    ),
    Disagreement(
        name="apscheduler-gap-nonexistent",
        peers=_BOTH,
        example=Example(
            question=asked({"hour": 2, "minute": 30}, "Europe/Berlin", "2025-03-29 12:00"),
            ours=["2025-03-30 03:00:00+02:00", "2025-03-31 02:30:00+02:00", "2025-04-01 02:30:00+02:00"],
            theirs=["2025-03-30 03:30:00+02:00", "2025-03-31 02:30:00+02:00", "2025-04-01 02:30:00+02:00"],
        ),
        explains=_shows_a_skipped_time,
    ),
    Disagreement(
        name="apscheduler-lost-midnight",
        peers=_BOTH,
        example=Example(
            question=asked({"hour": 0}, "Europe/Berlin", "2025-03-29 12:00"),
            ours=["2025-03-30 00:00:00+01:00", "2025-03-31 00:00:00+02:00", "2025-04-01 00:00:00+02:00"],
            theirs=["2025-03-30 00:00:00+01:00", "2025-04-01 00:00:00+02:00", "2025-04-02 00:00:00+02:00"],
        ),
        explains=_loses_a_midnight,
    ),
    Disagreement(
        name="apscheduler-calendar-gap",
        peers=_BOTH,
        example=Example(
            question=Question(
                language="calendar",
                fields={"days": 1, "hour": 2, "minute": 30},
                zone="Europe/Berlin",
                first_day="2025-03-29",
                start=at("2025-03-29") - 1,
                count=3,
            ),
            ours=["2025-03-29 02:30:00+01:00", "2025-03-30 03:00:00+02:00", "2025-03-31 02:30:00+02:00"],
            theirs=["2025-03-29 02:30:00+01:00", "2025-03-31 02:30:00+02:00", "2025-04-01 02:30:00+02:00"],
        ),
        translate=lambda question: replace(question, gap="skip") if question.language == "calendar" else question,
    ),
    Disagreement(
        name="apscheduler-calendar-lost-day",
        peers=_BOTH,
        example=Example(
            question=Question(
                language="calendar",
                fields={"years": 2, "hour": 3},
                zone="Pacific/Apia",
                first_day="2011-12-30",
                start=at("2011-12-29"),
                count=1,
            ),
            ours=["2011-12-31 00:00:00+14:00"],
            theirs=["2011-12-31 03:00:00+14:00"],
        ),
        explains=_moves_from_a_lost_day,
    ),
    Disagreement(
        name="apscheduler-impossible",
        peers=_BOTH,
        example=Example(question=asked("0 12 30 2 *"), ours="can never fire", theirs=[]),
        explains=never_fires,
    ),
    Disagreement(
        name="apscheduler4-interval-wall-clock",
        peers=_BOTH[1:],
        example=Example(
            question=Question(
                language="interval",
                fields={"hours": 1},
                zone="Europe/Berlin",
                anchor=at("2025-03-30 00:00"),
                start=at("2025-03-30 00:00") - 1,
                count=4,
            ),
            ours=[
                "2025-03-30 01:00:00+01:00",
                "2025-03-30 03:00:00+02:00",
                "2025-03-30 04:00:00+02:00",
                "2025-03-30 05:00:00+02:00",
            ],
            theirs=[
                "2025-03-30 01:00:00+01:00",
                "2025-03-30 03:00:00+02:00",
                "2025-03-30 03:00:00+02:00",
                "2025-03-30 04:00:00+02:00",
            ],
        ),
        explains=_adds_to_the_wall_clock,
    ),
)
