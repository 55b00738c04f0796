"""What cronsim does otherwise than ours. The reasons stand in docs/cron-dialects.md under the same ids."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from tests.differential.clocks import HOUR, changes, gap_before, is_first_pass, is_second_pass
from tests.differential.disagreement import (
    Difference,
    Disagreement,
    Example,
    asked,
    fires_within,
    never_fires,
    on_elapsed_time,
)
from tests.differential.questions import Question

__all__ = ["KNOWN"]

_ONLY: Final = ("cronsim",)
_WITH_SECONDS: Final = 6
_FROM: Final = re.compile(r"(^|,)(\w+)/")
_RANGE: Final = re.compile(r"(\d+)-(\d+)")


def _up_to_seven(question: Question) -> Question:
    words = question.text.split()
    return replace(question, text=" ".join([*words[:-1], _FROM.sub(r"\1\2-7/", words[-1])]))


def _elapsed_with_seconds(question: Question) -> Question:
    with_seconds = len(question.text.split()) == _WITH_SECONDS
    return replace(question, gap="skip", fold="both") if with_seconds else question


def _before_the_start(difference: Difference) -> bool:
    zone, start = difference.question.zone, difference.question.start
    first = difference.side == "extra" and difference.instant <= start and is_first_pass(zone, difference.instant)
    return first and is_second_pass(zone, start)


def _half_an_hour_off(difference: Difference) -> bool:
    """Its steps of an hour of elapsed time pass over half an hour after the change, and then arrive half past."""
    zone, instant = difference.question.zone, difference.instant
    halves = [change for change in changes(zone, instant - 25 * HOUR, instant) if change.forward % HOUR]
    if difference.side != "missing" or not halves:
        return False
    early = datetime.fromtimestamp(instant, ZoneInfo(zone)).minute < 30
    near = any(early or instant - change.instant < HOUR for change in halves)
    elapsed = difference.question.gap == "skip" or on_elapsed_time(difference.question)
    return near and elapsed


def _missing_midnight(difference: Difference) -> bool:
    """Midnight is where it begins a day: skipped by the clocks it fires all the same, or hides the hour after the gap."""
    change = gap_before(difference.question.zone, difference.instant)
    if change is None or (change.instant + change.before) % (24 * HOUR) != 0:
        return False
    if difference.side == "missing":
        return True
    return difference.instant == change.instant and fires_within(difference.question, change)


def _wraps(difference: Difference) -> bool:
    runs = [(int(first), int(last)) for first, last in _RANGE.findall(difference.question.text)]
    return difference.side == "refused by theirs" and any(first > last for first, last in runs)


KNOWN: Final[Sequence[Disagreement]] = (
    Disagreement(
        name="cronsim-weekday-step",
        peers=_ONLY,
        example=Example(
            question=asked("0 12 * * 3/2"),
            ours=["2025-01-01 12:00:00+00:00", "2025-01-03 12:00:00+00:00", "2025-01-08 12:00:00+00:00"],
            theirs=["2025-01-01 12:00:00+00:00", "2025-01-03 12:00:00+00:00", "2025-01-05 12:00:00+00:00"],
        ),
        translate=_up_to_seven,
    ),
    Disagreement(
        name="cronsim-seconds-elapsed",
        peers=_ONLY,
        example=Example(
            question=asked("0 30 2 * * *", "Europe/Berlin", "2025-10-25 12:00"),
            ours=["2025-10-26 02:30:00+02:00", "2025-10-27 02:30:00+01:00", "2025-10-28 02:30:00+01:00"],
            theirs=["2025-10-26 02:30:00+02:00", "2025-10-26 02:30:00+01:00", "2025-10-27 02:30:00+01:00"],
        ),
        translate=_elapsed_with_seconds,
    ),
    Disagreement(
        name="cronsim-start-in-fold",
        peers=_ONLY,
        example=Example(
            question=asked("30 2 * * *", "Europe/Berlin", "2025-10-26 01:10"),
            ours=["2025-10-27 02:30:00+01:00", "2025-10-28 02:30:00+01:00", "2025-10-29 02:30:00+01:00"],
            theirs=["2025-10-26 02:30:00+02:00", "2025-10-27 02:30:00+01:00", "2025-10-28 02:30:00+01:00"],
        ),
        explains=_before_the_start,
    ),
    Disagreement(
        name="cronsim-half-hour",
        peers=_ONLY,
        example=Example(
            question=asked("*/15 5 * * *", "Australia/Lord_Howe", "2025-04-05 12:00"),
            ours=["2025-04-06 05:00:00+10:30", "2025-04-06 05:15:00+10:30", "2025-04-06 05:30:00+10:30"],
            theirs=["2025-04-06 05:30:00+10:30", "2025-04-06 05:45:00+10:30", "2025-04-07 05:00:00+10:30"],
        ),
        explains=_half_an_hour_off,
    ),
    Disagreement(
        name="cronsim-gap-midnight",
        peers=_ONLY,
        example=Example(
            question=asked("*/30 0,2 * * sun", "America/Sao_Paulo", "2018-11-03 12:00"),
            ours=["2018-11-04 02:00:00-02:00", "2018-11-04 02:30:00-02:00", "2018-11-11 00:00:00-02:00"],
            theirs=["2018-11-04 01:00:00-02:00", "2018-11-04 02:00:00-02:00", "2018-11-04 02:30:00-02:00"],
        ),
        explains=_missing_midnight,
    ),
    Disagreement(
        name="cronsim-impossible",
        peers=_ONLY,
        example=Example(question=asked("0 12 */11 * 4#3"), ours="can never fire", theirs=[]),
        explains=never_fires,
    ),
    Disagreement(
        name="cronsim-no-wrapping",
        peers=_ONLY,
        example=Example(
            question=asked("0 22-2 * * *"),
            ours=["2025-01-01 01:00:00+00:00", "2025-01-01 02:00:00+00:00", "2025-01-01 22:00:00+00:00"],
            theirs="Bad hour",
        ),
        explains=_wraps,
    ),
)
