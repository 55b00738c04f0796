"""What croniter does otherwise than ours. The reasons stand in docs/cron-dialects.md under the same ids."""

import re
from calendar import monthrange
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from asyncsched.errors import InvalidTriggerError
from asyncsched.triggers.cron.crontab import FIELDS, parse_crontab
from asyncsched.triggers.cron.field import mask_of
from asyncsched.triggers.cron.pattern import ALL_HOURS
from tests.differential.clocks import HOUR, changes, gap_before, is_second_pass, offset
from tests.differential.disagreement import (
    Difference,
    Disagreement,
    Example,
    asked,
    fires_within,
    on_elapsed_time,
)
from tests.differential.questions import Question, ask_ours

__all__ = ["KNOWN"]

_ONLY: Final = ("croniter",)
_RANGES: Final = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6), (0, 59), (1970, 2099))
_SECONDS: Final = 5
_FIFTY_YEARS: Final = 50 * 365 * 24 * HOUR
_EQUAL: Final = re.compile(r"\b(\w+)-\1\b")
_WRAPPED: Final = re.compile(r"\b(\d+)-(\d+)/(\d+)")
_NEAREST: Final = re.compile(r"\b(29|30|31)w\b")

Words = list[str]


def _in_words(rewrite: Callable[[Words], Words]) -> Callable[[Question], Question]:
    """A translation of the fields in croniter's order, in lower case."""
    return lambda question: replace(question, text=" ".join(rewrite(question.text.lower().split())))


def _each_field(rewrite: Callable[[str, int, int], str]) -> Callable[[Question], Question]:
    """A translation of each field, given its range."""
    return _in_words(lambda words: [rewrite(word, *limits) for word, limits in zip(words, _RANGES, strict=False)])


def _seconds_first(words: Words) -> Words:
    return [words[_SECONDS], *words[:_SECONDS], *words[_SECONDS + 1 :]] if len(words) > _SECONDS else words


def _last_after_the_day(words: Words) -> Words:
    return [*words[:4], re.sub(r"\bl(\d)\b", r"\1l", words[4]), *words[5:]]


def _whole_range(word: str, low: int, high: int) -> str:
    return _EQUAL.sub(f"{low}-{high}", word)


def _later_wrap(word: str, low: int, high: int) -> str:
    """After the end of the field croniter goes on one value later than the step says."""

    def rewrite(found: re.Match[str]) -> str:
        first, last, step = (int(text) for text in found.groups())
        if first <= last:
            return found[0]
        before_end = first + (high - first) // step * step
        rest = before_end + step - high - 1
        again = low + (rest + 1 if rest else 0)
        written = f"{first}-{high}/{step}" if before_end > first else str(first)
        if again > last:
            return written
        return f"{written},{again}-{last}/{step}" if again + step <= last else f"{written},{again}"

    return _WRAPPED.sub(rewrite, word)


def _every_day(text: str) -> bool:
    """Whether the day fields match every day, which makes them a star for croniter too when the other has one."""
    try:
        pattern = parse_crontab(text)
    except InvalidTriggerError:
        return False
    return pattern.day.everything and pattern.weekday.everything


def _either_day(words: Words) -> Words:
    day, week = words[2], words[4]
    if (
        _every_day(f"0 0 {day} * *")
        or _every_day(f"0 0 * * {week}")
        or not (day.startswith("*") or week.startswith("*"))
    ):
        return words
    return [*words[:2], day.replace("*", "1-31"), words[3], week.replace("*", "0-6"), *words[5:]]


def _star_for_all_hours(words: Words) -> Words:
    try:
        every = mask_of(FIELDS[2], words[1]) == ALL_HOURS
    except InvalidTriggerError:
        every = False
    return [words[0], "*", *words[2:]] if every else words


def _clamps(difference: Difference) -> bool:
    """A workday near to a day that the month lacks: croniter takes its last day instead."""
    found = _NEAREST.search(difference.question.text)
    if found is None or difference.side != "extra":
        return found is not None and "can never fire" in (difference.ours.error or "")
    local = datetime.fromtimestamp(difference.instant, ZoneInfo(difference.question.zone))
    length = monthrange(local.year, local.month)[1]
    last = local.replace(day=length).weekday()
    return length < int(found[1]) and local.day == length - max(last - 4, 0)


def _shifts_steps(difference: Difference) -> bool:
    """A skipped local time of a job that ours runs on elapsed time fires after the gap."""
    change = gap_before(difference.question.zone, difference.instant)
    return (
        change is not None
        and difference.side == "extra"
        and difference.instant - change.instant < 60
        and on_elapsed_time(difference.question)
        and fires_within(difference.question, change)
    )


