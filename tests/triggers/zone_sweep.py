"""Every zone, every change of its clocks, against a slow reference written from the rules alone.

    python -m tests.triggers.zone_sweep          a seeded sample, as the test suite runs it
    python -m tests.triggers.zone_sweep --full   every expression and policy at every change

The reference knows two things: what `zoneinfo` says the local time of an instant is, and the rules
of wall-clock time. A local time stands for the instants that read it. One of them fires; of several
the policy for folds chooses; where there is none, the clocks have jumped over it, and the policy for
gaps says whether the first instant after the jump fires. An expression whose minute or hour field
begins with ``*`` fires at every instant that reads a matching time, and nowhere else. The changes of
the clocks are found by looking at the zone every few hours and halving what lies between.
"""

import argparse
import itertools
import random
import time
import zoneinfo
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from asyncsched.triggers.cron.trigger import CronTrigger, cron
from asyncsched.triggers.wall import Fold, Gap, wall_clock

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86_400
GAPS: Final[tuple[Gap, ...]] = ("shift", "skip")
FOLDS: Final[tuple[Fold, ...]] = ("first", "last", "both")
POLICIES: Final[tuple[tuple[Gap, Fold], ...]] = tuple((gap, fold) for gap in GAPS for fold in FOLDS)
FIRST: Final = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp())
END: Final = int(datetime(2046, 1, 1, tzinfo=UTC).timestamp())


def offset_at(zone: ZoneInfo, instant: int) -> int:
    """Return the seconds by which the zone's wall clock is ahead of UTC at a Unix second."""
    offset = datetime.fromtimestamp(instant, zone).utcoffset()
    assert offset is not None
    return offset.days * DAY + offset.seconds


@dataclass(frozen=True)
class Change:
    """The clocks of a zone go from one offset to another at an instant."""

    instant: int
    before: int
    after: int


@dataclass(frozen=True)
class Stretch:
    """Instants [first, end) that have one offset."""

    first: int
    end: int
    offset: int


@dataclass(frozen=True)
class History:
    """The offset a zone begins with and the changes that follow."""

    offset: int
    changes: tuple[Change, ...]

    def stretches(self, first: int, end: int) -> list[Stretch]:
        """Return the stretches that make up [first, end), by arithmetic from the changes."""
        edges = [change for change in self.changes if first < change.instant < end]
        earlier = [change.after for change in self.changes if change.instant <= first]
        offsets = [earlier[-1] if earlier else self.offset, *(change.after for change in edges)]
        starts = [first, *(change.instant for change in edges)]
        return [Stretch(*parts) for parts in zip(starts, [*starts[1:], end], offsets, strict=True)]


def history_of(zone: ZoneInfo, first: int = FIRST, end: int = END, every: int = DAY) -> History:
    """Return the changes in [first, end), looking at the zone ``every`` so many seconds."""
    before = start = offset_at(zone, first)
    changes = list[Change]()
    for sample in range(first + every, end + every, every):
        after = offset_at(zone, min(sample, end))
        if after != before:
            changes += _changes_between(zone, sample - every, min(sample, end), before, after)
        before = after
    return History(start, tuple(changes))


def _changes_between(zone: ZoneInfo, low: int, high: int, before: int, after: int) -> list[Change]:
    """Halve until one second lies between; both halves may hold a change."""
    if high - low == 1:
        return [Change(high, before, after)]
    middle = (low + high) // 2
    between = offset_at(zone, middle)
    earlier = _changes_between(zone, low, middle, before, between) if between != before else []
    return earlier + (_changes_between(zone, middle, high, between, after) if between != after else [])


def looked_up(zone: ZoneInfo, first: int, end: int, step: int = MINUTE) -> list[Stretch]:
    """Return the stretches of [first, end), asking the zone at every single step."""
    found = list[Stretch]()
    start, offset = first, offset_at(zone, first)
    for instant in range(first, end, step):
        current = offset_at(zone, instant)
        if current != offset:
            found.append(Stretch(start, instant, offset))
            start, offset = instant, current
    return [*found, Stretch(start, end, offset)]


