"""Strings that nobody would write: each is understood or refused, and refused with its place named.

    python -m tests.triggers.fuzz --count 100000 --seed 1

Half of the strings come from a grammar of the two languages, so that they reach deep; the rest are
those with characters changed, noise, odd blanks, and text up to and beyond what is allowed. The
command also times each one, on the CPU's clock; one that took more than 5 ms is tried again twice
with empty caches, and the least of the three counts, because the machine has other work.
"""

import argparse
import itertools
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from asyncsched.errors import InvalidTriggerError
from asyncsched.triggers.base import trigger_from_dict
from asyncsched.triggers.cron.field import LIMIT
from asyncsched.triggers.cron.keywords import KEYWORDS
from asyncsched.triggers.cron.trigger import CronTrigger, cron

LIMIT_S: Final = 0.005
STARTS: Final = (0, 1_800_000_000_123_456)  # 1970, and in January 2027 between two seconds
RANGES: Final = {"second": (0, 59), "minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12)}
RANGES_OF_WEEKS: Final = {"week": (1, 53), "day_of_week": (0, 7), "year": (1970, 9999)}
CRONTAB: Final = ("second", "minute", "hour", "day", "month", "day_of_week", "year")
NAMES: Final = {
    "month": ("jan", "Feb", "MAR", "december", "sept", "jun"),
    "day_of_week": ("sun", "Mon", "FRI", "saturday", "thurs", "weds"),
}
QUARTZ_DAYS: Final = ("L", "l-3", "L-30", "L-31", "LW", "WL", "15W", "1w", "31W", "32W", "W", "L-", "5L", "?")
QUARTZ_WEEKDAYS: Final = ("5L", "friL", "fri#2", "5#5", "0#6", "mon#", "#2", "L", "7L", "?", "sun#1", "sunL")
APS_DAYS: Final = ("last", "3rd fri", "last sun", "6th fri", "1st  mon", "2nd xyz", "last last", "5TH thu")
HASHES: Final = ("H", "h", "H(2-5)", "H(50-10)", "H/15", "H(0-29)/10", "H/0", "H/99", "H(1-)", "HH", "H-3", "h(a-b)")
MACROS: Final = (
    "@yearly",
    "@annually",
    "@monthly",
    "@weekly",
    "@daily",
    "@midnight",
    "@hourly",
    "@reboot",
    "@",
    "@every",
)
ODD: Final = (
    *"0123456789*/-,?#LWHh()@ \t\n\r\x0b\x0c\x1c\x1f\x85\xa0\u2003\u2028\u3000\ufeff\0\x7f_.+;:'\"\\",
    *("é", "İ", "ß", "٣", "５", "²", "Ⅷ", "𝟗", "😀", "e\u0301", "\ud800", "ﬁ", "K"),
    *("99999", "9" * 30, "0" * 20 + "5", "-1", "1e3", "0x10", "1_0", "*/0", "*/1", "L-3", "15W", "fri#2", "**", "None"),
)
BLANKS: Final = (" ", "  ", "\t", "\n", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\xa0", "\u2003", "\u2028", "\u3000")


@dataclass(frozen=True)
class Subject:
    """What is given: crontab text or keyword fields, and the id of the job that draws for ``H``."""

    given: str | dict[str, Any]
    job_id: str = "job-1"

    def make(self) -> CronTrigger:
        """Return the trigger, ``H`` drawn; raises what the two languages raise."""
        if isinstance(self.given, str):
            made = cron(self.given, "UTC").for_job(self.job_id)
        else:
            made = CronTrigger(**self.given, timezone="UTC").for_job(self.job_id)
        assert isinstance(made, CronTrigger)
        return made


@dataclass
class Strings:
    """Makes subjects without end from one seed."""

    draw: random.Random

    def __iter__(self) -> Iterator[Subject]:
        makers: list[Callable[[], str | dict[str, Any]]] = [
            *(self.expression, self.expression, self.changed, self.changed, self.hashed),
            *(self.fields, self.fields, self.changed_fields, self.macro, self.noise, self.long, self.blanks),
        ]
        while True:
            yield Subject(self.draw.choice(makers)(), f"job-{self.draw.randrange(1000)}")

    def value(self, name: str, special: tuple[str, ...]) -> str:
        """One element of a field's list, mostly within its range."""
        draw = self.draw
        low, high = (RANGES | RANGES_OF_WEEKS)[name]
        near = [str(draw.randint(low, high)) for _ in range(3)]
        if name in NAMES and draw.random() < 0.3:
            near[0] = draw.choice(NAMES[name])
        forms = ["*", near[0], near[0], "-".join(near[:2]), f"*/{draw.randint(1, max(high // 2, 2))}"]
        forms += [f"{near[0]}/{draw.randint(1, 9)}", f"{near[0]}-{near[1]}/{draw.randint(1, 20)}"]
        forms += [draw.choice(special)] * 2 if special else []
        if draw.random() < 0.02:
            forms = [str(high + 1), f"*/{high + 9}", "", "*-3", "1-2-3", "5/", "/5", str(low - 1)]
        return draw.choice(forms)

    def text(self, name: str, special: tuple[str, ...] = ()) -> str:
        """A field: mostly one element, sometimes many."""
        count = self.draw.choice([1, 1, 1, 2, 3, self.draw.randint(1, 12)])
        return ",".join(self.value(name, special) for _ in range(count))

    def words(self, *, hashes: bool = False) -> list[str]:
        """The fields of a crontab expression."""
        special = {"day": QUARTZ_DAYS, "day_of_week": QUARTZ_WEEKDAYS}
        drawn = HASHES if hashes else ()
        words = [self.text(name, special.get(name, ()) + drawn) for name in CRONTAB]
        kept = [word if self.draw.random() < 0.6 else "*" for word in words]
        return self.draw.choice([kept[1:6], kept[1:6], kept[:6], kept])

    def expression(self) -> str:
        return " ".join(self.words())

    def hashed(self) -> str:
        return " ".join(self.words(hashes=True))

    def changed(self) -> str:
        return self.change(self.draw.choice([self.expression, self.hashed])())

    def change(self, text: str) -> str:
        """Delete, insert, repeat or exchange a few characters."""
        for _ in range(self.draw.randint(1, 4)):
            at, end = sorted(self.draw.randint(0, len(text)) for _ in range(2))
            odd = self.draw.choice(ODD)
            changes = (text[:at] + text[at + 1 :], text[:at] + odd + text[at:], text[:at] + odd + text[at + 1 :])
            text = self.draw.choice([*changes, *changes, text[:end] + text[at:], text[end:] + text[:at]])
        return text

    def fields(self) -> dict[str, Any]:
        special = {"day": APS_DAYS}
        chosen = self.draw.sample(KEYWORDS, self.draw.randint(1, 4))
        return {name: self.text(name, special.get(name, ())) for name in chosen}

    def changed_fields(self) -> dict[str, Any]:
        fields = self.fields()
        name = self.draw.choice(list(fields))
        others: list[Any] = [True, 1.5, [1], b"1", 10**40, -1, 5, 0, "", " ", "1" * 300, "0," * 128 + "0", None]
        fields[name] = self.draw.choice(
            [self.change(fields[name]), self.change(fields[name]), self.draw.choice(others)]
        )
        return fields

    def macro(self) -> str:
        macro = "".join(self.draw.choice([letter, letter.upper()]) for letter in self.draw.choice(MACROS))
        extra = self.draw.choice([*BLANKS, " *", " 0 0 * * *"])
        return self.draw.choice([macro, extra + macro, macro + extra, self.change(macro)])

    def noise(self) -> str:
        count = self.draw.choice([0, 1, 5, 20, 80, LIMIT])
        return "".join(self.draw.choice(ODD) for _ in range(self.draw.randint(0, count)))

    def long(self) -> str:
        """Text that ends just before, at and beyond the limit, made of lists that are understood."""
        length = self.draw.choice([LIMIT - 1, LIMIT, LIMIT + 1, LIMIT + 40, 20_000])
        words = self.words(hashes=self.draw.random() < 0.3)
        place = self.draw.randrange(len(words))
        filler = self.draw.choice(["5,", "1-3,", "*/2,", "0/7,", "L,", "15W,", "fri#2,", "H,", "*", "(", "9", "1-"])
        room = max(length - sum(map(len, words)) - len(words), 0)
        words[place] = (filler * (room // len(filler) + 1))[:room].rstrip(",-") + "," + words[place]
        return " ".join(words)

    def blanks(self) -> str:
        words = self.draw.choice([self.words, lambda: self.words(hashes=True)])()
        return "".join(word + self.draw.choice(BLANKS) * self.draw.randint(1, 3) for word in words)


def complaints(subject: Subject, error: InvalidTriggerError) -> Iterator[str]:
    """Yield what a message lacks: it names the value, and the place where it stands in the text."""
    message = str(error)
    if not (set(message) - set("'\"")) or len(message) > 2500:
        yield f"a message of {len(message)} characters"
    if isinstance(subject.given, dict) and all(value is None for value in subject.given.values()):
        return  # there is nothing to point at
    if error.value is None:
        yield "no value"
    elif _bare(repr(error.value))[:18] not in _bare(message):
        yield f"the value {error.value!r:.80} is not in the message"
    yield from _misplaced(subject, error)


def _bare(text: str) -> str:
    """Without quotation marks and what escapes them: which are used depends on how much of a text is shown."""
    return re.sub(r"['\"\\\\]", "", text)


def _misplaced(subject: Subject, error: InvalidTriggerError) -> Iterator[str]:
    if "can never fire" in str(error):
        return  # it is in no single place: the whole is named
    whole = error.value in (subject.given, isinstance(subject.given, dict) and subject.given.get(error.field or ""))
    if isinstance(subject.given, str):
        source = subject.given
        if not whole and error.column is None:
            yield "neither the whole expression nor a column"
    else:
        if error.field not in subject.given:
            yield f"the field {error.field!r} was not given"
        source = " ".join(str(subject.given.get(error.field or "")).split())
        if isinstance(error.value, str) and not whole and error.column is None:
            yield "neither the whole field nor a column"
    if error.column is not None and not whole and not _stands_at(source, str(error.value), error.column):
        yield f"at column {error.column} stands {source[error.column - 1 :]!r:.40}"


def _stands_at(source: str, value: str, column: int) -> bool:
    if value:
        return source[column - 1 : column - 1 + len(value)] == value
    # Something is missing there: before a comma or a blank, or at the end.
    return column - 1 == len(source) or source[column - 1 : column] == "," or source[column - 1 : column].isspace()


def check(subject: Subject) -> str | None:
    """Hold one subject to what is promised; return the field that was refused, ``None`` when it was parsed.

    Raises:
        AssertionError: a promise was not kept.
    """
    try:
        trigger = subject.make()
    except InvalidTriggerError as error:
        return _refused(subject, error)
    for start in STARTS:
        found = trigger.next_us(start)
        assert found is None or found > start, (subject, start, found)
    assert trigger.describe(), subject
    assert all(sentence and not sentence.isspace() for sentence in trigger.lint()), subject
    assert trigger_from_dict(trigger.to_dict()) == trigger, subject
    assert eval(repr(trigger)) == trigger, subject
    return None


def _refused(subject: Subject, error: InvalidTriggerError) -> str:
    missing = list(complaints(subject, error))
    assert not missing, (subject.given, str(error), error.field, error.column, missing)
    return error.field or "expression"


@dataclass
class Timing:
    """What the timed run saw, in seconds of the CPU."""

    parse: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    first: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    refused: int = 0

    def add(self, subject: Subject) -> None:
        """Time one subject; again, from empty caches, when it seems slow."""
        parse, first, refused = _timed(subject)
        if max(parse, first) > LIMIT_S:
            for _ in range(2):
                clear_caches()
                again = _timed(subject)
                parse, first = min(parse, again[0]), min(first, again[1])
        self.refused += refused
        self.parse.append((parse, repr(subject.given)[:160]))
        if not refused:
            self.first.append((first, repr(subject.given)[:160]))

    def report(self) -> int:
        """Print the figures; return how many took too long to parse or refuse."""
        slow = sum(seconds > LIMIT_S for seconds, _ in self.parse)
        print(f"{len(self.parse)} strings, {self.refused} refused, {slow} took more than {LIMIT_S * 1e3:g} ms")
        for name, times in (("parse or refuse", self.parse), ("first next", self.first)):
            ordered = sorted(times, reverse=True)
            shares = ((0.5, "median"), (0.99, "99 %"), (0.999, "99.9 %"), (1, "most"))
            figures = (f"{label} {ordered[int((1 - share) * len(ordered))][0] * 1e6:.0f}" for share, label in shares)
            print(f"{name}, in µs: {', '.join(figures)}")
            for seconds, text in ordered[:5]:
                print(f"  {seconds * 1e6:.0f} {text}")
        return slow


def _timed(subject: Subject) -> tuple[float, float, bool]:
    start = time.process_time()
    try:
        trigger = subject.make()
    except InvalidTriggerError:
        return time.process_time() - start, 0.0, True
    parsed = time.process_time()
    trigger.next_us(STARTS[1])
    return parsed - start, time.process_time() - parsed, False


def clear_caches() -> None:
    """Empty every cache of the cron modules, so that the next string is met for the first time."""
    for name, module in list(sys.modules.items()):
        if name.startswith("asyncsched.triggers.cron"):
            for value in list(vars(module).values()):
                if callable(clear := getattr(value, "cache_clear", None)):
                    clear()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    timing, wrong = Timing(), 0
    for subject in itertools.islice(Strings(random.Random(arguments.seed)), arguments.count):
        timing.add(subject)
        try:
            check(subject)
        except Exception as error:
            wrong += 1
            print(f"wrong: {type(error).__name__}: {str(error)[:600]}") if wrong <= 20 else None
    slow = timing.report()
    print(f"{wrong} broke a promise")
    return 1 if slow or wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