def _forgets_half_an_hour(difference: Difference) -> bool:
    zone, instant = difference.question.zone, difference.instant
    half = any(change.forward % HOUR for change in changes(zone, instant - HOUR, instant))
    return half and difference.side == "missing" and is_second_pass(zone, instant)


def _forgets_the_second_pass(difference: Difference) -> bool:
    """What follows the repeated time, by one of the day fields at least, has the offset from before it."""
    question, instant = difference.question, difference.instant
    if difference.side != "missing" or not is_second_pass(question.zone, instant):
        return False
    change = changes(question.zone, instant - 24 * HOUR, instant)[-1]
    end = change.instant - change.forward - 1
    seconds, words = [], question.text.split()
    if len(words) > _SECONDS:
        seconds, words = words[:1], words[1:]
    sides = (words, [*words[:2], "*", *words[3:]], [*words[:4], "*", *words[5:]])
    following = [
        ask_ours(replace(question, text=" ".join([*seconds, *side]), fold="first", start=end, count=1)).instants
        for side in sides
    ]
    return any(found and offset(question.zone, found[0]) == change.before for found in following)


def _gives_up(difference: Difference) -> bool:
    if "failed to find next date" not in (difference.theirs.error or "") or not difference.ours.instants:
        return False
    last = max((difference.question.start, *difference.theirs.instants))
    return (difference.instant or difference.ours.instants[0]) - last > _FIFTY_YEARS


def _keeps_seconds(difference: Difference) -> bool:
    """A skipped local time fires within the first minute after the gap, at its own second."""
    change = gap_before(difference.question.zone, difference.instant)
    if change is None or len(difference.question.text.split()) <= _SECONDS:
        return False
    late = difference.instant - change.instant
    at_place = late == 0 if difference.side == "missing" else late < 60
    return at_place and not on_elapsed_time(difference.question) and fires_within(difference.question, change)


