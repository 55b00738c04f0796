"""The arithmetic of named limits against a bucket that is watched microsecond by microsecond."""

from itertools import combinations_with_replacement

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from asyncsched._engine.limiting import LimitRow, charged, free_starts, limit_name, ready_at

T0 = 1_700_000_000_000_000
UNBOUNDED = 2**31

rates = st.builds(LimitRow, name=st.just("l"), count=st.integers(1, 5), period=st.integers(1, 40))


def refill(limit: LimitRow) -> int:
    """Return the least whole time per start with which a period never brings more than ``count``."""
    return next(step for step in range(1, 10**6) if step * (limit.count or 1) >= (limit.period or 0))


class Bucket:
    """Drops of one microsecond each: a start takes as many as trickle in until the next one may follow."""

    def __init__(self, limit: LimitRow, now: int) -> None:
        self.a_start = refill(limit)
        self.size = self.a_start * (limit.count or 1)
        self.drops = self.size
        self.now = now

    def wait(self, duration: int) -> None:
        for _ in range(duration):
            self.drops = min(self.size, self.drops + 1)
        self.now += duration

    @property
    def starts(self) -> int:
        return self.drops // self.a_start

    def take(self, starts: int) -> None:
        self.drops -= starts * self.a_start
        assert self.drops >= 0


@settings(max_examples=300)
@given(limit=rates, steps=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 6)), max_size=30))
def test_a_rate_is_a_bucket_and_never_lets_more_through_in_any_window(
    limit: LimitRow, steps: list[tuple[int, int]]
) -> None:
    bucket, full_at, started = Bucket(limit, T0), 0, list[int]()
    for elapsed, wanted in steps:
        bucket.wait(elapsed)
        free = free_starts(limit, 0, full_at, bucket.now)
        assert free == bucket.starts
        taken = min(wanted, free)
        bucket.take(taken)
        if taken:
            full_at = charged(limit, full_at, bucket.now, taken)
        started += [bucket.now] * taken
    for (first, begin), (last, end) in combinations_with_replacement(enumerate(started), 2):
        assert last - first + 1 <= (limit.count or 1) + (end - begin) // bucket.a_start
        assert (last - first + 1) * (limit.period or 1) <= (limit.count or 1) * ((limit.period or 1) + end - begin)


@given(limit=rates, starts=st.lists(st.integers(1, 3), min_size=1, max_size=3), is_bounded=st.booleans())
def test_ready_at_is_the_very_first_moment(limit: LimitRow, starts: list[int], *, is_bounded: bool) -> None:
    full_at = 0
    for wanted in starts:
        full_at = charged(limit, full_at, T0, min(wanted, free_starts(limit, 0, full_at, T0)))
    asked = limit if is_bounded else replace(limit, count=None, period=None, concurrency=3)
    moments = [now for now in range(T0 - 1, T0 + 400) if free_starts(asked, 0, full_at, now)]
    assert moments[0] == max(T0 - 1, ready_at(asked, full_at, T0)), "edited or not, nobody is woken late or in vain"
    assert moments == list(range(moments[0], T0 + 400)), "once there is a start, it stays until it is used"


@given(limit=rates, back=st.integers(1, 10**9))
def test_a_clock_that_was_set_back_does_not_stop_a_rate(limit: LimitRow, back: int) -> None:
    full_at = charged(limit, 0, T0, limit.count or 1)
    period = full_at - T0
    now = T0 - back
    waits = max(0, ready_at(limit, full_at, now) - now)
    assert waits <= 2 * period, "at most what two empty buckets take"
    assert free_starts(limit, 0, full_at, now + waits) >= 1 or ready_at(limit, full_at, now + waits) > now + waits


@given(
    concurrency=st.none() | st.integers(1, 5),
    running=st.integers(0, 8),
    rate=st.none() | rates,
    full_at=st.integers(T0 - 50, T0 + 300),
)
def test_the_tighter_bound_counts(concurrency: int | None, running: int, rate: LimitRow | None, full_at: int) -> None:
    limit = replace(rate or LimitRow("l"), concurrency=concurrency)
    slots = UNBOUNDED if concurrency is None else max(0, concurrency - running)
    starts = UNBOUNDED if rate is None else free_starts(rate, 0, full_at, T0)
    assert free_starts(limit, running, full_at, T0) == min(slots, starts)


def test_a_limit_is_named_before_the_first_colon() -> None:
    assert [limit_name(key) for key in ("l", "l:", "l:a", "l:a:b")] == ["l"] * 4
