"""What a listed disagreement is, and the comparison of two answers in its light."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

from asyncsched.triggers.cron import CronTrigger
from tests.differential.clocks import Change
from tests.differential.questions import Answer, Question, ask_ours, at, trigger_of

__all__ = [
    "Difference",
    "Disagreement",
    "Example",
    "Verdict",
    "asked",
    "compare",
    "fires_at_local",
    "fires_within",
    "never_fires",
    "on_elapsed_time",
    "shown",
]

Side: TypeAlias = Literal["missing", "extra", "refused by ours", "refused by theirs"]


@dataclass(frozen=True)
class Difference:
    """One thing in which an answer differs: an instant that ours has and theirs lacks, one more, or a refusal."""

    question: Question
    side: Side
    instant: int
    ours: Answer
    theirs: Answer


@dataclass(frozen=True, kw_only=True)
class Example:
    """A question and both answers: instants as local times with offsets, or a part of the error."""

    question: Question
    ours: Sequence[str] | str
    theirs: Sequence[str] | str


def asked(
    written: str | Mapping[str, str | int], zone: str = "UTC", start: str = "2025-01-01", count: int = 3
) -> Question:
    """A question about crontab text or, from a mapping, about fields."""
    if isinstance(written, str):
        return Question(text=written, zone=zone, start=at(start), count=count)
    return Question(language="fields", fields=written, zone=zone, start=at(start), count=count)


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """One thing that a library does otherwise than ours.

    Attributes:
        name: the id under which docs/cron-dialects.md gives the reasons.
        peers: which libraries do it.
        example: a question in which it shows.
        translate: what to ask ours instead to get exactly the library's answer; most questions unchanged.
        explains: whether one difference is this disagreement.
    """

    name: str
    peers: tuple[str, ...]
    example: Example
    translate: Callable[[Question], Question] | None = None
    explains: Callable[[Difference], bool] | None = None


@dataclass(frozen=True)
class Verdict:
    """The disagreements that an answer shows, and the differences that none explains."""

    seen: frozenset[str]
    unexplained: tuple[Difference, ...]


def compare(question: Question, theirs: Answer, known: Sequence[Disagreement]) -> Verdict:
    """Hold a library's answer against ours.

    First as asked; when that differs, with ours asked in translation; what still differs must be
    explained, instant by instant.
    """
    if not _differences(question, ask_ours(question), theirs):
        return Verdict(frozenset(), ())
    translators = [each for each in known if each.translate is not None]
    translated = _translated(question, translators)
    ours = ask_ours(translated)
    seen = {
        each.name
        for each in translators
        if ask_ours(_translated(question, [other for other in translators if other != each])) != ours
    }
    unexplained: list[Difference] = []
    for difference in _differences(translated, ours, theirs):
        names = {each.name for each in known if each.explains is not None and each.explains(difference)}
        seen |= names
        if not names:
            unexplained.append(difference)
    return Verdict(frozenset(seen), tuple(unexplained))


def _translated(question: Question, translators: Sequence[Disagreement]) -> Question:
    for each in translators:
        assert each.translate is not None
        question = each.translate(question)
    return question


def shown(question: Question, answer: Answer) -> list[str] | str:
    """An answer for people: local times with offsets, or the error."""
    zone = ZoneInfo(question.zone)
    times = [datetime.fromtimestamp(instant, zone).isoformat(sep=" ") for instant in answer.instants]
    return answer.error or "" if answer.refused else times


def fires_at_local(question: Question, local: int) -> bool:
    """Whether a local time matches, wherever the clocks stand: it is read as if it were UTC."""
    return ask_ours(replace(question, zone="UTC", start=local - 1, count=1, until=local)).instants == (local,)


def fires_within(question: Question, change: Change) -> bool:
    """Whether a local time that a gap skips matches."""
    low, high = change.instant + change.before, change.instant + change.after
    return bool(ask_ours(replace(question, zone="UTC", start=low - 1, count=1, until=high - 1)).instants)


def never_fires(difference: Difference) -> bool:
    """Whether ours refuses what can never fire, while the library looks for it in vain."""
    refused = difference.side == "refused by ours" and not difference.theirs.instants
    return refused and "can never fire" in (difference.ours.error or "")


def on_elapsed_time(question: Question) -> bool:
    """Whether ours runs a question on elapsed time: its minute or hour begins with a star."""
    trigger = trigger_of(question)
    return isinstance(trigger, CronTrigger) and trigger.pattern.elapsed


def _differences(question: Question, ours: Answer, theirs: Answer) -> list[Difference]:
    return [Difference(question, side, instant, ours, theirs) for side, instant in _sides(question.count, ours, theirs)]


def _sides(count: int, ours: Answer, theirs: Answer) -> Iterator[tuple[Side, int]]:
    if ours.refused or theirs.refused:
        if not theirs.refused:
            yield "refused by ours", 0
        elif not ours.refused and ours.instants:
            yield "refused by theirs", 0
        return
    # Both lists end somewhere: what lies after the end of a full one was not asked for.
    end = min((max(answer.instants) for answer in (ours, theirs) if len(answer.instants) == count), default=1 << 62)
    wanted, found = (Counter(instant for instant in answer.instants if instant <= end) for answer in (ours, theirs))
    for instant in (wanted - found).elements():
        yield "missing", instant
    for instant in (found - wanted).elements():
        yield "extra", instant