KNOWN: Final[Sequence[Disagreement]] = (
    Disagreement(
        name="croniter-last-weekday",
        peers=_ONLY,
        example=Example(
            question=asked("0 12 * * L5"),
            ours="'L5' at column 10 is not understood",
            theirs=["2025-01-31 12:00:00+00:00", "2025-02-28 12:00:00+00:00", "2025-03-28 12:00:00+00:00"],
        ),
        translate=_in_words(_last_after_the_day),
    ),
    Disagreement(
        name="croniter-equal-range",
        peers=_ONLY,
        example=Example(
            question=asked("0 12 * * 5-5"),
            ours=["2025-01-03 12:00:00+00:00", "2025-01-10 12:00:00+00:00", "2025-01-17 12:00:00+00:00"],
            theirs=["2025-01-01 12:00:00+00:00", "2025-01-02 12:00:00+00:00", "2025-01-03 12:00:00+00:00"],
        ),
        translate=_each_field(_whole_range),
    ),
    Disagreement(
        name="croniter-wrapped-step",
        peers=_ONLY,
        example=Example(
            question=asked("0 22-6/4 * * *"),
            ours=["2025-01-01 02:00:00+00:00", "2025-01-01 06:00:00+00:00", "2025-01-01 22:00:00+00:00"],
            theirs=["2025-01-01 03:00:00+00:00", "2025-01-01 22:00:00+00:00", "2025-01-02 03:00:00+00:00"],
        ),
        translate=_each_field(_later_wrap),
    ),
    Disagreement(
        name="croniter-star-step-either",
        peers=_ONLY,
        example=Example(
            question=asked("0 12 */10 * mon"),
            ours=["2025-03-31 12:00:00+00:00", "2025-04-21 12:00:00+00:00", "2025-07-21 12:00:00+00:00"],
            theirs=["2025-01-01 12:00:00+00:00", "2025-01-06 12:00:00+00:00", "2025-01-11 12:00:00+00:00"],
        ),
        translate=_in_words(_either_day),
    ),
    Disagreement(
        name="croniter-all-hours-star",
        peers=_ONLY,
        example=Example(
            question=asked("30 0-23 * * *", "Europe/Berlin", "2025-03-30"),
            ours=["2025-03-30 01:30:00+01:00", "2025-03-30 03:00:00+02:00", "2025-03-30 03:30:00+02:00"],
            theirs=["2025-03-30 01:30:00+01:00", "2025-03-30 03:30:00+02:00", "2025-03-30 04:30:00+02:00"],
        ),
        translate=_in_words(_star_for_all_hours),
    ),
    Disagreement(
        name="croniter-seconds-last",
        peers=_ONLY,
        example=Example(
            question=asked("0 12 1 * * 30"),
            ours="'30' at column 12 is out of range",
            theirs=["2025-01-01 12:00:30+00:00", "2025-02-01 12:00:30+00:00", "2025-03-01 12:00:30+00:00"],
        ),
        translate=_in_words(_seconds_first),
    ),
    Disagreement(
        name="croniter-fold-twice",
        peers=_ONLY,
        example=Example(
            question=asked("30 2 * * *", "Europe/Berlin", "2025-10-25 12:00"),
            ours=["2025-10-26 02:30:00+02:00", "2025-10-27 02:30:00+01:00", "2025-10-28 02:30:00+01:00"],
            theirs=["2025-10-26 02:30:00+02:00", "2025-10-26 02:30:00+01:00", "2025-10-27 02:30:00+01:00"],
        ),
        translate=lambda question: replace(question, fold="both"),
    ),
    Disagreement(
        name="croniter-gap-star",
        peers=_ONLY,
        example=Example(
            question=asked("30 */2 * * *", "Europe/Berlin", "2025-03-29 23:00"),
            ours=["2025-03-30 00:30:00+01:00", "2025-03-30 04:30:00+02:00", "2025-03-30 06:30:00+02:00"],
            theirs=["2025-03-30 00:30:00+01:00", "2025-03-30 03:00:00+02:00", "2025-03-30 04:30:00+02:00"],
        ),
        explains=_shifts_steps,
    ),
    Disagreement(
        name="croniter-gap-seconds",
        peers=_ONLY,
        example=Example(
            question=asked("30 2 * * * 45", "Europe/Berlin", "2025-03-29 12:00"),
            ours="'45' at column 12 is out of range",
            theirs=["2025-03-30 03:00:45+02:00", "2025-03-31 02:30:45+02:00", "2025-04-01 02:30:45+02:00"],
        ),
        explains=_keeps_seconds,
    ),
    Disagreement(
        name="croniter-half-hour",
        peers=_ONLY,
        example=Example(
            question=asked("19,39 * * * *", "Australia/Lord_Howe", "2025-04-05 14:25"),
            ours=["2025-04-06 01:39:00+11:00", "2025-04-06 01:39:00+10:30", "2025-04-06 02:19:00+10:30"],
            theirs=["2025-04-06 01:39:00+11:00", "2025-04-06 02:19:00+10:30", "2025-04-06 02:39:00+10:30"],
        ),
        explains=_forgets_half_an_hour,
    ),
    Disagreement(
        name="croniter-fold-lost",
        peers=_ONLY,
        example=Example(
            question=asked("*/30 2 26 6,10 *", "Europe/Berlin", "2025-10-25 12:00"),
            ours=["2025-10-26 02:00:00+02:00", "2025-10-26 02:30:00+02:00", "2025-10-26 02:00:00+01:00"],
            theirs=["2025-10-26 02:00:00+02:00", "2025-10-26 02:30:00+02:00", "2026-06-26 02:00:00+02:00"],
        ),
        explains=_forgets_the_second_pass,
    ),
    Disagreement(
        name="croniter-nearest-clamped",
        peers=_ONLY,
        example=Example(
            question=asked("0 12 31W * *", start="2025-01-15"),
            ours=["2025-01-31 12:00:00+00:00", "2025-03-31 12:00:00+00:00", "2025-05-30 12:00:00+00:00"],
            theirs=["2025-01-31 12:00:00+00:00", "2025-02-28 12:00:00+00:00", "2025-03-31 12:00:00+00:00"],
        ),
        explains=_clamps,
    ),
    Disagreement(
        name="croniter-nth-and",
        peers=_ONLY,
        example=Example(
            question=asked("0 12 13 * fri#2"),
            ours=["2025-01-10 12:00:00+00:00", "2025-01-13 12:00:00+00:00", "2025-02-13 12:00:00+00:00"],
            theirs=["2025-01-10 12:00:00+00:00", "2025-02-14 12:00:00+00:00", "2025-03-14 12:00:00+00:00"],
        ),
    ),
    Disagreement(
        name="croniter-fifty-years",
        peers=_ONLY,
        example=Example(
            question=asked("0 0 12 1 1 * 2090"), ours=["2090-01-01 12:00:00+00:00"], theirs="failed to find next date"
        ),
        explains=_gives_up,
    ),
    Disagreement(
        name="croniter-year-2099",
        peers=_ONLY,
        example=Example(question=asked("0 0 12 1 1 * 2100"), ours=["2100-01-01 12:00:00+00:00"], theirs="out of range"),
    ),
)
