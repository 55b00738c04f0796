"""Pauses: what they leave alone, and where a job stands when one ends."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from asyncsched import every
from asyncsched._engine.instants import draw, pause, resume, schedule_fire, scheduled_time
from asyncsched.clock import to_datetime
from asyncsched.job import JobRecord, JobState
from asyncsched.policy import Policies

SECOND = 1_000_000
T0 = 1_700_000_000 * SECOND

instants = st.integers(T0 - 60 * SECOND, T0 + 60 * SECOND)


def job_of(jitter: tuple[int, int] | None = None, *, state: JobState = "active", first: int | None = T0) -> JobRecord:
    trigger = every(seconds=10, start=to_datetime(T0))
    job = JobRecord(
        id="job",
        task="t",
        name="n",
        executor="async",
        trigger=trigger,
        written=trigger,
        policies=Policies(jitter=jitter),
        added_at=T0,
        failures=3,
    )
    return replace(schedule_fire(job, first), state=state, reason=None if state == "active" else "why")


jobs = st.builds(
    job_of,
    st.none() | st.just((2 * SECOND, 5 * SECOND)),
    state=st.sampled_from(["active", "paused", "parked"]),
    first=st.none() | instants,
)


@given(job=jobs, now=instants, until=st.none() | instants, again=st.none() | instants)
def test_a_pause_lasts_as_long_as_the_last_word_says(
    job: JobRecord, now: int, until: int | None, again: int | None
) -> None:
    first = pause(job, now, "one", until)
    since = job.paused_at if job.state == "paused" else now
    assert first == replace(job, state="paused", reason="one", paused_at=since, due_at=until)
    assert pause(first, now + 1, "two", again) == replace(first, reason="two", due_at=again)


@given(job=jobs, following=st.none() | instants, until=st.none() | instants)
def test_a_paused_job_takes_another_instant_and_stays_paused(
    job: JobRecord, following: int | None, until: int | None
) -> None:
    paused = pause(job, T0, None, until)
    assert schedule_fire(paused, following) == replace(paused, next_fire=following)
    at = None if following is None else scheduled_time("job", job.policies, job.trigger, following)
    assert resume(schedule_fire(paused, following), T0, from_past=True).due_at == at


@given(job=jobs, until=instants, skip_until=st.none() | instants, from_past=st.booleans())
def test_a_job_resumes_as_if_it_had_not_been_away_but_for_what_it_skips(
    job: JobRecord, until: int, skip_until: int | None, *, from_past: bool
) -> None:
    job = replace(job, skip_until=skip_until, paused_at=T0 if job.state == "paused" else None)
    resumed = resume(job, until, from_past=from_past)
    if job.state == "active":
        assert resumed is job
        return
    plain = schedule_fire(replace(job, state="active", reason=None, paused_at=None, failures=0), job.next_fire)
    skips = not from_past and job.next_fire is not None and job.next_fire <= until
    if not skips:
        assert resumed == plain
        return
    assert plain.due_at is not None
    reason = "why" if job.state == "paused" else None
    assert resumed == replace(plain, skip_until=until, due_at=min(plain.due_at, until), reason=reason)


@given(seed=st.text(), bound=st.integers(0, 10**12))
def test_a_draw_is_within_its_bound_and_always_the_same(seed: str, bound: int) -> None:
    assert 0 <= draw(seed, bound) == draw(seed, bound) <= bound


def test_draws_reach_both_ends() -> None:
    assert {draw(f"seed {number}", 3) for number in range(100)} == {0, 1, 2, 3}
    assert draw("\ud800", 9) == draw("\ud800", 9)