@dataclass(frozen=True)
class Case:
    """An expression with what it means written beside it."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    elapsed: bool = False

    def times(self, low: int, end: int) -> Iterator[int]:
        """Yield the matching local seconds in [low, end)."""
        for day in range(low // DAY, end // DAY + 1):
            for hour in sorted(self.hours):
                for minute in sorted(self.minutes):
                    local = day * DAY + hour * HOUR + minute * MINUTE
                    if low <= local < end:
                        yield local


ALL_HOURS: Final = frozenset(range(24))
QUARTERS: Final = frozenset({0, 15, 30, 45})
ELAPSED: Final = (
    Case("0 * * * *", frozenset({0}), ALL_HOURS, elapsed=True),
    Case("*/15 * * * *", QUARTERS, ALL_HOURS, elapsed=True),
)
# The same times where the clocks' own reading counts, because no field begins with a star.
ON_THE_CLOCK: Final = (
    Case("0 0-23 * * *", frozenset({0}), ALL_HOURS),
    Case("0,15,30,45 0-23 * * *", QUARTERS, ALL_HOURS),
)


def daily(local: int) -> Case:
    """Return the case of once a day at the hour and minute of a local second."""
    hour, minute = local % DAY // HOUR, local % HOUR // MINUTE
    return Case(f"{minute} {hour} * * *", frozenset({minute}), frozenset({hour}))


HALF_PAST_TWO: Final = daily(2 * HOUR + 30 * MINUTE)


def at_the_change(change: Change, draw: random.Random) -> list[Case]:
    """Return a daily case at the start, within, at the last minute and at the end of what a change skips or repeats."""
    low, high = sorted((change.instant + change.before, change.instant + change.after))
    inside = low + draw.randrange(max((high - low) // MINUTE, 1)) * MINUTE
    return [daily(local) for local in (low, inside, high - MINUTE, high)]


def instants_of(local: int, stretches: Sequence[Stretch], gap: str, fold: str) -> list[int]:
    """Return the instants a local second stands for. Every rule of wall-clock time is in here."""
    readings = (local - stretch.offset for stretch in stretches if _reads(stretch, local))
    occurrences = sorted(readings)
    if occurrences:
        return {"first": occurrences[:1], "last": occurrences[-1:], "both": occurrences}[fold]
    if gap == "skip":
        return []
    borders = itertools.pairwise(stretches)
    jumps = (later for earlier, later in borders if earlier.end + earlier.offset <= local < later.first + later.offset)
    return [later.first for later in jumps]


def _reads(stretch: Stretch, local: int) -> bool:
    return stretch.first <= local - stretch.offset < stretch.end


def expected(case: Case, stretches: Sequence[Stretch], gap: str, fold: str, after: int, until: int) -> list[int]:
    """Return the instants in (after, until] at which a case fires; the stretches reach two days beyond on both sides."""
    found = set[int]()
    if case.elapsed:
        for stretch in stretches:
            locals_ = case.times(stretch.first + stretch.offset, stretch.end + stretch.offset)
            found.update(local - stretch.offset for local in locals_)
    else:
        low, end = stretches[0].first + stretches[0].offset, stretches[-1].end + stretches[-1].offset
        for local in case.times(low, end):
            found.update(instants_of(local, stretches, gap, fold))
    return sorted(instant for instant in found if after < instant <= until)


def forwards(trigger: CronTrigger, after: int, until: int) -> list[int]:
    """Return the instants in (after, until] in microseconds, one `next_us` after another."""
    found = list[int]()
    instant = trigger.next_us(after)
    while instant is not None and instant <= until:
        found.append(instant)
        instant = trigger.next_us(instant)
    return found


def backwards(trigger: CronTrigger, after: int, until: int) -> list[int]:
    """Return the same, one `last_us` before another."""
    found = list[int]()
    instant = trigger.last_us(after, until)
    while instant is not None:
        found.append(instant)
        instant = trigger.last_us(after, instant - 1)
    return found[::-1]


@dataclass
class Sweep:
    """What is compared, and what differed."""

    draw: random.Random
    span: int = 2 * DAY
    comparisons: int = 0
    instants: int = 0
    changes: int = 0
    differences: list[str] = field(default_factory=list[str])

    def compare(
        self, zone: ZoneInfo, stretches: Sequence[Stretch], case: Case, policy: tuple[Gap, Fold], around: int
    ) -> None:
        """Compare one expression under one policy in the days around an instant, each way it can be asked."""
        gap, fold = policy
        after, until = around - self.span, around + self.span
        wanted = [instant * 1_000_000 for instant in expected(case, stretches, gap, fold, after, until)]
        trigger = cron(case.text, zone, gap=gap, fold=fold)
        # A search may begin anywhere within the second before, and end anywhere within the one after.
        low = after * 1_000_000 + self.draw.choice([0, 1, self.draw.randrange(1_000_000), 999_999])
        high = until * 1_000_000 + self.draw.choice([0, 1, self.draw.randrange(1_000_000), 999_999])
        border = around * 1_000_000
        answers: dict[str, tuple[object, object]] = {
            "next": (forwards(trigger, low, high), wanted),
            "previous": (backwards(trigger, low, high), wanted),
            "count": (trigger.count_us(low, high), len(wanted)),
            "count to the border": (trigger.count_us(low, border - 1), sum(one < border for one in wanted)),
            "next from the border": (trigger.next_us(border - 1), next((one for one in wanted if one >= border), None)),
            "previous datetime": (_previous(trigger, high), wanted[-1] if wanted else None),
        }
        if not wanted or wanted[-1] < border:
            del answers["next from the border"]  # it lies beyond what was compared
        if not wanted:
            del answers["previous datetime"]
        self.comparisons += 1
        self.instants += len(wanted)
        for way, (found, right) in answers.items():
            if found != right:
                self.differences.append(f"{zone.key} {trigger!r} around {around}: {way} {found}, should be {right}")

    def compare_clock(self, zone: ZoneInfo, stretches: Sequence[Stretch], local: int) -> None:
        """Compare what `WallClock` says a local second stands for, under every policy."""
        for gap, fold in POLICIES:
            wanted = tuple(instants_of(local, stretches, gap, fold))
            found = wall_clock(zone).instants(local, gap, fold)
            self.comparisons += 1
            if found != wanted:
                self.differences.append(f"{zone.key} local {local} {gap} {fold}: {found}, should be {wanted}")

    def at(self, zone: ZoneInfo, history: History, change: Change, cases: int | None, *, look_up: bool) -> None:
        """Compare around one change: so many cases drawn at random, or all of them under every policy."""
        self.changes += 1
        first, end = change.instant - self.span - 2 * DAY, change.instant + self.span + 2 * DAY
        stretches = history.stretches(first, end)
        if look_up and looked_up(zone, first, end) != stretches:
            self.differences.append(f"{zone.key}: a change near {change.instant} was overlooked by the scan")
        own = at_the_change(change, self.draw)
        pairs = [(case, policy) for case in (*own, HALF_PAST_TWO, *ON_THE_CLOCK) for policy in POLICIES]
        pairs += [(case, self.draw.choice(POLICIES)) for case in ELAPSED]
        if cases is not None:
            by_cost = [pairs[: 4 * len(POLICIES)], pairs[4 * len(POLICIES) :]]
            pairs = [self.draw.choice(by_cost[self.draw.random() < 0.25]) for _ in range(cases)]
        for case, policy in pairs:
            self.compare(zone, stretches, case, policy, change.instant)
        low = min(change.instant + change.before, change.instant + change.after)
        for local in (low - 1, low, low + self.draw.randrange(2 * HOUR), low + abs(change.after - change.before)):
            self.compare_clock(zone, stretches, local)

    def anywhere(self, zone: ZoneInfo, history: History, count: int) -> None:
        """Compare around random instants, most of which have no change near them."""
        for _ in range(count):
            around = self.draw.randrange(FIRST + 9 * DAY, END - 9 * DAY)
            stretches = history.stretches(around - self.span - 2 * DAY, around + self.span + 2 * DAY)
            case = self.draw.choice([daily(around), HALF_PAST_TWO, *ELAPSED, *ON_THE_CLOCK])
            self.compare(zone, stretches, case, self.draw.choice(POLICIES), around)


def _previous(trigger: CronTrigger, before: int) -> int | None:
    found = trigger.previous(datetime.fromtimestamp(before // 1_000_000 + 1, UTC))
    return None if found is None else round(found.timestamp()) * 1_000_000


def groups_of(keys: Sequence[str], every: int) -> dict[History, list[str]]:
    """Group zones by their histories from 2000 to the end of 2045."""
    found = dict[History, list[str]]()
    for key in keys:
        found.setdefault(history_of(ZoneInfo(key), every=every), []).append(key)
    return found


def check_twins(sweep: Sweep, keys: Sequence[str]) -> None:
    """Zones of one history must fire alike: all of a group are counted over the whole time."""
    triggers = [cron("30 2,23 * * *", key, gap="skip", fold="both") for key in keys]
    counts = {trigger.count_us(FIRST * 1_000_000, END * 1_000_000 - 1) for trigger in triggers}
    sweep.comparisons += len(keys)
    if len(counts) > 1:
        sweep.differences.append(f"{keys} have one history and fire {counts} times")


def sweep_all(*, full: bool, seed: int = 1) -> Sweep:
    """Compare every zone; print what was compared when in full."""
    began = time.perf_counter()
    keys = sorted(zoneinfo.available_timezones())
    groups = groups_of(keys, every=6 * HOUR if full else 2 * DAY)
    sweep = Sweep(random.Random(seed), span=2 * DAY if full else DAY)
    for number, (history, members) in enumerate(groups.items(), 1):
        zone = ZoneInfo(members[0])
        for change in history.changes:
            sweep.at(zone, history, change, None if full else 1, look_up=full)
        sweep.anywhere(zone, history, 40 if full else 4)
        check_twins(sweep, members)
        if full and number % 20 == 0:
            print(f"{number} of {len(groups)} groups, {time.perf_counter() - began:.0f} s", flush=True)
    print(
        f"{len(keys)} zones in {len(groups)} groups of one history each; {sweep.changes} changes of the clocks "
        f"from 2000 to 2045; {sweep.comparisons} comparisons over {sweep.instants} instants; "
        f"{len(sweep.differences)} differences; {time.perf_counter() - began:.0f} s"
    )
    return sweep


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="every expression and policy at every change")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    sweep = sweep_all(full=arguments.full, seed=arguments.seed)
    for difference in sweep.differences[:20]:
        print(difference[:1000])
    return 1 if sweep.differences else 0


if __name__ == "__main__":
    raise SystemExit(main())
